"""NetworkPolicies to the policy plan: identities, port classes, and one folded decision per direction.

Rules (numbers are those of ``docs/design/policy.md``):

1. A pod is isolated in a direction when at least one policy with that type selects it; then only the union of the rules
   allows (N1). Allowing is a set, so there is no order and no conflict.
2. A rule that allows a peer on any port makes port-specific entries for that peer redundant; they are left out.
3. ClusterNetworkPolicies are folded in by :mod:`policy_tiers`.
4. What cannot be understood matches nothing: fail closed, with a finding.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import msgspec
from msgspec import structs

from podwire.base import Edition, FieldPath, Finding, Origin, assign_numbers, differences, stable_hash
from podwire.compile.context import Context, Piece
from podwire.compile.policy_audit import Fold, combine, overlay
from podwire.compile.policy_classes import (
    PeerClass,
    PeerClasses,
    classify_peers,
    classify_ports,
    selects_pod,
    subject_key,
)
from podwire.compile.policy_names import Learned, learned_addresses, patterns_of
from podwire.compile.policy_refused import find_refused, list_refusals
from podwire.compile.policy_status import condition_writes, find_audited, find_idle
from podwire.compile.policy_superseded import find_superseded
from podwire.compile.policy_tiers import Situation, cluster_policies_of, fold_tiers, reserve_nodes, reserve_self
from podwire.compile.policy_views import (
    BlockPeer,
    NamedPort,
    NamePeer,
    Peer,
    PodsPeer,
    PodView,
    PolicyView,
    PortItem,
    Rule,
)
from podwire.compile.policy_world import Labels, Relevance, follow_world
from podwire.compile.touched import kept
from podwire.kube import selects
from podwire.plan import SELF, Decision, Direction, Matched, PolicyPlan, PolicyPod, PortClass, RuleKey

Nodes = tuple[tuple[str, tuple[str, ...]], ...]
"""Names and addresses."""
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def compile_policy(context: Context) -> Piece:
    """The policy plan. It is the same object as before while nothing a policy could see has changed."""
    world = follow_world(context)
    views, pods, namespaces = world.views, world.pods, world.namespaces
    memo, names = context.memo, context.snapshot.facts.names
    learned, ends = learned_addresses(names, patterns_of(world.cluster), context.snapshot.now)
    nodes = tuple((n.name, n.addresses) for n in context.services.nodes.values()) if context.services else ()
    near = memo.unit("policy-near", (nodes, world.cluster), lambda: _near(nodes, world.cluster))
    inputs = (pods, views, namespaces, learned, near)
    folded: Folded = memo.unit("policy-plan", inputs, lambda: _refold(memo.last("policy-plan"), *inputs))
    complete = partial(structs.replace, folded.plan, names_revision=names.revision, nodes=dict(nodes))
    plan = memo.unit("policy-plan-complete", (folded.plan, names.revision, nodes), complete)
    refusals = list_refusals(context.snapshot.facts.planes, pods.values())
    refused = (
        tuple(find_refused(views, refusals, {name: dict(pairs) for name, pairs in namespaces})) if refusals else ()
    )
    idle = memo.unit("policy-idle", (plan.decisions, views), lambda: _idle(folded, views, pods.values(), namespaces))
    return Piece(
        policy=plan,
        findings=(*world.findings, *idle, *refused, *find_superseded(context)),
        writes=dict(condition_writes(context, world.cluster, plan, refused)),
        wake_at=ends,
    )


def _idle(
    folded: "Folded", views: tuple[PolicyView, ...], pods: Iterable[PodView], namespaces: tuple[tuple[str, Labels], ...]
) -> tuple[Finding, ...]:
    """NetworkPolicies about a pod are those that isolate one; ClusterNetworkPolicies are asked."""
    labels, pods = {name: dict(pairs) for name, pairs in namespaces}, tuple(pods)
    decisions = (*folded.plan.decisions.values(), *folded.aside)
    found = {m.origin.ref for d in decisions if d.action != "allow" for m in d.matched}
    subjects = ((view.policy, view.subject) for view in views if view.subject is not None)
    found |= {ref for ref, subject in subjects if any(selects_pod(subject, pod, labels) for pod in pods)}
    return (*find_audited(views), *find_idle(views, decisions, found))


Near = tuple[PeerClass, ...]
Signature = tuple[str, Labels, tuple[NamedPort, ...], tuple[int, ...], Near]
"""All the compiler needs to know of a pod: namespace, labels and named ports that matter, own peer classes, its node as
a peer. Equal signatures give equal isolation and rules."""


class Folded(msgspec.Struct, frozen=True, eq=False):
    """A plan with what it was made from, and for each signature the result and how many pods have it."""

    plan: PolicyPlan
    pods: Edition[str, PodView]
    views: tuple[PolicyView, ...]
    namespaces: tuple[tuple[str, Labels], ...]
    peers: PeerClasses
    relevance: Relevance
    results: Mapping[Signature, tuple[str, Mapping[Direction, int]]]
    uses: Mapping[Signature, int]
    aside: tuple[Decision, ...] = ()
    learned: Learned = ()
    near: Mapping[str, Near] = {}
    """The classes of each node to its own pods; empty while no rule could tell."""

    def signature_of(self, pod: PodView) -> Signature | None:
        """None for a pod of a class that was not there."""
        seen = self.relevance.reduce(pod)
        own = self.peers.class_of(seen)
        return None if own is None else _signature(seen, own, self.near.get(pod.node, ()))


def _signature(seen: PodView, own: tuple[int, ...], near: Near) -> Signature:
    return seen.pod.namespace, seen.labels, seen.ports, own, near


def _refold(
    old: Folded | None,
    pods: Edition[str, PodView],
    views: tuple[PolicyView, ...],
    namespaces: tuple[tuple[str, Labels], ...],
    learned: Learned,
    near: Mapping[str, Near],
) -> Folded:
    """From ``old`` when only pods changed, within the signatures there are; else from nothing. The plans are equal
    either way, and made of the old units where those are equal: drivers compare units by identity."""
    if old is None:
        return _fold(pods, views, namespaces, learned, near)
    same = old.views is views and old.namespaces is namespaces and old.near is near
    if same:
        moved = _move_pods(old, pods) if old.learned == learned else _learn(old, pods, learned)
        if moved is not None:
            return moved
    new = _fold(pods, views, namespaces, learned, near)
    return structs.replace(new, plan=_share(old.plan, new.plan))


def _learn(old: Folded, pods: Edition[str, PodView], learned: Learned) -> Folded | None:
    """Other addresses of known names, with the same pods: elements, if every class is there."""
    names = old.peers.name(learned) if pods is old.pods else None
    if names is None:
        return None
    return structs.replace(old, plan=structs.replace(old.plan, names=names), learned=learned)


def _move_pods(old: Folded, pods: Edition[str, PodView]) -> Folded | None:
    """Every signature must have been there and stay in use, so that classes, ports and decisions stay what they are."""
    uses, units = dict(old.uses), dict[str, PolicyPod | None]()
    for key in differences(old.pods, pods):
        units[key] = None
        if key in old.pods:
            before = old.signature_of(old.pods[key])
            assert before is not None, "it was folded"
            uses[before] -= 1
        if key in pods:
            after = old.signature_of(pods[key])
            if after is None or after not in uses:
                return None
            uses[after] += 1
            units[key] = kept(old.plan.pods.get(key), _unit(pods[key], after[3], *old.results[after]))
    if not all(uses.values()):
        return None
    plan = structs.replace(old.plan, pods=_edition(old.plan).revise(units))
    return structs.replace(old, plan=plan, pods=pods, uses=uses)


def _edition(plan: PolicyPlan) -> Edition[str, PolicyPod]:
    assert isinstance(plan.pods, Edition)
    return plan.pods


def _share(old: PolicyPlan, new: PolicyPlan) -> PolicyPlan:
    gone = dict.fromkeys(old.pods.keys() - new.pods.keys())
    pods = _edition(old).revise({**gone, **{k: kept(old.pods.get(k), unit) for k, unit in new.pods.items()}})
    rules = {k: old.rule_sets.get(k, found) for k, found in new.rule_sets.items()}  # named by content
    decisions = old.decisions if old.decisions == new.decisions else new.decisions
    return structs.replace(new, pods=pods, rule_sets=rules, decisions=decisions)


class _Recorder:
    """Collects decisions by their text while rule sets are folded; numbers are assigned at the end."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.aside: dict[str, Decision] = {}
        """What held in one of two worlds only: an audited policy is not idle because an enforced one decides."""

    def note(self, decision: Decision) -> str:
        key = f"{decision.action}/{decision.direction}/{'+'.join(f'{m.origin}' for m in decision.matched)}"
        self.decisions.setdefault(key, decision)
        return key


