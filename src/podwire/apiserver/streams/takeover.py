"""An HTTP/1.1 connection taken from aiohttp for another protocol (``Upgrade: SPDY/3.1``).

1. aiohttp hands over websockets only, so the transport gets a protocol of ours before the 101 is written: until the
   client has read the 101 it sends nothing that aiohttp could misread.
2. Afterwards the connection is closed, and aiohttp's own handler learns of it as of any lost connection.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, StreamResponse

READ_BYTES = 64 * 1024


class Taken(StreamResponse):
    """The answer aiohttp sees: everything has been sent already."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Nothing to send."""
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        """Nothing to send."""


class _Protocol(asyncio.StreamReaderProtocol):
    """asyncio's stream protocol that passes the end of the connection on to the protocol it replaced."""

    def __init__(self, reader: asyncio.StreamReader, replaced: asyncio.BaseProtocol) -> None:
        super().__init__(reader)
        self._replaced = replaced

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._replaced.connection_lost(exc)


class Wire:
    """The raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use :func:`take_over`."""
        self._reader = reader
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Send, and wait until the peer can take more. Raises :class:`ConnectionError`."""
        if self._writer.is_closing():
            raise ConnectionResetError("the client has gone")
        self._writer.write(data)
        await self._writer.drain()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What the peer sends, until it ends."""
        while data := await self._reader.read(READ_BYTES):
            yield data

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


async def take_over(request: BaseRequest, headers: Mapping[str, str]) -> Wire:
    """Answer 101 with ``headers``; the connection is the caller's, who must close it and return :class:`Taken`.

    Raises :class:`ConnectionError` when the client has gone.
    """
    await request.read()
    wire = await take_raw(request)
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    await wire.write(("HTTP/1.1 101 Switching Protocols\r\n" + "".join(lines) + "\r\n").encode("latin-1"))
    return wire


async def take_raw(request: BaseRequest) -> Wire:
    """The connection of a request whose body has been read; nothing is answered yet, and the caller must close it.

    Raises :class:`ConnectionError` when the client has gone.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone")
    replaced = transport.get_protocol()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=READ_BYTES)
    protocol = _Protocol(reader, replaced)
    protocol.connection_made(transport)
    transport.set_protocol(protocol)
    return Wire(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
