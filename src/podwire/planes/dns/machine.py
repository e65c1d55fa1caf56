"""What to reply to one packet. Sans-IO: packets in; replies, requests to forward, or silence out.

Rules:

1. Order of judgement: silence, format, EDNS version, class, transfers, readiness, then the server blocks (section 6).
2. A whole reply is remembered by the packet it answers, the id apart, until the zone changes. The memory is bounded
   in entries and bytes, and packets with EDNS options (cookies differ every time) stay out of it.
3. A remembered reply that rotates is a tuple of replies; the reader picks the next one.
4. Until a table is there every question is SERVFAIL with EDE 14, never NXDOMAIN.
5. Zone transfers go to the plugin transfer, over TCP, else they are REFUSED, as classes other than IN are; class CH
   goes to the plugins chaos and rewrite. ANY is an ordinary missing type unless the plugin any is there.
6. When an upstream fails on the target of an alias, the alias stays in the answer, with an extended error.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.build import Built, Options, Surroundings, bare_config, build
from podwire.planes.dns.chain import NO_ZONE, NOWHERE, Arrival, Ask, Outcome, Place, Request, Served
from podwire.planes.dns.message import Message
from podwire.planes.dns.metrics import Metrics, labels_of
from podwire.planes.dns.table import Table
from podwire.planes.dns.wire import Malformed, Query

REMEMBERED = 65_536
REMEMBERED_BYTES = 16 << 20
TCP_LIMIT = 65_535
STALE = (3, "nobody keeps the zone current; this answer may be old")
NO_TOKEN = b"0000000000000000"


class Forward(NamedTuple):
    """An upstream of ``pool`` must be asked. ``request`` is a whole message whose id is to be replaced; ``resume``
    makes the reply, the next request, or silence of what came back."""

    query: Query
    request: bytes
    pool: int
    resume: Callable[[Message], "bytes | Forward | None"]
    patience: float = 0
    impatient: Callable[[], bytes | None] | None = None


class Kept:
    """A remembered reply (or its rotations), without the id, and how often it was given since it was last counted."""

    __slots__ = ("hits", "key", "rest", "sizes")

    def __init__(self, rest: bytes | tuple[bytes, ...], key: tuple[str, ...], sizes: tuple[int, int]) -> None:
        """``key`` and ``sizes`` are for the metrics."""
        self.rest = rest
        self.hits = 0
        self.key = key
        self.sizes = sizes


Many = Iterator[bytes]
"""Several messages that answer one question: a zone transfer."""
Reply = bytes | Forward | Many | None


class Responder:
    """Answers from ``table``; :meth:`memory` is for the worker's inner loop (rule 2)."""

    def __init__(
        self,
        *,
        say: Callable[[str, str], None] = lambda level, text: None,
        clock: Callable[[], float] = lambda: 0.0,
        token: bytes = NO_TOKEN,
        hostname: str = "podwire",
        **more: Any,
    ) -> None:
        """Nothing loaded. ``token`` is random: the plugin loop recognizes its own question by it. ``more`` are fields
        of :class:`Surroundings`."""
        self.table: Table | None = None
        self._memories: dict[Place, dict[bytes, Kept]] = {}
        self.metrics = Metrics()
        self.background: list[Forward] = []
        self.stale = False
        self._bytes = self._kept = 0
        self._turn = 0
        self._clock = clock
        self._near = Surroundings(lambda: self.table, self._spawn, say, clock, token, hostname, **more)
        self._config: object = None
        self.built: Built = build(bare_config(()), self._near)

    def load(self, table: Table, prepare: Callable[[Built], None] = lambda _: None) -> bool:
        """Answer from this table from now on; also to be called after ``table`` changed. True when the configuration
        is another one (then pools must be set up anew): ``prepare`` makes ready what it needs. Raises
        :class:`ValueError`, with everything as before."""
        config = table.meta.config
        wanted = (config, table.meta.upstreams)
        changed = wanted != self._config
        if changed:
            blocks: list[Options] = list(config) if config else bare_config(table.meta.upstreams)
            built = build(blocks, self._near)
            prepare(built)
            self.built = built
            self._config = wanted
            for loop, following in self.built.loops:
                probe = loop.probe(following)
                if probe is not None:
                    self._spawn(probe)
        self.table = table
        self.forget()
        return changed

    def mark_stale(self, stale: bool) -> None:
        """Whether answers of the zone may be old; they say so (EDE 3) while they may."""
        self.stale = stale
        self.forget()

    def memory(self, place: Place) -> dict[bytes, Kept]:
        """Replies given before on a port, by the packet without its id."""
        return self._memories.setdefault(place, {})

    def forget(self) -> None:
        """Empty the memory of replies, after counting them."""
        self.settle()
        for memory in self._memories.values():
            memory.clear()
        self._bytes = self._kept = 0

    def settle(self) -> None:
        """Count what the inner loop gave from memory."""
        for kept in (kept for memory in self._memories.values() for kept in memory.values()):
            if kept.hits:
                self.metrics.count(kept.key, sizes=kept.sizes, times=kept.hits)
                kept.hits = 0

    def pick(self, replies: tuple[bytes, ...]) -> bytes:
        """The next rotation."""
        self._turn += 1
        return replies[self._turn % len(replies)]

    def reply(self, packet: bytes, arrival: Arrival = NOWHERE, *, tcp: bool = False) -> Reply:
        """The reply to a packet, a request to forward, or None for silence. ``tcp`` is short for an arrival by TCP."""
        if tcp or not arrival.now:
            arrival = arrival._replace(tcp=arrival.tcp or tcp, now=arrival.now or self._clock())
        try:
            query = wire.parse_query(packet)
        except Malformed as error:
            return wire.header_only(packet, error.rcode)
        if query is None:
            return None
        router = self.built.routers.get(arrival.place)
        request = Request(query, packet, arrival)
        found = router.find(request) if router is not None else None
        refusal = self._refuse(request, found[0] if found else None)
        if refusal is not None or found is None or router is None:
            reply = refusal or wire.error_reply(query, wire.REFUSED, ede=(wire.EDE_NOT_AUTHORITATIVE, NO_ZONE))
            self.metrics.count(
                _key(request, "dropped", "", rcode=reply[3] & 15, plugin=""), sizes=(len(packet), len(reply))
            )
            return reply
        outcome = found[0].handler(request)
        if router.conditional and isinstance(outcome, Message):
            outcome.memorable = False
        return self._finish(request, outcome, found[0], found[1])

    def _refuse(self, request: Request, served: Served | None) -> bytes | None:
        query, plugins = request.query, served.plugins if served is not None else ()
        if query.version:
            return wire.error_reply(query, wire.BADVERS)
        other_class = query.rclass == m.CLASS_CH and ("chaos" in plugins or "rewrite" in plugins)
        if query.rclass != wire.CLASS_IN and not other_class:
            return wire.error_reply(query, wire.REFUSED)
        if query.rtype in (wire.AXFR, wire.IXFR) and not (request.tcp and "transfer" in plugins):
            return wire.error_reply(query, wire.REFUSED)
        if self.table is None:
            return wire.error_reply(query, wire.SERVFAIL, ede=(wire.EDE_NOT_READY, "the zone is not loaded yet"))
        return None

    def _finish(self, request: Request, outcome: Outcome, served: Served, zone: bytes) -> Reply:
        if isinstance(outcome, Ask):
            return self._forward(request, outcome, served, zone)
        if outcome.drop:
            return None
        if self.stale and outcome.tails and outcome.ede is None:
            outcome.ede = STALE
        if outcome.transfer is not None:
            self._count(request, outcome, 0, served, zone)
            return outcome.transfer
        limit = TCP_LIMIT if request.tcp else wire.udp_limit(request.query, served.bufsize)
        if outcome.memorable and not request.tcp and not request.query.options:
            return self._remember(request, outcome, limit, served, zone)
        self._turn += 1
        reply = m.encode(request.query, outcome, limit, turn=self._turn)
        self._count(request, outcome, len(reply), served, zone)
        return reply

    def _forward(self, request: Request, ask: Ask, served: Served, zone: bytes) -> Forward:
        def finish(message: Message) -> "bytes | Forward | None":
            reply = self._finish(request, ask.resume(message), served, zone)
            return reply if isinstance(reply, bytes | Forward) else None

        def hurry() -> bytes | None:
            assert ask.impatient is not None
            reply = self._finish(request, ask.impatient(), served, zone)
            return reply if isinstance(reply, bytes) else None

        return Forward(
            request.query, ask.request, ask.pool, finish, ask.patience, hurry if ask.impatient is not None else None
        )

    def _remember(self, request: Request, message: Message, limit: int, served: Served, zone: bytes) -> bytes:
        turns = range(len(message.tails) if message.rotate else 1)
        replies = tuple(m.encode(request.query, message, limit, turn=turn) for turn in turns)
        rests = tuple(reply[2:] for reply in replies)
        size = sum(map(len, rests))
        if self._kept >= REMEMBERED or self._bytes + size > REMEMBERED_BYTES:
            self.forget()
        self._bytes += size
        self._kept += 1
        key = _key(request, _text(zone), served.view, rcode=message.rcode, plugin=message.source)
        sizes = (len(request.packet), len(replies[0]))
        kept = Kept(rests if len(rests) > 1 else rests[0], key, sizes)
        self.memory(request.arrival.place)[request.packet[2:]] = kept
        self.metrics.count(key, sizes=sizes, seconds=self._clock() - request.now)
        return self.pick(replies)

    def _count(self, request: Request, message: Message, size: int, served: Served, zone: bytes) -> None:
        key = _key(request, _text(zone), served.view, rcode=message.rcode, plugin=message.source)
        seconds = self._clock() - request.now
        self.metrics.count(key, sizes=(len(request.packet), size), seconds=seconds)

    def _spawn(self, ask: Ask) -> None:
        """Execute a question that no client waits for."""
        query = wire.parse_query(b"\0\0" + ask.request[2:])
        if query is not None:
            self.background.append(Forward(query, ask.request, ask.pool, _discard(ask)))


