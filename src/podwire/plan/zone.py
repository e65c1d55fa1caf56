"""What cluster DNS must answer: records by owner, and the one rule that turns a question into an answer.

Rules:

1. Names are lower case, absolute, without the final dot: ``api.shop.svc.cluster.local``.
2. A unit is the set of records one object contributes; a change of one Service replaces one unit.
3. :meth:`ZoneIndex.resolve` is the reference answer. The DNS server compiles the same answers to wire bytes and
   ``explain`` prints them; a test compares the two over every name of generated zones.
4. A name exists when it or any name below it has records (RFC 8020): then a missing type is NODATA, never NXDOMAIN.
5. A zone of ``fallthrough`` asks the upstreams for what it does not know; without upstreams that is NXDOMAIN.
6. A CNAME chain that loops, or is longer than 10, is SERVFAIL with the part of the chain that is known.

Source: Kubernetes DNS specification 1.1.0; RFC 1034, 2308, 8020.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from podwire.base import Origin
from podwire.plan.dnsconfig import DnsConfig

RecordType = Literal["A", "AAAA", "SRV", "PTR", "CNAME", "TXT", "NS", "SOA", "HTTPS"]
Rcode = Literal["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"]

CHASED = ("A", "AAAA", "CNAME")
"""Types that an alias answers; every other type at an ExternalName Service is NODATA, as in CoreDNS."""

MAX_CHASE = 10
ZONAL_LABEL, ZONAL_DIRECTIVES = "_zone", ("pin", "prefer")
DASHED_ALPHABET = frozenset("0123456789abcdef-")


class Record(msgspec.Struct, frozen=True, order=True):
    """One record. ``data`` is presentation form: ``10.96.0.1``, ``0 50 80 a.b.svc.cluster.local``."""

    name: str
    type: RecordType
    ttl: int
    data: str
    origin: Origin


class ZoneUnit(msgspec.Struct, frozen=True):
    """The records of one object. Key in the plan: ``Service/shop/api``, ``Namespace/shop``, ``apex``.

    ``exists`` are names that exist without records of their own (empty non-terminals are derived and need not be
    listed): ``shop.svc.cluster.local`` for a namespace.
    """

    origin: Origin
    records: tuple[Record, ...]
    exists: tuple[str, ...] = ()


class PodsMode(msgspec.Struct, frozen=True):
    """How ``a-b-c-d.ns.pod.Z`` is answered: ``insecure`` echoes for every existing namespace, ``verified`` needs a
    pod (then its records are ordinary units), ``disabled`` is NXDOMAIN."""

    mode: Literal["disabled", "insecure", "verified"]
    ttl: int


class ZonePlan(msgspec.Struct, frozen=True):
    """The authoritative zones (``origins``, e.g. ``cluster.local``, ``in-addr.arpa``) and where the rest goes.

    Zones of ``fallthrough`` ask the upstreams for unknown names (None: the ``reverse`` zones); ``serial`` is the SOA
    serial; ``upstreams`` are ``address`` or ``address:port`` (``[v6]:port``); ``config`` is what the Corefile says.
    """

    domain: str
    reverse: tuple[str, ...]
    units: Mapping[str, ZoneUnit]
    namespaces: tuple[str, ...]
    pods: PodsMode
    serial: int
    ttl: int
    upstreams: tuple[str, ...]
    config: DnsConfig = DnsConfig()
    fallthrough: tuple[str, ...] | None = None
    places: tuple[tuple[str, str], ...] = ()
    """Networks of pods and the topology zone they are in: answers with many addresses start in the client's. Empty: no
    order."""
    client_rate: int = 0
    """Questions per second of one client over UDP; 0: no limit."""
    watched: tuple[str, ...] = ()
    """Names that policies name: their answers wait until the kernels know the addresses."""
    released: int = 0
    """The revision of :class:`NamesFact` that every kernel has."""

    def falls_through(self, zone: str) -> bool:
        """Whether the upstreams answer what ``zone`` does not know."""
        zones = self.reverse if self.fallthrough is None else self.fallthrough
        return zone in zones and bool(self.upstreams)


class Answer(msgspec.Struct, frozen=True):
    """``source`` says who answers: the zone itself, or an upstream (then records are empty and rcode NOERROR)."""

    rcode: Rcode
    records: tuple[Record, ...]
    source: Literal["zone", "upstream"]
    why: str


class ZoneIndex:
    """Look-ups by name over one plan; build once per plan, then ask often."""

    def __init__(self, plan: ZonePlan) -> None:
        """Index ``plan``; cost is linear in its records."""
        self.plan = plan
        self._records: dict[str, list[Record]] = {}
        self._exists: set[str] = set()
        for key in sorted(plan.units):
            unit = plan.units[key]
            for record in unit.records:
                self._records.setdefault(record.name, []).append(record)
            for name in (*unit.exists, *(r.name for r in unit.records)):
                self._note_ancestors(name)

    def _note_ancestors(self, name: str) -> None:
        while name and name not in self._exists:
            self._exists.add(name)
            name = name.partition(".")[2]

    def resolve(self, name: str, rtype: str) -> Answer:
        """The answer to one question of class IN. CNAMEs inside the zone are chased up to 10 steps."""
        return self._resolve(name.lower().rstrip("."), rtype.upper(), ())

    def _resolve(self, name: str, rtype: str, chain: tuple[Record, ...]) -> Answer:
        zone = self._zone_of(name)
        if zone is None:
            return Answer("NOERROR", chain, "upstream", f"{name} is not in a zone of this cluster")
        records = self._find(name)
        if not records:
            negative = self._negative(name, zone)
            return msgspec.structs.replace(negative, records=chain)
        wanted = tuple(r for r in records if r.type == rtype)
        alias = next((r for r in records if r.type == "CNAME"), None)
        if wanted or alias is None or rtype not in CHASED:
            why = f"{name} has these records" if wanted else f"{name} exists and has no {rtype} record"
            return Answer("NOERROR", (*chain, *wanted), "zone", why)
        if any(r.name == alias.data for r in (*chain, alias)) or len(chain) >= MAX_CHASE:
            return Answer("SERVFAIL", (*chain, alias), "zone", f"CNAME chain from {name} loops or is too long")
        chased = self._resolve(alias.data, rtype, (*chain, alias))
        return msgspec.structs.replace(chased, why=f"CNAME to {alias.data}; {chased.why}")

    def _find(self, name: str) -> tuple[Record, ...]:
        found = self._records.get(name)
        if found is not None:
            return tuple(found)
        wide = self._prefers(name)
        if wide:
            return tuple(msgspec.structs.replace(r, name=name) for r in self._records.get(wide, ()))
        plain = with_underscores(name, self.plan.domain)
        if plain != name:
            return tuple(msgspec.structs.replace(r, name=name) for r in self._records.get(plain, ()))
        return self._pod_records(name)

    def _prefers(self, name: str) -> str:
        """The Service whose endpoints a ``prefer`` name of a zone without endpoints has; empty for other names."""
        directive, base = zonal_base(name, self.plan.domain)
        return base.partition(".")[2] if directive == "prefer" and base in self._exists else ""

    def _zone_of(self, name: str) -> str | None:
        for zone in (self.plan.domain, *self.plan.reverse):
            if name == zone or name.endswith("." + zone):
                return zone
        return None

    def _negative(self, name: str, zone: str) -> Answer:
        if name in self._exists or name == zone or zonal_base(name, self.plan.domain)[1] in self._exists:
            return Answer("NOERROR", (), "zone", f"{name} exists without records of its own")
        if self.plan.falls_through(zone):
            what = "address" if zone in self.plan.reverse else "name"
            return Answer("NOERROR", (), "upstream", f"no object of this cluster has this {what}")
        return Answer("NXDOMAIN", (), "zone", f"no object gives the name {name}")

    def _pod_records(self, name: str) -> tuple[Record, ...]:
        """``pods insecure``: any well-formed dashed address in an existing namespace echoes (DNS spec 1.0, 2.6)."""
        suffix = f".pod.{self.plan.domain}"
        if self.plan.pods.mode != "insecure" or not name.endswith(suffix):
            return ()
        dashed, _, namespace = name.removesuffix(suffix).partition(".")
        if namespace not in self.plan.namespaces:
            return ()
        parsed = parse_dashed(dashed)
        if parsed is None:
            return ()
        rtype: RecordType = "A" if "." in parsed else "AAAA"
        origin = self.plan.units[f"Namespace/{namespace}"].origin
        return (Record(name, rtype, self.plan.pods.ttl, parsed, origin),)


def zonal_base(name: str, domain: str) -> tuple[str, str]:
    """``pin`` or ``prefer`` of a name ``ZONE.DIRECTIVE._zone.SERVICE.NAMESPACE.svc.Z``, and the name from ``_zone`` on;
    empty for other names. A zone may have dots."""
    suffix = f".svc.{domain}"
    labels = name.removesuffix(suffix).split(".")
    if not name.endswith(suffix) or len(labels) < 5 or labels[-3] != ZONAL_LABEL or labels[-4] not in ZONAL_DIRECTIVES:
        return "", ""
    return labels[-4], ".".join(labels[-3:]) + suffix


def with_underscores(name: str, domain: str) -> str:
    """``http.tcp.api.shop.svc.Z`` as ``_http._tcp.api.shop.svc.Z``: the underscores of port and protocol are
    optional in a question. Any other name comes back as it is."""
    suffix = f".svc.{domain}"
    labels = name.removesuffix(suffix).split(".")
    if not name.endswith(suffix) or len(labels) != 4 or "" in labels:
        return name
    port, protocol, service, namespace = labels
    return f"_{port.removeprefix('_')}._{protocol.removeprefix('_')}.{service}.{namespace}{suffix}"


def reverse_name(address: str) -> str:
    """``1.0.96.10.in-addr.arpa`` for ``10.96.0.1``, nibbles under ip6.arpa for IPv6. ``address`` must be one."""
    if ":" not in address:
        return ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    from ipaddress import IPv6Address

    return IPv6Address(address).reverse_pointer


def parse_dashed(label: str) -> str | None:
    """``10-244-0-7`` to ``10.244.0.7``; IPv6 with dashes for colons; None when it is no address."""
    from ipaddress import ip_address

    if not set(label) <= DASHED_ALPHABET:
        return None
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return str(ip_address(text))
        except ValueError:
            continue
    return None
