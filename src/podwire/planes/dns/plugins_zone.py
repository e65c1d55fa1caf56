"""The plugin file: zones from records that the compiler read from a master file.

Wildcards (RFC 4592), aliases inside the zone, NODATA and NXDOMAIN with the SOA, delegations as referrals, and names of
our own for aliases that lead out of the zone. Source: coredns:plugin/file.
"""

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Next, Outcome, Request, then
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.plugins_answer import goes_on

MAX_CHASE = 10


class ZoneFile:
    """Answers for ``zones`` from one set of records."""

    name = "file"

    def __init__(self, zones: tuple[bytes, ...], records: list[tuple[str, str, int, str]], whole: Next) -> None:
        """``records`` are (name, type, ttl, data), the SOA first; ``whole`` is the server from its beginning."""
        self._zones = zones
        self._whole = whole
        self.fallthrough: tuple[bytes, ...] | None = None
        self._names: dict[bytes, list[Rr]] = {}
        self._exists: set[bytes] = set()
        for name, rtype, ttl, data in records:
            owner = wire.encode_name(name)
            self._names.setdefault(owner, []).append(Rr(owner, m.TYPES[rtype], 1, ttl, m.encode_data(rtype, data)))
            self._exists.update(rest for _, rest in wire.suffixes_of(owner))
        self._soa = self._names[wire.encode_name(records[0][0])][0]

    def serve(self, request: Request, following: Next) -> Outcome:
        """From the zone; unknown names go on with ``fallthrough``."""
        if m.zone_of(self._zones, request.key) is None:
            return following(request)
        key, rtype = request.key, request.query.rtype
        answer: list[Rr] = []
        for _ in range(MAX_CHASE):
            if m.zone_of(self._zones, key) is None:
                return self._leave(request, answer, key)
            cut = self._delegation(key)
            if cut is not None:
                return Message(0, (tuple(answer), tuple(cut), self._glue(cut)), flags=wire.RA, source=self.name)
            found = self._find(key)
            if found is None:
                if not answer and goes_on(self.fallthrough, key):
                    return following(request)
                return self._negative(answer, wire.NXDOMAIN)
            wanted = [r for r in found if r.rtype == rtype]
            alias = next((r for r in found if r.rtype == m.CNAME), None)
            if wanted or alias is None:
                return self._positive((*answer, *wanted)) if wanted else self._negative(answer, 0)
            answer.append(alias)
            key = alias.data.lower()
        return m.failure("the aliases of this zone lead in a circle", source=self.name)

    def zone_records(self, zone: bytes) -> list[Rr] | None:
        """Everything, for transfers; None when it is another zone."""
        if zone != self._soa.owner:
            return None
        return [self._soa, *(r for _, rs in sorted(self._names.items()) for r in rs if r.rtype != m.SOA)]

    def _find(self, key: bytes) -> list[Rr] | None:
        """Records of a name, those of the wildcard that covers it, or None when it does not exist."""
        if key in self._names or key in self._exists:
            return self._names.get(key, [])
        for at, rest in wire.suffixes_of(key):
            if at and rest in self._exists:
                covered = self._names.get(b"\1*" + rest)
                return [r._replace(owner=key) for r in covered] if covered else None
        return None

    def _delegation(self, key: bytes) -> list[Rr] | None:
        for _, rest in wire.suffixes_of(key):
            if rest == self._soa.owner:
                return None
            servers = [r for r in self._names.get(rest, ()) if r.rtype == m.NS]
            if servers:
                return servers
        return None

    def _glue(self, records: tuple[Rr, ...] | list[Rr]) -> tuple[Rr, ...]:
        hosts = [r.data[6:] if r.rtype == m.SRV else r.data for r in records if r.rtype in (m.NS, m.SRV)]
        return tuple(r for h in hosts for r in self._names.get(h.lower(), ()) if r.rtype in (m.A, m.AAAA))

    def _positive(self, answer: tuple[Rr, ...]) -> Message:
        return Message(0, (answer, (), self._glue(answer)), source=self.name)

    def _negative(self, answer: list[Rr], rcode: int) -> Message:
        return Message(rcode, (tuple(answer), (self._soa,), ()), source=self.name)

    def _leave(self, request: Request, answer: list[Rr], key: bytes) -> Outcome:
        """The alias leads out of the zone: the whole server is asked for its end."""
        inner = request.other(request.query.replaced(key + request.query.question[-4:])._replace(edns=True))

        def join(found: Message) -> Message:
            try:
                more = found.open(inner.query)[0]
            except wire.Malformed:
                more = ()
            made = Message(0, ((*answer, *more), (), ()), source=self.name)
            made.ede = found.ede
            return made

        return then(self._whole(inner), join)
