"""Services, EndpointSlices and Namespaces to the zone plan: one unit per Service and Namespace, and the apex.

Rules:

1. Zones, TTL, pods and what falls through are what the Corefile says (``zone_config.py``).
2. A namespace exists when its object does, or when a Service lives in it (a folder of manifests may lack the object).
3. The SOA serial is the highest resourceVersion of the objects behind the zone, modulo 2**32: equal input gives an
   equal serial. A deletion alone does not raise it; nobody transfers this zone.
4. R11: the name servers are the Services that hold the cluster's DNS address, else ``ns.dns.Z``, which always has
   an address.

5. What ``Settings.dns`` switches on: networks of zones (``places``), HTTPS records, a limit for each client.
6. ``pods verified`` is a unit per running pod with an address.

What one Service contributes is in ``zone_service.py``. Source: Kubernetes DNS specification 1.1.0; RFC 2308.
"""

from collections.abc import Mapping, Set
from functools import partial
from ipaddress import ip_address

import msgspec

from podwire.base import Finding, Origin, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.corefile_blocks import is_reverse
from podwire.compile.policy_names import released_revision, watched_names
from podwire.compile.services import ZONE_LABEL
from podwire.compile.touched import Results
from podwire.compile.zone_config import compile_dns_config, upstreams_of
from podwire.compile.zone_records import Records, World, highest_version
from podwire.compile.zone_service import Naming, compile_pod_zone
from podwire.kube import Namespace, Node, Pod, Service
from podwire.kube.selectors import parse_label_selector
from podwire.plan import PodsMode, Record, ZonePlan, ZoneUnit
from podwire.plan.dnsconfig import DnsConfig, Kubernetes, zone_holds
from podwire.plan.zone import RecordType
from podwire.snapshot import Snapshot

SCHEMA_TTL = 28800
MAX_NEGATIVE_TTL = 300


def compile_zone(context: Context) -> Piece:
    """The zone plan, and findings on the Corefile and on names that cannot be answered."""
    part = compile_dns_config(context)
    options = part.config.kubernetes()
    if options is None:
        return Piece(zone=_empty(context, part.config), findings=part.findings)
    domain = next(zone for zone in options.zones if not is_reverse(zone))
    naming = Naming(domain, options.ttl, options.endpoint_pod_names, options.zonal, context.snapshot.settings.dns.https)
    zone, findings = _compile_records(context, options, naming)
    reverse = tuple(zone for zone in options.zones if is_reverse(zone))
    plan = msgspec.structs.replace(
        zone,
        config=part.config,
        upstreams=upstreams_of(part.config, domain),
        fallthrough=_fallthrough(options, (domain, *reverse)),
        places=_places(context) if context.snapshot.settings.dns.topology else (),
        client_rate=context.snapshot.settings.dns.client_rate,
        watched=watched_names(context.snapshot),
        released=released_revision(context.snapshot, context.services.nodes if context.services else ()),
    )
    return Piece(zone=plan, findings=(*part.findings, *findings))


def _places(context: Context) -> tuple[tuple[str, str], ...]:
    """Networks of the pods of each node with the node's zone."""
    nodes = context.snapshot.all(Node).values()
    zones = ((node.pod_cidrs, node.metadata.labels.get(ZONE_LABEL, "")) for node in nodes)
    return tuple(sorted((cidr, zone) for cidrs, zone in zones if zone for cidr in cidrs))


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


class _Zone:
    """The records, and the namespaces they were made for; lives in a memo."""

    def __init__(self) -> None:
        self.records = Records()
        self.namespaces: tuple[str, ...] = ()
        self._pods: Results[ZoneUnit] = Results()
        self._domain = ""

    def update(self, context: Context, options: Kubernetes, naming: Naming) -> None:
        """Follow the snapshot."""
        snapshot, records = context.snapshot, self.records
        before, self.namespaces = self.namespaces, _namespaces(context, options)
        answered = frozenset(self.namespaces)
        moved = answered.symmetric_difference(before)
        labels = parse_label_selector(options.labels) if options.labels else None
        world = World(
            services=snapshot.all(Service),
            slices={} if options.noendpoints else snapshot.slices_by_service,
            naming=naming,
            admits=lambda s: s.metadata.namespace in answered and (labels is None or labels(s.metadata.labels)),
            drop_empty=options.ignore_empty_service,
            inputs=(options, naming.domain, naming.ttl, naming.pod_names, naming.zonal, naming.https),
            also={s.key for name in moved for s in snapshot.services_by_namespace.get(name, ())},
        )
        records.update(world)
        stale = moved if self._domain == naming.domain else {*moved, *self.namespaces}
        self._domain = naming.domain
        records.put({f"Namespace/{n}": _compile_namespace(n, naming.domain) if n in answered else None for n in stale})
        self._follow_pods(snapshot, options, naming, answered, moved)

    def _follow_pods(
        self, snapshot: Snapshot, options: Kubernetes, naming: Naming, answered: frozenset[str], moved: Set[str]
    ) -> None:
        """``a-b-c-d.ns.pod.Z`` of every pod that has this address now (rule 6)."""
        pods: Mapping[str, Pod] = snapshot.all(Pod) if options.pods == "verified" else {}
        also = {p.key for name in moved for p in snapshot.pods_by_namespace.get(name, ())} if pods else frozenset[str]()

        def make(key: str) -> ZoneUnit | None:
            pod = pods.get(key)
            addresses = _addresses(pod) if pod is not None and pod.metadata.namespace in answered else ()
            return compile_pod_zone(pod.ref, addresses, naming) if pod is not None and addresses else None

        self._pods.update((pods,), (naming.domain, naming.ttl), make, also=also)
        self.records.put({f"Pod/{key}": self._pods.results.get(key) for key in self._pods.changed})


def _addresses(pod: Pod) -> tuple[str, ...]:
    return () if pod.status.phase in ("Succeeded", "Failed") else pod.addresses


def _compile_records(context: Context, options: Kubernetes, naming: Naming) -> tuple[ZonePlan, tuple[Finding, ...]]:
    snapshot, memo = context.snapshot, context.memo
    zone = memo.unit("zone", (), _Zone)
    zone.update(context, options, naming)
    records, address = zone.records, snapshot.settings.dns_address
    holders = (snapshot.all(Service)[key] for key in records.holders(address))
    servers = tuple(f"{s.metadata.name}.{s.metadata.namespace}.svc.{naming.domain}" for s in holders)
    spaces = snapshot.all(Namespace)
    oldest = memo.unit("zone-namespaces-version", (spaces,), lambda: highest_version(spaces.values()))
    serial = max(oldest, records.version, 1) % (1 << 32)
    reverse = tuple(zone for zone in options.zones if is_reverse(zone))
    make_apex = partial(_compile_apex, naming, serial, servers, address, reverse)
    apex_inputs = (naming.domain, naming.ttl, serial, servers, address, reverse)
    records.put({"apex": memo.unit("zone-apex", apex_inputs, make_apex)})
    plan = ZonePlan(
        domain=naming.domain,
        reverse=reverse,
        units=records.units,
        namespaces=zone.namespaces,
        pods=PodsMode(options.pods, naming.ttl),
        serial=serial,
        ttl=naming.ttl,
        upstreams=(),
    )
    return plan, records.findings.all


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
