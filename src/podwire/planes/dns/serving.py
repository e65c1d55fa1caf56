"""Questions on the worker's sockets: UDP, TCP, TLS and HTTPS, each scheme and port with its own.

Rules:

1. A UDP socket is drained up to :data:`BATCH` packets a turn. Most replies are one look-up away in the memory of
   replies, which belongs to a port.
2. Which of our addresses a question came to is known from the socket. A socket on a wildcard tells it with each packet
   where the configuration needs it (``bind``, ``server_ip()``), or where we must answer from the address that was
   asked because there are several (``--anywhere``); elsewhere that costs nothing.
3. Over a stream a question has two bytes of length before it (TCP, TLS) or is a request of HTTP (``doh.py``).
4. An answer about a watched name waits until the kernels know its addresses (``hold.py``), whatever it travels over.
5. New ports are open before a configuration applies; when one cannot be opened the configuration is refused.
"""

import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

from podwire.planes.dns.build import Built
from podwire.planes.dns.chain import Arrival, Place
from podwire.planes.dns.channels import IP_PKTINFO, Channels
from podwire.planes.dns.clients import Limiter
from podwire.planes.dns.hold import Hold
from podwire.planes.dns.listeners import WILDCARDS, Listeners
from podwire.planes.dns.loop import Loop, Stream, StreamServer, say
from podwire.planes.dns.machine import Forward, Reply, Responder

BATCH = 64
LARGEST_QUERY = 4096
TCP_IDLE_SECONDS = 10.0
IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50
ANCILLARY = 64
Deliver = Callable[[bytes | None], None]


