"""Whom to ask what is not ours, and when to give up. Sans-IO: time and random bytes are arguments.

Rules:

1. A request goes to the first upstream, then to the next ones at :data:`RESEND_SECONDS`, round and round, until one
   answers or :attr:`Forwarder.give_up_seconds` have passed. An answer to any of the attempts counts.
2. A response counts only from an address that was asked, with our id, on the socket that asked, with our question;
   anything else is ignored and waiting goes on (a forged packet must not end the wait).
3. Ids are random and every request picks one of several sockets, so a forger must guess port and id.
4. The table of requests is bounded: beyond :data:`MAX_IN_FLIGHT` a request is refused at once.
5. Identical requests in flight are sent once and answered together.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from podwire.planes.dns.machine import Forward
from podwire.planes.dns.wire import REFUSED, SERVFAIL, Malformed, skip_name

MAX_IN_FLIGHT = 1000
RESEND_SECONDS = 0.6
GIVE_UP_SECONDS = 2.0

Address = tuple[str, int]
Client = tuple[Callable[[bytes], None], bool]
"""Who gets the reply, and whether it came over TCP; the shell's business."""


class Send(NamedTuple):
    """Send ``packet`` to ``upstream`` from socket number ``channel``."""

    channel: int
    upstream: Address
    packet: bytes


class Done(NamedTuple):
    """A request is over: ``response`` is the upstream's message, or None with the reason and the code to reply."""

    forward: Forward
    client: Client
    response: bytes | None
    why: str = ""
    rcode: int = SERVFAIL


class _Flight:
    """One request in the air and everybody who waits for it."""

    __slots__ = ("asked", "attempts", "channel", "deadline", "ident", "key", "packet", "question", "waiting")

    def __init__(self, key: bytes, packet: bytes, channel: int, deadline: float) -> None:
        self.key = key
        self.packet = packet
        self.ident = packet[:2]
        self.channel = channel
        self.deadline = deadline
        self.question = question_of(packet)
        self.asked: set[Address] = set()
        self.attempts = 0
        self.waiting: list[tuple[Forward, Client]] = []


class Forwarder:
    """The table of requests in flight. ``random_bytes`` is ``os.urandom``."""

    def __init__(self, random_bytes: Callable[[int], bytes], *, give_up_seconds: float = GIVE_UP_SECONDS) -> None:
        """No upstreams and no channels yet."""
        self.upstreams: tuple[Address, ...] = ()
        self.channels = 0
        self.give_up_seconds = give_up_seconds
        self._random = random_bytes
        self._by_ident: dict[tuple[int, bytes], _Flight] = {}
        self._by_key: dict[bytes, _Flight] = {}
        self._timers: list[tuple[float, int, _Flight]] = []
        self._counter = 0

    @property
    def in_flight(self) -> int:
        """Requests that are waiting for an upstream."""
        return len(self._by_ident)

    def submit(self, forward: Forward, client: Client, now: float) -> Send | Done | None:
        """Take a request on: the packet to send, None when one like it is already under way, or refusal."""
        key = forward.request[2:]
        flight = self._by_key.get(key)
        if flight is not None:
            flight.waiting.append((forward, client))
            return None
        if not self.upstreams or not self.channels:
            return Done(forward, client, None, "no upstream resolver can be reached from here")
        if len(self._by_ident) >= MAX_IN_FLIGHT:
            return Done(forward, client, None, f"{MAX_IN_FLIGHT} requests are waiting for upstreams already", REFUSED)
        flight = self._launch(key, forward.request, now)
        flight.waiting.append((forward, client))
        return self._attempt(flight, now)

    def receive(self, channel: int, packet: bytes, source: Address) -> tuple[Done, ...]:
        """Take in a packet from outside: the requests it ends, none when it is not for us (rule 2)."""
        flight = self._by_ident.get((channel, packet[:2]))
        if flight is None or len(packet) < 12 or not packet[2] & 0x80 or source not in flight.asked:
            return ()
        if question_of(packet) != flight.question:
            return ()
        self._land(flight)
        return tuple(Done(forward, client, packet) for forward, client in flight.waiting)

    def expire(self, now: float) -> tuple[Send | Done, ...]:
        """What is due: packets to send again, requests that are lost."""
        due: list[Send | Done] = []
        while self._timers and self._timers[0][0] <= now:
            _, _, flight = heappop(self._timers)
            if self._by_ident.get((flight.channel, flight.ident)) is not flight:
                continue
            if now < flight.deadline:
                due.append(self._attempt(flight, now))
                continue
            self._land(flight)
            asked = ", ".join(sorted(host for host, _ in flight.asked))
            why = f"no answer from {asked} within {self.give_up_seconds:g} s"
            due.extend(Done(forward, client, None, why) for forward, client in flight.waiting)
        return tuple(due)

    def next_deadline(self) -> float | None:
        """When :meth:`expire` has something to do."""
        return self._timers[0][0] if self._timers else None

    def _launch(self, key: bytes, request: bytes, now: float) -> _Flight:
        while True:
            drawn = self._random(3)
            channel, ident = drawn[2] % self.channels, drawn[:2]
            if (channel, ident) not in self._by_ident:
                break
        flight = _Flight(key, ident + key, channel, now + self.give_up_seconds)
        self._by_ident[channel, ident] = self._by_key[key] = flight
        return flight

    def _attempt(self, flight: _Flight, now: float) -> Send:
        upstream = self.upstreams[flight.attempts % len(self.upstreams)]
        flight.attempts += 1
        flight.asked.add(upstream)
        self._counter += 1
        heappush(self._timers, (min(now + RESEND_SECONDS, flight.deadline), self._counter, flight))
        return Send(flight.channel, upstream, flight.packet)

    def _land(self, flight: _Flight) -> None:
        del self._by_ident[flight.channel, flight.ident]
        del self._by_key[flight.key]


def question_of(packet: bytes) -> bytes:
    """The lower-cased question section, empty when it does not parse."""
    try:
        end = skip_name(packet, 12, pointers=False)
    except Malformed:
        return b""
    return packet[12 : end + 4].lower()


def parse_upstream(text: str) -> Address:
    """``10.0.0.53``, ``10.0.0.53:5353``, ``fd00::53`` or ``[fd00::53]:53``. Raises :class:`ValueError`."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, int(rest[1:] or 53)
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, int(port)
    return text, 53
