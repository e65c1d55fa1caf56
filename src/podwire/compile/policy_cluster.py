"""ClusterNetworkPolicies reduced to the same views as NetworkPolicies.

Rules (C numbers are those of ``docs/design/policy.md``):

1. What cannot be understood or is not enforced fails closed (C6): such a peer of an Accept rule matches nothing, and a
   Deny or Pass rule with such a peer denies everybody. Both are findings.
2. Enforced peers: namespaces, pods, networks. Not enforced: nodes, domainNames.
"""

from collections.abc import Iterator

from podwire.base import Cidr, FieldPath, Finding, Origin
from podwire.compile.policy_views import (
    ANY_PORT,
    PROTOCOLS,
    BlockPeer,
    Peer,
    PodsPeer,
    PolicyView,
    PortItem,
    Rule,
    RuleAction,
    Tier,
    read_mode,
)
from podwire.kube import LabelSelector
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

CnpPeer = ClusterNetworkPolicyIngressPeer | ClusterNetworkPolicyEgressPeer
CnpRule = ClusterNetworkPolicyIngressRule | ClusterNetworkPolicyEgressRule
NOT_ENFORCED = "PW2021"
NOT_UNDERSTOOD = "PW2020"


def view_cluster_policy(policy: ClusterNetworkPolicy) -> PolicyView:
    """The typed policy; needs no other object."""
    spec, findings = policy.spec, list[Finding]()
    audited = read_mode(policy, findings)
    rules: list[Rule] = []
    for index, ingress in enumerate(spec.ingress):
        rules.append(_rule(policy, ingress, "ingress", path=f"spec.ingress[{index}]", findings=findings))
    for index, egress in enumerate(spec.egress):
        rules.append(_rule(policy, egress, "egress", path=f"spec.egress[{index}]", findings=findings))
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
    policy: ClusterNetworkPolicy, rule: CnpRule, direction: Direction, *, path: str, findings: list[Finding]
) -> Rule:
    ingress = isinstance(rule, ClusterNetworkPolicyIngressRule)
    items: tuple[CnpPeer, ...] = rule.from_ if ingress else rule.to  # type: ignore[union-attr]
    where = f"{path}.from" if ingress else f"{path}.to"
    action: RuleAction = rule.action if rule.action in ("Accept", "Pass") else "Deny"  # type: ignore[assignment]
    peers: list[Peer] = []
    closed = rule.action not in ("Accept", "Deny", "Pass")
    for index, item in enumerate(items):
        origin = Origin(policy.ref, FieldPath(f"{where}[{index}]"))
        matches = _matches(item, origin, findings)
        closed = closed or not matches
        peers.extend(Peer(origin, match) for match in matches)
    if closed and action != "Accept":
        everybody = Peer(Origin(policy.ref, FieldPath(path)), None)
        return Rule(direction, (everybody,), (), "Deny", rule.name)
    ports = tuple(port for item in rule.protocols for port in _ports(item))
    if rule.protocols and not ports:
        ports = (PortItem("none", (0, -1)),)
    return Rule(direction, tuple(peers), ports, action, rule.name)


def _matches(item: CnpPeer, origin: Origin, findings: list[Finding]) -> tuple[PodsPeer | BlockPeer, ...]:
    """None at all when the peer is not understood or not enforced."""
    if item.namespaces is not None:
        return (PodsPeer("", item.namespaces, LabelSelector()),)
    if item.pods is not None:
        return (_pods(item.pods),)
    if isinstance(item, ClusterNetworkPolicyEgressPeer):
        if item.networks:
            blocks = tuple(_blocks(item.networks, origin, findings))
            return blocks if len(blocks) == len(item.networks) else ()
        if item.nodes is not None or item.domain_names:
            what = "nodes" if item.nodes is not None else "domainNames"
            findings.append(_closed(NOT_ENFORCED, origin, what, f"peers by {what} are not enforced"))
            return ()
    findings.append(_closed(NOT_UNDERSTOOD, origin, "", "peer names nothing that is understood"))
    return ()


def _blocks(networks: tuple[str, ...], origin: Origin, findings: list[Finding]) -> Iterator[BlockPeer]:
    for index, network in enumerate(networks):
        try:
            yield BlockPeer(Cidr.parse_lenient(network), ())
        except ValueError as error:
            findings.append(_closed(NOT_UNDERSTOOD, origin, f"networks[{index}]", f"not a CIDR: {error}"))


def _closed(code: str, origin: Origin, field: str, words: str) -> Finding:
    path = FieldPath(f"{origin.path}.{field}" if field else str(origin.path))
    text = f"{words}: in an Accept rule it matches nothing, any other rule with it denies everybody"
    return Finding(code, "error", origin.ref, path, text, "use namespaces, pods or networks")


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
