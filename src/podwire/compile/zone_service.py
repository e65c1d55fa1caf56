"""The records one Service contributes to cluster DNS.

Rules (numbers are those of ``docs/design/dns.md``):

1. R2 to R4: a ClusterIP Service has its addresses, SRV for its ports and PTR for its addresses, endpoints or not.
2. R5, R7: a headless Service has what its *ready* endpoints have; with none of them its name does not exist.
3. R6, R8: every ready endpoint has a name of its own (hostname, else its address with dashes) and a PTR, whatever
   the Service's type.
4. R9: an ExternalName Service is a CNAME; an IP literal becomes the address record that was meant (PW1202).
5. R12: the bare Service name answers SRV with all ports, unnamed ones too. Port names answer A and AAAA as well.
6. ``zonal``: ``ZONE.pin._zone`` and ``ZONE.prefer._zone`` before the name of a headless Service have the endpoints of
   that zone; of zones without endpoints ``pin`` has none and ``prefer`` all (``plan.zone.zonal_base``).
7. SRV: priority 0, weight ``max(1, 100 // n)`` over the n (address, port) pairs of the answer, equal targets once.

Source: Kubernetes DNS specification 1.1.0; coredns:plugin/backend_lookup.go for 5 and 7,
plugin/kubernetes/README.md for 6.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

import msgspec

from podwire.base import FieldPath, Finding, Origin, Ref
from podwire.kube import EndpointSlice, Service
from podwire.kube.discovery import Endpoint
from podwire.plan import Record, ZoneUnit
from podwire.plan.zone import ZONAL_DIRECTIVES, ZONAL_LABEL, RecordType, reverse_name

MAX_NAME = 253
MAX_LABEL = 63
HTTPS_PORT = 443
NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
IPV4 = re.compile(r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(?:\.(?!$)|$)){4}")
"""Canonical text; :mod:`ipaddress` costs ten times as much, at every address of a first compile."""


class Naming(msgspec.Struct, frozen=True):
    """What all records of a zone share."""

    domain: str
    ttl: int
    pod_names: bool = False
    """``endpoint_pod_names``: endpoints without a hostname are named after their pod."""
    zonal: bool = False
    https: bool = False


class _Target(msgspec.Struct, frozen=True):
    """One (address, port) of a Service with the name that has the address. ``number`` 0: no port is known."""

    host: str
    address: str
    port_name: str
    protocol: str
    number: int
    origin: Origin
    port_origin: Origin
    zone: str = ""


def compile_service_zone(
    service: Service, slices: Sequence[EndpointSlice], shadowed: tuple[str, ...], naming: Naming
) -> tuple[ZoneUnit, tuple[Finding, ...]]:
    """The unit of one Service. ``shadowed`` are endpoint addresses that are some Service's clusterIP: that PTR wins."""
    owner = f"{service.metadata.name}.{service.metadata.namespace}.svc.{naming.domain}"
    if service.spec.type == "ExternalName":
        records, findings = _external(service, owner, naming.ttl)
        return _unit(service, records), findings
    endpoints = tuple(_endpoint_targets(owner, slices, naming))
    headless = service.spec.cluster_ip == "None"
    published = endpoints if headless else tuple(_cluster_targets(service, owner))
    records = [
        *_published(owner, published, naming.ttl),
        *_endpoint_names(endpoints, naming.ttl, shadowed),
    ]
    if naming.https:
        records.extend(_https(service, owner, naming.ttl))
    if not headless:
        records.extend(_pointers(service, owner, naming.ttl))
    zonal = naming.zonal and headless and bool(endpoints)
    if zonal:
        records.extend(_zonal(owner, endpoints, naming.ttl))
    return _unit(service, records, (f"{ZONAL_LABEL}.{owner}",) if zonal else ()), ()


def endpoint_addresses(slices: Sequence[EndpointSlice]) -> frozenset[str]:
    """Every ready address of the slices, for the question whether a clusterIP shadows its PTR."""
    return frozenset(a for _, _, addresses, _, _ in _ready(slices) for a in addresses)


