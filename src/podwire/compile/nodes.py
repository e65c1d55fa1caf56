"""Nodes and bound pods to the node plan.

Rules:

1. A node needs an InternalIP and a podCIDR of each family of the cluster; one without is not run and said so (PW6001).
2. A pod whose node does not exist has no unit.
3. A LoadBalancer address is reached through a node with a ready endpoint of a ``Local`` Service, else through the
   first ready node.
4. With a load balancer outside of the nodes, an address is spread over the nodes that pass its health check: all that
   are ready and not on their way out (Cluster, KEP-3836), or those with a ready endpoint (Local), less those labelled
   ``node.kubernetes.io/exclude-from-external-load-balancers``. A cordoned node stays.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.context import Context, Piece
from podwire.compile.nodes_lost import is_cut
from podwire.compile.nodes_units import follow_units
from podwire.compile.statuses import find_condition
from podwire.compile.touched import Results
from podwire.kube import Node
from podwire.plan import NodePlan, ServiceNode, ServicePort
from podwire.plan import node as plan
from podwire.plan.node import ExternalRoute

ZONE_LABEL = "topology.kubernetes.io/zone"


def compile_nodes(context: Context) -> Piece:
    """The node plan, and findings about pods that cannot run as written."""
    snapshot, memo = context.snapshot, context.memo
    settings = snapshot.settings
    nodes: dict[str, plan.Node] = {}
    findings: list[Finding] = []
    for name, node in snapshot.nodes.items():
        worker = memo.unit(f"node/{name}", (node, settings.families), partial(_node, node, settings.families))
        if worker is None:
            findings.append(_unfit(node))
        else:
            nodes[name] = worker
    pods = follow_units(context, nodes)
    made = NodePlan(
        cluster=settings.cluster,
        fabrics=settings.fabrics,
        nodes=nodes,
        pods=pods.units,
        routes=dict(_routes(context)),
        service_cidrs=settings.service_cidrs,
        cluster_cidrs=settings.cluster_cidrs,
        network=settings.network,
        mtu=settings.mtu,
        edge=settings.load_balancer == "edge",
    )
    return Piece(nodes=made, findings=(*findings, *pods.findings.all))


def _node(node: Node, families: tuple[str, ...]) -> plan.Node | None:
    addresses, cidrs = _by_family(node.internal_addresses, families), _by_family(node.pod_cidrs, families)
    if not addresses or not cidrs:
        return None
    zone = node.metadata.labels.get(ZONE_LABEL, "")
    return plan.Node(Origin(node.ref), node.metadata.name, zone, addresses, cidrs, is_cut(node))


def _by_family(values: tuple[str, ...], families: tuple[str, ...]) -> tuple[str, ...]:
    """One address or block for each family, in their order; nothing when one is missing."""
    found = {"IPv6" if ":" in value else "IPv4": value for value in reversed(values)}
    return tuple(found[f] for f in families) if found.keys() >= set(families) else ()


def _unfit(node: Node) -> Finding:
    message = "the node lacks an InternalIP address or a podCIDR of a family of the cluster, so it is not run"
    fix = "set status.addresses and spec.podCIDR, or start with more --nodes"
    return Finding("PW6001", "error", node.ref, FieldPath("spec.podCIDR"), message, fix)


def _routes(context: Context) -> Iterator[tuple[str, ExternalRoute]]:
    services = context.services
    if services is None:
        return
    fallback = _first_ready(context)
    ports = services.ports
    known: Results[ServicePort] = context.memo.unit("balanced-ports", (), Results)
    balanced = known.update((ports,), (), lambda key: _balanced(ports.get(key)))
    entries = _entries(context, balanced.values()) if context.snapshot.settings.load_balancer == "edge" else {}
    for unit in balanced.values():
        for address in unit.load_balancer_ips:
            node = _local_node(unit) or fallback
            if node:
                behind = entries.get(address)
                inputs = (address, node, unit.service.key, behind)
                make = partial(_route, unit, address, node, behind)
                yield address, context.memo.unit(f"route/{address}", inputs, make)


def _entries(context: Context, units: Iterable[ServicePort]) -> dict[str, tuple[str, ...]]:
    """Rule 4, by address. The ports of a Local Service count together, as its healthCheckNodePort is one. IPv4 only."""
    assert context.services is not None
    fit = {name for name, node in context.services.nodes.items() if _is_fit(context, node)}
    found: dict[str, set[str]] = {}
    for unit in units:
        passing = {e.node for e in unit.endpoints if e.ready} & fit if unit.external_local else fit
        for address in unit.load_balancer_ips:
            if ":" not in address:
                found.setdefault(address, set()).update(passing)
    return {address: tuple(sorted(names)) for address, names in found.items()}


def _is_fit(context: Context, node: ServiceNode) -> bool:
    known = context.snapshot.nodes.get(node.name)
    return node.eligible and not node.excluded and known is not None and is_ready(context, known)


def _balanced(unit: ServicePort | None) -> ServicePort | None:
    return unit if unit is not None and unit.load_balancer_ips else None


def _route(unit: ServicePort, address: str, node: str, entries: tuple[str, ...] | None) -> ExternalRoute:
    return ExternalRoute(address, node, Origin(unit.service, FieldPath("status.loadBalancer.ingress")), entries)


def _local_node(unit: ServicePort) -> str:
    """For ``externalTrafficPolicy: Local``, the first node with a ready endpoint; empty for Cluster."""
    if not unit.external_local:
        return ""
    return min((e.node for e in unit.endpoints if e.ready and e.node), default="")


def _first_ready(context: Context) -> str:
    names = [name for name, node in context.snapshot.nodes.items() if is_ready(context, node)]
    return min(names or context.snapshot.nodes, default="")


def is_ready(context: Context, node: Node) -> bool:
    """By what the runtime observed, else by the condition."""
    fact = context.snapshot.facts.nodes.get(node.metadata.name)
    if fact is not None:
        return fact.ready
    ready = find_condition(node.status.conditions, "Ready")
    return ready is not None and ready.status == "True"
