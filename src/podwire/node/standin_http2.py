"""What a stand-in answers over HTTP/2: requests as over HTTP/1.1, and gRPC. Loaded with the first HTTP/2 client.

Rules:

1. Prior knowledge, the upgrade from HTTP/1.1 (``Upgrade: h2c``) and TLS with ALPN all end here.
2. A gRPC call to ``grpc.health.v1.Health`` is answered SERVING, or NOT_SERVING while its path is made to fail
   (``/_podwire/fail``); Watch stays open. Any other call gets its own messages back and grpc-status 0.
3. No more is kept of a request than its first :data:`podwire.node.standin.BODY_BYTES`, and nothing is read of a client
   that does not read.

Sources: RFC 9113, RFC 7540 section 3.2 (upgrade), grpc ``doc/PROTOCOL-HTTP2.md``.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, unquote

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from hyperframe.exceptions import HyperframeError

from podwire.node.sockets import format_peer
from podwire.node.standin import BODY_BYTES, decide_status, render_answer

if TYPE_CHECKING:
    from podwire.node.standin import StandIn

_HEALTH: Final = "/grpc.health.v1.Health/"
_SERVING: Final = b"\x00\x00\x00\x00\x02\x08\x01"
_NOT_SERVING: Final = b"\x00\x00\x00\x00\x02\x08\x02"
_PENDING_BYTES: Final = 1 << 20
Headers = list[tuple[str, str]]


class Call:
    """One request and what is still to be sent for it."""

    def __init__(self, headers: Headers) -> None:
        """Just begun."""
        self.headers = headers
        self.fields = {name: value for name, value in headers if name.startswith(":")}
        self.path = self.fields.get(":path", "/")
        self.grpc = any(n == "content-type" and v.startswith("application/grpc") for n, v in headers)
        self.body = b""
        self.pending = b""
        self.ended = False
        self.trailers: Headers | None = None


class Http2Protocol(asyncio.Protocol):
    """One HTTP/2 connection of a stand-in."""

    _transport: asyncio.Transport

    def __init__(self, owner: "StandIn", upgrade: bytes = b"") -> None:
        """``upgrade`` is the head of the HTTP/1.1 request that asked for HTTP/2."""
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._owner = owner
        self._upgrade = upgrade
        self._connection = h2.connection.H2Connection(config)
        self._calls: dict[int, Call] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet; an upgraded request is stream 1."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._upgrade:
            self._connection.initiate_connection()
            self._flush()
            return
        headers, settings = parse_upgrade(self._upgrade)
        self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        try:
            self._connection.initiate_upgrade_connection(settings)
        except (h2.exceptions.ProtocolError, HyperframeError, ValueError):
            self._transport.close()
            return
        self._calls[1] = Call(headers)
        self._finish(1)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Answer what came; a client that breaks the protocol is told so by h2 and closed."""
        try:
            events = self._connection.receive_data(data)
        except (h2.exceptions.ProtocolError, UnicodeDecodeError):
            self._flush()
            self._transport.close()
            return
        for event in events:
            with suppress(h2.exceptions.ProtocolError):  # a stream that the same bytes closed again
                self._handle(event)
        self._flush()

    def _handle(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.RequestReceived():
                self._calls[event.stream_id] = Call([(str(n), str(v)) for n, v in event.headers or ()])
                self._begin(event.stream_id)
            case h2.events.DataReceived():
                self._take(event.stream_id, event.data or b"", event.flow_controlled_length or 0)
            case h2.events.StreamEnded():
                self._finish(event.stream_id)
            case h2.events.StreamReset():
                self._calls.pop(event.stream_id or 0, None)
            case h2.events.WindowUpdated():
                for stream in list(self._calls):
                    self._send(stream)
            case h2.events.ConnectionTerminated():
                self._transport.close()

    def _begin(self, stream: int) -> None:
        call = self._calls[stream]
        if call.grpc:
            headers = [(":status", "200"), ("content-type", "application/grpc"), *self._marks()]
            self._connection.send_headers(stream, headers)

    def _marks(self) -> Headers:
        return [("server", "podwire-stand-in"), ("x-podwire-pod", self._owner.identity.pod)]

    def _take(self, stream: int, data: bytes, size: int) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        self._connection.acknowledge_received_data(size, stream)
        if not call.grpc or call.path.startswith(_HEALTH):
            call.body += data[: BODY_BYTES - len(call.body)]
            return
        call.pending += data
        if len(call.pending) > _PENDING_BYTES:  # the client sends and does not read
            self._connection.reset_stream(stream, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            del self._calls[stream]
            return
        self._send(stream)

    def _finish(self, stream: int) -> None:
        call = self._calls.get(stream)
        if call is None:
            return
        if not call.grpc:
            self._answer(stream, call)
        else:
            self._owner.log(f"{self._peer()} gRPC {call.path}")
            call.trailers = [("grpc-status", "0"), *self._marks()]
            if call.path.startswith(_HEALTH):
                call.pending += _NOT_SERVING if call.path in self._owner.failing else _SERVING
                if call.path.endswith("/Watch"):
                    call.trailers = None
        call.ended = call.trailers is not None or not call.grpc
        self._send(stream)

    def _answer(self, stream: int, call: Call) -> None:
        path, _, query = call.path.partition("?")
        asked = parse_qs(query).get("status", [""])[-1]
        status = decide_status(self._owner.failing, unquote(path), asked)
        method = call.fields.get(":method", "GET")
        headers = [(":status", str(status)), ("content-type", "application/json"), *self._marks()]
        body = b"" if status in {204, 304} or method == "HEAD" else render_answer(self._describe(call))
        self._connection.send_headers(stream, headers)
        call.pending = body
        agent = dict(call.headers).get("user-agent", "")
        if not agent.startswith("kube-probe/"):
            self._owner.log(f"{self._peer()} {method} {call.path} {status}")

    def _peer(self) -> str:
        return format_peer(self._transport.get_extra_info("peername"))

    def _describe(self, call: Call) -> dict[str, object]:
        identity, fields = self._owner.identity, call.fields
        path, _, query = call.path.partition("?")
        here = self._transport.get_extra_info("sockname") or ("", 0)
        values: dict[str, object] = {
            "pod": identity.pod,
            "namespace": identity.namespace,
            "node": identity.node,
            "address": identity.address,
            "port": here[1],
            "protocol": "HTTP/2.0",
            "tls": self._transport.get_extra_info("ssl_object") is not None,
            "method": fields.get(":method", ""),
            "path": unquote(path),
            "query": query,
            "host": fields.get(":authority") or dict(call.headers).get("host", ""),
            "caller": self._peer(),
            "headers": {name: value for name, value in call.headers if not name.startswith(":")},
        }
        return values | ({"body": call.body.decode(errors="replace")} if call.body else {})

    def _send(self, stream: int) -> None:
        """What the client's windows allow; the end of the answer once all is out."""
        call = self._calls.get(stream)
        if call is None:
            return
        connection = self._connection
        while call.pending:
            room = min(connection.local_flow_control_window(stream), connection.max_outbound_frame_size)
            if room <= 0:
                return
            connection.send_data(stream, call.pending[:room])
            call.pending = call.pending[room:]
        if call.ended:
            if call.trailers is not None:
                connection.send_headers(stream, call.trailers, end_stream=True)
            else:
                connection.end_stream(stream)
            del self._calls[stream]

    def _flush(self) -> None:
        data = self._connection.data_to_send()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read: stop listening to it."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._transport.resume_reading()


def asks_upgrade(head: bytes) -> bool:
    """Whether a complete HTTP/1.1 head without a body asks for HTTP/2 (RFC 7540 section 3.2)."""
    lines = head.lower().split(b"\r\n")
    fields = dict(line.partition(b":")[::2] for line in lines[1:] if line)
    wanted = b"h2c" in [word.strip() for word in fields.get(b"upgrade", b"").split(b",")]
    return wanted and b"http2-settings" in fields and not {b"content-length", b"transfer-encoding"} & set(fields)


def parse_upgrade(head: bytes) -> tuple[Headers, bytes]:
    """The request as HTTP/2 has it, and the settings of the client."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = [(n.strip().lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines if line)]
    fields = dict(pairs)
    dropped = {"connection", "upgrade", "http2-settings", "host"}
    headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", fields.get("host", ""))]
    return [*headers, *((n, v) for n, v in pairs if n not in dropped)], fields["http2-settings"].encode()
