"""Whom to ask what is not ours, and when to give up. Sans-IO: time and random bytes are arguments.

Rules:

1. A request goes to the first upstream, then to the next ones, round and round, until one answers or
   :attr:`Forwarder.give_up_seconds` have passed. An answer to any of the attempts counts. The next one is asked after
   four times what upstreams take on average, at most after :data:`RESEND_SECONDS`; there are at most twice as many
   attempts as upstreams, unless the configuration says otherwise. A response code of ``failover`` asks the next now.
2. A response counts only from an address that was asked, with our id, on the socket that asked, with our question;
   anything else is ignored and waiting goes on (a forged packet must not end the wait).
3. Ids are random and every request picks one of several sockets, so a forger must guess port and id.
4. The table of requests is bounded: beyond :data:`MAX_IN_FLIGHT`, or :data:`MAX_WAITING` clients for one of them, a
   request is refused at once.
5. Identical requests in flight are sent once and answered together.
6. An upstream that let ``max_fails`` attempts pass is asked last, until it answers a health check (a question for NS of
   the root, every ``health_seconds``) or anything else. When all are down they are asked nevertheless, unless the
   pool fails fast.

Source: coredns:plugin/forward.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from podwire.planes.dns.machine import Forward
from podwire.planes.dns.message import RCODES
from podwire.planes.dns.wire import REFUSED, SERVFAIL, Malformed, encode_name, skip_name

MAX_IN_FLIGHT = 1000
MAX_WAITING = 256
RESEND_SECONDS = 0.6
HEDGE_SECONDS = 0.05
GIVE_UP_SECONDS = 2.0

Address = tuple[str, int]


class Secure(NamedTuple):
    """An upstream over TLS: ``scheme`` tls or https, the name its certificate must have, the path of https."""

    host: str
    port: int
    scheme: str
    name: str = ""
    path: str = ""


Upstream = Address | Secure
Client = tuple[Callable[[bytes | None], None], bool]
"""Who gets the reply, and whether it came over TCP; the shell's business."""


class Send(NamedTuple):
    """Send ``packet`` to ``upstream`` from socket number ``channel``."""

    channel: int
    upstream: Upstream
    packet: bytes


class Done(NamedTuple):
    """A request is over: ``response`` is the upstream's message, or None with the reason and the code to reply."""

    forward: Forward
    client: Client
    response: bytes | None
    why: str = ""
    rcode: int = SERVFAIL


class _Flight:
    """One request in the air and everybody who waits for it. A health check waits for nobody and has a ``target``."""

    __slots__ = (
        "asked", "attempts", "channel", "deadline", "ident", "key", "order", "packet", "question", "sent", "target",
        "waiting",
    )  # fmt: skip

    def __init__(self, key: bytes, packet: bytes, channel: int, deadline: float) -> None:
        self.key = key
        self.packet = packet
        self.ident = packet[:2]
        self.channel = channel
        self.deadline = deadline
        self.question = question_of(packet)
        self.asked: set[Upstream] = set()
        self.attempts = 0
        self.sent = 0.0
        self.order: tuple[Upstream, ...] = ()
        self.target: Upstream | None = None
        self.waiting: list[tuple[Forward, Client]] = []


class Pool(NamedTuple):
    """How a pool of upstreams is used (``podwire.plan.dnsconfig.Forward``)."""

    policy: str = "sequential"
    max_fails: int = 0
    max_concurrent: int = MAX_IN_FLIGHT
    failfast: bool = False
    health_seconds: float = 0.5
    health_packet: bytes = b""
    force_tcp: bool = False
    failover: frozenset[int] = frozenset()
    max_attempts: int | None = 0
    source: str = ""


def make_pool(options: dict[str, Any]) -> Pool:
    """From the configuration."""
    name = encode_name(options["health_name"])
    recursion = b"\1\0" if options["health_recursion"] else b"\0\0"
    return Pool(
        options["policy"],
        options["max_fails"],
        min(options["max_concurrent"] or MAX_IN_FLIGHT, MAX_IN_FLIGHT),
        options["failfast"],
        max(0.05, float(options["health_seconds"])),
        b"\0\0" + recursion + b"\0\1\0\0\0\0\0\0" + name + b"\0\2\0\1",
        options["force_tcp"],
        frozenset(RCODES[code] for code in options.get("failover", ())),
        options.get("max_attempts", 0),
        options.get("source", ""),
    )


