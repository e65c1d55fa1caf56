"""Service plans to listeners and answers.

Rules:

1. A ``healthCheckNodePort`` listens on the node's addresses and answers 200 while the node has ready endpoints of the
   Service and the proxy is healthy, else 503 (P9). Endpoints that terminate count for nothing.
2. ``/healthz`` fails when an update waits too long, or the Node is being deleted; ``/livez`` ignores the Node (P10).
3. ``/metrics`` has kube-proxy's names, and ``podwire_service_*`` for what the kernel counted for each Service port.
   What podwire cannot know is left out, not zero.

Source: kubernetes ``pkg/proxy/healthcheck``, ``pkg/proxy/metrics``.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from podwire.base import Ref
from podwire.plan import ServiceCount, ServicePlan, ServicePort, node_port_addresses
from podwire.planes.proxyhealth.machine import SyncState

Purpose = Literal["check", "healthz", "metrics"]
WEIGHT_HEADER = "X-Load-Balancing-Endpoint-Weight"


class Listener(msgspec.Struct, frozen=True, order=True):
    """Where something is to be answered. ``check`` listeners are for one Service each."""

    node: str
    address: str
    port: int
    purpose: Purpose


class NodeHealth(msgspec.Struct, frozen=True):
    """What a node's listeners say: its Services by health check port with their ready local endpoints."""

    eligible: bool
    checks: Mapping[int, tuple[Ref, int]]


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    body: str
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


def has_check(port: ServicePort) -> bool:
    """Whether a Service port has a health check."""
    return port.health_check_node_port != 0


def render_health(plan: ServicePlan, checked: Collection[ServicePort]) -> dict[str, NodeHealth]:
    """Per node; ``checked`` are the Service ports with a health check."""
    return {name: NodeHealth(node.eligible, _checks(checked, name)) for name, node in plan.nodes.items()}


def _checks(units: Iterable[ServicePort], node: str) -> dict[int, tuple[Ref, int]]:
    """Addresses, not ports, count: a Service with two ports has its endpoints once."""
    addresses: dict[int, tuple[Ref, set[str]]] = {}
    for unit in units:
        _, found = addresses.setdefault(unit.health_check_node_port, (unit.service, set()))
        found.update(e.address for e in unit.endpoints if e.node == node and e.ready)
    return {port: (service, len(found)) for port, (service, found) in sorted(addresses.items())}


_IN_IPV6 = {"0.0.0.0": "::", "127.0.0.1": "::1"}  # noqa: S104 - compared; inside the namespace of a node
"""kube-proxy's defaults on a node whose primary address is of IPv6."""


def render_listeners(plan: ServicePlan, checked: Collection[ServicePort]) -> tuple[Listener, ...]:
    """Every listener of every node; ``checked`` as before."""
    found: set[Listener] = set()
    ports = sorted({unit.health_check_node_port for unit in checked})
    for node in plan.nodes.values():
        found.update(Listener(node.name, a, port, "check") for port in ports for a in node_port_addresses(plan, node))
        for purpose, bind in (("healthz", plan.proxy.healthz_bind), ("metrics", plan.proxy.metrics_bind)):
            address, _, port = bind.rpartition(":")
            if node.addresses and ":" in node.addresses[0]:
                address = _IN_IPV6.get(address, address)
            if port.isdigit() and int(port):
                found.add(Listener(node.name, address, int(port), purpose))  # type: ignore[arg-type]
    return tuple(sorted(found))


def answer(
    listener: Listener,
    path: str,
    health: NodeHealth,
    sync: SyncState,
    *,
    now: float,
    counts: Sequence[ServiceCount] = (),
) -> Answer:
    """What a GET of ``path`` gets. ``counts`` are the node's."""
    path = path.partition("?")[0]
    match listener.purpose:
        case "check":
            return _answer_check(listener.port, health, healthy=sync.is_healthy(now))
        case "healthz" if path in ("/healthz", "/livez"):
            good = sync.is_healthy(now) and (health.eligible or path == "/livez")
            return _answer_healthz(good, health, sync, now=now, livez=path == "/livez")
        case "metrics" if path == "/metrics":
            return Answer(200, format_metrics(sync) + format_service_metrics(counts), "text/plain; version=0.0.4")
        case "metrics" if path == "/proxyMode":
            return Answer(200, "nftables", "text/plain")
        case "metrics" if path == "/healthz":
            return Answer(200, "ok", "text/plain")
        case _:
            return Answer(404, "404 page not found\n", "text/plain")


