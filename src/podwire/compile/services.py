"""Services and EndpointSlices to the Service plan: one unit per Service port.

Rules:

1. Headless and ExternalName Services, and those labelled for another proxy (P20), have no unit.
2. Slices of one Service merge (S37): the first address of an endpoint counts; of two endpoints with the same address
   and port the one that is not terminating wins; FQDN slices and ports without a number are not proxied.
3. An endpoint of another Service that is the API server is proxied and reported: PW1120.
4. An endpoint that points at loopback, link-local or unspecified addresses is never proxied (CVE-2021-25373): PW1119.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Network, collapse_addresses, ip_address
from typing import cast

from podwire.base import Cidr, Edition, FieldPath, Finding, Origin, Protocol, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.hostports import HostPorts
from podwire.compile.kubeproxy import compile_proxy
from podwire.compile.touched import Findings, Results, Seen
from podwire.kube import EndpointSlice, Node, Service, ServiceCIDR
from podwire.kube import ServicePort as KubeServicePort
from podwire.plan import Endpoint, ServiceNode, ServicePlan, ServicePort
from podwire.snapshot import Snapshot

ZONE_LABEL = "topology.kubernetes.io/zone"
API_SERVICE = "default/kubernetes"
Compiled = tuple[tuple[ServicePort, ...], tuple[Finding, ...]]
NOTHING: Compiled = ((), ())
OTHER_PROXY_LABEL = "service.kubernetes.io/service-proxy-name"
EXCLUSION_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"
DELETION_TAINT = "ToBeDeletedByClusterAutoscaler"
SOURCE_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
DEFAULT_AFFINITY_SECONDS = 10800


def compile_services(context: Context) -> Piece:
    """The Service plan and findings on endpoints that are refused."""
    snapshot = context.snapshot
    known = context.memo.unit("service-ports", (), _Ports)
    nodes = _nodes(context)
    host = context.memo.unit("host-port-units", (), HostPorts)
    known.update(snapshot, _api_addresses(context), host.update(context, nodes))
    settings, configured = snapshot.settings, compile_proxy(context)
    plan = ServicePlan(
        ports=known.ports,
        nodes=nodes,
        service_cidrs=_service_cidrs(snapshot),
        cluster_cidrs=tuple(map(Cidr.parse_lenient, settings.cluster_cidrs)),
        proxy=configured.settings,
    )
    return Piece(services=plan, findings=(*known.findings.all, *host.findings, *configured.findings))


def _service_cidrs(snapshot: Snapshot) -> tuple[Cidr, ...]:
    """The blocks of the cluster and of every ServiceCIDR, none of them twice (S7). Those of families that the cluster
    does not have are nobody's."""
    own = tuple(map(Cidr.parse_lenient, snapshot.settings.service_cidrs))
    families = dict.fromkeys(cidr.family for cidr in own)
    texts = (text for _, found in sorted(snapshot.all(ServiceCIDR).items()) for text in found.spec.cidrs)
    more = {cidr for text in texts if (cidr := Cidr.parse_lenient(text)).family in families} - set(own)
    if not more:
        return own
    blocks = [cast(IPv4Network, cidr.network) for cidr in (*own, *more)]
    merged = (collapse_addresses(b for b in blocks if b.version == family) for family in families)
    return tuple(Cidr.parse_lenient(str(block)) for found in merged for block in found)


