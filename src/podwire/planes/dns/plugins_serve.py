"""Plugins that answer for others: autopath walks the client's search list, transfer gives whole zones away.

Sources: coredns:plugin/{autopath,transfer}, plugin/kubernetes/{autopath,xfr}.go; RFC 5936, RFC 1995.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Next, Outcome, Request, then
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.render import Writer
from podwire.planes.dns.table import Table
from podwire.planes.dns.wire import Query

EDE_PROHIBITED = 18
MESSAGE_BYTES = 16_000
"""Of records in one message of a transfer; names compress against the first 16 KB only."""
_FINAL = (0, wire.NXDOMAIN)


class Autopath:
    """For a name in the client's first search domain the whole search list is walked here, so that the client asks
    once instead of five times."""

    name = "autopath"

    def __init__(self, options: dict[str, Any], zones: tuple[bytes, ...], table: Callable[[], Table | None]) -> None:
        """Options as in ``podwire.plan.dnsconfig.Autopath``."""
        self._zones = zones
        self._table = table
        self._kubernetes = bool(options["kubernetes"])
        self._search = tuple(map(wire.encode_name, options["search"]))
        self.found = 0

    def serve(self, request: Request, following: Next) -> Outcome:
        """The first answer on the list that is not NXDOMAIN; when there is none, the answer to the question itself."""
        search = self._list(request) if m.zone_of(self._zones, request.key) is not None else ()
        if not search or not m.name_below(search[0], request.key):
            return following(request)
        base = request.query.name[: len(request.key) - len(search[0])]
        names = tuple(base + domain for domain in (*search, b"\0"))
        return self._walk(request, following, names, None)

    def _list(self, request: Request) -> tuple[bytes, ...]:
        if not self._kubernetes:
            return self._search
        table = self._table()
        namespace = table.namespace_of(request.client) if table is not None else None
        if table is None or namespace is None:
            return ()
        return tuple(wire.encode_name(f"{p}{table.meta.domain}") for p in (f"{namespace}.svc.", "svc.", ""))

    def _walk(self, request: Request, following: Next, names: Sequence[bytes], first: Message | None) -> Outcome:
        name, rest = names[0], names[1:]
        if len(name) > 255:
            return self._go_on(request, following, rest, first or m.failure("the name is too long", source=self.name))
        inner = request.other(request.query.replaced(name + request.query.question[-4:]))
        inner.depth = request.depth

        def look(found: Message) -> Outcome:
            if found.rcode == 0 and not found.drop:
                return self._give(request.query, inner.query, found)
            return self._go_on(request, following, rest, first or _owned(request.query, inner.query, found))

        return then(following(inner), look)

    def _go_on(self, request: Request, following: Next, names: Sequence[bytes], first: Message) -> Outcome:
        return self._walk(request, following, names, first) if names else first

    def _give(self, query: Query, inner: Query, found: Message) -> Message:
        """The answer with an alias from the name that was asked for."""
        try:
            answer, authority, additional = found.open(inner)
        except wire.Malformed:
            return m.failure("the upstream's answer does not parse", code=wire.EDE_NETWORK, source=self.name)
        self.found += 1
        if answer and inner.key != query.key:
            alias = Rr(query.name, m.CNAME, 1, answer[0].ttl, inner.name)
            found.sections = ((alias, *answer), authority, additional)
        found.memorable = False
        return found


def _owned(query: Query, inner: Query, found: Message) -> Message:
    """The answer to the first name of the list, which is the question itself."""
    found.memorable = False
    if inner.key != query.key:
        return m.failure("no name of the search list exists", rcode=wire.NXDOMAIN)
    return found


class Source(Protocol):
    """Who has a whole zone."""

    def zone_records(self, zone: bytes) -> Iterable[Rr] | None:
        """All records of a zone, its SOA first; None when it is another's."""
        ...


class Transfer:
    """AXFR, and IXFR answered as AXFR or with the SOA alone when the client has this version."""

    name = "transfer"

    def __init__(self, options: dict[str, Any], zones: tuple[bytes, ...], say: Callable[[str, str], None]) -> None:
        """Options as in ``podwire.plan.dnsconfig.Transfer``; ``sources`` are set when the whole block is built."""
        self._zones = zones
        self._nets = [ip_network(text) for text in options["nets"]]
        self._say = say
        self.sources: tuple[Source, ...] = ()
        self.zones = zones

    def serve(self, request: Request, following: Next) -> Outcome:
        """Answer transfers only."""
        if request.query.rtype not in (wire.AXFR, wire.IXFR):
            return following(request)
        if request.key not in self._zones:
            outcome = following(request)
            done = isinstance(outcome, Message) and outcome.transfer is not None  # another plugin transfer did it
            return outcome if done else m.failure("no zone to transfer", code=wire.EDE_NOT_AUTHORITATIVE, rcode=5)
        client = ip_address(request.client or "0.0.0.0")  # noqa: S104  (no client: a test)
        if not any(client.version == net.version and client in net for net in self._nets):
            why = f"plugin transfer gives this zone to others than {client}"
            return m.failure(why, code=EDE_PROHIBITED, rcode=wire.REFUSED, source=self.name)
        found = next((r for source in self.sources if (r := source.zone_records(request.key)) is not None), None)
        if found is None:
            return m.failure("nobody has this zone", code=wire.EDE_NOT_AUTHORITATIVE, rcode=wire.REFUSED)
        records = list(found)
        soa = records[0]
        made = Message(source=self.name)
        if request.query.serial is not None and not _newer(soa, request.query.serial):
            records = [soa]
        else:
            records.append(soa)
        self._say("INFO", f"plugin/transfer: {len(records)} records to {client}")
        made.transfer = encode_transfer(request.query, records)
        return made


def _newer(soa: Rr, serial: int) -> bool:
    """Serial number arithmetic of RFC 1982."""
    ours = int.from_bytes(soa.data[-20:-16], "big")
    return 0 < ((ours - serial) & 0xFFFFFFFF) < 0x80000000


def encode_transfer(query: Query, records: list[Rr]) -> Iterator[bytes]:
    """Messages with these records, one after the other, made when they are asked for."""
    writer, count = Writer(query.name), 0
    for record in records:
        if len(writer.out) > MESSAGE_BYTES:
            yield _transfer_message(query, writer, count)
            writer, count = Writer(query.name), 0
        writer.add_raw(record.owner, record.head, record.data)
        count += 1
    yield _transfer_message(query, writer, count)


def _transfer_message(query: Query, writer: Writer, count: int) -> bytes:
    opt = wire.opt_record(query)
    return wire.message(query, wire.AA, (count, 0, 1 if opt else 0), bytes(writer.out) + opt)
