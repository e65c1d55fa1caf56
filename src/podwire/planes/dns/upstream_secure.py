"""Upstreams over TLS and HTTPS: one connection each, kept while it is used, many questions on it at once.

Rules:

1. A question whose connection breaks is sent once more on a new one: servers close idle connections at any time.
2. On the wire ids are ours (a counter); the caller's come back with the answer. Over HTTPS the id is 0 (RFC 8484 4.1).
3. Certificates are always checked, for the name that was configured or else for the address.
4. Whether HTTPS is HTTP/2 or HTTP/1.1 is the upstream's choice (ALPN). HTTP/1.1 answers in order.

Source: RFC 7858, RFC 8484; coredns:plugin/forward.
"""

import base64
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from podwire.planes.dns.doh import MEDIA, load_h2
from podwire.planes.dns.loop import Loop, Stream
from podwire.planes.dns.secure import DOT, HTTP, TlsStream, client_context
from podwire.planes.dns.upstream import Secure

MAX_PENDING = 1000
MAX_ANSWER = 65_535
Found = tuple[int, bytes]
"""Our number of a question, and the answer."""


class Framing(Protocol):
    """How questions travel on a connection."""

    def send(self, number: int, packet: bytes) -> None:
        """A question."""
        ...

    def receive(self, data: bytearray) -> Iterator[Found]:
        """Answers in what came; what was read is removed from ``data``. Raises :class:`ValueError` for nonsense."""
        ...