def _fold(
    pods: Edition[str, PodView],
    policies: tuple[PolicyView, ...],
    namespaces: tuple[tuple[str, Labels], ...],
    learned: Learned,
    near: Mapping[str, Near],
) -> Folded:
    labels = {name: dict(pairs) for name, pairs in namespaces}
    relevance = Relevance.of(policies)
    seen = {key: relevance.reduce(pod) for key, pod in pods.items()}
    peers = classify_peers(seen.values(), labels, policies, learned)
    ports = classify_ports(seen.values(), (rule for policy in policies for rule in policy.rules))
    cluster = [policy for policy in policies if policy.subject is not None]
    by_namespace: dict[str, list[PolicyView]] = {}
    for policy in policies:
        if policy.subject is None:
            by_namespace.setdefault(policy.policy.namespace, []).append(policy)
    recorder = _Recorder()
    sets: dict[str, dict[RuleKey, str]] = {}
    signatures: dict[str, Signature] = {}
    known: dict[Signature, tuple[str, dict[Direction, str]]] = {}
    for name, pod in seen.items():
        own, at = peers.of_pod[name], near.get(pod.node, ())
        alike = signatures[name] = _signature(pod, own, at)
        if alike not in known:
            selecting = _selecting(pod, by_namespace.get(pod.pod.namespace, ()))
            about = cluster_policies_of(pod, cluster, labels)
            subject = Subject(pod, peers.classes[own[0]], selecting, about, at)
            isolated = {d: recorder.note(decision) for d, decision in _defaults(subject).items()}
            known[alike] = _subject_key(subject), isolated
            key = known[alike][0]
            if key and key not in sets:
                rules_of = _audited_rule_set if subject.is_audited else _rule_set
                sets[key] = rules_of(subject, peers, ports, recorder)
    numbers = assign_numbers(recorder.decisions)
    rules = {k: {rule: numbers[text] for rule, text in sorted(found.items())} for k, found in sorted(sets.items())}
    names = {k: _content_name(found) for k, found in rules.items()}
    results = {
        alike: (names.get(key, ""), {d: numbers[text] for d, text in isolated.items()})
        for alike, (key, isolated) in known.items()
    }
    units = ((name, _unit(pods[name], alike[3], *results[alike])) for name, alike in signatures.items())
    plan = PolicyPlan(
        pods=Edition(units),
        cidrs=peers.cidrs,
        ports=ports,
        rule_sets={names[k]: found for k, found in rules.items()},
        decisions={numbers[text]: recorder.decisions[text] for text in sorted(recorder.decisions)},
        names=peers.names,
    )
    aside = tuple(recorder.aside.values())
    counted = Counter(signatures.values())
    return Folded(plan, pods, policies, namespaces, peers, relevance, results, counted, aside, learned, near)


