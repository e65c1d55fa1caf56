"""Ingresses to the route plan: one proxy; virtual hosts, clusters by Service port, certificates by Secret.

Rules:

1. The plan holds what can be served; everything else is a finding, and never costs another object anything.
2. Cost follows the change: as long as no Ingress, class, Service or Secret changes, an endpoint change looks at
   clusters only, and makes one. Equal units are the same objects as before.
3. An Ingress is *programmed* when the proxy confirmed the digest of every unit it has a part in.

Not here: status (``status.py``), what Envoy makes of the plan (``planes/envoy``).
"""

from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from podwire.base import Finding, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.ingress_backends import Target, compile_cluster, resolve
from podwire.compile.ingress_hosts import Part, compile_host, sort_ingresses
from podwire.compile.ingress_tls import Choice, SecretView, choose_certificate, read_secret
from podwire.compile.ingress_views import ANY_HOST, IngressView, is_ours, view_ingress
from podwire.compile.memo import Memo
from podwire.kube import Ingress, IngressClass, Secret, Service
from podwire.plan import Certificate, Cluster, ProxyPlan, RoutePlan, VirtualHost, digest
from podwire.snapshot import Snapshot

HTTP_PORT = 80
HTTPS_PORT = 443
HEALTH_PORT = 10254

_INPUTS = ("Ingress", "IngressClass", "Service", "Secret")


class Hosts(msgspec.Struct, frozen=True):
    """Everything but endpoints."""

    hosts: Mapping[str, VirtualHost]
    targets: Mapping[str, Target]
    certificates: Mapping[str, Certificate]
    findings: tuple[Finding, ...]


def compile_routes(context: Context) -> Piece:
    """The plan of the Ingress controller's proxy."""
    snapshot, memo = context.snapshot, context.memo
    settings = snapshot.settings
    # Inner memos live beside the outer one: while the outer hits, nobody asks for their units, and a sweep would
    # forget them.
    inner = memo.unit("routes/inner", (), lambda: (Memo(), Memo()))
    tables = tuple(snapshot.objects.get(kind) for kind in _INPUTS)
    inputs = (*tables, settings.controller)
    hosts = memo.unit("routes/hosts", inputs, lambda: _compile_hosts(snapshot, inner[0]))
    behind = tuple(snapshot.objects.get(kind) for kind in ("Service", "EndpointSlice"))
    clusters = memo.unit("routes/clusters", (hosts, *behind), lambda: _compile_clusters(snapshot, inner[1], hosts))
    proxy = ProxyPlan(
        key=settings.ingress_proxy,
        http_port=HTTP_PORT,
        https_port=HTTPS_PORT,
        health_port=HEALTH_PORT,
        hosts=hosts.hosts,
        clusters=clusters,
        certificates=hosts.certificates,
        listen="::" if "IPv6" in settings.families else "0.0.0.0",  # noqa: S104 - inside the proxy's pod
    )
    plan = memo.unit(
        "routes/plan", (hosts, clusters, settings.ingress_proxy, proxy.listen), lambda: RoutePlan({proxy.key: proxy})
    )
    return Piece(routes=plan, findings=hosts.findings)


def _compile_hosts(snapshot: Snapshot, memo: Memo) -> Hosts:
    findings: list[Finding] = []
    by_host: dict[str, list[Part]] = {}
    targets: dict[str, Target] = {}
    for view in _views(snapshot, memo, findings):
        part = _part(snapshot, memo, view)
        resolution = part.resolution
        findings += view.findings
        findings += resolution.findings
        for host in _hosts_of(view):
            by_host.setdefault(host, []).append(part)
        for target in (*resolution.targets, resolution.default):
            if target.cluster:
                targets[target.cluster] = target
    hosts: dict[str, VirtualHost] = {}
    certificates: dict[str, Certificate] = {}
    for host, parts in sorted(by_host.items()):
        choice = choose_certificate(host, [p.view for p in parts], lambda key: _secret(snapshot, memo, key))
        hosts[host], lost = _host(memo, host, tuple(parts), choice)
        findings.extend((*choice.findings, *lost))
        if choice.certificate is not None:
            certificates[choice.certificate.key] = choice.certificate
    memo.sweep()
    return Hosts(hosts, dict(sorted(targets.items())), dict(sorted(certificates.items())), tuple(findings))