def cluster_ips(service: Service) -> tuple[str, ...]:
    """The virtual addresses of a Service; none when it is headless, ExternalName or not yet allocated."""
    spec = service.spec
    if spec.type == "ExternalName":
        return ()
    return _normal(spec.cluster_ips or (spec.cluster_ip,))


def _normal(addresses: Iterable[str]) -> tuple[str, ...]:
    """Canonical text of each address; what is none (``None``, empty, nonsense in a manifest) is left out."""
    return tuple(text for text in map(_normal_address, addresses) if text)


def _normal_address(text: str) -> str:
    if IPV4.fullmatch(text):
        return text
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def is_dns_name(text: str) -> bool:
    """Whether ``text`` is a lower-case host name as Services may name it: labels of 1 to 63 bytes, 253 in all."""
    return len(text) <= MAX_NAME and NAME.fullmatch(text) is not None


def dashed(address: str) -> str:
    """``172-0-0-2``; an IPv6 address that would end in ``-`` gets a ``0`` (DNS specification 2.4.1)."""
    text = address.replace(".", "-").replace(":", "-")
    return text + "0" if text.endswith("-") else text


def _unit(service: Service, records: Iterable[Record], exists: tuple[str, ...] = ()) -> ZoneUnit:
    return ZoneUnit(Origin(service.ref), tuple(sorted({(r.name, r.type, r.data): r for r in records}.values())), exists)


def _https(service: Service, owner: str, ttl: int) -> Iterator[Record]:
    """RFC 9460 section 9: at the name itself for port 443, else below ``_PORT._https``."""
    for index, port in enumerate(service.spec.ports):
        if port.app_protocol == "https" and (port.protocol or "TCP") == "TCP":
            origin = Origin(service.ref, FieldPath(f"spec.ports[{index}]"))
            if port.port == HTTPS_PORT:
                yield Record(owner, "HTTPS", ttl, "1 .", origin)
            else:
                yield Record(f"_{port.port}._https.{owner}", "HTTPS", ttl, f"1 {owner} port={port.port}", origin)


def _zonal(owner: str, targets: tuple[_Target, ...], ttl: int) -> Iterator[Record]:
    by_zone: dict[str, list[_Target]] = {}
    for target in targets:
        by_zone.setdefault(target.zone, []).append(target)
    for zone, members in by_zone.items():
        for directive in ZONAL_DIRECTIVES if zone else ():
            name = f"{zone}.{directive}.{ZONAL_LABEL}.{owner}"
            if is_dns_name(name):
                yield from _answers(name, members, ttl)


def _address_record(name: str, address: str, ttl: int, origin: Origin) -> Record:
    """``address`` is canonical (:func:`_normal`)."""
    rtype: RecordType = "AAAA" if ":" in address else "A"
    return Record(name, rtype, ttl, address, origin)


def _cluster_targets(service: Service, owner: str) -> Iterator[_Target]:
    for place, address in enumerate(cluster_ips(service)):
        origin = Origin(service.ref, FieldPath(f"spec.clusterIPs[{place}]"))
        if not service.spec.ports:
            yield _Target(owner, address, "", "", 0, origin, origin)
        for index, port in enumerate(service.spec.ports):
            where = Origin(service.ref, FieldPath(f"spec.ports[{index}]"))
            yield _Target(owner, address, port.name, port.protocol or "TCP", port.port, origin, where)


def _endpoint_targets(owner: str, slices: Sequence[EndpointSlice], naming: Naming) -> Iterator[_Target]:
    for part, hostname, addresses, origin, zone in _ready(slices, pod_names=naming.pod_names):
        ports = [p for p in part.ports if p.port]
        for address in addresses:
            host = f"{hostname or dashed(address)}.{owner}"
            if not is_dns_name(host):
                continue
            if not ports:
                yield _Target(host, address, "", "", 0, origin, origin, zone)
            for port in ports:
                name, protocol, number = port.name or "", port.protocol or "TCP", port.port or 0
                yield _Target(host, address, name, protocol, number, origin, origin, zone)


