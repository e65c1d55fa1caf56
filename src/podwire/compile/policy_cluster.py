"""ClusterNetworkPolicies reduced to the same views as NetworkPolicies.

Rules (C numbers are those of ``docs/design/policy.md``):

1. What cannot be understood or is not enforced fails closed (C6): such a peer of an Accept rule matches nothing, and a
   Deny or Pass rule with such a peer denies everybody. Both are findings.
2. A peer by ``nodes`` is the addresses of the nodes selected now; none at all is understood, and matches nothing.
3. A peer by ``domainNames`` is the addresses our DNS answered for these names (NPEP-133). Names of the cluster's own
   zone are not enforced: virtual addresses are never a destination after translation.
"""

from collections.abc import Iterable, Iterator

import msgspec

from podwire.base import Cidr, FieldPath, Finding, Origin
from podwire.compile.policy_views import (
    ANY_PORT,
    PROTOCOLS,
    BlockPeer,
    Match,
    NamePeer,
    Peer,
    PodsPeer,
    PolicyView,
    PortItem,
    Rule,
    RuleAction,
    Tier,
    group_labels,
    read_mode,
)
from podwire.kube import LabelSelector, Node, selects
from podwire.kube.clusterpolicy import (
    ClusterNetworkPolicy,
    ClusterNetworkPolicyEgressPeer,
    ClusterNetworkPolicyEgressRule,
    ClusterNetworkPolicyIngressPeer,
    ClusterNetworkPolicyIngressRule,
    ClusterNetworkPolicyProtocol,
    ClusterNetworkPolicySubject,
    NamespacedPod,
    ProtocolPorts,
)
from podwire.plan import Direction
from podwire.snapshot import Snapshot

CnpPeer = ClusterNetworkPolicyIngressPeer | ClusterNetworkPolicyEgressPeer
CnpRule = ClusterNetworkPolicyIngressRule | ClusterNetworkPolicyEgressRule
DOMAIN = "cluster.local"
NOT_ENFORCED = "PW2021"
NOT_UNDERSTOOD = "PW2020"


class NodeView(msgspec.Struct, frozen=True):
    """What policies see of a node."""

    labels: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]


class Surroundings(msgspec.Struct, frozen=True):
    """What peers of a ClusterNetworkPolicy may mean beside pods."""

    nodes: tuple[NodeView, ...] = ()
    domain: str = DOMAIN


def surroundings_of(snapshot: Snapshot) -> Surroundings:
    """Of one instant."""
    nodes = tuple(NodeView(group_labels(n.metadata.labels), _addresses(n)) for n in snapshot.all(Node).values())
    return Surroundings(nodes, snapshot.settings.domain)


def _addresses(node: Node) -> tuple[str, ...]:
    return tuple(a.address for a in node.status.addresses if a.type in ("InternalIP", "ExternalIP"))


def view_cluster_policy(policy: ClusterNetworkPolicy, around: Surroundings) -> PolicyView:
    """The typed policy."""
    spec, findings = policy.spec, list[Finding]()
    audited = read_mode(policy, findings)
    rules: list[Rule] = []
    for index, ingress in enumerate(spec.ingress):
        rules.append(_rule(policy, ingress, "ingress", path=f"spec.ingress[{index}]", findings=findings, around=around))
    for index, egress in enumerate(spec.egress):
        rules.append(_rule(policy, egress, "egress", path=f"spec.egress[{index}]", findings=findings, around=around))
    tier: Tier = "Baseline" if spec.tier == "Baseline" else "Admin"
    used = {rule.direction for rule in rules}
    both: tuple[Direction, ...] = ("ingress", "egress")
    return PolicyView(
        policy=policy.ref,
        uid=policy.metadata.uid,
        generation=policy.metadata.generation,
        subjects=LabelSelector(),
        directions=tuple(direction for direction in both if direction in used),
        rules=tuple(rules),
        findings=tuple(findings),
        tier=tier,
        priority=spec.priority,
        subject=_subject(spec.subject),
        audited=audited,
    )


def _subject(subject: ClusterNetworkPolicySubject) -> PodsPeer:
    if subject.pods is not None:
        return _pods(subject.pods)
    return PodsPeer("", subject.namespaces or LabelSelector(), LabelSelector())


def _pods(pods: NamespacedPod) -> PodsPeer:
    return PodsPeer("", pods.namespace_selector, pods.pod_selector)