def _near(nodes: Nodes, cluster: tuple[PolicyView, ...]) -> dict[str, Near]:
    found = {name: reserve_nodes(addresses, cluster) for name, addresses in nodes} if cluster else {}
    return {name: near for name, near in found.items() if near}


def _unit(pod: PodView, identities: tuple[int, ...], rule_set: str, isolated: Mapping[Direction, int]) -> PolicyPod:
    return PolicyPod(
        pod=pod.pod,
        uid=pod.uid,
        node=pod.node,
        addresses=pod.addresses,
        identities=identities,
        isolated=isolated,
        rule_set=rule_set,
    )


def _content_name(rules: Mapping[RuleKey, int]) -> str:
    """Named by content, so that a pod's unit changes exactly when what is enforced for it does."""
    return stable_hash(";".join(f"{k.direction}/{k.peer}/{k.port_class}={n}" for k, n in rules.items()), size_bytes=8)


def _selecting(pod: PodView, policies: Iterable[PolicyView]) -> dict[Direction, list[PolicyView]]:
    labels = dict(pod.labels)
    chosen = [policy for policy in policies if selects(policy.subjects, labels)]
    found = {d: [p for p in chosen if d in p.directions] for d in DIRECTIONS}
    return {d: policies for d, policies in found.items() if policies}


