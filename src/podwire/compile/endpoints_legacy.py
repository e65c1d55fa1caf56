"""The deprecated Endpoints object of a Service (S38): what older clients still read.

Source: kubernetes ``pkg/controller/endpoint/endpoints_controller.go``; KEP-4974.
"""

from ipaddress import ip_address

import msgspec

from podwire.base import Origin
from podwire.compile.endpoints_views import PodView, resolve_port
from podwire.kube import Endpoints, Service
from podwire.kube.core import EndpointAddress, EndpointPort, EndpointSubset, ObjectReference
from podwire.plan import Create, Json, Replace, Write

LIMIT = 1000
MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
HEADLESS_LABEL = "service.kubernetes.io/headless"
CAPACITY = "endpoints.kubernetes.io/over-capacity"

Ports = tuple[EndpointPort, ...]


def compile_legacy(service: Service, pods: tuple[PodView, ...], known: Endpoints | None) -> Write | None:
    """Create or replace the Endpoints object; None when it is right."""
    subsets, truncated = _subsets(service, pods)
    labels = dict(service.metadata.labels) | {MANAGED_LABEL: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS_LABEL] = ""
    annotations = {CAPACITY: "truncated"} if truncated else {}
    meta: Json = {"name": service.metadata.name, "namespace": service.metadata.namespace, "labels": labels}
    body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": [_json(s) for s in subsets]}
    ref = msgspec.structs.replace(service.ref, kind="Endpoints")
    if known is None:
        if annotations:
            meta["annotations"] = annotations
        return Create(Origin(service.ref), ref, "v1", body)
    had = known.metadata.annotations.get(CAPACITY)
    if known.subsets == subsets and known.metadata.labels == labels and had == annotations.get(CAPACITY):
        return None
    annotations |= {k: v for k, v in known.metadata.annotations.items() if k != CAPACITY}
    if annotations:
        meta["annotations"] = annotations
    meta |= {"resourceVersion": known.metadata.resource_version, "uid": known.metadata.uid}
    return Replace(Origin(service.ref), ref, "v1", body)


def _subsets(service: Service, pods: tuple[PodView, ...]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """Addresses by the ports they have, in a canonical order, at most 1000 addresses in all, ready ones first."""
    ready: dict[Ports, list[EndpointAddress]] = {}
    unready: dict[Ports, list[EndpointAddress]] = {}
    publish = service.spec.publish_not_ready_addresses
    family = int((service.spec.ip_families or ("IPv4",))[0][-1])
    for pod in pods:
        address = next((a for a in pod.addresses if ip_address(a).version == family), None)
        if address is None or (pod.terminating and not publish):
            continue
        ports = _ports(service, pod)
        if service.spec.ports and not ports:
            continue
        place = ready if pod.ready or publish else unready
        place.setdefault(ports, []).append(_address(service, pod, address))
    total = sum(map(len, (*ready.values(), *unready.values())))
    room = LIMIT
    subsets: dict[Ports, EndpointSubset] = {}
    for field, groups in (("addresses", ready), ("not_ready_addresses", unready)):
        for ports in sorted(groups, key=_order):
            chosen = tuple(sorted(groups[ports], key=lambda a: int(ip_address(a.ip)))[:room])
            room -= len(chosen)
            if chosen:
                old = subsets.get(ports, EndpointSubset(ports=ports))
                subsets[ports] = msgspec.structs.replace(old, **{field: chosen})
    return tuple(subsets[p] for p in sorted(subsets, key=_order)), total > LIMIT


def _order(ports: Ports) -> list[tuple[str, int, str]]:
    return [(p.name, p.port, p.protocol) for p in ports]


def _ports(service: Service, pod: PodView) -> Ports:
    resolved = ((port, resolve_port(port, pod.ports)) for port in service.spec.ports)
    return tuple(
        EndpointPort(name=port.name, port=number, protocol=port.protocol, app_protocol=port.app_protocol)
        for port, number in resolved
        if number is not None
    )


def _address(service: Service, pod: PodView, address: str) -> EndpointAddress:
    named = pod.hostname and pod.subdomain == service.metadata.name
    return EndpointAddress(
        ip=address,
        hostname=pod.hostname if named else "",
        node_name=pod.node or None,
        target_ref=ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid),
    )


def _json(subset: EndpointSubset) -> Json:
    decoded: Json = msgspec.json.decode(msgspec.json.encode(subset))
    if subset.ports:
        decoded["ports"] = [{"protocol": "TCP"} | p for p in decoded["ports"]]
    return decoded