def _discard(ask: Ask) -> Callable[[Message], "bytes | Forward | None"]:
    def resume(message: Message) -> "bytes | Forward | None":
        outcome = ask.resume(message)
        if isinstance(outcome, Ask):
            query = wire.parse_query(b"\0\0" + outcome.request[2:])
            return Forward(query, outcome.request, outcome.pool, _discard(outcome)) if query is not None else None
        return None

    return resume


def _key(request: Request, zone: str, view: str, *, rcode: int, plugin: str) -> tuple[str, ...]:
    """The labels of a reply's metrics, and whether DO was set."""
    query = request.query
    return _same_key(
        labels_of(request.arrival.place, zone, view),
        "tcp" if request.tcp else "udp",
        "2" if ":" in request.client else "1",
        m.TYPE_NAMES.get(query.rtype, "other"),
        m.RCODE_NAMES.get(rcode, str(rcode)),
        plugin,
        "1" if query.dnssec_ok else "",
    )


@lru_cache(maxsize=4096)
def _same_key(*parts: str) -> tuple[str, ...]:
    """One tuple for all replies of a kind: tens of thousands are remembered."""
    return parts


@lru_cache(maxsize=1024)
def _text(zone: bytes) -> str:
    return wire.decode_name(zone).rstrip(".") + "."


def complete(forward: Forward, response: bytes) -> "bytes | Forward | None":
    """What follows from an upstream's answer."""
    return forward.resume(m.from_raw(response, source="forward"))


def fail(forward: Forward, why: str, *, rcode: int = wire.SERVFAIL) -> "bytes | Forward | None":
    """What follows when no upstream answered."""
    return forward.resume(m.failure(why, code=wire.EDE_NO_REACHABLE, rcode=rcode, source="forward"))