class _Ports:
    """Units and findings of all Services, from compile to compile; with them the units of nodes' ports."""

    def __init__(self) -> None:
        self.ports: Edition[str, ServicePort] = Edition()
        self.findings = Findings()
        self._table: Results[Compiled] = Results()
        self._host: Seen[ServicePort] = Seen()

    def update(self, snapshot: Snapshot, api: tuple[str, ...], host: Mapping[str, ServicePort]) -> None:
        services, slices, table = snapshot.all(Service), snapshot.slices_by_service, self._table

        def make(key: str) -> Compiled | None:
            service = services.get(key)
            return _compile_service(api, service, slices.get(key, ())) if service is not None else None

        before, after = table.results, table.update((services, slices), (api,), make)
        units: dict[str, ServicePort | None] = {key: host.get(key) for key in self._host.advance(host)}
        for key in table.changed:
            units |= {unit.key: None for unit in before.get(key, NOTHING)[0]}
        for key in table.changed:
            units |= {unit.key: unit for unit in after.get(key, NOTHING)[0]}
        self.ports = self.ports.revise(units)
        self.findings.update({key: after.get(key, NOTHING)[1] for key in table.changed})


def is_proxied(service: Service) -> bool:
    """Whether the Service has virtual addresses this data plane serves."""
    spec = service.spec
    has_address = spec.type != "ExternalName" and spec.cluster_ip not in ("", "None")
    return has_address and OTHER_PROXY_LABEL not in service.metadata.labels


def _nodes(context: Context) -> dict[str, ServiceNode]:
    return {
        name: context.memo.unit(f"service-node/{name}", (node,), partial(_compile_node, node))
        for name, node in context.snapshot.nodes.items()
    }


def _compile_node(node: Node) -> ServiceNode:
    return ServiceNode(
        name=node.metadata.name,
        zone=node.metadata.labels.get(ZONE_LABEL, ""),
        addresses=node.internal_addresses,
        pod_cidrs=tuple(map(Cidr.parse_lenient, node.pod_cidrs)),
        origin=Origin(node.ref),
        eligible=node.metadata.deletion_timestamp is None and all(t.key != DELETION_TAINT for t in node.spec.taints),
        excluded=EXCLUSION_LABEL in node.metadata.labels,
    )


def _compile_service(api: tuple[str, ...], service: Service, slices: Sequence[EndpointSlice]) -> Compiled:
    if not is_proxied(service):
        return NOTHING
    findings: list[Finding] = []
    units = tuple(
        _compile_port(service, index, port, tuple(_endpoints(port, slices, findings)))
        for index, port in enumerate(service.spec.ports)
    )
    if service.key != API_SERVICE:
        findings += [_warning(e) for unit in units for e in unit.endpoints if f"{e.address}:{e.port}" in api]
    return units, tuple(sorted(set(findings)))


def _compile_port(service: Service, index: int, port: KubeServicePort, endpoints: tuple[Endpoint, ...]) -> ServicePort:
    spec = service.spec
    return ServicePort(
        origin=Origin(service.ref, FieldPath(f"spec.ports[{index}]")),
        service=service.ref,
        port_name=port.name,
        protocol=cast(Protocol, port.protocol),
        port=port.port,
        node_port=port.node_port,
        cluster_ips=spec.cluster_ips or (spec.cluster_ip,),
        load_balancer_ips=_load_balancer_ips(service),
        external_ips=spec.external_ips,
        affinity_seconds=_affinity_seconds(service),
        internal_local=spec.internal_traffic_policy == "Local",
        external_local=spec.external_traffic_policy == "Local",
        source_ranges=_source_ranges(service),
        endpoints=endpoints,
        health_check_node_port=spec.health_check_node_port,
    )


def _load_balancer_ips(service: Service) -> tuple[str, ...]:
    """P13: an ingress address is a VIP unless its mode says Proxy."""
    if service.spec.type != "LoadBalancer":
        return ()
    return tuple(i.ip for i in service.status.load_balancer.ingress if i.ip and i.ip_mode in (None, "VIP"))


def _source_ranges(service: Service) -> tuple[Cidr, ...]:
    """The field, else the annotation it had before (S15); on load balancers only."""
    if service.spec.type != "LoadBalancer":
        return ()
    texts = service.spec.load_balancer_source_ranges
    old = service.metadata.annotations.get(SOURCE_RANGES_ANNOTATION, "").strip()
    return tuple(sorted(Cidr.parse_lenient(t.strip()) for t in texts or (old.split(",") if old else ())))


