"""Services, EndpointSlices and Namespaces to the zone plan: one unit per Service and Namespace, and the apex.

Rules:

1. Zones, TTL, pods and what falls through are what the Corefile says (``zone_config.py``).
2. A namespace exists when its object does, or when a Service lives in it (a folder of manifests may lack the object).
3. The SOA serial is the highest resourceVersion of the objects behind the zone, modulo 2**32: equal input gives an
   equal serial. A deletion alone does not raise it; nobody transfers this zone.
4. R11: the name servers are the Services that hold the cluster's DNS address, else ``ns.dns.Z``, which always has
   an address.

5. ``pods verified`` is a unit per running pod with an address.

What one Service contributes is in ``zone_service.py``. Source: Kubernetes DNS specification 1.1.0; RFC 2308.
"""

from functools import partial
from ipaddress import ip_address

import msgspec

from podwire.base import Finding, Origin, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.corefile_blocks import is_reverse
from podwire.compile.zone_config import compile_dns_config, upstreams_of
from podwire.compile.zone_records import Part, Records, Tables, advance, compile_part, complete_records, version_of
from podwire.compile.zone_service import Naming, compile_pod_zone
from podwire.kube import EndpointSlice, Namespace, Pod, Service
from podwire.kube.selectors import parse_label_selector
from podwire.plan import PodsMode, Record, ZonePlan, ZoneUnit
from podwire.plan.dnsconfig import DnsConfig, Kubernetes, zone_holds
from podwire.plan.zone import RecordType

SCHEMA_TTL = 28800
MAX_NEGATIVE_TTL = 300


def compile_zone(context: Context) -> Piece:
    """The zone plan, and findings on the Corefile and on names that cannot be answered."""
    part = compile_dns_config(context)
    options = part.config.kubernetes()
    if options is None:
        return Piece(zone=_empty(context, part.config), findings=part.findings)
    domain = next(zone for zone in options.zones if not is_reverse(zone))
    naming = Naming(domain, options.ttl, options.endpoint_pod_names)
    zone, findings = _compile_records(context, options, naming)
    reverse = tuple(zone for zone in options.zones if is_reverse(zone))
    plan = msgspec.structs.replace(
        zone,
        config=part.config,
        upstreams=upstreams_of(part.config, domain),
        fallthrough=_fallthrough(options, (domain, *reverse)),
    )
    return Piece(zone=plan, findings=(*part.findings, *findings))


def _empty(context: Context, config: DnsConfig) -> ZonePlan:
    """No block serves the cluster's names."""
    domain = context.snapshot.settings.domain
    pods = PodsMode("disabled", 0)
    return ZonePlan(domain, (), {}, (), pods, 1, 0, upstreams_of(config, domain), config=config)


def _fallthrough(options: Kubernetes, zones: tuple[str, ...]) -> tuple[str, ...]:
    wanted = options.fallthrough
    if wanted is None:
        return ()
    return tuple(z for z in zones if not wanted or any(zone_holds(w, z) for w in wanted))


def _compile_records(context: Context, options: Kubernetes, naming: Naming) -> tuple[ZonePlan, tuple[Finding, ...]]:
    snapshot, memo = context.snapshot, context.memo
    address = snapshot.settings.dns_address
    tables = Tables(snapshot.all(Service), snapshot.all(EndpointSlice), snapshot.all(Namespace))
    last: Records | None = memo.last("zone-records")
    inputs = (*tables, options, naming.domain, address)

    def make() -> Records:
        changed = advance(last, tables, (options, naming.domain, address), naming) if last is not None else None
        return changed or _compile_all(context, options, naming, tables)

    records = memo.unit("zone-records", inputs, make)
    units = records.units
    if options.pods == "verified":
        units = {**units, **_pod_units(context, naming, frozenset(records.namespaces))}
    serial = records.version % (1 << 32)
    reverse = tuple(zone for zone in options.zones if is_reverse(zone))
    make_apex = partial(_compile_apex, naming, serial, records.servers, address, reverse)
    apex_inputs = (naming.domain, naming.ttl, serial, records.servers, address, reverse)
    plan = ZonePlan(
        domain=naming.domain,
        reverse=reverse,
        units={**units, "apex": memo.unit("zone-apex", apex_inputs, make_apex)},
        namespaces=records.namespaces,
        pods=PodsMode(options.pods, naming.ttl),
        serial=serial,
        ttl=naming.ttl,
        upstreams=(),
    )
    return plan, records.findings


