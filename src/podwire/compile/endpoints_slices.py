"""Endpoints of one Service packed into EndpointSlices (S30 to S36).

Rules:

1. Endpoints with the same family and resolved ports share slices of at most 100.
2. An endpoint stays in the slice it is in; new ones fill slices that change anyway, fullest first, then the one
   other slice that fits them best, then new slices. Nothing is rebalanced.
3. A slice nobody needs any more takes over another group before a new one is created; else it is removed.
4. Hints: ``trafficDistribution``, or ``topology-mode: Auto``, which overrides it (:mod:`podwire.compile.topology`).
5. New slices have names that depend only on the Service and their number.
6. The annotation endpoints.kubernetes.io/last-change-trigger-time is not written: equal input, equal output.

Source: KEP-752; kubernetes ``staging/src/k8s.io/endpointslice/reconciler.go``.
"""

from collections.abc import Iterator
from ipaddress import ip_address

import msgspec

from podwire.base import Origin, Ref
from podwire.compile.endpoints_views import PodView, resolve_port
from podwire.compile.names import child_name
from podwire.compile.statuses import owner_reference
from podwire.compile.topology import Part, Said, Topology, assign_hints, is_auto
from podwire.kube import EndpointSlice, Service
from podwire.kube.core import ObjectReference
from podwire.kube.discovery import Endpoint, EndpointConditions, EndpointHints, EndpointPort, ForNode, ForZone
from podwire.plan import Create, Json, Remove, Replace, Write

LIMIT = 100
SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS_LABEL = "service.kubernetes.io/headless"
_API = "discovery.k8s.io/v1"

Group = tuple[str, tuple[EndpointPort, ...]]


class Sliced(msgspec.Struct, frozen=True):
    """The writes that make a Service's slices right, and what is to be said about its hints."""

    writes: dict[str, Write]
    said: tuple[Said, ...] = ()


class _Slot:
    """A slice in the making: what exists of it, and what it shall hold."""

    def __init__(self, known: EndpointSlice | None, group: Group) -> None:
        self.known = known
        self.group = group
        self.endpoints: list[Endpoint] = []
        self.changed = known is None

    @property
    def room(self) -> int:
        return LIMIT - len(self.endpoints)


def compile_slices(
    service: Service, pods: tuple[PodView, ...], slices: tuple[EndpointSlice, ...], topology: Topology
) -> Sliced:
    """What makes the Service's slices right; ``slices`` are those podwire manages."""
    groups = _groups(service, pods, topology)
    slots, spare = _keep(groups, slices, keep_hints=is_auto(service))
    for group, endpoints in groups.items():
        _place(group, endpoints, slots, spare)
    if not slots:
        slots.append(_Slot(spare.pop(0) if spare else None, (_families(service)[0], ())))
    said = _balance(slots, topology) if is_auto(service) else ()
    return Sliced(_writes(service, slots, spare), said)


def _balance(slots: list[_Slot], topology: Topology) -> tuple[Said, ...]:
    """Hints by the CPU of zones, a family at a time."""
    said = []
    for family in sorted({s.group[0] for s in slots}):
        own = [s for s in slots if s.group[0] == family]
        made, what = assign_hints([Part(tuple(s.endpoints), s.changed) for s in own], topology, family)
        for slot, endpoints in zip(own, made, strict=True):
            slot.endpoints = list(endpoints)
        said.append(what)
    return tuple(said)


def _writes(service: Service, slots: list[_Slot], spare: list[EndpointSlice]) -> dict[str, Write]:
    taken = {s.known.metadata.name for s in slots if s.known} | {s.metadata.name for s in spare}
    writes: dict[str, Write] = {}
    number = 0
    for slot in slots:
        if slot.known is not None:
            body = _body(service, slot, slot.known.metadata.name)
            if _differs(slot, body):
                writes[_key(slot.known.ref)] = _replacement(service, slot.known, body)
            continue
        name = ""
        while not name or name in taken:
            name = child_name(service.metadata.name, f"{service.metadata.uid}/{number}", limit=63)
            number += 1
        taken.add(name)
        ref = Ref("EndpointSlice", service.metadata.namespace, name)
        writes[_key(ref)] = Create(Origin(service.ref), ref, _API, _body(service, slot, name))
    for old in spare:
        writes[_key(old.ref)] = Remove(Origin(service.ref), old.ref, _API, old.metadata.uid)
    return writes


