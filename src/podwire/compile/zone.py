"""Services, EndpointSlices and Namespaces to the zone plan: one unit per Service and Namespace, and the apex.

Rules:

1. TTL 30, ``pods insecure`` and reverse zones that fall through are what kubeadm's Corefile says.
2. A namespace exists when its object does, or when a Service lives in it (a folder of manifests may lack the object).
3. The SOA serial is the highest resourceVersion of the objects behind the zone, modulo 2**32: equal input gives an
   equal serial. A deletion alone does not raise it; nobody transfers this zone.
4. R11: the name servers are the Services that hold the cluster's DNS address, else ``ns.dns.Z``, which always has
   an address.

What one Service contributes is in ``zone_service.py``. Source: Kubernetes DNS specification 1.1.0; RFC 2308.
"""

from collections.abc import Sequence
from functools import partial
from ipaddress import ip_address

import msgspec

from podwire.base import Finding, Origin, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.zone_service import Naming, cluster_ips, compile_service_zone, endpoint_addresses
from podwire.kube import EndpointSlice, KubeObject, Namespace, Service
from podwire.plan import PodsMode, Record, ZonePlan, ZoneUnit
from podwire.plan.zone import RecordType

TTL = 30
SCHEMA_TTL = 28800
MAX_NEGATIVE_TTL = 300
REVERSE = ("in-addr.arpa", "ip6.arpa")


class _Part(msgspec.Struct, frozen=True):
    """What one Service contributes: ``addresses`` are its endpoints', ``version`` is the highest of its objects."""

    unit: ZoneUnit
    findings: tuple[Finding, ...]
    cluster_ips: tuple[str, ...]
    addresses: frozenset[str]
    version: int


def compile_zone(context: Context) -> Piece:
    """The zone plan, and findings on names that cannot be answered."""
    snapshot, memo = context.snapshot, context.memo
    naming = Naming(snapshot.settings.domain, TTL)
    parts = _compile_parts(context, naming)
    units = {f"Service/{key}": part.unit for key, part in parts.items()}
    namespaces = _namespaces(context)
    for name in namespaces:
        make_namespace = partial(_compile_namespace, name, naming.domain)
        units[f"Namespace/{name}"] = memo.unit(f"zone-namespace/{name}", (name, naming.domain), make_namespace)
    versions = (max(map(_version, snapshot.all(Namespace).values()), default=1), *(p.version for p in parts.values()))
    serial = max(versions) % (1 << 32)
    address = snapshot.settings.dns_address
    holders = (snapshot.all(Service)[key] for key, part in parts.items() if address in part.cluster_ips)
    servers = tuple(f"{s.metadata.name}.{s.metadata.namespace}.svc.{naming.domain}" for s in holders)
    make_apex = partial(_compile_apex, naming, serial, servers, address)
    units["apex"] = memo.unit("zone-apex", (naming.domain, serial, servers, address), make_apex)
    plan = ZonePlan(
        domain=naming.domain,
        reverse=REVERSE,
        units=units,
        namespaces=namespaces,
        pods=PodsMode("insecure", TTL),
        serial=serial,
        ttl=TTL,
        upstreams=snapshot.settings.upstreams,
    )
    return Piece(zone=plan, findings=tuple(finding for part in parts.values() for finding in part.findings))


def _compile_parts(context: Context, naming: Naming) -> dict[str, _Part]:
    """One part per Service. A part whose endpoints hold some Service's clusterIP is made again without those PTRs."""
    slices_by_service, memo = context.snapshot.slices_by_service, context.memo
    parts: dict[str, _Part] = {}
    for key, service in context.snapshot.all(Service).items():
        slices = slices_by_service.get(key, ())
        inputs = (service, slices, naming.domain)
        parts[key] = memo.unit("zone/" + key, inputs, partial(_compile_part, service, slices, naming, ()))
    virtual = {ip for part in parts.values() for ip in part.cluster_ips}
    for key, part in parts.items():
        if not virtual.isdisjoint(part.addresses):
            service, slices = context.snapshot.all(Service)[key], slices_by_service.get(key, ())
            shadowed = tuple(sorted(part.addresses & virtual))
            again = partial(_compile_part, service, slices, naming, shadowed)
            parts[key] = memo.unit(f"zone-shadowed/{key}", (service, slices, naming.domain, shadowed), again)
    return parts


def _compile_part(
    service: Service, slices: Sequence[EndpointSlice], naming: Naming, shadowed: tuple[str, ...]
) -> _Part:
    unit, findings = compile_service_zone(service, slices, shadowed, naming)
    version = max(_version(service), *map(_version, slices), 0)
    return _Part(unit, findings, cluster_ips(service), endpoint_addresses(slices), version)


def _version(value: KubeObject) -> int:
    """resourceVersions are decimal in every API server in use; offline objects have none."""
    text = value.metadata.resource_version
    return int(text) if text.isdecimal() else 0


def _namespaces(context: Context) -> tuple[str, ...]:
    named = {n.metadata.name for n in context.snapshot.all(Namespace).values()}
    return tuple(sorted(named | context.snapshot.services_by_namespace.keys()))


def _compile_namespace(name: str, domain: str) -> ZoneUnit:
    exists = (f"{name}.pod.{domain}", f"{name}.svc.{domain}")
    return ZoneUnit(Origin(Ref("Namespace", "", name)), (), exists)


def _compile_apex(naming: Naming, serial: int, servers: tuple[str, ...], address: str) -> ZoneUnit:
    domain, ttl = naming.domain, naming.ttl
    origin = Origin(Ref("Settings", "", "dns"))
    fallback = f"ns.dns.{domain}"
    soa = f"{fallback} hostmaster.{domain} {serial} 7200 1800 86400 {ttl}"
    family: RecordType = "A" if ip_address(address).version == 4 else "AAAA"
    records = [
        Record(f"dns-version.{domain}", "TXT", SCHEMA_TTL, "1.1.0", origin),
        Record(fallback, family, ttl, address, origin),
    ]
    for zone in (domain, *REVERSE):
        records.append(Record(zone, "SOA", min(ttl, MAX_NEGATIVE_TTL), soa, origin))
        records.extend(Record(zone, "NS", ttl, server, origin) for server in servers or (fallback,))
    return ZoneUnit(origin, tuple(sorted(records)), (f"pod.{domain}", f"svc.{domain}"))
