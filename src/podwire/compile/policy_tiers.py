"""Folding tiers: Admin rules, then NetworkPolicies, then Baseline rules, then allow - to one decision.

Rules (C numbers are those of ``docs/design/policy.md``):

1. Admin by (priority, name), rules as written. Accept and Deny end the direction, Pass leaves the tier (C2).
2. A NetworkPolicy that selects the pod in the direction is final; Baseline is reached only without one (C3).
3. A ClusterNetworkPolicy isolates nobody: what no rule decides is allowed (C1).
4. To itself through a Service, and to its own node, a pod is subject to ClusterNetworkPolicies, and let through by
   NetworkPolicies (C7, C8).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from podwire.compile.policy_classes import PeerClass, blocks_of, selects_pod
from podwire.compile.policy_views import BlockPeer, Peer, PodView, PolicyView, Rule
from podwire.plan import OWN_NODE, SELF, Decision, Direction, Matched
from podwire.plan.policy import Action

ClassesOf = Callable[[Rule, PeerClass], set[int]]
Matcher = Callable[[Peer, PeerClass], bool]
Labels = Mapping[str, Mapping[str, str]]


class Situation(msgspec.Struct, frozen=True):
    """One direction of one subject class: the ClusterNetworkPolicies about it in their order, the NetworkPolicies'
    default denial (None when none selects it), and how rules match."""

    direction: Direction
    cluster: Sequence[PolicyView]
    isolation: Decision | None
    port_classes: ClassesOf
    matches: Matcher

    @property
    def default(self) -> Decision:
        """What holds where no rule says otherwise."""
        return self.isolation or Decision("allow", self.direction, ())


def cluster_policies_of(
    pod: PodView, policies: Iterable[PolicyView], namespaces: Labels
) -> dict[Direction, list[PolicyView]]:
    """The policies about ``pod`` per direction; ``policies`` come in their order and stay in it."""
    chosen = [p for p in policies if p.subject is not None and selects_pod(p.subject, pod, namespaces)]
    both: tuple[Direction, ...] = ("ingress", "egress")
    found = {direction: [p for p in chosen if direction in p.directions] for direction in both}
    return {direction: policies for direction, policies in found.items() if policies}


def reserve_self(peer: PeerClass) -> PeerClass:
    """A pod's own class as its own peer."""
    return msgspec.structs.replace(peer, number=SELF)


def fold_tiers(
    here: Situation, peer: PeerClass, allowed: Mapping[int, set[Matched]], numbers: Iterable[int]
) -> dict[int, Decision]:
    """Decisions by port class for one peer, without those that say what the fallback says. ``allowed`` is what
    NetworkPolicies allow; ``numbers`` are all port classes."""
    tiers = {tier: _matching(here, peer, tier) for tier in ("Admin", "Baseline")}
    base = _decide(here, tiers, allowed, 0)
    found = {} if base == here.default and peer.number < SELF else {0: base}
    for number in numbers:
        decision = _decide(here, tiers, allowed, number)
        if decision != base:
            found[number] = decision
    return found


def reserve_nodes(addresses: Iterable[str], policies: Iterable[PolicyView]) -> tuple[PeerClass, ...]:
    """The classes of a pod's own node as its peer, one for each family in which egress rules name blocks."""
    egress = [rule for policy in policies for rule in policy.rules if rule.direction == "egress"]
    blocks = sorted({p.match for rule in egress for p in rule.peers if isinstance(p.match, BlockPeer)})
    found = []
    for address in addresses if blocks else ():
        number = OWN_NODE[6 if ":" in address else 4]
        found.append(PeerClass(number, frozenset(), blocks_of(address, blocks), ()))
    return tuple(found)


Step = tuple[Rule, set[int], Decision | None]


def _matching(here: Situation, peer: PeerClass, tier: str) -> list[Step]:
    """The rules that match ``peer``, with their port classes (0 in it: all) and decision (None: Pass)."""
    steps: list[Step] = []
    for policy in (p for p in here.cluster if p.tier == tier):
        for rule in (r for r in policy.rules if r.direction == here.direction):
            origins = [item.origin for item in rule.peers if here.matches(item, peer)]
            if not origins:
                continue
            matched = {Matched(origin, uid=policy.uid, generation=policy.generation) for origin in origins}
            action: Action = "allow" if rule.action == "Accept" else "deny"
            decision = Decision(action, here.direction, tuple(sorted(matched))) if rule.action != "Pass" else None
            steps.append((rule, here.port_classes(rule, peer), decision))
    return steps


def _decide(
    here: Situation, tiers: Mapping[str, list[Step]], allowed: Mapping[int, set[Matched]], number: int
) -> Decision:
    decided = _first(tiers["Admin"], number)
    if decided is not None:
        return decided
    if here.isolation is not None:
        matched = allowed.get(0, allowed.get(number))
        return here.isolation if matched is None else Decision("allow", here.direction, tuple(sorted(matched)))
    return _first(tiers["Baseline"], number) or here.default


def _first(steps: Iterable[Step], number: int) -> Decision | None:
    for _, classes, decision in steps:
        if 0 in classes or number in classes:
            return decision
    return None
