"""The worker's event loop and its byte streams: one epoll, callbacks, no threads.

asyncio would cost 20 ms of import, 8 MB, and two thirds of the queries per second (``docs/design/dns.md``).
"""

import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
MAX_OUTPUT = 1 << 20
REFILL = 1 << 18
TICK_SECONDS = 0.005
CHUNK = 65_536
MAX_PER_CLIENT = 128


def say(level: str, text: str) -> None:
    """One line of log, as CoreDNS prints them."""
    sys.stdout.write(f"[{level}] {text}\n")
    sys.stdout.flush()


class Loop:
    """File descriptors and what to call when they are ready."""

    def __init__(self) -> None:
        """Nothing watched."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self.running = True

    def watch(self, fd: int, handler: Callable[[int], None], mask: int = READ) -> None:
        """Call ``handler`` with the events of ``fd``."""
        self._handlers[fd] = handler
        self._epoll.register(fd, mask)

    def change(self, fd: int, mask: int) -> None:
        """Watch for other events."""
        self._epoll.modify(fd, mask)

    def forget(self, fd: int) -> None:
        """Stop watching; unknown descriptors are fine."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self, tick: Callable[[], float | None]) -> None:
        """Serve until ``running`` is false. ``tick`` does what is due and says how long the wait may last; while there
        is much to do it runs every :data:`TICK_SECONDS`, so deadlines are kept with that precision."""
        due, pause = 0.0, None
        while self.running:
            now = time.monotonic()
            if now >= due:
                pause, due = tick(), now + TICK_SECONDS
            else:
                pause = due - now
            for fd, events in self._epoll.poll(-1 if pause is None else pause):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)


class Stream:
    """A non-blocking connection with buffers. ``on_data`` sees everything received so far in ``received``."""

    def __init__(self, loop: Loop, sock: socket.socket, on_data: Callable[["Stream"], None], *, seconds: float) -> None:
        """Take ownership of ``sock``. ``seconds`` is how long it may be idle."""
        sock.setblocking(False)
        self.sock = sock
        self.peer: tuple[str, int] = ("", 0)
        self.received = bytearray()
        self.pending = 0
        self.ended = False
        self.closed = False
        self.idle_seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.on_close: Callable[[Stream], None] | None = None
        self.state: Any = None
        self._loop = loop
        self._on_data = on_data
        self._output = bytearray()
        self._source: Iterator[bytes] | None = None
        loop.watch(sock.fileno(), self._handle)

    def write(self, data: bytes) -> None:
        """Send, now or when the peer reads; a peer that does not read for a megabyte is cut off."""
        if self.closed:
            return
        self._output += data
        if len(self._output) > MAX_OUTPUT:
            self.close()
            return
        self._flush()

    def feed(self, source: Iterator[bytes]) -> None:
        """Send what ``source`` gives, asking it for more only when the peer has taken what there was."""
        self._source = source
        self.refill()

    def refill(self) -> None:
        """Ask the source for more while there is room."""
        while self._source is not None and len(self._output) < REFILL and not self.closed:
            part = next(self._source, None)
            if part is None:
                self._source = None
            else:
                self.write(part)

    def end(self) -> None:
        """Close once everything is sent."""
        self.ended = True
        self._flush()

    def close(self) -> None:
        """Close at once; idempotent."""
        if self.closed:
            return
        self.closed = True
        self._loop.forget(self.sock.fileno())
        self.sock.close()
        if self.on_close is not None:
            self.on_close(self)

    def _handle(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if self.closed or not events & ~WRITE:
            return
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if not data:
            self.end()
            return
        self.deadline = time.monotonic() + self.idle_seconds
        self._take(data)

    def _take(self, data: bytes) -> None:
        self.received += data
        self._on_data(self)

    def _flush(self) -> None:
        if self.closed:
            return
        try:
            while self._output:
                sent = self.sock.send(self._output)
                del self._output[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        if self._source is not None and not self._output:
            self.deadline = time.monotonic() + self.idle_seconds
            self.refill()
            return
        if self.ended and not self._output and not self.pending:
            self.close()
            return
        self._loop.change(self.sock.fileno(), (0 if self.ended else READ) | (WRITE if self._output else 0))


class StreamServer:
    """A listening socket whose connections are streams; above ``limit`` the oldest one goes, above
    :data:`MAX_PER_CLIENT` the oldest one of that client. ``make`` makes a stream (:class:`Stream`, or one with TLS)."""

    def __init__(
        self,
        loop: Loop,
        sock: socket.socket,
        on_data: Callable[[Stream], None],
        *,
        seconds: float,
        make: Callable[..., Stream] = Stream,
    ) -> None:
        """Take ownership of a listening socket."""
        sock.setblocking(False)
        self.streams: dict[Stream, None] = {}
        self.limit = 256
        self._loop = loop
        self._sock = sock
        self._on_data = on_data
        self._seconds = seconds
        self.make = make
        loop.watch(sock.fileno(), self._accept)

    def pause(self) -> None:
        """Accept no more; connections wait in the socket for whoever reads it next."""
        self._loop.forget(self._sock.fileno())

    def close(self) -> None:
        """Close the listening socket and every connection."""
        self.pause()
        self._sock.close()
        for stream in list(self.streams):
            stream.close()

    def expire(self, now: float) -> None:
        """Close connections that are idle for too long."""
        for stream in [s for s in self.streams if s.deadline <= now]:
            stream.close()

    def _accept(self, _events: int) -> None:
        try:
            sock, peer = self._sock.accept()
        except OSError:
            return
        if len(self.streams) >= self.limit:
            next(iter(self.streams)).close()
        elif len(self.streams) >= MAX_PER_CLIENT:
            same = [stream for stream in self.streams if stream.peer[0] == peer[0]]
            if len(same) >= MAX_PER_CLIENT:
                same[0].close()
        stream = self.make(self._loop, sock, self._on_data, seconds=self._seconds)
        stream.peer = (str(peer[0]), int(peer[1]))
        stream.on_close = self._forget
        self.streams[stream] = None

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream, None)
