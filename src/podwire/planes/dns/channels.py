"""The worker's way out: sockets that the driver made in the host's namespace, and who waits behind them.

Rules:

1. Every request goes out by UDP first. When a client that came over TCP would get a truncated answer, the question is
   asked again over TCP; a client on UDP gets the TC bit and comes back over TCP itself.
2. A TCP socket serves one question. The driver sends new ones when few are left.
3. Upstreams over TLS and HTTPS have a connection that is kept (``upstream_secure.py``), on such a TCP socket.
4. Failures are logged, at most one line per subject in :data:`LOG_SECONDS`.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from podwire.planes.dns.loop import Loop, Stream, say
from podwire.planes.dns.machine import Forward, complete, fail
from podwire.planes.dns.upstream import (
    Done,
    Forwarder,
    Pool,
    Secure,
    Send,
    Upstream,
    make_pool,
    parse_upstream,
    question_of,
)

if TYPE_CHECKING:
    from podwire.planes.dns.upstream_secure import Connection

BATCH = 64
LARGEST = 65_535
LOG_SECONDS = 10.0
SPARE_TCP = 2
IP_PKTINFO = 8
"""Not in the module socket of Python 3.11."""

Deliver = Callable[[bytes | None], None]
"""Gets the whole reply for one client; None: silence."""


class Chance:
    """Random bytes of the system, drawn in pages: a question needs three, and a system call costs more than they do."""

    def __init__(self) -> None:
        """Nothing drawn."""
        self._page, self._at = b"", 0

    def __call__(self, size: int) -> bytes:
        """That many bytes, given once."""
        if self._at + size > len(self._page):
            self._page, self._at = os.urandom(4096), 0
        self._at += size
        return self._page[self._at - size : self._at]


class Channels:
    """Upstream sockets and the requests in flight on them, by pool. ``want_sockets`` asks the driver for more."""

    def __init__(
        self, loop: Loop, *, want_sockets: Callable[[], None], give_up_seconds: float, libraries: str = ""
    ) -> None:
        """No sockets yet. ``libraries`` is where HTTP/2 is found when it is needed."""
        self._loop = loop
        self._want_sockets = want_sockets
        self._give_up_seconds = give_up_seconds
        self.pools: list[Forwarder] = []
        self._retired: list[Forwarder] = []
        self._udp: dict[int, list[socket.socket]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self._tcp: dict[int, list[socket.socket]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self._asking: dict[Stream, None] = {}
        self._log_after: dict[str, float] = {}
        self._libraries = libraries
        self._secure: dict[Secure, Connection] = {}
        self._hurries: list[tuple[float, int, Callable[[], None]]] = []
        self._hurry = 0

    def set_pools(self, pools: Sequence[dict[str, Any]]) -> None:
        """Whom to ask from now on. What is in flight in the pools of before still comes to its end."""
        self._retired = [f for f in (*self._retired, *self.pools) if f.in_flight]
        for connection in self._secure.values():
            connection.close()
        self._secure.clear()
        self.pools = [self._make(options) for options in pools]

    def _make(self, options: dict[str, Any]) -> Forwarder:
        seconds = float(options["read_seconds"]) or self._give_up_seconds
        pool: Pool = make_pool(options)
        made = Forwarder(Chance(), give_up_seconds=seconds, pool=pool)
        found: list[Upstream] = []
        for text in options["upstreams"]:
            try:
                upstream = parse_upstream(text)
                if isinstance(upstream, Secure):
                    self._secure[upstream] = self._connection(upstream, options, made)
            except ValueError as error:
                self._complain(text, f"upstream {text} cannot be used: {error}")
                continue
            found.append(upstream)
        made.upstreams = tuple(found)
        made.channels = self._count()
        return made

    def _connection(self, upstream: Secure, options: dict[str, Any], forwarder: Forwarder) -> "Connection":
        from podwire.planes.dns.upstream_secure import Connection

        def reply(channel: int, message: bytes) -> None:
            for item in forwarder.receive(channel, message, upstream, time.monotonic()):
                self._carry_out(item, forwarder)

        def take(wanted: Secure) -> socket.socket | None:
            return self._take_tcp(wanted, str(options.get("source", "")))

        return Connection(self._loop, upstream, options, take_socket=take, reply=reply, libraries=self._libraries)

    def _count(self) -> int:
        return max(map(len, self._udp.values()))

    def adopt(self, sockets: list[socket.socket]) -> None:
        """Use these from now on. UDP sockets of a family replace the old ones once, then only TCP sockets add up."""
        for sock in sockets:
            sock.setblocking(False)
            if sock.type == socket.SOCK_STREAM:
                self._tcp[sock.family].append(sock)
                continue
            channel = len(self._udp[sock.family])
            self._udp[sock.family].append(sock)
            self._loop.watch(sock.fileno(), self._receiver(sock, channel))
        for forwarder in self.pools:
            forwarder.channels = self._count()

    @property
    def in_flight(self) -> int:
        """Requests that are waiting for upstreams."""
        return sum(f.in_flight for f in (*self.pools, *self._retired)) + len(self._asking)

    def ask(self, forward: Forward, deliver: Deliver, *, tcp: bool) -> None:
        """Ask the upstreams; ``deliver`` is called once, possibly at once."""
        if forward.pool >= len(self.pools):
            self._give(fail(forward, "the configuration has just changed"), deliver, tcp=tcp)
            return
        forwarder = self.pools[forward.pool]
        if forwarder.pool.force_tcp and self._ask_by_tcp(forward, deliver, forwarder):
            return
        if forward.impatient is not None:
            deliver = self._bounded(forward, deliver)
        item = forwarder.submit(forward, (deliver, tcp), time.monotonic())
        if item is not None:
            self._carry_out(item, forwarder)

    def _bounded(self, forward: Forward, deliver: Deliver) -> Deliver:
        """Once only: what the impatient get after a while, or the answer when it comes before."""
        done: list[bool] = []

        def once(message: bytes | None) -> None:
            if not done:
                done.append(True)
                deliver(message)

        def hurry() -> None:
            if not done and forward.impatient is not None:
                once(forward.impatient())

        self._hurry += 1
        heappush(self._hurries, (time.monotonic() + forward.patience, self._hurry, hurry))
        return once

    def _give(self, reply: bytes | Forward | None, deliver: Deliver, *, tcp: bool) -> None:
        """What came of an answer: a reply, or the next question."""
        if isinstance(reply, Forward):
            self.ask(reply, deliver, tcp=tcp)
        else:
            deliver(reply)

    def expire(self, now: float) -> float | None:
        """Send again and give up what is due; how long until the next time."""
        deadlines: list[float] = []
        while self._hurries and self._hurries[0][0] <= now:
            heappop(self._hurries)[2]()
        deadlines.extend(entry[0] for entry in self._hurries[:1])
        for connection in self._secure.values():
            connection.expire(now)
            if connection.why:
                self._complain(connection.name, f"upstream {connection.name}: {connection.why}")
                connection.why = ""
            deadlines.extend([connection.deadline] if connection.deadline is not None else [])
        for forwarder in (*self.pools, *self._retired):
            for item in forwarder.expire(now):
                self._carry_out(item, forwarder)
            following = forwarder.next_deadline()
            if following is not None:
                deadlines.append(following)
        for stream in [s for s in self._asking if s.deadline <= now]:
            stream.close()
        deadlines.extend(s.deadline for s in self._asking)
        return max(0.0, min(deadlines) - now) if deadlines else None

    def _carry_out(self, item: Send | Done, forwarder: Forwarder) -> None:
        if isinstance(item, Send):
            self._send(item, forwarder)
            return
        deliver, tcp = item.client
        if item.response is None:
            self._complain("answers", f"upstreams: {item.why}")
            self._give(fail(item.forward, item.why, rcode=item.rcode), deliver, tcp=tcp)
        elif not (tcp and item.response[2] & 2 and self._ask_by_tcp(item.forward, deliver, forwarder)):
            self._give(complete(item.forward, item.response), deliver, tcp=tcp)

    def _send(self, item: Send, forwarder: Forwarder) -> None:
        if isinstance(item.upstream, Secure):
            connection = self._secure.get(item.upstream)
            if connection is not None:
                connection.send(item.packet, item.channel)
            return
        try:
            sock = self._udp[_family(item.upstream)][item.channel]
            if forwarder.pool.source:
                sock.sendmsg([item.packet], [_source_of(forwarder.pool.source)], 0, item.upstream)
            else:
                sock.sendto(item.packet, item.upstream)
        except (OSError, IndexError) as error:
            self._complain(item.upstream[0], f"upstream {item.upstream[0]} cannot be asked: {error}")

    def _receiver(self, sock: socket.socket, channel: int) -> Callable[[int], None]:
        def receive(_events: int) -> None:
            for _ in range(BATCH):
                try:
                    packet, source = sock.recvfrom(LARGEST)
                except OSError:
                    return
                now = time.monotonic()
                for forwarder in (*self.pools, *self._retired):
                    for done in forwarder.receive(channel, packet, source[:2], now):
                        self._carry_out(done, forwarder)

        return receive

    def _ask_by_tcp(self, forward: Forward, deliver: Deliver, forwarder: Forwarder) -> bool:
        """Ask (again) over TCP; False when there is no socket for it."""
        plain = [u for u in forwarder.upstreams if not isinstance(u, Secure)]
        healthy = [u for u in plain if not forwarder.is_down(u)]
        upstream = next(iter(healthy or plain), None)
        sock = self._take_tcp(upstream, forwarder.pool.source) if upstream is not None else None
        if sock is None or upstream is None:
            return False
        replies: list[bytes] = []

        def on_data(stream: Stream) -> None:
            data = stream.received
            if len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
                replies.append(bytes(data[2 : 2 + (data[0] << 8 | data[1])]))
                stream.close()

        def on_close(stream: Stream) -> None:
            self._asking.pop(stream, None)
            good = [
                r for r in replies if len(r) >= 12 and r[2] & 0x80 and question_of(r) == question_of(forward.request)
            ]
            why = f"no answer from {upstream[0]} over TCP"
            self._give(complete(forward, good[0]) if good else fail(forward, why), deliver, tcp=True)

        stream = Stream(self._loop, sock, on_data, seconds=forwarder.give_up_seconds)
        stream.on_close = on_close
        self._asking[stream] = None
        stream.write(len(forward.request).to_bytes(2, "big") + forward.request)
        return True

    def _take_tcp(self, upstream: Upstream, source: str) -> socket.socket | None:
        """A socket that connects to ``upstream``; None when the driver has not sent any."""
        spare = self._tcp[_family(upstream)]
        sock = spare.pop() if spare else None
        if len(spare) < SPARE_TCP:
            self._want_sockets()
        if sock is None:
            return None
        sock.setblocking(False)
        try:
            if source:
                sock.bind((source, 0))
            sock.connect_ex((upstream[0], upstream[1]))
        except OSError as error:
            self._complain(upstream[0], f"upstream {upstream[0]} cannot be asked: {error}")
            sock.close()
            return None
        return sock

    def _complain(self, subject: str, text: str) -> None:
        now = time.monotonic()
        if now >= self._log_after.get(subject, 0.0):
            self._log_after[subject] = now + LOG_SECONDS
            say("ERROR", text)


def _family(upstream: Upstream) -> int:
    return socket.AF_INET6 if ":" in upstream[0] else socket.AF_INET


def _source_of(address: str) -> tuple[int, int, bytes]:
    """Ancillary data that makes a datagram leave with this source (ip(7) IP_PKTINFO, ipv6(7))."""
    if ":" in address:
        return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, address) + bytes(4)
    return socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + socket.inet_aton(address) + bytes(4)