def _compile_all(context: Context, options: Kubernetes, naming: Naming, tables: Tables) -> Records:
    """Every Service and Namespace; units that did not change are the same objects as before."""
    snapshot, memo = context.snapshot, context.memo
    namespaces = _namespaces(context, options)
    parts, shadowed = _compile_parts(context, options, naming, frozenset(namespaces))
    units = {f"Service/{key}": part.unit for key, part in parts.items()}
    for name in namespaces:
        make_namespace = partial(_compile_namespace, name, naming.domain)
        units[f"Namespace/{name}"] = memo.unit(f"zone-namespace/{name}", (name, naming.domain), make_namespace)
    address = snapshot.settings.dns_address
    holders = (tables.services[key] for key, part in parts.items() if address in part.cluster_ips)
    made = Records(
        tables=tables,
        settings=(options, naming.domain, address),
        parts=parts,
        units=units,
        namespaces=namespaces,
        servers=tuple(f"{s.metadata.name}.{s.metadata.namespace}.svc.{naming.domain}" for s in holders),
        base_version=max(map(version_of, tables.namespaces.values()), default=1),
        can_advance=not shadowed and not options.ignore_empty_service and not options.noendpoints,
    )
    return complete_records(made)


def _compile_parts(
    context: Context, options: Kubernetes, naming: Naming, namespaces: frozenset[str]
) -> tuple[dict[str, Part], bool]:
    """One part per Service, and whether an endpoint holds a clusterIP: such a part is made again without those PTRs."""
    slices_by_service, memo = context.snapshot.slices_by_service, context.memo
    services = context.snapshot.all(Service)
    labels = parse_label_selector(options.labels) if options.labels else None
    shape = (naming.domain, naming.ttl, naming.pod_names)
    parts: dict[str, Part] = {}
    for key, service in services.items():
        if service.metadata.namespace not in namespaces or (labels and not labels(service.metadata.labels)):
            continue
        slices = () if options.noendpoints else slices_by_service.get(key, ())
        part = memo.unit("zone/" + key, (service, slices, shape), partial(compile_part, service, slices, naming, ()))
        if not (options.ignore_empty_service and part.cluster_ips and not part.addresses):
            parts[key] = part
    virtual = {ip for part in parts.values() for ip in part.cluster_ips}
    covered = [key for key, part in parts.items() if not virtual.isdisjoint(part.addresses)]
    for key in covered:
        service, slices = services[key], slices_by_service.get(key, ())
        shadowed = tuple(sorted(parts[key].addresses & virtual))
        again = partial(compile_part, service, slices, naming, shadowed)
        parts[key] = memo.unit(f"zone-shadowed/{key}", (service, slices, shape, shadowed), again)
    return parts, bool(covered)


def _pod_units(context: Context, naming: Naming, namespaces: frozenset[str]) -> dict[str, ZoneUnit]:
    """``a-b-c-d.ns.pod.Z`` of every pod that has this address now."""
    units = {}
    for key, pod in context.snapshot.all(Pod).items():
        addresses = pod.addresses
        if pod.metadata.namespace in namespaces and addresses and pod.status.phase not in ("Succeeded", "Failed"):
            make = partial(compile_pod_zone, pod.ref, addresses, naming)
            units[f"Pod/{key}"] = context.memo.unit(f"zone-pod/{key}", (addresses, naming.domain, naming.ttl), make)
    return units


def _namespaces(context: Context, options: Kubernetes) -> tuple[str, ...]:
    """Namespaces whose names are answered."""
    objects = context.snapshot.all(Namespace)
    found = set(objects) | context.snapshot.services_by_namespace.keys()
    if options.namespaces:
        found &= set(options.namespaces)
    if options.namespace_labels:
        selects = parse_label_selector(options.namespace_labels)
        found = {name for name in found if selects(context.snapshot.labels_of(name))}
    return tuple(sorted(found))


def _compile_namespace(name: str, domain: str) -> ZoneUnit:
    exists = (f"{name}.pod.{domain}", f"{name}.svc.{domain}")
    return ZoneUnit(Origin(Ref("Namespace", "", name)), (), exists)


def _compile_apex(
    naming: Naming, serial: int, servers: tuple[str, ...], address: str, reverse: tuple[str, ...]
) -> ZoneUnit:
    domain, ttl = naming.domain, naming.ttl
    origin = Origin(Ref("Settings", "", "dns"))
    fallback = f"ns.dns.{domain}"
    soa = f"{fallback} hostmaster.{domain} {serial} 7200 1800 86400 {ttl}"
    family: RecordType = "A" if ip_address(address).version == 4 else "AAAA"
    records = [
        Record(f"dns-version.{domain}", "TXT", SCHEMA_TTL, "1.1.0", origin),
        Record(fallback, family, ttl, address, origin),
    ]
    for zone in (domain, *reverse):
        records.append(Record(zone, "SOA", min(ttl, MAX_NEGATIVE_TTL), soa, origin))
        records.extend(Record(zone, "NS", ttl, server, origin) for server in servers or (fallback,))
    return ZoneUnit(origin, tuple(sorted(records)), (f"pod.{domain}", f"svc.{domain}"))
