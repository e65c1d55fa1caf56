"""What the policy plane must enforce, folded to one decision per direction, and the rule that reads it.

The layout is the kernel's (see ``docs/design/policy.md``): addresses map to *identities* (equivalence classes under
every selector in use, including the CIDR class of the address), ports to *classes* (disjoint intervals), and
(pod, peer identity, port class) to a *decision*. Numbers come from :func:`podwire.base.assign_numbers`.

Rules:

1. :func:`decide_policy` is the only reader of these tables besides the renderer of kernel elements.
2. A decision number resolves to a :class:`Decision` that names every policy and field behind it.
3. ``rules`` hold a port-specific entry wherever it differs from the pair's any-port entry (port class 0).
4. Tiers are folded here: the kernel sees one final decision per direction.
5. An ``audit`` decision lets through what audited policies would deny were they enforced, and says so; ``matched`` is
   what would deny. Where enforced policies deny, the decision is theirs.

Source: networking.k8s.io/v1 NetworkPolicy; reference numbers N1 to N24 in ``docs/design/policy.md``.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal

import msgspec

from podwire.base import Cidr, Origin, Ref

Direction = Literal["ingress", "egress"]
Action = Literal["allow", "deny", "audit"]

WORLD = 0
"""The identity of an address that no pod and no CIDR class claims."""

SELF = 1 << 20
"""The identity of a pod to itself, reached through a Service: no other identity is that large."""

OWN_NODE: Mapping[int, int] = MappingProxyType({4: SELF + 1, 6: SELF + 2})
"""The identity of a pod's own node to the pod, by address family (N17, C8)."""


class PolicyPod(msgspec.Struct, frozen=True):
    """A pod that policies can see (not hostNetwork, not completed): subject on its node, peer everywhere.

    ``identities`` are 20 bits each, one for each address: they differ where a block tells addresses apart. ``isolated``
    holds, per direction in which at least one policy selects the pod, the number of the default decision: what holds
    where no rule says otherwise. It denies when a NetworkPolicy selects the pod, and allows when only a
    ClusterNetworkPolicy does. ``rule_set`` is the key of its entry in :attr:`PolicyPlan.rule_sets`.
    """

    pod: Ref
    uid: str
    node: str
    addresses: tuple[str, ...]
    identities: tuple[int, ...]
    isolated: Mapping[Direction, int]
    rule_set: str


class PortClass(msgspec.Struct, frozen=True, order=True):
    """A maximal run of ports that every rule treats alike. ``number`` is 1 to 65535; 0 means any port."""

    protocol: str
    first: int
    last: int
    number: int


class Matched(msgspec.Struct, frozen=True, order=True):
    """One rule that decided, or one policy that isolates: its object and field, e.g. ``spec.ingress[0].from[1]``."""

    origin: Origin
    uid: str = ""
    generation: int = 0


class Decision(msgspec.Struct, frozen=True):
    """The record behind a decision number.

    Allow because of ``matched``; deny because ``matched`` isolate, or because the rule of the one ClusterNetworkPolicy
    in ``matched`` says so; audit because it would be such a denial if audited policies were enforced. An allowance
    without ``matched`` is what is left when no rule decides.
    """

    action: Action
    direction: Direction
    matched: tuple[Matched, ...]


class RuleKey(msgspec.Struct, frozen=True, order=True):
    """``port_class`` 0 stands for any port and any protocol; ``peer`` may be :data:`SELF`."""

    direction: Direction
    peer: int
    port_class: int


class PolicyPlan(msgspec.Struct, frozen=True):
    """All tables. ``rule_sets`` are shared by pods of one subject class; the renderer expands them per local pod."""

    pods: Mapping[str, PolicyPod]
    cidrs: Mapping[Cidr, int]
    ports: tuple[PortClass, ...]
    rule_sets: Mapping[str, Mapping[RuleKey, int]]
    decisions: Mapping[int, Decision]
    names: Mapping[str, int] = {}
    """Identities of addresses outside the cluster that belong to names some rule names, as our DNS answered them."""
    names_revision: int = 0
    """The revision of the :class:`podwire.plan.NamesFact` that ``names`` were made of."""
    nodes: Mapping[str, tuple[str, ...]] = {}
    """Addresses of nodes by name: a pod's own node is let through by NetworkPolicies (N17)."""


class PolicyVerdict(msgspec.Struct, frozen=True):
    """What happens to a new connection in one direction. ``number`` is 0 when no policy isolates the pod."""

    action: Action
    number: int
    decision: Decision | None


def identity_of(plan: PolicyPlan, address: str) -> int:
    """The identity of any address: a pod's, else that of a learned name, else its CIDR class, else :data:`WORLD`."""
    for pod in plan.pods.values():
        if address in pod.addresses:
            return pod.identities[pod.addresses.index(address)]
    if address in plan.names:
        return plan.names[address]
    parsed = ip_address(address)
    for cidr, number in plan.cidrs.items():
        if cidr.family == parsed.version and cidr.base <= int(parsed) <= cidr.last:
            return number
    return WORLD


def port_class_of(plan: PolicyPlan, protocol: str, port: int) -> int:
    """The class of a destination port, 0 when no rule names it."""
    for span in plan.ports:
        if span.protocol == protocol and span.first <= port <= span.last:
            return span.number
    return 0


def decide_policy(
    plan: PolicyPlan, *, subject: PolicyPod | None, direction: Direction, peer: str, protocol: str, port: int
) -> PolicyVerdict:
    """Whether ``subject`` may exchange a new connection with address ``peer`` on destination ``port`` after DNAT.

    ``subject`` None (a node, an external host, a hostNetwork pod) is never filtered. The order of look-ups is the
    kernel's: (peer, port class), then (peer, any port), then the isolation default, then allow. A pod that reaches
    itself through a Service is let through, unless a ClusterNetworkPolicy is about it: then the rules for
    :data:`SELF` decide. (By its own address a packet never leaves the pod; nobody asks here.) Likewise its own node,
    by the rules for :data:`OWN_NODE`, in egress.
    """
    if subject is None or direction not in subject.isolated:
        return PolicyVerdict("allow", 0, None)
    rules = plan.rule_sets.get(subject.rule_set, {})
    special = _special(plan, subject, direction, peer)
    if special and RuleKey(direction, special, 0) not in rules:
        return PolicyVerdict("allow", 0, None)
    identity = special or identity_of(plan, peer)
    number = rules.get(RuleKey(direction, identity, port_class_of(plan, protocol, port)))
    if number is None:
        number = rules.get(RuleKey(direction, identity, 0))
    if number is None:
        number = subject.isolated[direction]
    decision = plan.decisions[number]
    return PolicyVerdict(decision.action, number, decision)


def _special(plan: PolicyPlan, subject: PolicyPod, direction: Direction, peer: str) -> int:
    """The identity of who is near: the pod itself, or its node; 0 for all others. A node's address as a source is not
    special: what the node itself sends is asked nowhere, what other nodes send back with it is asked like all."""
    if peer in subject.addresses:
        return SELF
    if direction == "egress" and peer in plan.nodes.get(subject.node, ()):
        return OWN_NODE[6 if ":" in peer else 4]
    return 0
