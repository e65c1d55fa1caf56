"""What the Service data plane must do: one unit per Service port, and the one rule that picks endpoints.

Rules:

1. A unit is complete: a node's data plane needs the unit, its own name and zone, and nothing else.
2. :func:`decide_backends` is the only place that knows traffic policies and terminating endpoints. The renderer
   turns its answer into kernel elements and ``explain`` prints it, so the two cannot disagree.
3. A port of a node (``hostPort``) is a unit too: its endpoint is the pod, and only that node has it.
4. Headless and ExternalName Services have no units: they exist in the zone only.

Sources: KEP-2086 (internalTrafficPolicy), KEP-1669 (terminating endpoints), kubernetes ``pkg/proxy/topology.go``.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Literal

import msgspec

from podwire.base import Cidr, Origin, Protocol, Ref

Scope = Literal["internal", "external", "shortcut"]
"""How a connection reached the Service: on its cluster IP; on an external address or NodePort from outside the
cluster; or on one of those from inside (a pod, or the node itself), which short-circuits to Cluster semantics."""


LOOPBACK = "127.0.0.1"
"""Where the node's own programs find a ``hostPort``, too."""


class Endpoint(msgspec.Struct, frozen=True, order=True):
    """One address and port behind a Service port, after EndpointSlices are merged."""

    address: str
    port: int
    node: str
    zone: str
    ready: bool
    serving: bool
    terminating: bool
    pod: Ref | None
    origin: Origin
    for_zones: tuple[str, ...] = ()
    for_nodes: tuple[str, ...] = ()


class ServicePort(msgspec.Struct, frozen=True):
    """One port of one Service with a virtual address. Key in the plan: ``namespace/name:port/protocol``.

    Or a port of a node that leads to a pod (``hostPort``): then ``service`` is the pod, and only ``host_node`` has it,
    on ``host_ips``. No source is hidden but that of the node's own programs on 127.0.0.1.
    """

    origin: Origin
    service: Ref
    port_name: str
    protocol: Protocol
    port: int
    node_port: int
    cluster_ips: tuple[str, ...]
    load_balancer_ips: tuple[str, ...]
    external_ips: tuple[str, ...]
    affinity_seconds: int
    internal_local: bool
    external_local: bool
    source_ranges: tuple[Cidr, ...]
    endpoints: tuple[Endpoint, ...]
    health_check_node_port: int = 0
    host_node: str = ""
    host_ips: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """``shop/api:80/TCP``; of a node's port with its field: ``... spec.containers[0].ports[0].hostPort``."""
        key = f"{self.service.key}:{self.port}/{self.protocol}"
        return f"{key} {self.origin.path}" if self.host_node else key


def of_family(port: ServicePort, family: int) -> ServicePort:
    """``port`` as the data plane of one address family (4 or 6) has it: the same object when nothing else is in it.

    Each family decides among its own endpoints and source ranges, so a range of one family leaves the other unfiltered
    (KEP-563, kubernetes ``pkg/proxy/serviceport.go``). Whoever asks :func:`decide_backends` or :func:`admits_source`
    about an address asks with the port of that address's family.
    """
    groups = (port.cluster_ips, port.load_balancer_ips, port.external_ips, port.host_ips)
    if (
        all(is_family(a, family) for group in groups for a in group)
        and all(is_family(e.address, family) for e in port.endpoints)
        and all(r.family == family for r in port.source_ranges)
    ):
        return port
    cluster, balancer, external, host = (tuple(a for a in group if is_family(a, family)) for group in groups)
    return msgspec.structs.replace(
        port,
        cluster_ips=cluster,
        load_balancer_ips=balancer,
        external_ips=external,
        host_ips=host,
        source_ranges=tuple(r for r in port.source_ranges if r.family == family),
        endpoints=tuple(e for e in port.endpoints if is_family(e.address, family)),
    )


def is_family(address: str, family: int) -> bool:
    """Whether ``address`` (valid by construction) is of family 4 or 6."""
    return (":" in address) == (family == 6)


def admits_source(port: ServicePort, addresses: Iterable[str]) -> bool:
    """Whether ``loadBalancerSourceRanges`` let a client in; any /0 range means no filter (S15)."""
    ranges = port.source_ranges
    return not ranges or not all(r.length for r in ranges) or any(r.contains(a) for r in ranges for a in addresses)


class ServiceNode(msgspec.Struct, frozen=True, order=True):
    """A node as the Service plane sees it."""

    name: str
    zone: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[Cidr, ...]
    origin: Origin
    eligible: bool = True
    """False while the node is being deleted: load balancers shall take it out (KEP-3836)."""
    excluded: bool = False
    """Labelled to be left out by load balancers."""


Draw = Literal["random", "in-turn", "by-client"]
"""How a new connection chooses among endpoints without session affinity."""


class ConntrackSettings(msgspec.Struct, frozen=True):
    """How long nodes remember connections; 0 leaves a timeout to the kernel. The defaults are kube-proxy's.

    ``liberal``: TCP packets outside of the window are not taken for invalid.
    """

    established_seconds: int = 86400
    close_wait_seconds: int = 3600
    udp_seconds: int = 0
    udp_stream_seconds: int = 0
    liberal: bool = False