class Subject(msgspec.Struct, frozen=True):
    """A pod with its own peer class, the NetworkPolicies that select it and the ClusterNetworkPolicies about it."""

    pod: PodView
    own: PeerClass
    selecting: Mapping[Direction, list[PolicyView]]
    about: Mapping[Direction, list[PolicyView]]
    near: Near = ()

    def is_limited(self, direction: Direction) -> bool:
        """Whether any policy has a say."""
        return direction in self.selecting or direction in self.about

    def default(self, direction: Direction) -> Decision:
        """What holds where no rule says otherwise."""
        if direction in self.selecting:
            return _isolation(direction, self.selecting[direction])
        return Decision("allow", direction, ())

    @property
    def is_audited(self) -> bool:
        """Whether an audited policy is among them."""
        return any(p.audited for chosen in (*self.selecting.values(), *self.about.values()) for p in chosen)

    def enforced(self) -> "Subject":
        """The same without the audited policies."""
        if not self.is_audited:
            return self
        return structs.replace(self, selecting=_enforced(self.selecting), about=_enforced(self.about))


def _enforced(policies: Mapping[Direction, list[PolicyView]]) -> dict[Direction, list[PolicyView]]:
    kept = {d: [p for p in chosen if not p.audited] for d, chosen in policies.items()}
    return {d: chosen for d, chosen in kept.items() if chosen}


def _subject_key(subject: Subject) -> str:
    """Named ports matter to the class only when an ingress rule asks for a name; who the pod is to itself only when a
    ClusterNetworkPolicy is about it."""
    selecting, about = subject.selecting, subject.about
    if not selecting and not about:
        return ""
    policies = (*selecting.get("ingress", ()), *about.get("ingress", ()))
    names = {i.name for p in policies for r in p.rules for i in r.ports if i.name}
    keys: dict[str, tuple[str, ...]] = {d: tuple(p.policy.key for p in chosen) for d, chosen in selecting.items()}
    keys |= {f"cluster-{d}": tuple(p.policy.key for p in chosen) for d, chosen in about.items()}
    if about:
        keys["self"] = (str(subject.own.number),)
        keys["near"] = tuple(f"{c.number}{sorted(map(str, c.blocks))}" for c in subject.near)
    return subject_key(keys, tuple(p for p in subject.pod.ports if p.name in names))


def _isolation(direction: Direction, policies: list[PolicyView]) -> Decision:
    matched = (
        Matched(Origin(p.policy, FieldPath("spec.podSelector")), uid=p.uid, generation=p.generation) for p in policies
    )
    return Decision("deny", direction, tuple(sorted(matched)))


def _defaults(subject: Subject) -> dict[Direction, Decision]:
    enforced = subject.enforced()
    limited = [d for d in DIRECTIONS if subject.is_limited(d)]
    return {d: combine(enforced.default(d), subject.default(d)) for d in limited}


def _audited_rule_set(
    subject: Subject, peers: PeerClasses, ports: tuple[PortClass, ...], recorder: _Recorder
) -> dict[RuleKey, str]:
    """With the enforced policies alone, and with all; one in the light of the other."""
    folds = []
    for one in (subject.enforced(), subject):
        aside = _Recorder()
        rules = _rule_set(one, peers, ports, aside)
        defaults = {d: one.default(d) for d in DIRECTIONS if one.is_limited(d)}
        for decision in defaults.values():
            aside.note(decision)
        recorder.aside |= aside.decisions
        folds.append(Fold({key: aside.decisions[text] for key, text in rules.items()}, defaults))
    return {key: recorder.note(decision) for key, decision in overlay(*folds)}


def _rule_set(
    subject: Subject, peers: PeerClasses, ports: tuple[PortClass, ...], recorder: _Recorder
) -> dict[RuleKey, str]:
    found: dict[RuleKey, str] = {}
    for direction in DIRECTIONS:
        if not subject.is_limited(direction):
            continue
        if not subject.about:
            found.update(_union(subject, direction, peers, ports, recorder))
            continue
        near = subject.near if direction == "egress" else ()
        for peer in (*peers.classes.values(), reserve_self(subject.own), *near):
            decisions = _decisions(subject, direction, peer, ports)
            if peer.number > SELF and not any(decision.matched for decision in decisions.values()):
                continue  # no rule is about the own node: let through without asking
            for port_class, decision in decisions.items():
                found[RuleKey(direction, peer.number, port_class)] = recorder.note(decision)
    return found