class Dot:
    """Messages with their length before them."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """``write`` sends plain bytes."""
        self._write = write

    def send(self, number: int, packet: bytes) -> None:
        """With our id."""
        self._write(len(packet).to_bytes(2, "big") + number.to_bytes(2, "big") + packet[2:])

    def receive(self, data: bytearray) -> Iterator[Found]:
        """By id."""
        while len(data) >= 2 and len(data) >= 2 + (data[0] << 8 | data[1]):
            size = data[0] << 8 | data[1]
            message = bytes(data[2 : 2 + size])
            del data[: 2 + size]
            yield int.from_bytes(message[:2], "big"), message


class _Https:
    def __init__(self, upstream: Secure, method: str) -> None:
        self.authority = upstream.name or (f"[{upstream.host}]" if ":" in upstream.host else upstream.host)
        if upstream.port != 443:
            self.authority += f":{upstream.port}"
        self.path, self.method = upstream.path, method

    def request(self, packet: bytes) -> tuple[str, bytes]:
        """Path and body."""
        message = b"\0\0" + packet[2:]
        if self.method == "POST":
            return self.path, message
        return f"{self.path}?dns={base64.urlsafe_b64encode(message).rstrip(b'=').decode()}", b""


class Doh1:
    """HTTP/1.1: answers come in the order of the requests."""

    def __init__(self, write: Callable[[bytes], None], https: _Https) -> None:
        """``write`` sends plain bytes."""
        self._write, self._https = write, https
        self._order: list[int] = []

    def send(self, number: int, packet: bytes) -> None:
        """One request."""
        path, body = self._https.request(packet)
        rows = [f"{self._https.method} {path} HTTP/1.1", f"host: {self._https.authority}", f"accept: {MEDIA}"]
        if body:
            rows += [f"content-type: {MEDIA}", f"content-length: {len(body)}"]
        self._order.append(number)
        self._write("\r\n".join(rows).encode() + b"\r\n\r\n" + body)

    def receive(self, data: bytearray) -> Iterator[Found]:
        """Whole responses with a length."""
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].decode("latin-1").split("\r\n")
            headers = {k.strip().lower(): v.strip() for k, _, v in (row.partition(":") for row in head[1:])}
            size = headers.get("content-length", "")
            if not size.isdecimal() or int(size) > MAX_ANSWER or not self._order:
                raise ValueError("the upstream's HTTP is not understood")
            if len(data) < end + 4 + int(size):
                return
            message = bytes(data[end + 4 : end + 4 + int(size)])
            del data[: end + 4 + int(size)]
            number = self._order.pop(0)
            if head[0].split(" ")[1:2] == ["200"]:
                yield number, message
        if len(data) > 2 * MAX_ANSWER:
            raise ValueError("the upstream's HTTP has no end")


class Doh2:
    """HTTP/2: a stream for each question."""

    def __init__(self, write: Callable[[bytes], None], https: _Https, libraries: str) -> None:
        """Greet."""
        connection, config, self._events = load_h2(libraries)
        self._write, self._https = write, https
        self._h2 = connection.H2Connection(config=config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._numbers: dict[int, int] = {}
        self._status: dict[int, str] = {}
        self._bodies: dict[int, bytearray] = {}
        self._h2.initiate_connection()
        self._flush()

    def send(self, number: int, packet: bytes) -> None:
        """One request; one that finds no free stream is lost and sent again by whoever waits."""
        path, body = self._https.request(packet)
        if self._h2.open_outbound_streams >= self._h2.remote_settings.max_concurrent_streams:
            return
        stream = self._h2.get_next_available_stream_id()
        headers = [
            (":method", self._https.method), (":scheme", "https"), (":authority", self._https.authority),
            (":path", path), ("accept", MEDIA),
        ]  # fmt: skip
        if body:
            headers += [("content-type", MEDIA), ("content-length", str(len(body)))]
        self._numbers[stream] = number
        self._bodies[stream] = bytearray()
        self._h2.send_headers(stream, headers, end_stream=not body)
        if body:
            self._h2.send_data(stream, body, end_stream=True)
        self._flush()

    def receive(self, data: bytearray) -> Iterator[Found]:
        """Responses that are whole now."""
        received = bytes(data)
        data.clear()
        kinds = self._events
        try:
            events = self._h2.receive_data(received)
        except Exception as error:  # h2 raises many kinds for what peers do wrong
            raise ValueError(f"the upstream's HTTP/2 is not understood: {error}") from error
        for event in events:
            stream = getattr(event, "stream_id", 0)
            if isinstance(event, kinds.ResponseReceived):
                self._status[stream] = dict(event.headers).get(":status", "")
            elif isinstance(event, kinds.DataReceived):
                self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                body = self._bodies.get(stream)
                if body is not None and len(body) <= MAX_ANSWER:
                    body += event.data
            elif isinstance(event, kinds.ConnectionTerminated):
                raise ValueError("the upstream ends the connection")
            if isinstance(event, kinds.StreamEnded | kinds.StreamReset):
                number, body = self._numbers.pop(stream, None), self._bodies.pop(stream, None)
                if self._status.pop(stream, "") == "200" and number is not None and body:
                    yield number, bytes(body)
        self._flush()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._write(data)


class _Waiting:
    __slots__ = ("again", "channel", "packet")

    def __init__(self, channel: int, packet: bytes) -> None:
        self.channel, self.packet, self.again = channel, packet, True


class Connection:
    """The way to one upstream. ``reply`` gets (channel, answer with the id of the question)."""

    def __init__(
        self,
        loop: Loop,
        upstream: Secure,
        options: dict[str, Any],
        *,
        take_socket: Callable[[Secure], socket.socket | None],
        reply: Callable[[int, bytes], None],
        libraries: str,
    ) -> None:
        """Nothing is opened yet. Raises :class:`ValueError` for certificates that cannot be used."""
        self._loop, self._upstream = loop, upstream
        self.name = f"{upstream.scheme}://{upstream.host}:{upstream.port}"
        self._take_socket, self._reply = take_socket, reply
        self._libraries = libraries
        self._https = _Https(upstream, options.get("doh_method", "POST"))
        self._seconds = float(options.get("expire_seconds", 10)) or 10.0
        self._context = client_context(options.get("tls"), DOT if upstream.scheme == "tls" else HTTP)
        self._stream: TlsStream | None = None
        self._framing: Framing | None = None
        self._pending: dict[int, _Waiting] = {}
        self._number = 0
        self._closed = False
        self.why = ""

    @property
    def deadline(self) -> float | None:
        """When the connection is idle for too long."""
        return self._stream.deadline if self._stream is not None else None

    def expire(self, now: float) -> None:
        """Close a connection that nobody uses, or that does not answer."""
        if self._stream is not None and self._stream.deadline <= now:
            self._stream.close()

    def close(self) -> None:
        """For good."""
        self._closed = True
        if self._stream is not None:
            self._stream.close()

    def send(self, packet: bytes, channel: int) -> None:
        """A question whose answer goes to ``reply``; lost when there is no way."""
        if len(self._pending) >= MAX_PENDING:
            del self._pending[next(iter(self._pending))]
        self._put(_Waiting(channel, packet))

    def _put(self, waiting: _Waiting) -> None:
        self._number = self._number % 0xFFFF + 1
        self._pending[self._number] = waiting
        if self._stream is None and not self._open():
            del self._pending[self._number]
        elif self._framing is not None:
            self._framing.send(self._number, waiting.packet)

    def _open(self) -> bool:
        sock = None if self._closed else self._take_socket(self._upstream)
        if sock is None:
            return False
        name = self._upstream.name or self._upstream.host
        stream = TlsStream(
            self._loop, sock, self._on_data, seconds=self._seconds, context=self._context, server_name=name
        )
        stream.on_close, stream.on_shaken = self._on_close, self._on_shaken
        self._stream = stream
        stream.begin()
        return True

    def _on_shaken(self, stream: TlsStream) -> None:
        self._framing = self._frame(stream)
        for number, waiting in list(self._pending.items()):
            self._framing.send(number, waiting.packet)

    def _frame(self, stream: TlsStream) -> Framing:
        if self._upstream.scheme == "tls":
            return Dot(stream.write)
        if stream.protocol == "h2":
            return Doh2(stream.write, self._https, self._libraries)
        return Doh1(stream.write, self._https)

    def _on_data(self, stream: Stream) -> None:
        if self._framing is None:
            return
        try:
            for number, message in self._framing.receive(stream.received):
                waiting = self._pending.pop(number, None)
                if waiting is not None and len(message) >= 12:
                    self._reply(waiting.channel, waiting.packet[:2] + message[2:])
        except ValueError as error:
            self.why = str(error)
            stream.close()

    def _on_close(self, stream: Stream) -> None:
        if stream is not self._stream:
            return
        assert isinstance(stream, TlsStream)
        self.why = stream.error or self.why
        answered = self._framing is not None
        self._stream = self._framing = None
        waiting, self._pending = self._pending, {}
        for each in waiting.values():
            if each.again and answered:
                each.again = False
                self._put(each)