class ProxySettings(msgspec.Struct, frozen=True):
    """What a KubeProxyConfiguration chooses for every node; the defaults are kube-proxy's.

    ``node_port_ranges`` empty: the node's own addresses. A bind of "" or port 0 is off. ``masquerade_all``: clients of
    cluster IPs are hidden too. ``local_by_node``: only the node's own pods are inside (detectLocalMode NodeCIDR), not
    those of other nodes.
    """

    healthz_bind: str = "0.0.0.0:10256"
    metrics_bind: str = "127.0.0.1:10249"
    sync_period_seconds: float = 30.0
    node_port_ranges: tuple[Cidr, ...] = ()
    masquerade_all: bool = False
    local_by_node: bool = False
    draw: Draw = "random"
    conntrack: ConntrackSettings = ConntrackSettings()


class ServicePlan(msgspec.Struct, frozen=True):
    """Everything the Service plane of every node must do."""

    ports: Mapping[str, ServicePort]
    nodes: Mapping[str, ServiceNode]
    service_cidrs: tuple[Cidr, ...]
    cluster_cidrs: tuple[Cidr, ...]
    proxy: ProxySettings = ProxySettings()


class ServiceCount(msgspec.Struct, frozen=True, order=True):
    """What one node's kernel counted for one Service port since its rules were loaded.

    ``connections`` were tried, including those turned away: ``refused`` because there is no endpoint, ``dropped``
    because a Local policy has none on the node, ``barred`` by source ranges (all in first packets). ``bytes`` are those
    of both directions, counted on the node that chose the endpoint.
    """

    key: str
    connections: int = 0
    bytes: int = 0
    refused: int = 0
    dropped: int = 0
    barred: int = 0


CountServices = Callable[[str], Awaitable[tuple[ServiceCount, ...]]]
"""Asks a node (by name) what it counted; empty when nobody can tell."""


class Backends(msgspec.Struct, frozen=True):
    """Who may answer. ``none`` says what a client observes when nobody may: ``refuse`` or ``drop``."""

    endpoints: tuple[Endpoint, ...]
    none: Literal["refuse", "drop"]
    why: str


def decide_backends(port: ServicePort, *, node: str, zone: str, scope: Scope) -> Backends:
    """The endpoints a connection entering at ``node`` may be sent to, sorted.

    No endpoint anywhere is refused; a Local policy with remote endpoints only drops (services P3, P7). Cluster and
    Local fall back to serving, terminating endpoints separately (P8).
    """
    everywhere = _usable(port.endpoints)
    if not everywhere:
        return Backends((), "refuse", "no ready endpoint")
    local_only = port.internal_local if scope == "internal" else port.external_local and scope == "external"
    if local_only:
        field = "internalTrafficPolicy" if scope == "internal" else "externalTrafficPolicy"
        local = _usable(tuple(e for e in port.endpoints if e.node == node))
        return Backends(local, "drop", f"{field}: Local and {'an' if local else 'no'} endpoint on node {node}")
    return _by_topology(everywhere, node, zone)


def _usable(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    ready = tuple(e for e in endpoints if e.ready)
    return ready or tuple(e for e in endpoints if e.serving and e.terminating)


def _by_topology(endpoints: tuple[Endpoint, ...], node: str, zone: str) -> Backends:
    """Hints count only when every ready endpoint carries one and one of them names us (KEP-2433, KEP-4444)."""
    chosen, why = endpoints, "ready endpoints"
    if all(e.ready for e in endpoints):
        if all(e.for_nodes for e in endpoints) and any(node in e.for_nodes for e in endpoints):
            chosen, why = tuple(e for e in endpoints if node in e.for_nodes), f"hints for node {node}"
        elif all(e.for_zones for e in endpoints) and any(zone in e.for_zones for e in endpoints):
            chosen, why = tuple(e for e in endpoints if zone in e.for_zones), f"hints for zone {zone}"
    return Backends(chosen, "refuse", why)


def node_port_addresses(plan: ServicePlan, node: ServiceNode) -> tuple[str, ...]:
    """Addresses of a node on which NodePorts and health checks answer (``nodePortAddresses``; all without it)."""
    ranges = plan.proxy.node_port_ranges
    return tuple(a for a in node.addresses if not ranges or any(r.contains(a) for r in ranges))


def find_ports(plan: ServicePlan, *, address: str, port: int, protocol: str) -> Iterable[ServicePort]:
    """Units that own ``address:port``, by cluster IP, load balancer or external address, or by NodePort."""
    node_addresses = {a for node in plan.nodes.values() for a in node_port_addresses(plan, node)}
    for unit in plan.ports.values():
        if unit.protocol != protocol:
            continue
        virtual = (*unit.cluster_ips, *unit.load_balancer_ips, *unit.external_ips, *unit.host_ips)
        if (unit.port == port and address in virtual) or (unit.node_port == port and address in node_addresses):
            yield unit