def _affinity_seconds(service: Service) -> int:
    if service.spec.session_affinity != "ClientIP":
        return 0
    config = service.spec.session_affinity_config
    seconds = config.client_ip.timeout_seconds if config and config.client_ip else None
    return seconds or DEFAULT_AFFINITY_SECONDS


def _endpoints(port: KubeServicePort, slices: Sequence[EndpointSlice], findings: list[Finding]) -> Iterator[Endpoint]:
    found: dict[tuple[str, int], Endpoint] = {}
    for part in slices:
        if part.address_type == "FQDN":
            continue
        for number in _numbers(port, part):
            for endpoint in _slice_endpoints(part, number):
                if _is_refused(endpoint.address):
                    findings.append(_refusal(part.ref, endpoint))
                    continue
                known = found.get((endpoint.address, number))
                if known is None or (known.terminating and not endpoint.terminating):
                    found[endpoint.address, number] = endpoint
    yield from sorted(found.values(), key=lambda e: (_number_of(e.address), e.port))


def _numbers(port: KubeServicePort, part: EndpointSlice) -> Iterator[int]:
    for offered in part.ports:
        if (offered.name or "") == port.name and (offered.protocol or "TCP") == port.protocol and offered.port:
            yield offered.port


def _slice_endpoints(part: EndpointSlice, number: int) -> Iterator[Endpoint]:
    for index, endpoint in enumerate(part.endpoints):
        if not endpoint.addresses:
            continue
        conditions, hints = endpoint.conditions, endpoint.hints
        target = endpoint.target_ref
        ready = conditions.ready is not False
        yield Endpoint(
            address=endpoint.addresses[0],
            port=number,
            node=endpoint.node_name or "",
            zone=endpoint.zone or "",
            ready=ready,
            serving=ready if conditions.serving is None else conditions.serving,
            terminating=conditions.terminating is True,
            pod=Ref("Pod", target.namespace, target.name) if target and target.kind == "Pod" else None,
            origin=Origin(part.ref, FieldPath(f"endpoints[{index}]")),
            for_zones=tuple(z.name for z in hints.for_zones) if hints else (),
            for_nodes=tuple(n.name for n in hints.for_nodes) if hints else (),
        )


def _api_addresses(context: Context) -> tuple[str, ...]:
    """Where the API server listens: ``address:port`` behind Service ``default/kubernetes``."""
    parts = context.snapshot.slices_by_service.get(API_SERVICE, ())
    return tuple(f"{a}:{p.port}" for part in parts for p in part.ports for e in part.endpoints for a in e.addresses)


def _warning(endpoint: Endpoint) -> Finding:
    message = f"endpoint {endpoint.address}:{endpoint.port} is the API server: whoever reaches this Service reaches it"
    fix = "use Service default/kubernetes"
    return Finding("PW1120", "warning", endpoint.origin.ref, endpoint.origin.path, message, fix)


def _number_of(address: str) -> int:
    """The address as a number; IPv4 without the cost of :mod:`ipaddress`, which is most of a first compile."""
    if ":" in address:
        return int(ip_address(address))
    first, second, third, fourth = map(int, address.split("."))
    return first << 24 | second << 16 | third << 8 | fourth


def _is_refused(address: str) -> bool:
    if ":" not in address:
        first, _, rest = address.partition(".")
        local = first == "127" or (first == "169" and rest.startswith("254.")) or address == "0.0.0.0"  # noqa: S104
        return local or 224 <= int(first) < 240
    parsed = ip_address(address)
    return parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast


def _refusal(ref: Ref, endpoint: Endpoint) -> Finding:
    return Finding(
        "PW1119",
        "error",
        ref,
        endpoint.origin.path,
        f"endpoint address {endpoint.address} is loopback, link-local or multicast and is not proxied",
        "use the address of the machine that runs the workload",
    )
