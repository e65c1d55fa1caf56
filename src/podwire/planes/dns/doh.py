"""DNS over HTTPS (RFC 8484): questions in, answers out, over HTTP/1.1 and HTTP/2. Sans-IO.

Rules:

1. ``/dns-query`` takes GET with ``dns=`` in base64url and POST of ``application/dns-message``. Anything else is 404,
   405, 413, 415 or 400, and never reaches the DNS server.
2. ``Cache-Control: max-age`` is the smallest TTL of the answer.
3. Requests of one connection are answered as they are done in HTTP/2, in order in HTTP/1.1.
4. What a peer can make us hold is bounded: 8 KB of head, 4 KB of question, 100 streams.

Served at the same address: nothing else.
"""

import base64
import binascii
import importlib
import sys
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from podwire.planes.dns import splice
from podwire.planes.dns.wire import Malformed

PATH = "/dns-query"
MEDIA = "application/dns-message"
MAX_HEAD, MAX_BODY = 8192, 4096
MAX_STREAMS = 100
MAX_PIPELINED = 32
_WORDS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
    415: "Unsupported Media Type", 500: "Internal Server Error",
}  # fmt: skip

Answered = Callable[[bytes | None], None]
Serve = Callable[[bytes, Answered], None]
"""Answers a question by calling back, at once or later; None: no answer."""


class Refused(Exception):
    """The request is no question; ``status`` says why."""

    def __init__(self, status: int) -> None:
        """Keep the status."""
        super().__init__(status)
        self.status = status


class Session(Protocol):
    """One connection, either version."""

    def receive(self, data: bytes) -> bool:
        """Take bytes in; False when the connection must end."""
        ...