def _rule(
    policy: ClusterNetworkPolicy,
    rule: CnpRule,
    direction: Direction,
    *,
    path: str,
    findings: list[Finding],
    around: Surroundings,
) -> Rule:
    ingress = isinstance(rule, ClusterNetworkPolicyIngressRule)
    items: tuple[CnpPeer, ...] = rule.from_ if ingress else rule.to  # type: ignore[union-attr]
    where = f"{path}.from" if ingress else f"{path}.to"
    action: RuleAction = rule.action if rule.action in ("Accept", "Pass") else "Deny"  # type: ignore[assignment]
    peers: list[Peer] = []
    closed = rule.action not in ("Accept", "Deny", "Pass")
    for index, item in enumerate(items):
        origin = Origin(policy.ref, FieldPath(f"{where}[{index}]"))
        matches = _matches(item, origin, findings, around)
        if action != "Accept" and any(isinstance(match, NamePeer) for match in matches or ()):
            words = "domain names are for Accept rules only: a name that is not known yet denies nothing"
            findings.append(_closed(NOT_UNDERSTOOD, origin, "domainNames", words))
            matches = None
        closed = closed or matches is None
        peers.extend(Peer(origin, match) for match in matches or ())
    if closed and action != "Accept":
        everybody = Peer(Origin(policy.ref, FieldPath(path)), None)
        return Rule(direction, (everybody,), (), "Deny", rule.name)
    ports = tuple(port for item in rule.protocols for port in _ports(item))
    if rule.protocols and not ports:
        ports = (PortItem("none", (0, -1)),)
    return Rule(direction, tuple(peers), ports, action, rule.name)


def _matches(item: CnpPeer, origin: Origin, findings: list[Finding], around: Surroundings) -> tuple[Match, ...] | None:
    """None when the peer is not understood or not enforced."""
    if item.namespaces is not None:
        return (PodsPeer("", item.namespaces, LabelSelector()),)
    if item.pods is not None:
        return (_pods(item.pods),)
    if isinstance(item, ClusterNetworkPolicyEgressPeer):
        if item.networks:
            blocks = tuple(_blocks(item.networks, origin, findings))
            return blocks if len(blocks) == len(item.networks) else None
        if item.nodes is not None:
            return tuple(_node_blocks(item.nodes, around.nodes))
        if item.domain_names:
            names = tuple(_names(item.domain_names, origin, findings, around.domain))
            return names if len(names) == len(item.domain_names) else None
    findings.append(_closed(NOT_UNDERSTOOD, origin, "", "peer names nothing that is understood"))
    return None


def _node_blocks(selector: LabelSelector, nodes: Iterable[NodeView]) -> Iterator[BlockPeer]:
    chosen = (node for node in nodes if selects(selector, dict(node.labels)))
    return (BlockPeer(Cidr.parse_lenient(a), ()) for node in chosen for a in node.addresses)


def _names(names: tuple[str, ...], origin: Origin, findings: list[Finding], domain: str) -> Iterator[NamePeer]:
    for index, text in enumerate(names):
        name = text.lower().rstrip(".")
        if name.removeprefix("*.") == domain or name.endswith("." + domain):
            words = f"{text} is in the cluster's own zone: name pods or namespaces"
            findings.append(_closed(NOT_ENFORCED, origin, f"domainNames[{index}]", words))
        else:
            yield NamePeer(name)


def _blocks(networks: tuple[str, ...], origin: Origin, findings: list[Finding]) -> Iterator[BlockPeer]:
    for index, network in enumerate(networks):
        try:
            yield BlockPeer(Cidr.parse_lenient(network), ())
        except ValueError as error:
            findings.append(_closed(NOT_UNDERSTOOD, origin, f"networks[{index}]", f"not a CIDR: {error}"))


def _closed(code: str, origin: Origin, field: str, words: str) -> Finding:
    path = FieldPath(f"{origin.path}.{field}" if field else str(origin.path))
    text = f"{words}: in an Accept rule it matches nothing, any other rule with it denies everybody"
    return Finding(
        code, "error", origin.ref, path, text, "use namespaces, pods, nodes, networks or names outside the cluster"
    )


def _ports(item: ClusterNetworkPolicyProtocol) -> Iterator[PortItem]:
    if item.destination_named_port:
        yield from (PortItem(protocol, (0, -1), item.destination_named_port) for protocol in PROTOCOLS)
    for protocol, ports in (("TCP", item.tcp), ("UDP", item.udp), ("SCTP", item.sctp)):
        if ports is not None:
            yield PortItem(protocol, _span(ports))


def _span(ports: ProtocolPorts) -> tuple[int, int]:
    found = ports.destination_port
    if found is None:
        return ANY_PORT
    if found.range is not None:
        return found.range.start, found.range.end
    return (found.number, found.number) if found.number is not None else (0, -1)
