"""Plugins that answer: kubernetes, hosts, template, any, chaos, whoami.

Each has ``serve``; what the words of the Corefile mean is typed in ``podwire.plan.dnsconfig``. Sources:
coredns:plugin/{kubernetes,hosts,template,any,chaos,whoami}.
"""

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address

from podwire.planes.dns import message as m
from podwire.planes.dns import splice, wire
from podwire.planes.dns.chain import Next, Outcome, Request, then
from podwire.planes.dns.clients import Places
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.render import Rec, Tail
from podwire.planes.dns.table import Table

Zones = tuple[bytes, ...]


def goes_on(fallthrough: Zones | None, key: bytes) -> bool:
    """Whether the next plugin may answer what this one does not know."""
    return fallthrough is not None and (not fallthrough or any(m.name_below(z, key) for z in fallthrough))


class Kubernetes:
    """The cluster's own names, from the table."""

    name = "kubernetes"

    def __init__(self, table: Callable[[], Table | None], whole: Next) -> None:
        """``whole`` is the server from its beginning: ends of alias chains are asked there."""
        self._table = table
        self._whole = whole
        self._turn = 0

    def serve(self, request: Request, following: Next) -> Outcome:
        """From the table; what it does not hold, or lets fall through, goes on."""
        table = self._table()
        tails = table.lookup(request.query.name, request.query.rtype) if table is not None else None
        if tails is None:
            return following(request)
        if tails[0].chase is None:
            found = m.from_tails(tails, source=self.name)
            places = table.places if table is not None and len(tails) > 1 else None
            return found if places is None else self._near_first(request, found, places)
        tail, question = tails[0], tails[0].chase + request.query.rtype.to_bytes(2, "big") + b"\0\1"
        inner = request.other(request.query.replaced(question)._replace(edns=True))
        return then(self._whole(inner), lambda found: self._append(request, tail, inner, found))

    def _near_first(self, request: Request, found: Message, places: Places) -> Message:
        """Addresses in the client's topology zone before the others, both turned."""
        found.memorable = False
        zone = places.zone_of(request.client)
        if not zone:
            return found
        self._turn += 1
        found.tails = (found.tails[self._turn % len(found.tails)],)
        answer, authority, additional = found.open(request.query)
        near = [r for r in answer if r.rtype in (m.A, m.AAAA) and places.zone_of_packed(r.data) == zone]
        fixed = [r for r in answer if r.rtype not in (m.A, m.AAAA)]
        far = [r for r in answer if r not in near and r not in fixed]
        found.sections = ((*fixed, *near, *far), authority, additional)
        found.ordered = True
        return found

    def zone_records(self, zone: bytes) -> Iterator[Rr] | None:
        """Everything of the cluster's zone or one of its reverse zones, for transfers. Echoes of pods have no end and
        are left out."""
        table = self._table()
        found = table.zone_names(zone) if table is not None else None
        if found is None or not any(r.rtype == m.SOA for key, records in found if key == zone for r in records):
            return None
        rows = (_whole(key, record) for key, records in found for record in records)
        return iter(sorted(rows, key=lambda r: (r.rtype != m.SOA, r.owner != zone)))

    def _append(self, request: Request, tail: Tail, inner: Request, found: Message) -> Message:
        """Aliases first, then what the end of their chain has; when it failed the aliases stay (reference 2.6)."""
        alias = tuple(
            Rr(owner, m.CNAME, 1, rec.ttl, wire.encode_name(rec.data))
            for owner, rec in splice.read_aliases(request.query, tail)
        )
        ede = found.ede
        try:
            answer, authority, _ = found.open(inner.query)
        except wire.Malformed:
            answer, authority, ede = (), (), (wire.EDE_NETWORK, "the upstream's answer does not parse")
        bad = found.rcode in (wire.SERVFAIL, wire.REFUSED) and found.ede is not None
        negative = tuple(r for r in authority if r.rtype == m.SOA)
        made = Message(0 if bad else found.rcode, ((*alias, *answer), negative, ()), source=self.name)
        made.flags |= found.flags & wire.TC
        made.ede = ede
        return made


def _whole(owner: bytes, record: Rec) -> Rr:
    rtype = m.TYPE_NAMES[record.rtype]
    return Rr(owner, record.rtype, 1, record.ttl, m.encode_data(rtype, record.data))


class Hosts:
    """Addresses by name and names by address; ``*.x`` holds for one label."""

    name = "hosts"

    def __init__(self, zones: Zones, entries: list[tuple[str, list[str]]], *, ttl: int, reverse: bool) -> None:
        """``entries`` are (address, names)."""
        self._zones = zones
        self._ttl = ttl
        self._addresses: dict[bytes, list[bytes]] = {}
        self._names: dict[bytes, list[bytes]] = {}
        self.fallthrough: Zones | None = None
        for text, names in entries:
            address = ip_address(text)
            for name in names:
                key = wire.encode_name(name)
                self._addresses.setdefault(key, []).append(address.packed)
                if reverse and not name.startswith("*"):
                    self._names.setdefault(wire.encode_name(address.reverse_pointer), []).append(key)

    @property
    def size(self) -> int:
        """Entries, for the metric ``hosts_entries``."""
        return sum(map(len, self._addresses.values())) + len(self._names)

    def serve(self, request: Request, following: Next) -> Outcome:
        """A, AAAA and PTR of what is listed; other types of a listed name are NODATA."""
        query, key = request.query, request.key
        if query.rtype == m.PTR and key in self._names:
            return self._answer(query.name, [(m.PTR, name) for name in self._names[key]])
        if m.zone_of(self._zones, key) is None:
            return following(request)
        labels = key[key[0] + 1 :] if key[0] else b""
        found = self._addresses.get(key) or self._addresses.get(b"\1*" + labels)
        if found is None:
            unknown = query.rtype not in (m.A, m.AAAA) and self.fallthrough is None
            if goes_on(self.fallthrough, key) or unknown:
                return following(request)
            return Message(wire.NXDOMAIN, source=self.name)
        wanted = 4 if query.rtype == m.A else 16 if query.rtype == m.AAAA else 0
        return self._answer(query.name, [(query.rtype, a) for a in found if len(a) == wanted])

    def _answer(self, owner: bytes, found: list[tuple[int, bytes]]) -> Message:
        records = tuple(Rr(owner, rtype, 1, self._ttl, data) for rtype, data in found)
        return Message(0, (records, (), ()), source=self.name)


