"""Backends of Ingress paths: which Service port they mean, and the endpoints behind it.

Rules:

1. A backend that cannot be resolved is a finding on its field and answers 503; its path stays, so that no broader
   path takes the requests.
2. A port is found by number, name, or a targetPort equal to the name (ingress-nginx). Headless Services will do;
   ExternalName and resource backends will not.
3. Endpoints are the ready ones; when there are none, those that still serve while terminating (KEP-1669). Loopback and
   link-local addresses are never dialled (CVE-2021-25373).
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from ipaddress import ip_address

import msgspec

from podwire.base import FieldPath, Finding, Origin, Ref
from podwire.compile.ingress_views import IngressView, PathView
from podwire.kube import EndpointSlice, Service, ServicePort
from podwire.kube.networking import IngressServiceBackend
from podwire.plan import Cluster, Upstream


class Target(msgspec.Struct, frozen=True):
    """A resolved backend: ``cluster`` is its key, empty when the path answers 503."""

    cluster: str = ""
    service: str = ""
    port: int = -1
    """Index into the Service's ports."""


NOWHERE = Target()


class Resolution(msgspec.Struct, frozen=True):
    """Targets of an Ingress, in the order of its paths, and of its default backend."""

    targets: tuple[Target, ...]
    default: Target
    findings: tuple[Finding, ...]


def resolve(view: IngressView, services: Mapping[str, Service]) -> Resolution:
    """Every backend of ``view``; ``services`` needs to hold those of its namespace at least."""
    findings: list[Finding] = []
    targets = tuple(_resolve(view.ref, path, services, findings) for path in view.paths)
    default = _resolve(view.ref, view.default, services, findings) if view.default else NOWHERE
    return Resolution(targets, default, tuple(findings))


def _resolve(ref: Ref, path: PathView, services: Mapping[str, Service], findings: list[Finding]) -> Target:
    backend = path.backend.service
    if backend is None or not backend.name:
        message = "only Services can be backends: requests get 503"
        findings.append(Finding("PW3008", "error", ref, path.backend_path, message, "name a Service"))
        return NOWHERE
    key = f"{ref.namespace}/{backend.name}"
    service = services.get(key)
    if service is None:
        findings.append(_missing_service(ref, path, backend.name, services))
        return NOWHERE
    if service.spec.type == "ExternalName":
        message = f"Service {backend.name} is an ExternalName and has no endpoints to route to: requests get 503"
        where = FieldPath(f"{path.backend_path}.service.name")
        findings.append(Finding("PW3007", "error", ref, where, message, "use a Service with endpoints"))
        return NOWHERE
    index = _find_port(service, backend)
    if index is None:
        findings.append(_missing_port(ref, path, service, backend))
        return NOWHERE
    return Target(f"{key}:{service.spec.ports[index].port}", key, index)


def _find_port(service: Service, backend: IngressServiceBackend) -> int | None:
    name, number = backend.port.name, backend.port.number
    ports = [(i, p) for i, p in enumerate(service.spec.ports) if p.protocol == "TCP"]
    if number:
        return next((i for i, p in ports if p.port == number), None)
    by_name = next((i for i, p in ports if name and p.name == name), None)
    return by_name if by_name is not None else next((i for i, p in ports if name and p.target_port == name), None)


def _missing_service(ref: Ref, path: PathView, name: str, services: Mapping[str, Service]) -> Finding:
    prefix = f"{ref.namespace}/"
    known = [key.removeprefix(prefix) for key in services if key.startswith(prefix)]
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    elsewhere = sorted(key for key in services if key.endswith(f"/{name}"))
    fix = f"create Service {ref.namespace}/{name}"
    if close:
        fix = f"did you mean {' or '.join(close)}?"
    elif elsewhere:
        fix = f"a backend is always in the Ingress's own namespace, and {elsewhere[0]} is not"
    where = FieldPath(f"{path.backend_path}.service.name")
    return Finding("PW3001", "error", ref, where, f"there is no Service {prefix}{name}: requests get 503", fix)


def _missing_port(ref: Ref, path: PathView, service: Service, backend: IngressServiceBackend) -> Finding:
    wanted = backend.port.number or repr(backend.port.name)
    offered = ", ".join(f"{p.port}{f' ({p.name})' if p.name else ''}" for p in service.spec.ports) or "none"
    where = FieldPath(f"{path.backend_path}.service.port")
    message = f"Service {service.key} has no TCP port {wanted}: requests get 503"
    return Finding("PW3003", "error", ref, where, message, f"its ports: {offered}")


def compile_cluster(key: str, service: Service, index: int, slices: Sequence[EndpointSlice]) -> Cluster:
    """The cluster of one Service port."""
    port = service.spec.ports[index]
    ready: set[Upstream] = set()
    draining: set[Upstream] = set()
    family = next(iter(service.spec.ip_families), "")
    for part in slices:
        if part.address_type == "FQDN" or (family and part.address_type != family):
            continue
        for number in _numbers(port, part):
            _collect(part, number, ready, draining)
    return Cluster(
        origin=Origin(service.ref, FieldPath(f"spec.ports[{index}]")),
        key=key,
        service=service.ref,
        upstreams=tuple(sorted(ready or draining)),
    )


def _numbers(port: ServicePort, part: EndpointSlice) -> tuple[int, ...]:
    offered = (p for p in part.ports if (p.name or "") == port.name and (p.protocol or "TCP") == "TCP")
    return tuple(p.port for p in offered if p.port)


def _collect(part: EndpointSlice, number: int, ready: set[Upstream], draining: set[Upstream]) -> None:
    for endpoint in part.endpoints:
        if not endpoint.addresses or not _may_dial(endpoint.addresses[0]):
            continue
        conditions = endpoint.conditions
        upstream = Upstream(endpoint.addresses[0], number)
        if conditions.ready is not False:
            ready.add(upstream)
        elif conditions.serving and conditions.terminating:
            draining.add(upstream)


def _may_dial(address: str) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast)