def _answer_check(port: int, health: NodeHealth, *, healthy: bool) -> Answer:
    if port not in health.checks:
        return Answer(404, "404 page not found\n", "text/plain")
    service, count = health.checks[port]
    body = {
        "service": {"namespace": service.namespace, "name": service.name},
        "localEndpoints": count,
        "serviceProxyHealthy": healthy,
    }
    return Answer(200 if count and healthy else 503, json.dumps(body), headers=((WEIGHT_HEADER, str(count)),))


def _answer_healthz(good: bool, health: NodeHealth, sync: SyncState, *, now: float, livez: bool) -> Answer:
    body: dict[str, object] = {"lastUpdated": _time(sync.last_sync_at), "currentTime": _time(now)}
    if not livez:
        body["nodeEligible"] = health.eligible
    return Answer(200 if good else 503, json.dumps(body))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


_HELP = {
    "sync_proxy_rules_duration_seconds": ("histogram", "SyncProxyRules latency in seconds"),
    "sync_proxy_rules_last_timestamp_seconds": ("gauge", "The last time proxy rules were successfully synced"),
    "sync_proxy_rules_last_queued_timestamp_seconds": ("gauge", "The last time a sync of proxy rules was queued"),
    "sync_proxy_rules_service_changes_total": ("counter", "Cumulative proxy rules Service changes"),
    "sync_proxy_rules_endpoint_changes_total": ("counter", "Cumulative proxy rules Endpoint changes"),
    "sync_proxy_rules_nftables_sync_failures_total": ("counter", "Cumulative proxy nftables sync failures"),
    "sync_proxy_rules_no_local_endpoints_total": (
        "gauge",
        "Number of services with a Local traffic policy and no endpoints",
    ),
}


def format_metrics(sync: SyncState) -> str:
    """Prometheus text (rule 3)."""
    values: dict[str, list[str]] = {name: [] for name in _HELP}
    name = "sync_proxy_rules_duration_seconds"
    for bound, count in sync.buckets():
        values[name].append(f'_bucket{{le="{bound}"}} {count}')
    values[name] += [f"_sum {sync.total_seconds:.6f}", f"_count {sync.syncs}"]
    values["sync_proxy_rules_last_timestamp_seconds"].append(f" {sync.last_sync_at:.3f}")
    values["sync_proxy_rules_last_queued_timestamp_seconds"].append(f" {sync.last_queued_at:.3f}")
    values["sync_proxy_rules_service_changes_total"].append(f" {sync.service_changes}")
    values["sync_proxy_rules_endpoint_changes_total"].append(f" {sync.endpoint_changes}")
    values["sync_proxy_rules_nftables_sync_failures_total"].append(f" {sync.failures}")
    for policy, count in sorted(sync.without_local.items()):
        values["sync_proxy_rules_no_local_endpoints_total"].append(f'{{traffic_policy="{policy}"}} {count}')
    lines = []
    for metric, (kind, text) in _HELP.items():
        full = f"kubeproxy_{metric}"
        lines += [f"# HELP {full} [ALPHA] {text}", f"# TYPE {full} {kind}"]
        lines += [f"{full}{line}" for line in values[metric]]
    return "\n".join(lines) + "\n"


_COUNTERS = {
    "connections_total": "Connections tried to a Service port, including rejected ones",
    "bytes_total": "Bytes of both directions, counted by the node that chose the endpoint",
    "rejected_total": "Connections turned away before any endpoint",
}
_REASONS = {"refused": "no_endpoints", "dropped": "no_local_endpoints", "barred": "source_ranges"}


def format_service_metrics(counts: Sequence[ServiceCount]) -> str:
    """Prometheus text of what the kernel counted; a Service port that nobody used has no series."""
    values: dict[str, list[str]] = {name: [] for name in _COUNTERS}
    for count in counts:
        labels = _labels(count.key)
        values["connections_total"].append(f"{{{labels}}} {count.connections}")
        values["bytes_total"].append(f"{{{labels}}} {count.bytes}")
        for field, reason in _REASONS.items():
            values["rejected_total"].append(f'{{{labels},reason="{reason}"}} {getattr(count, field)}')
    lines = []
    for name, text in _COUNTERS.items():
        full = f"podwire_service_{name}"
        lines += [f"# HELP {full} {text}", f"# TYPE {full} counter", *(f"{full}{line}" for line in values[name])]
    return "\n".join(lines) + "\n"


def _labels(key: str) -> str:
    """``shop/api:80/TCP`` as labels; names in Kubernetes need no escaping."""
    service, _, port = key.rpartition(":")
    namespace, _, name = service.partition("/")
    number, _, protocol = port.partition("/")
    return f'namespace="{namespace}",service="{name}",port="{number}",protocol="{protocol}"'
