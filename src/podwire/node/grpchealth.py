"""``grpc.health.v1.Health/Check`` over one connection, as probes need it: one request, one answer.

Rules:

1. Only what the one call needs of HTTP/2 is spoken: literal header fields without compression go out, the first message
   of the answer is read. Header blocks of the answer are not decoded, as SERVING can only be said in a message.
2. A server that does not speak HTTP/2 is an answer like any other: the reason is told.

Sources: RFC 9113 sections 3.4 and 6, RFC 7541 section 6.2.2, grpc ``doc/PROTOCOL-HTTP2.md``,
``doc/health-checking.md``; kubernetes ``pkg/probe/grpc``.
"""

import asyncio
import socket
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_LARGEST: Final = 1 << 16
_STATES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_METHOD: Final = "/grpc.health.v1.Health/Check"


def render_call(service: str, authority: str) -> bytes:
    """Preface, settings and the whole request on stream 1."""
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", _METHOD),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kube-probe/1.32"),
    )
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers)
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\x00" + len(message).to_bytes(4, "big") + message
    return (
        _PREFACE
        + render_frame(_SETTINGS, 0, 0, b"")
        + render_frame(_HEADERS, _END_HEADERS, 1, block)
        + render_frame(_DATA, _END_STREAM, 1, body)
    )


def render_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113 section 4.1."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _text(value: str) -> bytes:
    """A string literal without Huffman coding; lengths from 127 on have continuation bytes (RFC 7541 section 5.1)."""
    data = value.encode()
    prefix = bytes((len(data),)) if len(data) < 127 else b"\x7f" + _varint(len(data) - 127)
    return prefix + data


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes((number & 127 | 128,)), number >> 7
    return out + bytes((number,))


class HealthCall:
    """The answer, frame by frame, without I/O. ``outcome`` is None until it is known; empty when the service serves."""

    def __init__(self) -> None:
        """Nothing received."""
        self.outcome: str | None = None
        self._rest = b""
        self._body = b""
        self._greeted = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes; returns what must be sent. No bytes: the connection has ended."""
        if not data and self.outcome is None:
            self.outcome = "the connection was closed without an answer"
        self._rest += data
        answer = b""
        while self.outcome is None and len(self._rest) >= 9:
            size = int.from_bytes(self._rest[:3], "big")
            if size > _LARGEST or (not self._greeted and self._rest[3] != _SETTINGS):
                self.outcome = "the server does not speak HTTP/2 (gRPC) on this port"
                break
            if len(self._rest) < 9 + size:
                break
            kind, flags = self._rest[3], self._rest[4]
            payload, self._rest = self._rest[9 : 9 + size], self._rest[9 + size :]
            answer += self._take(kind, flags, payload)
        return answer

    def _take(self, kind: int, flags: int, payload: bytes) -> bytes:
        self._greeted = True
        if kind == _SETTINGS and not flags & _ACK:
            return render_frame(_SETTINGS, _ACK, 0, b"")
        if kind == _PING and not flags & _ACK:
            return render_frame(_PING, _ACK, 0, payload)
        if kind in (_RESET, _GOAWAY):
            self.outcome = "the server refused the call"
        if kind == _DATA:
            self._body += payload[1 : len(payload) - payload[0]] if flags & _PADDED and payload else payload
            self._decide()
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM and self.outcome is None:
            self.outcome = "the server does not implement grpc.health.v1.Health, or does not know the service"
        return b""

    def _decide(self) -> None:
        if len(self._body) < 5 or len(self._body) < 5 + int.from_bytes(self._body[1:5], "big"):
            return
        message = self._body[5:]
        status = message[1] if len(message) > 1 and message[0] == 8 else 0
        if status == 1:
            self.outcome = ""
        else:
            self.outcome = f"service unhealthy (responded with {_STATES.get(status, str(status))!r})"


async def check_health(connection: socket.socket, service: str, authority: str) -> str:
    """Ask over a connected socket, which is closed here; why it is not healthy, or an empty text."""
    loop = asyncio.get_running_loop()
    with connection:
        await loop.sock_sendall(connection, render_call(service, authority))
        call = HealthCall()
        while call.outcome is None:
            answer = call.receive(await loop.sock_recv(connection, 65536))
            if answer:
                await loop.sock_sendall(connection, answer)
        return call.outcome
