"""A server block as a chain of plugins. Sans-IO: a question goes in, an answer or a question to an upstream comes out.

Rules:

1. A plugin gets the request and what follows it; it answers itself, lets the next one answer, or changes the request
   on its way in and the answer on its way out with :func:`then`.
2. An :class:`Ask` is an answer that an upstream has to complete. Whoever executes it calls ``resume`` with the
   upstream's message, or with a failure, and gets an answer or another :class:`Ask`.
3. The longest zone of all blocks takes a question; without one, or at the end of a chain, it is REFUSED.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from podwire.planes.dns import wire
from podwire.planes.dns.message import Message, failure
from podwire.planes.dns.wire import Query

NO_ZONE = "no server block of the Corefile holds this name"
NO_PLUGIN = "no plugin of the server block answers this name"
MAX_DEPTH = 12


class Request:
    """One question on its way. ``packet`` is what was received, empty when a plugin made the question up or over."""

    __slots__ = ("client", "depth", "key", "now", "packet", "port", "query", "tcp")

    def __init__(
        self, query: Query, packet: bytes = b"", *, client: str = "", port: int = 0, tcp: bool = False, now: float = 0.0
    ) -> None:
        """A fresh question."""
        self.query = query
        self.key = query.key
        self.packet = packet
        self.client = client
        self.port = port
        self.tcp = tcp
        self.now = now
        self.depth = 0

    def other(self, query: Query) -> "Request":
        """The same client asking something else."""
        made = Request(query, client=self.client, port=self.port, tcp=self.tcp, now=self.now)
        made.depth = self.depth + 1
        return made

    @property
    def upstream_packet(self) -> bytes:
        """What an upstream is sent: the client's own bytes while nobody changed the question."""
        return self.packet or wire.build_request(self.query)


class Ask(NamedTuple):
    """An upstream of ``pool`` must be asked."""

    pool: int
    request: bytes
    resume: Callable[[Message], "Outcome"]


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


def then(outcome: Outcome, change: Callable[[Message], Outcome]) -> Outcome:
    """Apply ``change`` to the answer, now or when an upstream has given it."""
    if isinstance(outcome, Message):
        return change(outcome)
    resume = outcome.resume
    return outcome._replace(resume=lambda message: then(resume(message), change))


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
    """All server blocks."""

    def __init__(self, blocks: Iterable[Served]) -> None:
        """Index the zones; plugins hold the router while blocks are still to come (:meth:`serve_blocks`)."""
        self.serve_blocks(blocks)

    def serve_blocks(self, blocks: Iterable[Served]) -> None:
        """Serve these from now on."""
        self.blocks = tuple(blocks)
        self._by_zone = {zone: block for block in self.blocks for zone in block.zones}

    def find(self, key: bytes) -> tuple[Served, bytes] | None:
        """The block of the longest zone that holds the lower-cased name, and that zone."""
        for _, rest in wire.suffixes_of(key):
            found = self._by_zone.get(rest)
            if found is not None:
                return found, rest
        root = self._by_zone.get(b"\0")
        return (root, b"\0") if root is not None else None

    def serve(self, request: Request) -> Outcome:
        """Answer a question, also one that a plugin asks on behalf of a client."""
        found = self.find(request.key)
        if found is None:
            return failure(NO_ZONE, code=wire.EDE_NOT_AUTHORITATIVE, rcode=wire.REFUSED)
        if request.depth > MAX_DEPTH:
            return failure("the answer leads in a circle")
        return found[0].handler(request)
