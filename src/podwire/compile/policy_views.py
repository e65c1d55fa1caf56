"""What policies see of pods and what rules say, reduced to small comparable values.

A pod's status changes often, what a policy sees of it rarely: :class:`PodView` is equal as long as no policy could tell
the difference, so the memo keeps the whole policy plan untouched by readiness flips.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from podwire.base import Cidr, FieldPath, Finding, Origin, Ref
from podwire.kube import KubeObject, LabelSelector, NetworkPolicy, Pod
from podwire.kube.networking import NetworkPolicyPeer, NetworkPolicyPort
from podwire.plan import Direction, Facts

ANY_PORT = (0, 65535)
MODE = "podwire.dev/policy-mode"
"""The annotation that makes a policy audited (``audit``); without it, or with ``enforce``, it is enforced."""
RuleAction = Literal["Accept", "Deny", "Pass"]
Tier = Literal["Admin", "", "Baseline"]
PROTOCOLS = ("SCTP", "TCP", "UDP")


class NamedPort(msgspec.Struct, frozen=True, order=True):
    """A container port with a name."""

    name: str
    protocol: str
    number: int


class PodView(msgspec.Struct, frozen=True):
    """What policies can see of a pod. Labels are sorted pairs."""

    pod: Ref
    uid: str
    node: str
    addresses: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    ports: tuple[NamedPort, ...]


class BlockPeer(msgspec.Struct, frozen=True, order=True):
    """Addresses in ``cidr`` and in none of ``excepts``."""

    cidr: Cidr
    excepts: tuple[Cidr, ...]

    def holds(self, family: int, address: int) -> bool:
        """Whether the block matches an address given as an integer."""
        inside = self.cidr.family == family and self.cidr.base <= address <= self.cidr.last
        return inside and not any(e.family == family and e.base <= address <= e.last for e in self.excepts)


class PodsPeer(msgspec.Struct, frozen=True):
    """Pods by labels. ``namespace`` set: that namespace only; else ``namespaces`` selects them by label."""

    namespace: str
    namespaces: LabelSelector | None
    pods: LabelSelector

    @property
    def text(self) -> str:
        """A key that is equal exactly for equal peers."""
        return f"{self.namespace}|{_text(self.namespaces)}|{_text(self.pods)}"


class NamePeer(msgspec.Struct, frozen=True, order=True):
    """Addresses of a domain name, or of all names below one (``*.example.com``); lower case, no final dot."""

    pattern: str

    def matches(self, name: str) -> bool:
        """Whether ``name`` is meant. A wildcard stands for one or more whole labels, not for none."""
        return name.endswith(self.pattern[1:]) if self.pattern.startswith("*.") else name == self.pattern


Match = BlockPeer | PodsPeer | NamePeer


class Peer(msgspec.Struct, frozen=True):
    """One item of ``from``/``to``; ``match`` None matches everything (the list was empty)."""

    origin: Origin
    match: Match | None


class PortItem(msgspec.Struct, frozen=True):
    """One item of ``ports``: a span of numbers, or a name to resolve per destination pod."""

    protocol: str
    span: tuple[int, int]
    name: str = ""


class Rule(msgspec.Struct, frozen=True):
    """One rule of one policy. ``ports`` empty: any port of any protocol. NetworkPolicies only accept."""

    direction: Direction
    peers: tuple[Peer, ...]
    ports: tuple[PortItem, ...]
    action: RuleAction = "Accept"
    name: str = ""


class PolicyView(msgspec.Struct, frozen=True):
    """One policy, typed, with what could not be understood as findings (such items match nothing: fail closed)."""

    policy: Ref
    uid: str
    generation: int
    subjects: LabelSelector
    directions: tuple[Direction, ...]
    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...] = ()
    tier: Tier = ""
    priority: int = 0
    subject: PodsPeer | None = None
    """Whom a ClusterNetworkPolicy is about; None with ``subjects`` of a NetworkPolicy."""
    audited: bool = False
    """Logs what it would deny, and denies nothing (:mod:`policy_audit`)."""


def view_pod(pod: Pod, facts: Facts) -> PodView | None:
    """None for pods that policies do not see: hostNetwork, completed, or without an address (N8, N9)."""
    fact = facts.pods.get(pod.metadata.uid)
    addresses = pod.addresses
    if fact is not None and fact.addresses and not fact.gone:
        addresses = fact.addresses
    if pod.spec.host_network or pod.is_finished or not addresses or not pod.spec.node_name:
        return None
    return PodView(
        pod=pod.ref,
        uid=pod.metadata.uid,
        node=pod.spec.node_name,
        addresses=addresses,
        labels=tuple(sorted(pod.metadata.labels.items())),
        ports=tuple(sorted(_named_ports(pod))),
    )


def _named_ports(pod: Pod) -> Iterator[NamedPort]:
    """N11: containers and restartable init containers."""
    sidecars = tuple(c for c in pod.spec.init_containers if c.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.name:
                yield NamedPort(port.name, port.protocol or "TCP", port.container_port)


def view_policy(policy: NetworkPolicy) -> PolicyView:
    """The typed policy; needs no other object."""
    spec, findings = policy.spec, list[Finding]()
    audited = read_mode(policy, findings)
    rules: list[Rule] = []
    for index, ingress in enumerate(spec.ingress):
        path = f"spec.ingress[{index}]"
        peers = _peers(policy, ingress.from_, f"{path}.from", findings)
        rules.append(Rule("ingress", peers, _ports(policy, ingress.ports, f"{path}.ports", findings)))
    for index, egress in enumerate(spec.egress):
        path = f"spec.egress[{index}]"
        peers = _peers(policy, egress.to, f"{path}.to", findings)
        rules.append(Rule("egress", peers, _ports(policy, egress.ports, f"{path}.ports", findings)))
    return PolicyView(
        policy=policy.ref,
        uid=policy.metadata.uid,
        generation=policy.metadata.generation,
        subjects=spec.pod_selector,
        directions=_directions(policy),
        rules=tuple(rules),
        findings=tuple(findings),
        audited=audited,
    )


def read_mode(policy: KubeObject, findings: list[Finding]) -> bool:
    """Whether the policy is annotated to be audited. A word that is not understood means enforced, with a finding."""
    word = policy.metadata.annotations.get(MODE, "enforce")
    if word not in ("audit", "enforce"):
        path = FieldPath(f"metadata.annotations[{MODE}]")
        text = f"mode {word!r} is not understood: the policy is enforced"
        findings.append(Finding("PW2004", "error", policy.ref, path, text, "write audit, or enforce"))
    return word == "audit"


def _directions(policy: NetworkPolicy) -> tuple[Direction, ...]:
    """N2: missing policyTypes mean Ingress, plus Egress when egress rules exist."""
    types = policy.spec.policy_types or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))
    both: tuple[tuple[str, Direction], ...] = (("Ingress", "ingress"), ("Egress", "egress"))
    return tuple(direction for name, direction in both if name in types)


def _peers(
    policy: NetworkPolicy, peers: tuple[NetworkPolicyPeer, ...], path: str, findings: list[Finding]
) -> tuple[Peer, ...]:
    if not peers:  # N4: from/to absent or [] means any peer
        return (Peer(Origin(policy.ref, FieldPath(path.rpartition(".")[0])), None),)
    found = []
    for index, peer in enumerate(peers):
        origin = Origin(policy.ref, FieldPath(f"{path}[{index}]"))
        match = _peer_match(policy.metadata.namespace, peer, origin, findings)
        if match is not None:
            found.append(Peer(origin, match))
    return tuple(found)


def _peer_match(
    namespace: str, peer: NetworkPolicyPeer, origin: Origin, findings: list[Finding]
) -> BlockPeer | PodsPeer | None:
    if peer.ip_block is not None:
        try:
            return BlockPeer(
                Cidr.parse_lenient(peer.ip_block.cidr),
                tuple(sorted(Cidr.parse_lenient(e) for e in peer.ip_block.except_)),
            )
        except ValueError as error:
            findings.append(
                Finding(
                    "PW2001",
                    "error",
                    origin.ref,
                    FieldPath(f"{origin.path}.ipBlock"),
                    f"not a CIDR: {error}",
                    "write it as 10.9.8.0/24; until then this peer matches nothing",
                )
            )
            return None
    if peer.pod_selector is None and peer.namespace_selector is None:
        findings.append(
            Finding(
                "PW2002",
                "error",
                origin.ref,
                origin.path,
                "peer names nothing and matches nothing",
                "set podSelector, namespaceSelector or ipBlock",
            )
        )
        return None
    own = namespace if peer.namespace_selector is None else ""
    return PodsPeer(own, peer.namespace_selector, peer.pod_selector or LabelSelector())


def _ports(
    policy: NetworkPolicy, ports: tuple[NetworkPolicyPort, ...], path: str, findings: list[Finding]
) -> tuple[PortItem, ...]:
    found = []
    for index, item in enumerate(ports):
        protocol = item.protocol or "TCP"
        if protocol not in PROTOCOLS:
            findings.append(
                Finding(
                    "PW2003",
                    "error",
                    policy.ref,
                    FieldPath(f"{path}[{index}].protocol"),
                    f"protocol {protocol!r} is not TCP, UDP or SCTP",
                    "use TCP, UDP or SCTP",
                )
            )
            found.append(PortItem("none", (0, -1)))
            continue
        match item.port:
            case None:
                found.append(PortItem(protocol, ANY_PORT))
            case int(number):
                found.append(PortItem(protocol, (number, item.end_port or number)))
            case str(name):
                found.append(PortItem(protocol, (0, -1), name))
    return tuple(found)


def _text(selector: LabelSelector | None) -> str:
    """Equal text for equal selectors; encoding would leave out defaults by identity, not by value."""
    if selector is None:
        return ""
    expressions = [(e.key, e.operator, tuple(e.values)) for e in selector.match_expressions]
    return f"{sorted(selector.match_labels.items())}{expressions}"


def group_labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Labels as a sorted tuple, comparable by value."""
    return tuple(sorted(labels.items()))
