"""A server block as a chain of plugins. Sans-IO: a question goes in, an answer or a question to an upstream comes out.

Rules:

1. A plugin gets the request and what follows it; it answers itself, lets the next one answer, or changes the request
   on its way in and the answer on its way out with :func:`then`.
2. An :class:`Ask` is an answer that an upstream has to complete. Whoever executes it calls ``resume`` with the
   upstream's message, or with a failure, and gets an answer or another :class:`Ask`.
3. A port has a router. The longest zone of all its blocks takes a question, the first of those whose address and
   ``view`` fit; without one, or at the end of a chain, it is REFUSED.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from podwire.planes.dns import wire
from podwire.planes.dns.message import Message, failure
from podwire.planes.dns.wire import Query

NO_ZONE = "no server block of the Corefile holds this name"
NO_PLUGIN = "no plugin of the server block answers this name"
MAX_DEPTH = 12


Place = tuple[str, int]
"""Scheme and port that a question came to."""
PLAIN: Place = ("dns", 53)


class Arrival(NamedTuple):
    """How a packet came: by whom, over what, when, to which of our addresses, scheme and port."""

    client: str = ""
    port: int = 0
    tcp: bool = False
    now: float = 0.0
    server: str = ""
    place: Place = PLAIN


NOWHERE = Arrival()


class Request:
    """One question on its way. ``packet`` is what was received, empty when a plugin made the question up or over."""

    __slots__ = ("arrival", "client", "depth", "key", "now", "packet", "port", "query", "server", "server_port", "tcp")

    def __init__(self, query: Query, packet: bytes = b"", arrival: Arrival = NOWHERE) -> None:
        """A fresh question."""
        self.query = query
        self.key = query.key
        self.packet = packet
        self.arrival = arrival
        self.client, self.port, self.tcp, self.now = arrival.client, arrival.port, arrival.tcp, arrival.now
        self.server, self.server_port = arrival.server, arrival.place[1]
        self.depth = 0

    def other(self, query: Query) -> "Request":
        """The same client asking something else."""
        made = Request(query, arrival=self.arrival)
        made.depth = self.depth + 1
        return made

    @property
    def upstream_packet(self) -> bytes:
        """What an upstream is sent: the client's own bytes while nobody changed the question."""
        return self.packet or wire.build_request(self.query)


class Ask(NamedTuple):
    """An upstream of ``pool`` must be asked. Who waits no longer than ``patience`` seconds (0: as long as it takes) is
    given what ``impatient`` says; the upstream's answer is taken in nevertheless."""

    pool: int
    request: bytes
    resume: Callable[[Message], "Outcome"]
    patience: float = 0
    impatient: Callable[[], Message] | None = None


Outcome = Message | Ask
Next = Callable[[Request], Outcome]


class Plugin(Protocol):
    """One link."""

    def serve(self, request: Request, following: Next) -> Outcome:
        """Answer, or let ``following`` answer."""
        ...


class Served(NamedTuple):
    """A server block: its zones, its chain, and which plugins it has."""

    zones: tuple[bytes, ...]
    handler: Next
    plugins: tuple[str, ...] = ()
    bufsize: int = wire.OUR_SIZE
    allows: Callable[[Request], bool] | None = None
    """Whether a question is for this block at all; None: always."""
    view: str = ""


def then(outcome: Outcome, change: Callable[[Message], Outcome]) -> Outcome:
    """Apply ``change`` to the answer, now or when an upstream has given it."""
    if isinstance(outcome, Message):
        return change(outcome)
    resume = outcome.resume
    made = outcome._replace(resume=lambda message: then(resume(message), change))
    hurry = outcome.impatient
    if hurry is None:
        return made

    def now() -> Message:
        changed = change(hurry())
        return changed if isinstance(changed, Message) else failure("the answer needs another upstream")

    return made._replace(impatient=now)


def link(plugins: Iterable[Plugin]) -> Next:
    """One handler of many plugins, the first one first."""
    following: Next = refuse
    for plugin in reversed(tuple(plugins)):
        following = _bind(plugin, following)
    return following


def _bind(plugin: Plugin, following: Next) -> Next:
    serve = plugin.serve
    return lambda request: serve(request, following)


def refuse(_: Request) -> Outcome:
    """The end of every chain."""
    return failure(NO_PLUGIN, code=wire.EDE_NOT_AUTHORITATIVE, rcode=wire.REFUSED)


class Router:
    """All server blocks of one port. ``conditional``: which block answers depends on more than the packet."""

    def __init__(self, blocks: Iterable[Served], place: Place = PLAIN) -> None:
        """Index the zones; plugins hold the router while blocks are still to come (:meth:`serve_blocks`)."""
        self.place = place
        self.serve_blocks(blocks)

    def serve_blocks(self, blocks: Iterable[Served]) -> None:
        """Serve these from now on."""
        self.blocks = tuple(blocks)
        self.conditional = any(block.allows is not None for block in self.blocks)
        self._by_zone: dict[bytes, tuple[Served, ...]] = {}
        for block in self.blocks:
            for zone in block.zones:
                self._by_zone[zone] = (*self._by_zone.get(zone, ()), block)

    def find(self, request: Request) -> tuple[Served, bytes] | None:
        """The block for a question, and its zone."""
        for zone in _zones_of(request.key):
            for block in self._by_zone.get(zone, ()):
                if block.allows is None or block.allows(request):
                    return block, zone
        return None

    def serve(self, request: Request) -> Outcome:
        """Answer a question, also one that a plugin asks on behalf of a client."""
        found = self.find(request)
        if found is None:
            return failure(NO_ZONE, code=wire.EDE_NOT_AUTHORITATIVE, rcode=wire.REFUSED)
        if request.depth > MAX_DEPTH:
            return failure("the answer leads in a circle")
        return found[0].handler(request)


def _zones_of(key: bytes) -> Iterator[bytes]:
    for _, rest in wire.suffixes_of(key):
        yield rest
    yield b"\0"