class Forwarder:
    """The table of requests in flight. ``random_bytes`` is ``os.urandom``."""

    def __init__(
        self,
        random_bytes: Callable[[int], bytes],
        *,
        give_up_seconds: float = GIVE_UP_SECONDS,
        pool: Pool = Pool(),  # noqa: B008  (a frozen value)
    ) -> None:
        """No upstreams and no channels yet."""
        self.upstreams: tuple[Upstream, ...] = ()
        self.channels = 0
        self.give_up_seconds = give_up_seconds
        self.pool = pool
        self.counts = {"healthcheck_failures": 0, "healthcheck_broken": 0, "max_concurrent_rejects": 0}
        self.fails: dict[Upstream, int] = {}
        self._random = random_bytes
        self._by_ident: dict[tuple[int, bytes], _Flight] = {}
        self._by_key: dict[bytes, _Flight] = {}
        self._probes: dict[Upstream, _Flight] = {}
        self._timers: list[tuple[float, int, _Flight]] = []
        self._counter = 0
        self._turn = 0
        self._average = RESEND_SECONDS / 4

    @property
    def in_flight(self) -> int:
        """Requests that are waiting for an upstream."""
        return len(self._by_key)

    def submit(self, forward: Forward, client: Client, now: float) -> Send | Done | None:
        """Take a request on: the packet to send, None when one like it is already under way, or refusal."""
        key = forward.request[2:]
        flight = self._by_key.get(key)
        if flight is not None and len(flight.waiting) >= MAX_WAITING:
            return Done(forward, client, None, f"{MAX_WAITING} clients wait for this answer already", REFUSED)
        if flight is not None:
            flight.waiting.append((forward, client))
            return None
        if not self.upstreams or not self.channels:
            return Done(forward, client, None, "no upstream resolver can be reached from here")
        if self.in_flight >= self.pool.max_concurrent:
            self.counts["max_concurrent_rejects"] += 1
            why = f"{self.pool.max_concurrent} requests are waiting for upstreams already"
            return Done(forward, client, None, why, REFUSED)
        order = self._order()
        if self.pool.failfast and all(map(self.is_down, order)):
            self.counts["healthcheck_broken"] += 1
            return Done(forward, client, None, "all upstreams are down")
        flight = self._launch(key, forward.request, now)
        flight.order = order
        self._by_key[key] = flight
        flight.waiting.append((forward, client))
        return self._attempt(flight, now)

    def is_down(self, upstream: Upstream) -> bool:
        """Whether an upstream let too many attempts pass."""
        return 0 < self.pool.max_fails <= self.fails.get(upstream, 0)

    def _order(self) -> tuple[Upstream, ...]:
        """Whom to ask first, second and so on: by policy, those that are down last."""
        count = len(self.upstreams)
        shift = 0
        if self.pool.policy == "random" and count > 1:
            shift = int.from_bytes(self._random(2), "big") % count
        elif self.pool.policy == "round_robin":
            shift, self._turn = self._turn % count, self._turn + 1
        turned = self.upstreams[shift:] + self.upstreams[:shift]
        return tuple(sorted(turned, key=self.is_down))

    def receive(self, channel: int, packet: bytes, source: Upstream, now: float) -> tuple[Send | Done, ...]:
        """Take in a packet from outside: the requests it ends, none when it is not for us (rule 2)."""
        flight = self._by_ident.get((channel, packet[:2]))
        if flight is None or len(packet) < 12 or not packet[2] & 0x80 or source not in flight.asked:
            return ()
        if question_of(packet) != flight.question:
            return ()
        self.fails.pop(source, None)
        self._average += (max(0.0, now - flight.sent) - self._average) / 8
        if packet[3] & 15 in self.pool.failover and 0 < flight.attempts < len(flight.order) and now < flight.deadline:
            return (self._attempt(flight, now),)
        self._land(flight)
        return tuple(Done(forward, client, packet) for forward, client in flight.waiting)

    def expire(self, now: float) -> tuple[Send | Done, ...]:
        """What is due: packets to send again, requests that are lost, health checks."""
        due: list[Send | Done] = []
        while self._timers and self._timers[0][0] <= now:
            _, _, flight = heappop(self._timers)
            if self._by_ident.get((flight.channel, flight.ident)) is not flight:
                continue
            if flight.target is not None:
                self.counts["healthcheck_failures"] += 1
                self._land(flight)
                due.append(self._probe(flight.target, now))
                continue
            due.extend(self._blame(flight, now))
            if now < flight.deadline:
                due.extend(self._again(flight, now))
                continue
            self._land(flight)
            asked = ", ".join(sorted(upstream[0] for upstream in flight.asked))
            why = f"no answer from {asked} within {self.give_up_seconds:g} s"
            due.extend(Done(forward, client, None, why) for forward, client in flight.waiting)
        return tuple(due)

    def _blame(self, flight: _Flight, now: float) -> tuple[Send, ...]:
        """The upstream asked last did not answer in time."""
        if not self.pool.max_fails:
            return ()
        upstream = flight.order[(flight.attempts - 1) % len(flight.order)]
        self.fails[upstream] = self.fails.get(upstream, 0) + 1
        if upstream in self._probes:
            return ()
        return (self._probe(upstream, now),)

    def _probe(self, upstream: Upstream, now: float) -> Send:
        flight = self._launch(b"", self.pool.health_packet, now)
        flight.target = upstream
        flight.asked.add(upstream)
        self._probes[upstream] = flight
        self._counter += 1
        heappush(self._timers, (now + self.pool.health_seconds, self._counter, flight))
        return Send(flight.channel, upstream, flight.packet)

    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        return self._timers[0][0] if self._timers else None

    def _launch(self, key: bytes, request: bytes, now: float) -> _Flight:
        while True:
            drawn = self._random(3)
            channel, ident = drawn[2] % self.channels, drawn[:2]
            if (channel, ident) not in self._by_ident:
                break
        flight = _Flight(key, ident + request[2:], channel, now + self.give_up_seconds)
        self._by_ident[channel, ident] = flight
        return flight

    def _again(self, flight: _Flight, now: float) -> tuple[Send, ...]:
        """The next attempt, or none when there were enough: then the rest of the time is waited out."""
        wanted = self.pool.max_attempts
        most = 2 * len(flight.order) if wanted is None else wanted
        if not most or flight.attempts < most:
            return (self._attempt(flight, now),)
        self._counter += 1
        heappush(self._timers, (flight.deadline, self._counter, flight))
        return ()

    def _attempt(self, flight: _Flight, now: float) -> Send:
        upstream = flight.order[flight.attempts % len(flight.order)]
        flight.attempts += 1
        flight.asked.add(upstream)
        flight.sent = now
        pause = RESEND_SECONDS
        if flight.attempts < len(flight.order):  # somebody else can be asked: do not wait long for the slow one
            pause = min(max(4 * self._average, HEDGE_SECONDS), RESEND_SECONDS)
        self._counter += 1
        heappush(self._timers, (min(now + pause, flight.deadline), self._counter, flight))
        return Send(flight.channel, upstream, flight.packet)

    def _land(self, flight: _Flight) -> None:
        del self._by_ident[flight.channel, flight.ident]
        if flight.target is not None:
            del self._probes[flight.target]
        else:
            del self._by_key[flight.key]


def question_of(packet: bytes) -> bytes:
    """The lower-cased question section, empty when it does not parse."""
    try:
        end = skip_name(packet, 12, pointers=False)
    except Malformed:
        return b""
    return packet[12 : end + 4].lower()


def parse_upstream(text: str) -> Upstream:
    """``10.0.0.53``, ``10.0.0.53:5353``, ``fd00::53`` or ``[fd00::53]:53``; ``tls://ADDRESS:PORT%NAME`` and
    ``https://ADDRESS:PORT%NAME/PATH``. Raises :class:`ValueError`."""
    scheme, found, rest = text.partition("://")
    if found:
        place, _, path = rest.partition("/")
        place, _, name = place.partition("%")
        host, port = _parse_address(place)
        return Secure(host, port, scheme, name, "/" + path)
    return _parse_address(text)


def _parse_address(text: str) -> Address:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:] or 53)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, 53
