"""Hand-made Endpoints of Services without selector, mirrored to EndpointSlices (S39).

Rules:

1. One slice a family and set of ports (more above 1000 endpoints), with a name that depends on these only. At most
   1000 addresses of a subset are taken, ready ones first.
2. Nothing is mirrored with the label ``skip-mirror: "true"``, with the annotation of a leader election, or while the
   Service has a selector; what was mirrored before goes.
3. The slices belong to the Endpoints object and carry its labels and annotations.

Source: kubernetes ``pkg/controller/endpointslicemirroring``.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

import msgspec

from podwire.base import Origin, Ref
from podwire.compile.names import child_name
from podwire.compile.statuses import owner_reference
from podwire.kube import Endpoints, EndpointSlice, Service
from podwire.kube.core import EndpointAddress, EndpointPort, EndpointSubset
from podwire.plan import Create, Json, Remove, Replace, Write

LIMIT = 1000
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
SERVICE_LABEL = "kubernetes.io/service-name"
NOT_COPIED = (
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
    "endpoints.kubernetes.io/over-capacity",
)
_API = "discovery.k8s.io/v1"

Group = tuple[str, tuple[EndpointPort, ...]]


def is_mirror(part: EndpointSlice) -> bool:
    """Whether a slice was made here."""
    return part.metadata.labels.get(MANAGED_LABEL) == MANAGER


def is_mirrored(service: Service, known: Endpoints | None) -> bool:
    """Rule 2."""
    if known is None or service.spec.selector or service.spec.type == "ExternalName":
        return False
    meta = known.metadata
    return meta.labels.get(SKIP_LABEL) != "true" and LEADER_ANNOTATION not in meta.annotations


def compile_mirrors(service: Service, known: Endpoints | None, slices: tuple[EndpointSlice, ...]) -> dict[str, Write]:
    """The writes that make the mirrors right; ``slices`` are all of the Service."""
    mirrors = {part.metadata.name: part for part in slices if is_mirror(part)}
    bodies = dict(_bodies(service, known)) if known is not None and is_mirrored(service, known) else {}
    writes: dict[str, Write] = {}
    for name, body in bodies.items():
        ref = Ref("EndpointSlice", service.metadata.namespace, name)
        old = mirrors.pop(name, None)
        if old is None:
            writes[f"mirror/{ref.key}"] = Create(Origin(service.ref), ref, _API, body)
        elif _differs(old, body):
            meta = body["metadata"] | {"resourceVersion": old.metadata.resource_version, "uid": old.metadata.uid}
            writes[f"mirror/{ref.key}"] = Replace(Origin(service.ref), ref, _API, {**body, "metadata": meta})
    writes.update(remove_mirrors(mirrors.values()))
    return writes


def remove_mirrors(slices: Iterable[EndpointSlice]) -> Iterator[tuple[str, Write]]:
    """Writes that remove those of ``slices`` that are mirrors."""
    for part in slices:
        if is_mirror(part):
            yield f"mirror/{part.key}", Remove(Origin(part.ref), part.ref, _API, part.metadata.uid)


def _bodies(service: Service, known: Endpoints) -> Iterator[tuple[str, Json]]:
    groups: dict[Group, list[Json]] = {}
    for subset in known.subsets:
        for address, ready in _addresses(subset):
            family = f"IPv{ip_address(address.ip).version}"
            groups.setdefault((family, subset.ports), []).append(_endpoint(address, ready=ready))
    for (family, ports), endpoints in groups.items():
        spelled = ",".join(f"{p.name}/{p.protocol}/{p.port}" for p in ports)
        for start in range(0, len(endpoints), LIMIT):
            name = child_name(service.metadata.name, f"{known.metadata.uid}/{family}/{spelled}/{start}", limit=63)
            yield name, _body(known, name, family=family, ports=ports, endpoints=endpoints[start : start + LIMIT])


def _addresses(subset: EndpointSubset) -> list[tuple[EndpointAddress, bool]]:
    every = [(a, True) for a in subset.addresses] + [(a, False) for a in subset.not_ready_addresses]
    return every[:LIMIT]


def _endpoint(address: EndpointAddress, *, ready: bool) -> Json:
    made: Json = {"addresses": [address.ip], "conditions": {"ready": ready}}
    if address.hostname:
        made["hostname"] = address.hostname
    if address.node_name:
        made["nodeName"] = address.node_name
    if address.target_ref is not None:
        made["targetRef"] = msgspec.to_builtins(address.target_ref)
    return made


def _body(known: Endpoints, name: str, *, family: str, ports: tuple[EndpointPort, ...], endpoints: list[Json]) -> Json:
    labels = dict(known.metadata.labels) | {SERVICE_LABEL: known.metadata.name, MANAGED_LABEL: MANAGER}
    annotations = {k: v for k, v in known.metadata.annotations.items() if k not in NOT_COPIED}
    meta: Json = {
        "name": name,
        "namespace": known.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(known)],
    }
    if annotations:
        meta["annotations"] = annotations
    return {
        "apiVersion": _API,
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": family,
        "endpoints": endpoints,
        "ports": [dict(_port(p)) for p in ports],
    }


def _port(port: EndpointPort) -> Iterator[tuple[str, str | int]]:
    yield "name", port.name
    yield "protocol", port.protocol or "TCP"
    yield "port", port.port
    if port.app_protocol is not None:
        yield "appProtocol", port.app_protocol


def _differs(old: EndpointSlice, body: Json) -> bool:
    wanted = msgspec.convert(body, EndpointSlice)
    same = old.endpoints == wanted.endpoints and old.ports == wanted.ports
    meta = body["metadata"]
    return not same or old.metadata.labels != meta["labels"] or old.metadata.annotations != meta.get("annotations", {})