def _key(ref: Ref) -> str:
    return f"slice/EndpointSlice/{ref.key}"


def _families(service: Service) -> tuple[str, ...]:
    return service.spec.ip_families or ("IPv4",)


def _groups(service: Service, pods: tuple[PodView, ...], topology: Topology) -> dict[Group, list[Endpoint]]:
    found: dict[Group, list[Endpoint]] = {}
    zones = topology.zones
    for pod in pods:
        if pod.node not in zones and not service.spec.publish_not_ready_addresses:
            continue  # S34: the node is not known (yet)
        ports = _ports(service, pod)
        for address in pod.addresses:
            family = f"IPv{ip_address(address).version}"
            if family in _families(service):
                endpoint = _endpoint(service, pod, address, zones.get(pod.node, ""))
                found.setdefault((family, ports), []).append(endpoint)
    return dict(sorted(found.items(), key=lambda item: (item[0][0], [_port_key(p) for p in item[0][1]])))


def _port_key(port: EndpointPort) -> tuple[str, str, int]:
    return port.name or "", port.protocol or "", port.port or 0


def _ports(service: Service, pod: PodView) -> tuple[EndpointPort, ...]:
    """S30: a name the pod does not have leaves the port out; a headless Service may have no ports at all."""
    found = []
    for port in service.spec.ports:
        number = resolve_port(port, pod.ports)
        if number is not None:
            item = EndpointPort(name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol)
            found.append(item)
    return tuple(found)


def _endpoint(service: Service, pod: PodView, address: str, zone: str) -> Endpoint:
    ready = service.spec.publish_not_ready_addresses or (pod.ready and not pod.terminating)
    target = ObjectReference(kind="Pod", namespace=pod.namespace, name=pod.name, uid=pod.uid)
    named = pod.hostname and pod.subdomain == service.metadata.name
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(ready=ready, serving=pod.ready, terminating=pod.terminating),
        hostname=pod.hostname if named else None,
        target_ref=target,
        node_name=pod.node or None,
        zone=zone or None,
        hints=_hints(service.spec.traffic_distribution, pod.node, zone) if ready and not is_auto(service) else None,
    )


def _hints(distribution: str | None, node: str, zone: str) -> EndpointHints | None:
    """KEP-4444, KEP-3015: the own zone, and with PreferSameNode the own node."""
    match distribution:
        case "PreferClose" | "PreferSameZone":
            return EndpointHints(for_zones=(ForZone(name=zone),)) if zone else None
        case "PreferSameNode":
            zones = (ForZone(name=zone),) if zone else ()
            return EndpointHints(for_zones=zones, for_nodes=(ForNode(name=node),))
        case _:
            return None


