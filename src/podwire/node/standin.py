"""The stand-in workload: listens on a pod's ports inside the main process and answers who it is and what it saw.

Rules:

1. A TCP port takes whatever the client speaks first: TLS (its first byte is peeked at), then HTTP/2 (also gRPC) or
   HTTP/1.1 (with upgrades to WebSocket and h2c), else the bytes are echoed. UDP answers ``POD-NAME `` and the datagram.
2. ``/_podwire/fail?path=P&status=N`` (PUT or POST; DELETE with ``path`` or without, GET lists) makes path P fail, so
   that a person can turn a pod unready. ``?status=N`` and ``/status/N`` answer with N.
3. A stand-in costs sockets, not processes or threads; aiohttp's server part is made with the first HTTP connection.
4. Requests are logged, probes are not.
"""

import asyncio
import errno
import json
import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast
from weakref import WeakSet

import msgspec

from podwire.node import sockets
from podwire.plan.node import StandInPort

if TYPE_CHECKING:
    import ssl

    from aiohttp import web
    from aiohttp.web_request import BaseRequest

_METHODS: Final = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"TRACE ", b"CONNECT ")
_HTTP2: Final = b"PRI * HTTP/2.0"
_STATUS_PATH = re.compile(r"/status/([1-5]\d\d)")
BODY_BYTES: Final = 64 * 1024
_TLS_HANDSHAKE: Final = b"\x16"


class Identity(msgspec.Struct, frozen=True):
    """What the answers say about the pod."""

    pod: str
    namespace: str
    node: str
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """The primary one."""
        return self.addresses[0]


TlsContext = Callable[[], "asyncio.Future[ssl.SSLContext]"]


class StandIn:
    """One container's stand-in. Use from the event loop's thread only."""

    def __init__(self, identity: Identity, *, log: Callable[[str], None], tls: TlsContext) -> None:
        """``log`` takes one line of text; ``tls`` makes the server's TLS context with the first TLS client."""
        self.identity = identity
        self.failing: dict[str, int] = {}
        self._ipv6 = any(":" in address for address in identity.addresses)
        self._log = log
        self._tls = tls
        self._listeners: dict[StandInPort, socket.socket] = {}
        self._datagrams: dict[StandInPort, asyncio.DatagramTransport] = {}
        self._waiting: set[socket.socket] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: WeakSet[asyncio.BaseTransport] = WeakSet()
        self._http: web.Server | None = None

    async def listen(self, space: str, ports: tuple[StandInPort, ...], *, taken: set[tuple[int, str]]) -> list[str]:
        """Listen on exactly ``ports`` that are not ``taken``; returns what could not be had, as text."""
        wanted = {(p.port, p.protocol): p for p in ports if (p.port, p.protocol) not in taken}
        for port in [p for p in (*self._listeners, *self._datagrams) if (p.port, p.protocol) not in wanted]:
            self._close_port(port)
        present = {(p.port, p.protocol) for p in (*self._listeners, *self._datagrams)}
        refused = []
        for key, port in sorted(wanted.items()):
            if key in present:
                continue
            try:
                await self._open_port(space, port)
            except OSError as error:
                why = "address already in use" if error.errno == errno.EADDRINUSE else error.strerror
                refused.append(f"listen {port.protocol.lower()} :{port.port}: {why}")
        return refused

    async def _open_port(self, space: str, port: StandInPort) -> None:
        if port.protocol not in {"TCP", "UDP"}:
            raise OSError(errno.EPROTONOSUPPORT, f"stand-ins do not speak {port.protocol}")
        listener = sockets.listen(space, port.port, port.protocol, ipv6=self._ipv6)
        loop = asyncio.get_running_loop()
        if port.protocol == "TCP":
            self._listeners[port] = listener
            loop.add_reader(listener, self._accept, listener)
            return
        greeting = f"{self.identity.pod} ".encode()
        transport, _ = await loop.create_datagram_endpoint(lambda: DatagramEcho(greeting), sock=listener)
        self._datagrams[port] = transport

    @property
    def ports(self) -> list[tuple[int, str]]:
        """What it listens on."""
        return sorted((p.port, p.protocol) for p in (*self._listeners, *self._datagrams))

    def _close_port(self, port: StandInPort) -> None:
        listener = self._listeners.pop(port, None)
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        datagrams = self._datagrams.pop(port, None)
        if datagrams is not None:
            datagrams.abort()

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(32):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # out of descriptors or memory: let others go on for a moment
                loop = asyncio.get_running_loop()
                loop.remove_reader(listener)
                loop.call_later(1, self._listen_again, listener)
                return
            connection.setblocking(False)
            self._waiting.add(connection)
            asyncio.get_running_loop().add_reader(connection, self._first_byte, connection)

    def _listen_again(self, listener: socket.socket) -> None:
        if listener in self._listeners.values():
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _first_byte(self, connection: socket.socket) -> None:
        """Look at the client's first byte without taking it: the TLS layer needs to see it too."""
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        asyncio.get_running_loop().remove_reader(connection)
        self._waiting.discard(connection)
        if not first:
            connection.close()
            return
        task = asyncio.create_task(self._take(connection, tls=first == _TLS_HANDSHAKE))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, connection: socket.socket, *, tls: bool) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = await asyncio.shield(self._tls()) if tls else None
            await loop.connect_accepted_socket(lambda: Sniffer(self), connection, ssl=context)
        except OSError:  # the client went away, or does not like our certificate
            connection.close()

    def http_protocol(self) -> asyncio.Protocol:
        """A protocol for one HTTP connection."""
        if self._http is None:
            from aiohttp import web

            self._http = web.Server(self._respond, access_log=None)
        return self._http()

    def http2_protocol(self, upgrade: bytes = b"") -> asyncio.Protocol:
        """A protocol for one HTTP/2 connection; ``upgrade`` is the head that asked for it over HTTP/1.1."""
        from podwire.node.standin_http2 import Http2Protocol

        return Http2Protocol(self, upgrade)

    async def _respond(self, request: "BaseRequest") -> "web.StreamResponse":
        from podwire.node.standin_http import respond

        return await respond(self, request)

    def log(self, line: str) -> None:
        """One line in the container's log."""
        self._log(line)

    def close(self) -> None:
        """Stop listening and drop every connection."""
        for port in [*self._listeners, *self._datagrams]:
            self._close_port(port)
        for connection in self._waiting:
            asyncio.get_running_loop().remove_reader(connection)
            connection.close()
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        for transport in list(self.connections):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


