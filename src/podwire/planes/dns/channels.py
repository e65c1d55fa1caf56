"""The worker's way out: sockets that the driver made in the host's namespace, and who waits behind them.

Rules:

1. Every request goes out by UDP first. When a client that came over TCP would get a truncated answer, the question is
   asked again over TCP; a client on UDP gets the TC bit and comes back over TCP itself.
2. A TCP socket serves one question. The driver sends new ones when few are left.
3. Failures are logged, at most one line per subject in :data:`LOG_SECONDS`.
"""

import os
import socket
import time
from collections.abc import Callable

from podwire.planes.dns.loop import Loop, Stream, say
from podwire.planes.dns.machine import Forward, complete, fail
from podwire.planes.dns.upstream import Address, Done, Forwarder, Send, parse_upstream

BATCH = 64
LARGEST = 65_535
LOG_SECONDS = 10.0
SPARE_TCP = 2

Deliver = Callable[[bytes], None]
"""Gets the whole reply for one client."""


class Channels:
    """Upstream sockets and the requests in flight on them. ``want_sockets`` asks the driver for more."""

    def __init__(self, loop: Loop, *, want_sockets: Callable[[], None], give_up_seconds: float) -> None:
        """No sockets yet."""
        self._loop = loop
        self._want_sockets = want_sockets
        self._forwarder = Forwarder(os.urandom, give_up_seconds=give_up_seconds)
        self._udp: dict[int, list[socket.socket]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self._tcp: dict[int, list[socket.socket]] = {socket.AF_INET: [], socket.AF_INET6: []}
        self._asking: dict[Stream, None] = {}
        self._log_after: dict[str, float] = {}

    def set_upstreams(self, upstreams: tuple[str, ...]) -> None:
        """Whom to ask from now on."""
        found: list[Address] = []
        for text in upstreams:
            try:
                found.append(parse_upstream(text))
            except ValueError:
                self._complain(text, f"upstream {text} is not an address")
        self._forwarder.upstreams = tuple(found)

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
        self._forwarder.channels = max(map(len, self._udp.values()))

    def ask(self, forward: Forward, deliver: Deliver, *, tcp: bool) -> None:
        """Ask the upstreams; ``deliver`` is called once, possibly at once."""
        item = self._forwarder.submit(forward, (deliver, tcp), time.monotonic())
        if item is not None:
            self._carry_out(item)

    def expire(self, now: float) -> float | None:
        """Send again and give up what is due; how long until the next time."""
        for item in self._forwarder.expire(now):
            self._carry_out(item)
        for stream in [s for s in self._asking if s.deadline <= now]:
            stream.close()
        deadlines = [s.deadline for s in self._asking]
        following = self._forwarder.next_deadline()
        if following is not None:
            deadlines.append(following)
        return max(0.0, min(deadlines) - now) if deadlines else None

    def _carry_out(self, item: Send | Done) -> None:
        if isinstance(item, Send):
            self._send(item)
            return
        deliver, tcp = item.client
        if item.response is None:
            self._complain("answers", f"upstreams: {item.why}")
            deliver(fail(item.forward, item.why, rcode=item.rcode))
        elif not (tcp and item.response[2] & 2 and self._ask_by_tcp(item.forward, deliver)):
            deliver(complete(item.forward, item.response))

    def _send(self, item: Send) -> None:
        try:
            self._udp[_family(item.upstream)][item.channel].sendto(item.packet, item.upstream)
        except (OSError, IndexError) as error:
            self._complain(item.upstream[0], f"upstream {item.upstream[0]} cannot be asked: {error}")

    def _receiver(self, sock: socket.socket, channel: int) -> Callable[[int], None]:
        def receive(_events: int) -> None:
            for _ in range(BATCH):
                try:
                    packet, source = sock.recvfrom(LARGEST)
                except OSError:
                    return
                for done in self._forwarder.receive(channel, packet, source[:2]):
                    self._carry_out(done)

        return receive

    def _ask_by_tcp(self, forward: Forward, deliver: Deliver) -> bool:
        """Ask again over TCP; False when there is no socket for it."""
        upstream = self._forwarder.upstreams[0] if self._forwarder.upstreams else ("", 0)
        spare = self._tcp[_family(upstream)]
        if not spare or not upstream[1]:
            return False
        sock = spare.pop()
        if len(spare) < SPARE_TCP:
            self._want_sockets()
        sock.setblocking(False)
        sock.connect_ex(upstream)
        replies: list[bytes] = []

        def on_data(stream: Stream) -> None:
            data = stream.received
            if len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
                replies.append(bytes(data[2 : 2 + (data[0] << 8 | data[1])]))
                stream.close()

        def on_close(stream: Stream) -> None:
            self._asking.pop(stream, None)
            good = [r for r in replies if len(r) >= 12]
            deliver(complete(forward, good[0]) if good else fail(forward, f"no answer from {upstream[0]} over TCP"))

        stream = Stream(self._loop, sock, on_data, seconds=self._forwarder.give_up_seconds)
        stream.on_close = on_close
        self._asking[stream] = None
        stream.write(len(forward.request).to_bytes(2, "big") + forward.request)
        return True

    def _complain(self, subject: str, text: str) -> None:
        now = time.monotonic()
        if now >= self._log_after.get(subject, 0.0):
            self._log_after[subject] = now + LOG_SECONDS
            say("ERROR", text)


def _family(upstream: Address) -> int:
    return socket.AF_INET6 if ":" in upstream[0] else socket.AF_INET