class Template:
    """Records made from the question's name by regular expressions and templates."""

    name = "template"

    def __init__(self, options: dict[str, object], zones: Zones, fallthrough: Zones | None) -> None:
        """``options`` as in ``podwire.plan.dnsconfig.Template``."""
        self._zones = zones
        self._fallthrough = fallthrough
        self._type = str(options["rtype"])
        self._patterns = [re.compile(p, re.IGNORECASE) for p in _list(options["match"])]
        self._sections = tuple(_list(options[key]) for key in ("answer", "authority", "additional"))
        self._rcode = m.RCODES[str(options["rcode"])]
        ede = options.get("ede")
        self._ede = (int(ede[0]), str(ede[1])) if isinstance(ede, list | tuple) else None

    def serve(self, request: Request, following: Next) -> Outcome:
        """The first pattern that matches answers; none: the next plugin with ``fallthrough``, else SERVFAIL."""
        zone = m.zone_of(self._zones, request.key)
        wanted = self._type in ("ANY", m.TYPE_NAMES.get(request.query.rtype, ""))
        if zone is None or not wanted:
            return following(request)
        name = wire.decode_name(request.key).rstrip(".") + "."
        found = next((f for p in self._patterns if (f := p.search(name))), None)
        if found is None:
            if goes_on(self._fallthrough, request.key):
                return following(request)
            return m.failure("no pattern of plugin template matches", source=self.name)
        try:
            filled = [[m.parse_record(_fill(t, request, found, zone)) for t in texts] for texts in self._sections]
        except (ValueError, IndexError) as error:
            return m.failure(f"plugin template made no record: {error}", source=self.name)
        made = Message(self._rcode, (tuple(filled[0]), tuple(filled[1]), tuple(filled[2])), source=self.name)
        made.ede = self._ede
        return made


def _list(value: object) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple) else []


_ACTION = re.compile(r"\{\{\s*(.*?)\s*\}\}")


def _fill(text: str, request: Request, found: "re.Match[str]", zone: bytes) -> str:
    def value(action: "re.Match[str]") -> str:
        words = action[1]
        if words.startswith("index"):
            return str(found[int(words.split()[-1])] or "")
        if words.startswith(".Group."):
            return str(found.groupdict().get(words[7:]) or "")
        values = {
            ".Name": wire.decode_name(request.query.name).rstrip(".") + ".",
            ".Zone": wire.decode_name(zone).rstrip(".") + ".",
            ".Type": m.TYPE_NAMES.get(request.query.rtype, str(request.query.rtype)),
            ".Class": "IN",
            ".Remote": request.client,
        }
        return values.get(words, "")

    return _ACTION.sub(value, text)


class AnyType:
    """ANY gets one HINFO record (RFC 8482)."""

    name = "any"

    def serve(self, request: Request, following: Next) -> Outcome:
        """Answer ANY only."""
        if request.query.rtype != m.ANY:
            return following(request)
        data = m.encode_data("HINFO", '"ANY obsoleted" "See RFC 8482"')
        record = Rr(request.query.name, m.HINFO, 1, 8482, data)
        return Message(0, ((record,), (), ()), source=self.name)


class Chaos:
    """``version.bind`` and its like in class CH."""

    name = "chaos"

    def __init__(self, version: str, authors: list[str], hostname: str) -> None:
        """``hostname`` answers ``hostname.bind`` and ``id.server``."""
        self._texts = {
            b"\7version\4bind\0": [version],
            b"\7version\6server\0": [version],
            b"\x08hostname\4bind\0": [hostname],
            b"\2id\6server\0": [hostname],
            b"\7authors\4bind\0": authors,
        }

    def serve(self, request: Request, following: Next) -> Outcome:
        """Answer TXT in class CH only."""
        texts = self._texts.get(request.key)
        if request.query.rclass != m.CLASS_CH or request.query.rtype != m.TXT or texts is None:
            return following(request)
        data = [bytes((len(t.encode()[:255]),)) + t.encode()[:255] for t in texts]
        records = tuple(Rr(request.query.name, m.TXT, m.CLASS_CH, 0, d) for d in data)
        return Message(0, (records, (), ()), source=self.name)


class Whoami:
    """The client's address in Additional, its port and transport as SRV."""

    name = "whoami"

    def serve(self, request: Request, following: Next) -> Outcome:
        """Answer everything."""
        address = ip_address(request.client or "0.0.0.0")  # noqa: S104  (no client: a test)
        rtype = m.A if address.version == 4 else m.AAAA
        transport = b"_tcp" if request.tcp else b"_udp"
        owner = bytes((len(transport),)) + transport + request.query.name
        port = request.port.to_bytes(2, "big")
        extra = (
            Rr(request.query.name, rtype, 1, 0, address.packed),
            Rr(owner, m.SRV, 1, 0, b"\0\0\0\0" + port + b"\0"),
        )
        return Message(0, ((), (), extra), source=self.name)