class Sniffer(asyncio.Protocol):
    """Decides by the first bytes what a connection speaks and hands it over."""

    def __init__(self, owner: StandIn) -> None:
        """``owner`` answers."""
        self._owner = owner
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection, so that stopping the stand-in ends it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._owner.connections.add(transport)

    def data_received(self, data: bytes) -> None:
        """Decide as soon as the bytes allow it."""
        assert self._transport is not None
        self._buffer += data
        kind = classify(self._buffer)
        if kind == "undecided":
            return
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if kind == "http" and end and b"h2c" in head.lower() and _upgrades(head):
            self._hand_over(self._owner.http2_protocol(head), rest)
            return
        if kind == "http2":
            protocol = self._owner.http2_protocol()
        else:
            protocol = self._owner.http_protocol() if kind == "http" else StreamEcho()
        self._hand_over(protocol, self._buffer)

    def _hand_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        assert self._transport is not None
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if data:
            protocol.data_received(data)
        self._buffer = b""

    def eof_received(self) -> bool:
        """The client said all it will; what is undecided is echoed."""
        if self._transport is not None:
            self._transport.write(self._buffer)
        return False


def _upgrades(head: bytes) -> bool:
    from podwire.node.standin_http2 import asks_upgrade

    return asks_upgrade(head)


def classify(first: bytes) -> str:
    """``http``, ``http2``, ``raw`` or ``undecided`` (more bytes are needed)."""
    if first.startswith(_METHODS):
        return "http"
    if first.startswith(_HTTP2):
        return "http2"
    if any(m.startswith(first) for m in (*_METHODS, _HTTP2)):
        return "undecided"
    return "raw"


class StreamEcho(asyncio.Protocol):
    """Sends back what comes, no faster than the client reads."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Echo."""
        self._transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read: stop listening to it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._transport.resume_reading()


class DatagramEcho(asyncio.DatagramProtocol):
    """Answers each datagram with the pod's name and the datagram."""

    def __init__(self, greeting: bytes) -> None:
        """``greeting`` comes before the data."""
        self._greeting = greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        # Before Python 3.12 the selector loop's transport is no subclass of DatagramTransport.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Echo."""
        self._transport.sendto(self._greeting + data, addr)


def decide_status(failing: dict[str, int], path: str, asked: str) -> int:
    """The status of an ordinary request: injected failure, then what the client asked for, then 200."""
    if path in failing:
        return failing[path]
    by_path = _STATUS_PATH.fullmatch(path)
    text = by_path.group(1) if by_path else asked
    return int(text) if text.isdigit() and 200 <= int(text) <= 599 else 200


def render_answer(values: dict[str, object]) -> bytes:
    """The JSON answer, one line."""
    return json.dumps(values, ensure_ascii=False).encode() + b"\n"
