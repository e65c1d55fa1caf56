"""The policy plan to kernel elements.

Rules:

1. Every node knows the identity of every pod; rules and isolation are loaded for its own pods only.
2. A pod's unit is complete: identity, isolation, its own pair, and its rule set spelled for its addresses. The pair
   lets the pod reach itself (own-pairs), or names who it is to itself when rules decide about that (self-pairs); so it
   is with its node.
3. An entry of a direction that is not isolated is left out: nobody looks there.
4. Interval maps (CIDR classes, port classes) are one unit each and replaced as a whole.
5. Learned addresses of domain names are one unit: they change one by one, and belong to all pods.
6. A pod's unit holds the elements of every family it has addresses of; identities and rules are the same in each.

The look-up order these elements feed is that of :func:`podwire.plan.decide_policy`.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

import msgspec

from podwire.base import Cidr, Edition, differences
from podwire.plan import NAMES_UNIT, OWN_NODE, SELF, Decision, PolicyPlan, PolicyPod, PortClass, RuleKey
from podwire.plan.policy import Action, Direction
from podwire.planes.nft import tables as t

CIDRS_UNIT = "cidrs"
PORTS_UNIT = "ports"
_POD = "pod/"

_WORDS: dict[Action, int] = {"allow": t.ALLOW, "deny": t.DENY, "audit": t.AUDIT}

_NOTHING = PolicyPlan(pods={}, cidrs={}, ports=(), rule_sets={}, decisions={})

_Suffixes = dict[Direction, tuple[tuple[str, str], ...]]


class _Known(msgspec.Struct, frozen=True, gc=False):
    """A pod as rendered for its own node and for all others."""

    node: str
    local: t.Unit
    remote: t.Unit


class PolicyRenderer:
    """Renders policy plans one after another; remembers units that did not change."""

    def __init__(self, families: tuple[t.Family, ...]) -> None:
        """Nothing rendered yet."""
        self._families = families
        self._plan = _NOTHING
        self._actions: dict[int, str] = {}
        self._known: dict[str, _Known] = {}
        self._suffixes: dict[str, tuple[Mapping[RuleKey, int], _Suffixes]] = {}
        self._units: dict[str, Edition[str, t.Unit]] = {}
        self._tables = {CIDRS_UNIT: t.Unit({}), PORTS_UNIT: t.Unit({}), NAMES_UNIT: t.Unit({})}

    def render(self, plan: PolicyPlan, nodes: Iterable[str]) -> dict[str, Edition[str, t.Unit]]:
        """Units by node name. Unchanged plan units give the same Unit objects."""
        before = self._plan
        if before.decisions is not plan.decisions:
            self._note_actions(plan.decisions)
        moved = differences(before.pods, plan.pods)
        changed = self._changed(before, plan, moved & plan.pods.keys())
        gone = {before.pods[key].uid for key in moved & before.pods.keys()}
        pods = {plan.pods[key].uid: plan.pods[key] for key in changed}
        gone -= pods.keys()
        self._render_tables(before, plan)
        for uid in gone:
            self._known.pop(uid, None)
        for uid, pod in pods.items():
            self._known[uid] = self._render_pod(pod, plan)
        self._plan = plan
        self._units = {name: self._node_units(name, changed=pods.keys(), gone=gone) for name in nodes}
        return self._units

    def _render_tables(self, before: PolicyPlan, plan: PolicyPlan) -> None:
        """The units that belong to all pods."""
        if before is _NOTHING or before.cidrs != plan.cidrs or before.ports != plan.ports:
            self._tables[CIDRS_UNIT] = render_cidrs(plan.cidrs, self._families)
            self._tables[PORTS_UNIT] = render_ports(plan.ports, self._families)
        if before.names != plan.names:
            self._tables[NAMES_UNIT] = render_names(plan.names, self._families)
        if before.rule_sets is not plan.rule_sets:
            self._suffixes = {k: v for k, v in self._suffixes.items() if plan.rule_sets.get(k) is v[0]}

    def _changed(self, before: PolicyPlan, plan: PolicyPlan, moved: Set[str]) -> Set[str]:
        """Keys of pods that are new or other, or whose rule set is."""
        if not self._known:
            return plan.pods.keys()
        other = differences(before.rule_sets, plan.rule_sets)
        return moved | {key for key, pod in plan.pods.items() if pod.rule_set in other} if other else moved

    def _note_actions(self, decisions: Mapping[int, Decision]) -> None:
        """Decision words; a number that changed its meaning makes every rule be spelled again."""
        words = {n: t.word(n | _WORDS[decision.action]) for n, decision in decisions.items()}
        if any(self._actions.get(number, word) != word for number, word in words.items()):
            self._known, self._suffixes = {}, {}
        self._actions = words

    def _node_units(self, name: str, *, changed: Set[str], gone: Set[str]) -> Edition[str, t.Unit]:
        units = self._units.get(name) or Edition[str, t.Unit]()
        made: dict[str, t.Unit | None] = dict.fromkeys(_POD + uid for uid in gone)
        for uid in changed if units else self._known:
            known = self._known[uid]
            made[_POD + uid] = known.local if known.node == name else known.remote
        return units.revise(made | self._tables)

    def _render_pod(self, pod: PolicyPod, plan: PolicyPlan) -> _Known:
        by_family = {f: own for f in self._families if (own := [a for a in pod.addresses if f.has(a)])}
        numbers = dict(zip(pod.addresses, map(t.word, pod.identities), strict=True))
        identity = {f.identity: {a: numbers[a] for a in own} for f, own in by_family.items()}
        remote = t.Unit(identity)
        if not pod.isolated or not by_family:
            return _Known(pod.node, remote, remote)
        elements: dict[str, dict[str, str]] = dict(identity)
        for family, addresses in by_family.items():
            elements |= self._render_subject(family, addresses, pod, plan)
        return _Known(pod.node, t.Unit(elements), remote)

    def _render_subject(
        self, family: t.Family, addresses: Sequence[str], pod: PolicyPod, plan: PolicyPlan
    ) -> dict[str, dict[str, str]]:
        rules = plan.rule_sets.get(pod.rule_set, {})
        judged = any(key.peer == SELF for key in rules)
        pairs, value = (family.self_pairs, t.word(SELF)) if judged else (family.own_pairs, "")
        elements = {pairs: {f"{a} . {a}": value for a in addresses}}
        node = OWN_NODE[family.number]
        if RuleKey("egress", node, 0) in rules:
            near = [a for a in plan.nodes.get(pod.node, ()) if family.has(a)]
            elements.setdefault(family.self_pairs, {}).update(
                {f"{a} . {n}": t.word(node) for a in addresses for n in near}
            )
        suffixes = self._spell(pod.rule_set, rules)
        for direction, number in pod.isolated.items():
            isolated, ruled = _maps(family, direction)
            elements[isolated] = dict.fromkeys(addresses, self._actions[number])
            spelled = suffixes.get(direction, ())
            if spelled:
                elements[ruled] = {a + rest: word for a in addresses for rest, word in spelled}
        return elements

    def _spell(self, name: str, rules: Mapping[RuleKey, int]) -> _Suffixes:
        """The part of the rule keys that all pods of a rule set share."""
        known = self._suffixes.get(name)
        if known is not None and known[0] is rules:
            return known[1]
        spelled: dict[Direction, list[tuple[str, str]]] = {}
        for key, number in rules.items():
            rest = f" . {t.word(key.peer)} . 0x{key.port_class:x}"
            spelled.setdefault(key.direction, []).append((rest, self._actions[number]))
        suffixes: _Suffixes = {direction: tuple(entries) for direction, entries in spelled.items()}
        self._suffixes[name] = (rules, suffixes)
        return suffixes


def _maps(family: t.Family, direction: Direction) -> tuple[str, str]:
    if direction == "ingress":
        return family.isolated_in, family.rules_in
    return family.isolated_out, family.rules_out


def render_cidrs(cidrs: Mapping[Cidr, int], families: Iterable[t.Family]) -> t.Unit:
    """CIDR classes as disjoint intervals. Where blocks overlap the first one wins, as ``identity_of`` reads them."""
    elements = {}
    for family in families:
        blocks = [(c.base, c.last, number) for c, number in cidrs.items() if c.family == family.number]
        elements[family.cidr_identity] = {_span(family, a, b): t.word(n) for a, b, n in split_spans(blocks)}
    return t.Unit(elements)


def render_names(names: Mapping[str, int], families: Iterable[t.Family]) -> t.Unit:
    """Learned addresses: identities like those of pods."""
    elements = {f.identity: {a: t.word(n) for a, n in names.items() if f.has(a)} for f in families}
    return t.Unit({name: found for name, found in elements.items() if found})


def split_spans(spans: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """``(first, last, value)`` without overlaps, sorted; the earlier of two overlapping spans wins."""
    ordered = sorted(spans, key=lambda span: span[0])
    if all(a[1] < b[0] for a, b in pairwise(ordered)):
        return ordered
    result: list[tuple[int, int, int]] = []
    for span in spans:
        result += _uncovered(span, sorted(result))
    return sorted(result)


def _uncovered(span: tuple[int, int, int], taken: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    first, last, value = span
    parts = []
    for start, end, _ in taken:
        if first < start <= last:
            parts.append((first, start - 1, value))
        if start <= last and end >= first:
            first = end + 1
    return [*parts, (first, last, value)] if first <= last else parts


def _span(family: t.Family, first: int, last: int) -> str:
    kind = IPv4Address if family.number == 4 else IPv6Address
    return str(kind(first)) if first == last else f"{kind(first)}-{kind(last)}"


def render_ports(ports: Iterable[PortClass], families: Iterable[t.Family]) -> t.Unit:
    """Port classes; they are disjoint by definition."""
    classes = {
        f"{p.protocol.lower()} . {p.first}-{p.last}"
        if p.first != p.last
        else f"{p.protocol.lower()} . {p.first}": t.word(p.number)
        for p in ports
    }
    return t.Unit({family.port_class: classes for family in families})
