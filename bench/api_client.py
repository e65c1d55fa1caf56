"""A client that costs little, so that what is measured is the server: HTTP/1.1 over TLS on bare asyncio protocols.

A connection has one request under way. Bodies come with Content-Length or in chunks; nothing more is parsed.
"""

import asyncio
import json
import ssl
from collections.abc import Callable
from typing import Any

TOKEN = "bench-token"
_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._length: int | None = None
        self.on_data: Callable[[bytes], None] | None = None
        """What a watch does with each piece instead."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits is told."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        """Collect until the answer is whole."""
        if self.on_data is not None:
            self.on_data(data)
            return
        self._data += data
        if self._length is None:
            end = self._data.find(_END)
            if end < 0:
                return
            head = bytes(self._data[:end]).lower()
            mark = head.find(b"content-length:")
            if mark >= 0:
                self._length = end + 4 + int(head[mark + 15 :].split(b"\r\n", 1)[0])
            elif b"transfer-encoding: chunked" in head:
                self._length = -1
            else:
                self._length = end + 4
        whole = self._data.endswith(b"\r\n0\r\n\r\n") if self._length < 0 else len(self._data) >= self._length
        if whole and self._answer is not None:
            answer, self._answer, self._length = self._answer, None, None
            found = bytes(self._data)
            self._data.clear()
            answer.set_result(found)

    def send(self, request: bytes) -> None:
        """Without waiting for an answer."""
        assert self._transport is not None
        self._transport.write(request)

    async def ask(self, request: bytes, code: int) -> bytes:
        """The whole answer, head and body; its status must be ``code``."""
        self._answer = asyncio.get_running_loop().create_future()
        self.send(request)
        found = await self._answer
        assert found[9:12] == b"%d" % code, found[:2000]
        return found

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


class Client:
    """Connections to a server at ``https://127.0.0.1:<port>``."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self._context = ssl.create_default_context()
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.set_alpn_protocols(["http/1.1"])
        self._idle: list[Connection] = []
        self._all: list[Connection] = []

    async def connect(self) -> Connection:
        """A new connection."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(Connection, "127.0.0.1", self.port, ssl=self._context)
        self._all.append(protocol)
        return protocol

    async def _ask(self, request: bytes, code: int) -> bytes:
        connection = self._idle.pop() if self._idle else await self.connect()
        found = await connection.ask(request, code)
        self._idle.append(connection)
        return found

    async def post(self, path: str, value: Any) -> None:
        """Create; the server must answer 201."""
        body = json.dumps(value).encode()
        extra = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        await self._ask(request_head("POST", path, extra) + body, 201)

    async def get(self, path: str) -> bytes:
        """Read; the server must answer 200."""
        return await self._ask(request_head("GET", path), 200)

    async def close(self) -> None:
        """Hang up everywhere."""
        for connection in self._all:
            connection.close()


def request_head(method: str, path: str, extra: bytes = b"") -> bytes:
    """A request's head."""
    words = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\nUser-Agent: bench/1\r\n"
    return words.encode() + b"Accept: application/json\r\n" + extra + b"\r\n"