def question_of(method: str, target: str, media: str, body: bytes) -> bytes:
    """The DNS message of a request. Raises :class:`Refused`."""
    parts = urlsplit(target)
    if parts.path != PATH:
        raise Refused(404)
    if method == "POST":
        if media.partition(";")[0].strip().lower() != MEDIA:
            raise Refused(415)
        return body
    if method not in ("GET", "HEAD"):
        raise Refused(405)
    values = parse_qs(parts.query).get("dns", [])
    if len(values) != 1 or len(values[0]) > MAX_BODY * 2:
        raise Refused(400)
    try:
        return base64.b64decode(values[0] + "=" * (-len(values[0]) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(400) from error


def max_age(message: bytes) -> int:
    """The smallest TTL of a message."""
    try:
        ttls = [int.from_bytes(r.head[4:8], "big") for r in splice.read_records(message) if r.section < 2]
    except Malformed:
        return 0
    return min(ttls, default=0)


class Http1:
    """Requests of one connection, in order."""

    def __init__(self, write: Callable[[bytes], None], serve: Serve) -> None:
        """``write`` sends bytes; ``serve`` answers questions."""
        self._write, self._serve = write, serve
        self._data = bytearray()
        self._waiting: list[list[bytes | None]] = []
        self._last = False

    def receive(self, data: bytes) -> bool:
        """Take in (parts of) requests."""
        self._data += data
        while not self._last and len(self._waiting) < MAX_PIPELINED and self._one():
            pass
        return len(self._data) <= MAX_HEAD + MAX_BODY

    def _one(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > MAX_HEAD:
                self._refuse(400)
            return False
        head = self._data[:end].decode("latin-1").split("\r\n")
        words = head[0].split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (row.partition(":") for row in head[1:])}
        size = headers.get("content-length", "0")
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or not size.isdecimal():
            self._refuse(400)
            return False
        if "transfer-encoding" in headers or int(size) > MAX_BODY:
            self._refuse(413)
            return False
        if len(self._data) < end + 4 + int(size):
            return False
        body = bytes(self._data[end + 4 : end + 4 + int(size)])
        del self._data[: end + 4 + int(size)]
        self._last = headers.get("connection", "").lower() == "close" or words[2] == "HTTP/1.0"
        self._answer(words[0], words[1], headers.get("content-type", ""), body)
        return True

    def _answer(self, method: str, target: str, media: str, body: bytes) -> None:
        place: list[bytes | None] = [None]
        self._waiting.append(place)

        def done(message: bytes | None) -> None:
            place[0] = _reply1(200 if message else 500, message or b"", head_only=method == "HEAD", last=self._last)
            self._send()

        try:
            question = question_of(method, target, media, body)
        except Refused as error:
            place[0] = _reply1(error.status, b"", last=self._last)
            self._send()
            return
        self._serve(question, done)

    def _refuse(self, status: int) -> None:
        self._last = True
        self._waiting.append([_reply1(status, b"", last=True)])
        self._send()

    def _send(self) -> None:
        while self._waiting and self._waiting[0][0] is not None:
            self._write(self._waiting.pop(0)[0] or b"")

    @property
    def finished(self) -> bool:
        """Whether everything is answered and nothing more will be."""
        return self._last and not self._waiting


def _reply1(status: int, body: bytes, *, head_only: bool = False, last: bool = False) -> bytes:
    rows = [f"HTTP/1.1 {status} {_WORDS[status]}", f"content-length: {len(body)}"]
    if body:
        rows += [f"content-type: {MEDIA}", f"cache-control: max-age={max_age(body)}"]
    rows.append(f"connection: {'close' if last else 'keep-alive'}")
    return "\r\n".join(rows).encode() + b"\r\n\r\n" + (b"" if head_only else body)


def load_h2(libraries: str) -> tuple[Any, Any, Any]:
    """The modules ``h2.connection``, ``h2.config``, ``h2.events``: the only ones from outside the standard library, so
    their folder joins the path only now."""
    if libraries and libraries not in sys.path:
        sys.path.append(libraries)
    names = ("h2.connection", "h2.config", "h2.events")
    first, second, third = (importlib.import_module(name) for name in names)
    return first, second, third


class Http2:
    """Requests of one connection, each on its stream."""

    def __init__(self, write: Callable[[bytes], None], serve: Serve, libraries: str) -> None:
        """Send our settings."""
        connection, config, self._events = load_h2(libraries)
        self._write, self._serve = write, serve
        self._h2 = connection.H2Connection(config=config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self._heads: dict[int, dict[str, str]] = {}
        self._bodies: dict[int, bytearray] = {}
        self.finished = False
        self._h2.initiate_connection()
        self._flush()

    def receive(self, data: bytes) -> bool:
        """Take in frames."""
        try:
            events = self._h2.receive_data(data)
        except Exception:  # h2 raises many kinds for what peers do wrong; all of them end the connection
            self._flush()
            return False
        for event in events:
            self._handle(event)
        self._flush()
        return not self.finished

    def _handle(self, event: Any) -> None:
        kinds = self._events
        if isinstance(event, kinds.RequestReceived):
            if len(self._heads) >= MAX_STREAMS:
                self._h2.reset_stream(event.stream_id, error_code=7)
                return
            self._heads[event.stream_id] = dict(event.headers)
            self._bodies[event.stream_id] = bytearray()
        elif isinstance(event, kinds.DataReceived):
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            body = self._bodies.get(event.stream_id)
            if body is not None and len(body) <= MAX_BODY:
                body += event.data
        elif isinstance(event, kinds.StreamReset):
            self._heads.pop(event.stream_id, None)
            self._bodies.pop(event.stream_id, None)
        elif isinstance(event, kinds.ConnectionTerminated):
            self.finished = True
        if isinstance(event, kinds.StreamEnded):
            self._request(event.stream_id)

    def _request(self, stream: int) -> None:
        head, body = self._heads.get(stream), self._bodies.pop(stream, None)
        if head is None or body is None:
            return
        method = head.get(":method", "")

        def done(message: bytes | None) -> None:
            if self._heads.pop(stream, None) is not None:
                self._reply(stream, 200 if message else 500, message or b"", head_only=method == "HEAD")
                self._flush()

        try:
            if len(body) > MAX_BODY:
                raise Refused(413)
            question = question_of(method, head.get(":path", ""), head.get("content-type", ""), bytes(body))
        except Refused as error:
            self._heads.pop(stream, None)
            self._reply(stream, error.status, b"")
            return
        self._serve(question, done)

    def _reply(self, stream: int, status: int, body: bytes, *, head_only: bool = False) -> None:
        headers = [(":status", str(status)), ("content-length", str(len(body)))]
        if body:
            headers += [("content-type", MEDIA), ("cache-control", f"max-age={max_age(body)}")]
        plain = bool(body) and not head_only
        room = self._h2.local_flow_control_window if plain else None
        try:
            self._h2.send_headers(stream, headers, end_stream=not plain)
            if plain and room is not None and room(stream) < len(body):
                self._h2.reset_stream(stream, error_code=3)  # a peer that has room for no answer gets none
                return
            for start in range(0, len(body) if plain else 0, self._h2.max_outbound_frame_size):
                part = body[start : start + self._h2.max_outbound_frame_size]
                self._h2.send_data(stream, part, end_stream=start + len(part) == len(body))
        except Exception:  # the stream went away in between
            return

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._write(data)