class Serving:
    """Reads questions and sends replies. ``servers`` are those of streams."""

    def __init__(
        self,
        loop: Loop,
        listeners: Listeners,
        responder: Responder,
        channels: Channels,
        *,
        hold: Hold,
        libraries: str,
    ) -> None:
        """Nothing is read before :meth:`begin`."""
        self._loop, self._listeners = loop, listeners
        self._responder, self._channels = responder, channels
        self._libraries = libraries
        self._hold = hold
        self.servers: list[StreamServer] = []
        self.serves = False
        self.limiter: Limiter | None = None
        self.rate = 0
        self._active: dict[Place, list[StreamServer]] = {}
        self._makers: dict[Place, Callable[..., Stream]] = {}

    def begin(self) -> None:
        """Begin to read, once; after a hand-over questions wait in the sockets until there is a table."""
        if not self.serves:
            self.serves = True
            self.settle()

    def pause(self) -> None:
        """Read nothing more; questions wait in the sockets for whoever reads them next."""
        for port in self._listeners.ports.values():
            for sock in port.udp:
                self._loop.forget(sock.fileno())
        for server in self.servers:
            server.pause()

    def prepare(self, built: Built) -> None:
        """Open what a configuration needs. Raises :class:`ValueError`, with everything as before."""
        makers: dict[Place, Callable[..., Stream]] = {}
        before = set(self._listeners.ports)
        try:
            for place in built.routers:
                self._listeners.open(place)
                if place in built.tls:
                    makers[place] = _secured(place, built)
        except (OSError, ValueError) as error:
            for port in self._listeners.keep_only(before):
                port.close()
            raise ValueError(str(error)) from error
        self._makers = makers

    def settle(self) -> None:
        """Read from exactly the ports that the configuration has."""
        if not self.serves:
            return
        table = self._responder.table
        rate = table.meta.client_rate if table is not None else 0
        if rate != self.rate:
            self.rate = rate
            self.limiter = Limiter(rate) if rate else None
        for port in self._listeners.keep_only(self._responder.built.routers):
            for server in self._active.pop(port.place, []):
                server.close()
            for sock in port.udp:
                self._loop.forget(sock.fileno())
            port.close()
        for place, port in self._listeners.ports.items():
            for sock in port.udp:
                self._loop.forget(sock.fileno())
                self._loop.watch(sock.fileno(), self._udp_reader(sock, place))
            if place not in self._active:
                self._active[place] = [self._stream_server(sock, place) for sock in port.tcp]
            for server in self._active[place]:
                server.make = self._makers.get(place, Stream)
        self.servers = [server for servers in self._active.values() for server in servers]

    def _stream_server(self, sock: socket.socket, place: Place) -> StreamServer:
        on_data = self._on_https if place[0] == "https" else self._on_stream
        return StreamServer(self._loop, sock, lambda stream: on_data(stream, place), seconds=TCP_IDLE_SECONDS)

    def run_background(self) -> None:
        """Execute questions that no client waits for."""
        waiting, self._responder.background = self._responder.background, []
        for forward in waiting:
            self._channels.ask(forward, lambda _: None, tcp=False)

    def _udp_reader(self, sock: socket.socket, place: Place) -> Callable[[int], None]:
        host = str(sock.getsockname()[0])
        if host in WILDCARDS and (place in self._responder.built.needs_address or self._listeners.anywhere):
            level, wanted = (socket.IPPROTO_IPV6, IPV6_RECVPKTINFO) if ":" in host else (socket.IPPROTO_IP, IP_PKTINFO)
            sock.setsockopt(level, wanted, 1)
            return lambda _: self._drain_addressed(sock, place)
        if self.limiter is not None:
            return lambda _: self._drain_limited(sock, place, host)
        return lambda _: self._drain(sock, place, host)

    def _drain(self, sock: socket.socket, place: Place, host: str) -> None:
        """The inner loop (measured: ``docs/design/dns.md``)."""
        receive, send = sock.recvfrom, sock.sendto
        remembered, pick = self._responder.memory(place).get, self._responder.pick
        given = 0
        started = time.monotonic()
        reply: bytes | None
        for _ in range(BATCH):
            try:
                packet, peer = receive(LARGEST_QUERY)
            except OSError:
                break
            kept = remembered(packet[2:])
            if kept is None:
                arrival = Arrival(peer[0], peer[1], False, time.monotonic(), host, place)
                reply = self._reply(packet, arrival, _sender(sock, peer))
            else:
                kept.hits += 1
                given += 1
                rest = kept.rest
                reply = packet[:2] + (rest if isinstance(rest, bytes) else pick(rest))
            if reply is None or not peer[1]:
                continue
            try:
                send(reply, peer)
            except OSError:
                continue
        if given:
            self._responder.metrics.batch(time.monotonic() - started, given)

    def _drain_limited(self, sock: socket.socket, place: Place, host: str) -> None:
        """The same where clients have a rate."""
        assert self.limiter is not None
        for _ in range(BATCH):
            try:
                packet, peer = sock.recvfrom(LARGEST_QUERY)
            except OSError:
                return
            now, deliver = time.monotonic(), _sender(sock, peer)
            if not peer[1]:
                continue
            if self.limiter.takes(peer[0], now):
                deliver(self._reply(packet, Arrival(peer[0], peer[1], False, now, host, place), deliver))
            else:
                deliver(self.limiter.answer(packet))

    def _drain_addressed(self, sock: socket.socket, place: Place) -> None:
        """The same where the address that was asked matters, and is the reply's source."""
        for _ in range(BATCH):
            try:
                packet, ancillary, _, peer = sock.recvmsg(LARGEST_QUERY, ANCILLARY)
            except OSError:
                return
            ours, source = _local_address(ancillary)
            arrival = Arrival(peer[0], peer[1], False, time.monotonic(), ours, place)
            deliver = _addressed_sender(sock, peer, source)
            if self.limiter is not None and not self.limiter.takes(peer[0], arrival.now):
                deliver(self.limiter.answer(packet))
            elif peer[1]:
                deliver(self._reply(packet, arrival, deliver))

    def _reply(self, packet: bytes, arrival: Arrival, deliver: Deliver) -> bytes | None:
        """The reply over UDP; None when there is none, or when ``deliver`` gets it later."""
        reply = self._responder.reply(packet, arrival)
        if self._responder.background:
            self.run_background()
        if isinstance(reply, Forward):
            self._channels.ask(reply, self._held(deliver), tcp=False)
            return None
        if not isinstance(reply, bytes) or self._holds(reply, deliver):
            return None
        return reply

    def _holds(self, message: bytes, deliver: Deliver) -> bool:
        """Whether the answer waits; ``deliver`` gets it then."""
        hold = self._hold
        return hold.watching and hold.keep(message, lambda: deliver(message), time.monotonic())

    def _held(self, deliver: Deliver) -> Deliver:
        """Delivers what does not have to wait."""

        def give(message: bytes | None) -> None:
            if message is None or not self._holds(message, deliver):
                deliver(message)

        return give

    def _on_stream(self, stream: Stream, place: Place) -> None:
        data = stream.received
        while len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
            size = data[0] << 8 | data[1]
            packet = bytes(data[2 : 2 + size])
            del data[: 2 + size]
            reply = self._ask(packet, stream, place)
            if reply is None:
                stream.close()
                return
            if not isinstance(reply, bytes | Forward):
                stream.feed(map(_framed, reply))
                continue
            stream.pending += 1
            deliver = self._held(_stream_deliver(stream))
            if isinstance(reply, bytes):
                deliver(reply)
            else:
                self._channels.ask(reply, deliver, tcp=True)

    def _ask(self, packet: bytes, stream: Stream, place: Place) -> Reply:
        ours = stream.sock.getsockname()[0]
        arrival = Arrival(stream.peer[0], stream.peer[1], True, time.monotonic(), str(ours), place)
        reply = self._responder.reply(packet, arrival)
        if self._responder.background:
            self.run_background()
        return reply

    def _on_https(self, stream: Stream, place: Place) -> None:
        if stream.state is None:
            stream.state = self._session(stream, place)
        data = bytes(stream.received)
        stream.received.clear()
        if not stream.state.receive(data) or stream.state.finished:
            stream.end()

    def _session(self, stream: Stream, place: Place) -> Any:
        from podwire.planes.dns.doh import Http1, Http2

        def serve(question: bytes, answered: Deliver) -> None:
            reply = self._ask(question, stream, place)
            stream.pending += 1
            deliver = self._held(_http_deliver(stream, answered))
            if isinstance(reply, Forward):
                self._channels.ask(reply, deliver, tcp=True)
            else:
                deliver(reply if isinstance(reply, bytes) else None)

        if getattr(stream, "protocol", None) == "h2":
            return Http2(stream.write, serve, self._libraries)
        return Http1(stream.write, serve)