def _union(
    subject: Subject,
    direction: Direction,
    peers: PeerClasses,
    ports: tuple[PortClass, ...],
    recorder: _Recorder,
) -> Iterator[tuple[RuleKey, str]]:
    """NetworkPolicies alone: from the rules to the classes they match, so the cost is that of what is allowed."""
    allowed: dict[int, dict[int, set[Matched]]] = {}
    for policy, rule in ((p, r) for p in subject.selecting[direction] for r in p.rules if r.direction == direction):
        named = direction == "egress" and any(item.name for item in rule.ports)
        numbers = None if named else _port_classes(rule, subject.pod.ports, ports)
        for item in rule.peers:
            matched = Matched(item.origin, uid=policy.uid, generation=policy.generation)
            for peer in peers.matching(item.match):
                of_peer = allowed.setdefault(peer.number, {})
                for number in _port_classes(rule, peer.ports, ports) if numbers is None else numbers:
                    of_peer.setdefault(number, set()).add(matched)
    notes: dict[frozenset[Matched], str] = {}
    for number, found in allowed.items():
        for port_class, matches in ({0: found[0]} if 0 in found else found).items():
            key = frozenset(matches)
            if key not in notes:
                notes[key] = recorder.note(Decision("allow", direction, tuple(sorted(matches))))
            yield RuleKey(direction, number, port_class), notes[key]


def _decisions(
    subject: Subject, direction: Direction, peer: PeerClass, ports: tuple[PortClass, ...]
) -> dict[int, Decision]:
    """By port class, for one peer of a pod under ClusterNetworkPolicies; only what differs from the default."""
    destination = subject.pod.ports if direction == "ingress" else peer.ports
    policies = subject.selecting.get(direction, [])
    if peer.number >= SELF:
        allowed: dict[int, set[Matched]] = {0: set()}
    else:
        allowed = _allowed(direction, policies, peer, destination, ports)
    here = Situation(
        direction,
        subject.about.get(direction, ()),
        subject.default(direction) if policies else None,
        lambda rule, _: _port_classes(rule, destination, ports),
        _matches,
    )
    return fold_tiers(here, peer, allowed, (c.number for c in ports))


def _allowed(
    direction: Direction,
    policies: list[PolicyView],
    peer: PeerClass,
    destination: tuple[NamedPort, ...],
    ports: tuple[PortClass, ...],
) -> dict[int, set[Matched]]:
    """Who allows ``peer``, by port class; only class 0 when something allows any port."""
    found: dict[int, set[Matched]] = {}
    for policy, rule in ((p, r) for p in policies for r in p.rules if r.direction == direction):
        origins = [item.origin for item in rule.peers if _matches(item, peer)]
        if not origins:
            continue
        matched = {Matched(origin, uid=policy.uid, generation=policy.generation) for origin in origins}
        for port_class in _port_classes(rule, destination, ports):
            found.setdefault(port_class, set()).update(matched)
    return {0: found[0]} if 0 in found else found


def _matches(item: Peer, peer: PeerClass) -> bool:
    match item.match:
        case None:
            return True
        case BlockPeer() as block:
            return block in peer.blocks
        case NamePeer() as name:
            return name in peer.names
        case PodsPeer() as pods:
            return pods.text in peer.pods


def _port_classes(rule: Rule, destination: tuple[NamedPort, ...], ports: tuple[PortClass, ...]) -> set[int]:
    if not rule.ports:
        return {0}
    return {c.number for item in rule.ports for c in ports if _port_matches(item, c, destination)}


def _port_matches(item: PortItem, port: PortClass, destination: tuple[NamedPort, ...]) -> bool:
    if item.protocol != port.protocol:
        return False
    if not item.name:
        return item.span[0] <= port.first and port.last <= item.span[1]
    numbers = (p.number for p in destination if p.name == item.name and p.protocol == item.protocol)
    return any(port.first <= n <= port.last for n in numbers)
