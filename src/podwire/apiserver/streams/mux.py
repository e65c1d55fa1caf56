"""Streams over one SPDY connection.

1. The peer opens streams, and we answer; each is a pair of byte flows with its own end.
2. What a stream's reader has not taken is limited to :data:`WAITING_BYTES`; beyond it the whole connection waits, as
   moby/spdystream does (there is no flow control to wait with).
3. When the connection ends, every reader gets the end.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import assert_never

from podwire.apiserver.streams.spdy import (
    REFUSED_STREAM,
    Data,
    Frame,
    Framer,
    GoAway,
    Headers,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
    data_frames,
    goaway_frame,
    ping_frame,
    reset_frame,
)

WAITING_BYTES = 256 * 1024
MAX_STREAMS = 4096

Write = Callable[[bytes], Awaitable[None]]
"""Sends bytes and waits until the peer can take more. Raises :class:`ConnectionError`."""


class Stream:
    """One stream, from our side."""

    def __init__(self, number: int, headers: Mapping[str, str], write: Write) -> None:
        """Use :class:`Connection`."""
        self.number = number
        self.headers = headers
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.ended = False
        self.closed = False
        self._cut = False

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._waiting:
            if self.ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = self._waiting.popleft()
        self._size -= len(data)
        if self._size < WAITING_BYTES:
            self._room.set()
        return data

    async def write(self, data: bytes) -> None:
        """Send bytes; after :meth:`close` they are dropped. Raises :class:`ConnectionResetError` when it was cut."""
        if self._cut:
            raise ConnectionResetError("the stream has been reset")
        if data and not self.closed:
            await self._write(data_frames(self.number, data))

    async def close(self) -> None:
        """End our half."""
        if not self.closed:
            self.closed = True
            await self._write(data_frames(self.number, b"", fin=True))

    async def take(self, data: bytes, *, fin: bool) -> None:
        """Bytes from the peer (for :class:`Connection`)."""
        if data and not self.ended:
            await self._room.wait()
            self._waiting.append(data)
            self._size += len(data)
            if self._size >= WAITING_BYTES:
                self._room.clear()
        if fin:
            self.ended = True
        self._changed.set()

    def cut(self) -> None:
        """Both halves are over (for :class:`Connection`)."""
        self.ended = self.closed = self._cut = True
        self._room.set()
        self._changed.set()


class Connection:
    """The server's side of a connection. ``run`` until the peer leaves, ``accept`` meanwhile."""

    def __init__(self, write: Write) -> None:
        """``write`` sends bytes to the peer."""
        self._send = write
        self._framer = Framer()
        self._streams: dict[int, Stream] = {}
        self._fresh: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._last = 0

    async def run(self, source: AsyncIterator[bytes]) -> None:
        """Handle what the peer sends until it ends. A protocol error ends it too."""
        try:
            async for data in source:
                for frame in self._framer.feed(data):
                    await self._handle(frame)
        except (SpdyError, ConnectionError):
            with suppress(ConnectionError):
                await self._send(goaway_frame(self._last, 1))
        finally:
            for stream in self._streams.values():
                stream.cut()
            self._streams.clear()
            self._fresh.put_nowait(None)

    async def accept(self) -> Stream | None:
        """The next stream the peer opened; None when there will be none."""
        stream = await self._fresh.get()
        if stream is None:
            self._fresh.put_nowait(None)
        return stream

    async def reset(self, stream: Stream, status: int) -> None:
        """Refuse or abort a stream."""
        stream.cut()
        self._streams.pop(stream.number, None)
        await self._send(reset_frame(stream.number, status))

    def forget(self, stream: Stream) -> None:
        """A stream both sides are done with."""
        self._streams.pop(stream.number, None)

    async def _handle(self, frame: Frame) -> None:
        match frame:
            case SynStream():
                await self._open(frame)
            case Data() | Headers():
                stream = self._streams.get(frame.stream)
                if stream is not None:
                    await stream.take(frame.data if isinstance(frame, Data) else b"", fin=frame.fin)
            case Reset():
                stream = self._streams.pop(frame.stream, None)
                if stream is not None:
                    stream.cut()
            case Ping():
                if frame.number % 2:
                    await self._send(ping_frame(frame.number))
            case GoAway() | SynReply():
                pass  # streams that are open go on; we open none
            case _:
                assert_never(frame)

    async def _open(self, frame: SynStream) -> None:
        if frame.stream <= self._last or frame.stream % 2 == 0:
            raise SpdyError(f"stream {frame.stream} is out of order")
        self._last = frame.stream
        if len(self._streams) >= MAX_STREAMS:
            await self._send(reset_frame(frame.stream, REFUSED_STREAM))
            return
        stream = Stream(frame.stream, frame.headers, self._send)
        stream.ended = frame.fin
        self._streams[frame.stream] = stream
        await self._send(self._framer.syn_reply(frame.stream))
        self._fresh.put_nowait(stream)