def _ready(
    slices: Sequence[EndpointSlice], *, pod_names: bool = False
) -> Iterator[tuple[EndpointSlice, str, tuple[str, ...], Origin, str]]:
    """Endpoints with condition ready true or absent: the slice controller sets it for publishNotReadyAddresses."""
    for part in slices:
        if part.address_type == "FQDN":
            continue
        for index, endpoint in enumerate(part.endpoints):
            if endpoint.conditions.ready is not False:
                origin = Origin(part.ref, FieldPath(f"endpoints[{index}]"))
                name = endpoint.hostname or (_pod_name(endpoint) if pod_names else "")
                yield part, name.lower(), _normal(endpoint.addresses), origin, (endpoint.zone or "").lower()


def _pod_name(endpoint: Endpoint) -> str:
    """The pod's name when it fits into a label."""
    target = endpoint.target_ref
    name = target.name if target is not None and target.kind == "Pod" else ""
    return name if len(name) <= MAX_LABEL and "." not in name else ""


def compile_pod_zone(pod: Ref, addresses: Sequence[str], naming: Naming) -> ZoneUnit:
    """The names of one pod for ``pods verified``."""
    origin = Origin(pod, FieldPath("status.podIPs"))
    owner = f"{pod.namespace}.pod.{naming.domain}"
    return ZoneUnit(
        origin,
        tuple(sorted(_address_record(f"{dashed(a)}.{owner}", a, naming.ttl, origin) for a in _normal(addresses))),
    )


def _published(owner: str, targets: tuple[_Target, ...], ttl: int) -> Iterator[Record]:
    """Address and SRV records at the Service's name (R2, R5, R12) and at its port names (R3, R7)."""
    yield from _answers(owner, targets, ttl)
    named: dict[tuple[str, str], list[_Target]] = {}
    for target in targets:
        if target.port_name:
            named.setdefault((target.port_name, target.protocol.lower()), []).append(target)
    for (port, protocol), members in named.items():
        yield from _answers(f"_{port}._{protocol}.{owner}", members, ttl)


def _answers(name: str, targets: Sequence[_Target], ttl: int) -> Iterator[Record]:
    for target in targets:
        yield _address_record(name, target.address, ttl, target.origin)
    ported = {(t.address, t.number, t.host): t for t in targets if t.number}
    weight = max(1, 100 // len(ported)) if ported else 0
    for target in ported.values():
        yield Record(name, "SRV", ttl, f"0 {weight} {target.number} {target.host}", target.port_origin)


def _endpoint_names(targets: tuple[_Target, ...], ttl: int, shadowed: tuple[str, ...]) -> Iterator[Record]:
    for target in targets:
        yield _address_record(target.host, target.address, ttl, target.origin)
        if target.address not in shadowed:
            yield Record(reverse_name(target.address), "PTR", ttl, target.host, target.origin)


def _pointers(service: Service, owner: str, ttl: int) -> Iterator[Record]:
    for place, address in enumerate(cluster_ips(service)):
        origin = Origin(service.ref, FieldPath(f"spec.clusterIPs[{place}]"))
        yield Record(reverse_name(address), "PTR", ttl, owner, origin)


def _external(service: Service, owner: str, ttl: int) -> tuple[list[Record], tuple[Finding, ...]]:
    path = FieldPath("spec.externalName")
    target = service.spec.external_name.lower().rstrip(".")
    origin = Origin(service.ref, path)
    address = _normal_address(target)
    if not address and is_dns_name(target):
        return [Record(owner, "CNAME", ttl, target, origin)], ()
    if not address:
        message = f"externalName {target!r} is not a DNS name; the Service's name does not resolve"
        return [], (Finding("PW1201", "error", service.ref, path, message, "use a host name such as db.example.com"),)
    record = _address_record(owner, address, ttl, origin)
    message = f"externalName {target} is an address: answered here as an {record.type} record, by no other DNS server"
    fix = "use a Service without selector and an EndpointSlice with this address"
    return [record], (Finding("PW1202", "warning", service.ref, path, message, fix),)