def _identity(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.target_ref.uid if endpoint.target_ref else "", endpoint.addresses[0] if endpoint.addresses else ""


def _group_of(part: EndpointSlice) -> Group:
    ports = (msgspec.structs.replace(p, name=p.name or "", protocol=p.protocol or "TCP") for p in part.ports)
    return part.address_type, tuple(ports)


def _keep(
    groups: dict[Group, list[Endpoint]], slices: tuple[EndpointSlice, ...], *, keep_hints: bool
) -> tuple[list[_Slot], list[EndpointSlice]]:
    """Slots for slices that keep endpoints, which leave ``groups``; and the slices that keep none.

    ``keep_hints``: hints are decided later, over all slices; another hint is no change yet.
    """
    slots, spare = [], []
    for part in slices:
        if part.metadata.deletion_timestamp is not None:
            continue
        slot = _Slot(part, _group_of(part))
        wanted = {_identity(e): e for e in groups.get(slot.group, ())}
        for endpoint in part.endpoints:
            new = wanted.pop(_identity(endpoint), None)
            if new is not None and keep_hints:
                new = msgspec.structs.replace(new, hints=endpoint.hints)
            if new is not None and slot.room:
                slot.endpoints.append(new)
            slot.changed = slot.changed or new != endpoint
        if not slot.endpoints:
            spare.append(part)
            continue
        kept = {_identity(e) for e in slot.endpoints}
        groups[slot.group] = [e for e in groups[slot.group] if _identity(e) not in kept]
        slots.append(slot)
    return slots, spare


def _place(group: Group, endpoints: list[Endpoint], slots: list[_Slot], spare: list[EndpointSlice]) -> None:
    """Rule 2 for the endpoints of one group that are in no slice."""
    left = list(endpoints)
    own = [s for s in slots if s.group == group]
    for slot in sorted((s for s in own if s.changed), key=lambda s: s.room):
        left = _fill(slot, left)
    if left:
        fitting = [s for s in own if not s.changed and s.room >= len(left)]
        best = min(fitting, key=lambda s: s.room, default=None)
        left = _fill(best, left) if best else left
    while left:
        reused = next((s for s in spare if s.address_type == group[0]), None)
        if reused is not None:
            spare.remove(reused)
        slot = _Slot(reused, group)
        left = _fill(slot, left)
        slots.append(slot)


def _fill(slot: _Slot, endpoints: list[Endpoint]) -> list[Endpoint]:
    room = slot.room
    slot.endpoints.extend(endpoints[:room])
    slot.changed = True
    return endpoints[room:]


def _labels(service: Service) -> dict[str, str]:
    """S33: the Service's labels without reserved ones."""
    reserved = (SERVICE_LABEL, MANAGED_LABEL, HEADLESS_LABEL)
    labels = {k: v for k, v in service.metadata.labels.items() if k not in reserved}
    labels |= {SERVICE_LABEL: service.metadata.name, MANAGED_LABEL: MANAGER}
    if service.spec.cluster_ip == "None":
        labels[HEADLESS_LABEL] = ""
    return labels


def _body(service: Service, slot: _Slot, name: str) -> Json:
    family, ports = slot.group
    return {
        "apiVersion": _API,
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": service.metadata.namespace,
            "labels": _labels(service),
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": family,
        "endpoints": [_endpoint_json(e) for e in slot.endpoints],
        "ports": [dict(_port_json(p)) for p in ports],
    }


def _endpoint_json(endpoint: Endpoint) -> Json:
    decoded: Json = msgspec.json.decode(msgspec.json.encode(endpoint))
    return decoded


def _port_json(port: EndpointPort) -> Iterator[tuple[str, str | int]]:
    yield "name", port.name or ""
    yield "protocol", port.protocol or "TCP"
    if port.port is not None:
        yield "port", port.port
    if port.app_protocol is not None:
        yield "appProtocol", port.app_protocol


def _differs(slot: _Slot, body: Json) -> bool:
    known = slot.known
    assert known is not None
    meta = known.metadata
    if tuple(slot.endpoints) != known.endpoints or slot.group != _group_of(known):
        return True
    owned = any(o.uid == body["metadata"]["ownerReferences"][0]["uid"] for o in meta.owner_references)
    return not owned or meta.labels != body["metadata"]["labels"]


def _replacement(service: Service, known: EndpointSlice, body: Json) -> Replace:
    meta = body["metadata"] | {"resourceVersion": known.metadata.resource_version, "uid": known.metadata.uid}
    if known.metadata.annotations:
        meta["annotations"] = dict(known.metadata.annotations)
    return Replace(Origin(service.ref), known.ref, _API, {**body, "metadata": meta})