def _views(snapshot: Snapshot, memo: Memo, findings: list[Finding]) -> Iterator[IngressView]:
    classes = snapshot.all(IngressClass)
    for ingress in sort_ingresses(snapshot.all(Ingress).values()):
        ours, found = is_ours(ingress, classes, snapshot.settings.controller)
        findings.extend(found)
        if ours:
            yield memo.unit(f"ingress/{ingress.key}", (ingress,), partial(view_ingress, ingress))


def _hosts_of(view: IngressView) -> tuple[str, ...]:
    """Hosts an Ingress has a part in: those of its rules; one without rules is the catch-all."""
    return view.hosts or ((ANY_HOST,) if view.default else ())


def _part(snapshot: Snapshot, memo: Memo, view: IngressView) -> Part:
    services = snapshot.all(Service)
    found = tuple([services.get(key) for key in view.services])
    # The advice for a missing Service depends on all the others.
    others = services if None in found else None
    return memo.unit(f"part/{view.ref.key}", (view, found, others), lambda: Part(view, resolve(view, services)))


def _secret(snapshot: Snapshot, memo: Memo, key: str) -> SecretView | None:
    secret = snapshot.all(Secret).get(key)
    return None if secret is None else memo.unit(f"secret/{key}", (secret,), lambda: read_secret(secret))


def _host(memo: Memo, host: str, parts: tuple[Part, ...], choice: Choice) -> tuple[VirtualHost, tuple[Finding, ...]]:
    certificate = choice.certificate.key if choice.certificate else ""
    inputs = (parts, certificate, choice.has_tls)
    return memo.unit(
        f"host/{host}", inputs, lambda: compile_host(host, parts, certificate=certificate, has_tls=choice.has_tls)
    )


def _compile_clusters(snapshot: Snapshot, memo: Memo, hosts: Hosts) -> Mapping[str, Cluster]:
    services, slices = snapshot.all(Service), snapshot.slices_by_service
    clusters: dict[str, Cluster] = {}
    for key, target in hosts.targets.items():
        service, parts = services[target.service], slices.get(target.service, ())
        clusters[key] = memo.unit(
            key,
            (service, target.port, parts),
            partial(compile_cluster, key, service, target.port, parts),
        )
    memo.sweep()
    return clusters


def ingress_units(proxy: ProxyPlan, ingress: Ref, hosts: tuple[str, ...]) -> Mapping[str, str]:
    """Unit keys, with digests, an Ingress has a part in: its hosts, their certificates, the clusters of its routes."""
    units: dict[str, str] = {}
    for name in hosts:
        host = proxy.hosts.get(name)
        mine = [route for route in host.routes if route.origin.ref == ingress] if host else []
        if host is None or not mine:
            continue
        units[f"host/{name}"] = digest(host)
        if host.certificate:
            units[f"certificate/{host.certificate}"] = digest(proxy.certificates[host.certificate])
        for route in mine:
            if route.cluster:
                units[f"cluster/{route.cluster}"] = digest(proxy.clusters[route.cluster])
    return units


def is_programmed(snapshot: Snapshot, plan: RoutePlan, ingress: Ref) -> tuple[bool, str]:
    """Whether the proxy serves every unit of ``ingress`` as planned, and why (not), in words for a status or Event.

    Without planes (offline) nothing is waited for: planned is served.
    """
    found = snapshot.get(Ingress, ingress.namespace, ingress.name)
    proxy = plan.proxies.get(snapshot.settings.ingress_proxy)
    if found is None or proxy is None:
        return False, "no such Ingress, or no proxy"
    units = ingress_units(proxy, ingress, _hosts_of(view_ingress(found)))
    if not units:
        return False, "no path of this Ingress is served"
    if not snapshot.settings.planes:
        return True, "planned"
    fact = snapshot.facts.planes.get(f"envoy/{proxy.key}")
    if fact is None or not fact.ready:
        return False, "the proxy does not serve yet" if fact is None or not fact.message else fact.message
    refused = next((f"{key}: {fact.rejected[key]}" for key in units if key in fact.rejected), None)
    if refused is not None:
        return False, f"the proxy refused {refused}"
    missing = [key for key, wanted in units.items() if fact.applied.get(key) != wanted]
    return (False, f"waiting for the proxy to confirm {missing[0]}") if missing else (True, "confirmed by the proxy")