def _secured(place: Place, built: Built) -> Callable[..., Stream]:
    from podwire.planes.dns.secure import DOT, HTTP, make_server

    return make_server(built.tls[place], DOT if place[0] == "tls" else HTTP)


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def _stream_deliver(stream: Stream) -> Deliver:
    def deliver(message: bytes | None) -> None:
        stream.pending -= 1
        if message is None:
            stream.close()
        else:
            stream.write(_framed(message))

    return deliver


def _http_deliver(stream: Stream, answered: Deliver) -> Deliver:
    def deliver(message: bytes | None) -> None:
        stream.pending -= 1
        answered(message)
        if stream.state is not None and stream.state.finished:
            stream.end()

    return deliver


def _sender(sock: socket.socket, peer: Any) -> Deliver:
    def deliver(message: bytes | None) -> None:
        if message is None:
            return
        try:
            sock.sendto(message, peer)
        except OSError as error:
            say("WARNING", f"cannot reply to {peer[0]}: {error}")

    return deliver


def _addressed_sender(sock: socket.socket, peer: Any, source: list[Any]) -> Deliver:
    def deliver(message: bytes | None) -> None:
        if message is None:
            return
        try:
            sock.sendmsg([message], source, 0, peer)
        except OSError as error:
            say("WARNING", f"cannot reply to {peer[0]}: {error}")

    return deliver


def _local_address(ancillary: list[tuple[int, int, bytes]]) -> tuple[str, list[Any]]:
    """Our address that a packet came to, and the ancillary data that make a reply leave from it (ip(7), ipv6(7))."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
            address = data[8:12]
            return socket.inet_ntoa(address), [(level, kind, bytes(4) + address + bytes(4))]
        if level == socket.IPPROTO_IPV6 and kind == IPV6_PKTINFO:
            return socket.inet_ntop(socket.AF_INET6, data[:16]), [(level, kind, data[:16] + bytes(4))]
    return "", []


def interface_addresses(name: str) -> tuple[str, ...]:
    """Addresses of a network interface, both families; none when there is no such interface."""
    return (*_v4_addresses(name), *_v6_addresses(name))


def _v4_addresses(name: str) -> Iterator[str]:
    from fcntl import ioctl

    get_address = 0x8915  # SIOCGIFADDR (netdevice(7))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            found = ioctl(sock, get_address, struct.pack("256s", name.encode()[:15]))
        except OSError:
            return
    yield socket.inet_ntoa(found[20:24])


def _v6_addresses(name: str) -> Iterator[str]:
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            rows = [line.split() for line in file]
    except OSError:
        return
    for row in rows:
        if row[-1] == name:
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0]))
