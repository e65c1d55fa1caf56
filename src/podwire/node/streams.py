"""``exec`` and ``attach``: a program's standard streams as messages.

Rules:

1. ``read`` delivers ``(1, bytes)`` for stdout and ``(2, bytes)`` for stderr as they come, then None for ever; with a
   terminal everything is 1. At most :data:`_QUEUE` chunks wait, then the program is made to wait.
2. ``wait`` gives the exit code; a session that is dropped must be killed by its owner.
"""

import asyncio
import fcntl
import os
import struct
import termios
from contextlib import suppress
from typing import Final, Protocol

from podwire.base import PodwireError
from podwire.node.launch import Launcher, Program, Request
from podwire.node.logs import RunLog

_QUEUE: Final = 16
_CHUNK: Final = 32 * 1024
_ATTACH_QUEUE: Final = 1024
Chunk = tuple[int, bytes]


class ExecSession(Protocol):
    """What the API server drives."""

    async def read(self) -> Chunk | None:
        """The next output, or None when there is no more."""
        ...

    async def write(self, data: bytes) -> None:
        """Input for the program; dropped when it reads no more."""
        ...

    async def close_stdin(self) -> None:
        """No more input."""
        ...

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters; without a terminal nothing happens."""
        ...

    async def wait(self) -> int:
        """The exit code."""
        ...

    def kill(self) -> None:
        """End the program (exec), or the session (attach)."""
        ...


class ProgramSession:
    """A session of a program started for it."""

    def __init__(self, program: Program, outputs: list[tuple[int, int]], stdin: int | None, *, terminal: bool) -> None:
        """``outputs`` are (stream, descriptor); descriptors are owned from now on. ``stdin`` may equal the terminal."""
        self._program = program
        self._stdin = stdin
        self._terminal = outputs[0][1] if terminal else None
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue(_QUEUE)
        self._pumps = [asyncio.create_task(self._pump(stream, fd)) for stream, fd in outputs]
        self._end = asyncio.create_task(self._finish())

    async def _pump(self, stream: int, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        try:
            while data := await _read_ready(descriptor):
                await self._chunks.put((stream, data))
        finally:
            if descriptor == self._terminal:
                self._terminal = self._stdin = None
            os.close(descriptor)

    async def _finish(self) -> None:
        await self._program.wait()
        # What a background child still writes does not keep the session: its streams get a moment to drain.
        await asyncio.wait(self._pumps, timeout=1)
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self.close_stdin()
        await self._chunks.put(None)

    async def read(self) -> Chunk | None:
        """The next output, or None."""
        chunk = await self._chunks.get()
        if chunk is None:
            self._chunks.put_nowait(None)
        return chunk

    async def write(self, data: bytes) -> None:
        """Input for the program."""
        view = memoryview(data)
        while view and self._stdin is not None:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await _writable(self._stdin)
            except OSError:
                return

    async def close_stdin(self) -> None:
        """No more input; on a terminal this is the end-of-file character."""
        if self._terminal is not None:
            with suppress(OSError):
                os.write(self._terminal, b"\x04")
        elif self._stdin is not None:
            descriptor, self._stdin = self._stdin, None
            os.close(descriptor)

    def resize(self, width: int, height: int) -> None:
        """The terminal's size."""
        if self._terminal is not None:
            set_size(self._terminal, width, height)

    async def wait(self) -> int:
        """The exit code."""
        return await self._program.wait()

    def kill(self) -> None:
        """End the program."""
        self._program.kill()


class AttachSession:
    """What a running container prints from now on, and its stdin where that is open.

    A client that reads too slowly loses the oldest output; the container never waits for it.
    """

    def __init__(self, log: RunLog, exited: "asyncio.Future[int]", stdin: "ContainerInput | None") -> None:
        """Ends when the run does, or by :meth:`kill`."""
        self._log = log
        self._stdin = stdin
        self._chunks: asyncio.Queue[Chunk | None] = asyncio.Queue(_ATTACH_QUEUE + 1)
        self._ended = False
        log.listeners.add(self._hear)
        exited.add_done_callback(self._end)

    def _hear(self, stream: str, data: bytes) -> None:
        while self._chunks.qsize() >= _ATTACH_QUEUE:
            self._chunks.get_nowait()
        self._chunks.put_nowait((1 if stream == "stdout" else 2, data))

    def _end(self, _: object) -> None:
        if not self._ended:
            self._ended = True
            self._log.listeners.discard(self._hear)
            self._chunks.put_nowait(None)

    async def read(self) -> Chunk | None:
        """The next output."""
        chunk = await self._chunks.get()
        if chunk is None:
            self._chunks.put_nowait(None)
        return chunk

    async def write(self, data: bytes) -> None:
        """Input for the container. Raises :class:`PodwireError` when its stdin is not open."""
        if self._stdin is None:
            raise PodwireError("the container's stdin is not open")
        await self._stdin.write(data)

    async def close_stdin(self) -> None:
        """No more input from here; the container sees an end only when its stdin is for one session."""
        if self._stdin is not None:
            self._stdin.leave()

    def resize(self, width: int, height: int) -> None:
        """The terminal's size."""
        if self._stdin is not None:
            self._stdin.resize(width, height)

    async def wait(self) -> int:
        """0 once the output has ended: as with a kubelet, how the container ended is in the pod's status."""
        while await self.read() is not None:
            pass
        return 0

    def kill(self) -> None:
        """End the session; the container goes on, unless its stdin is for one session."""
        if self._stdin is not None:
            self._stdin.leave()
        self._end(None)


class ContainerInput:
    """The writing end of a container's stdin: a pipe, or its terminal. Owns the descriptor."""

    def __init__(self, descriptor: int, *, terminal: bool, once: bool) -> None:
        """``once``: the first session to leave ends the input."""
        os.set_blocking(descriptor, False)
        self._descriptor: int | None = descriptor
        self._terminal = terminal
        self._once = once

    async def write(self, data: bytes) -> None:
        """All of ``data``; dropped when the container reads no more."""
        view = memoryview(data)
        while view and self._descriptor is not None:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await _writable(self._descriptor)
            except OSError:
                return

    def leave(self) -> None:
        """A session ends."""
        if self._once:
            self.close()

    def close(self) -> None:
        """No more input; a terminal gets its end-of-file character."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        if self._terminal:
            with suppress(OSError):
                os.write(descriptor, b"\x04")
        os.close(descriptor)

    def resize(self, width: int, height: int) -> None:
        """The terminal's size; a pipe has none."""
        if self._terminal and self._descriptor is not None:
            set_size(self._descriptor, width, height)


async def open_session(launcher: Launcher, request: Request, *, stdin: bool) -> ProgramSession:
    """Start a program for a session. Raises :class:`PodwireError` when it cannot be started."""
    if request.tty:
        master, slave = os.openpty()
        os.set_inheritable(master, False)
        set_size(master, 80, 24)
        return await _start(launcher, request, (slave, os.dup(slave), os.dup(slave)), [(1, master)], master)
    out, out_in = os.pipe2(os.O_CLOEXEC)
    err, err_in = os.pipe2(os.O_CLOEXEC)
    if stdin:
        source, sink = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(sink, False)
        return await _start(launcher, request, (source, out_in, err_in), [(1, out), (2, err)], sink)
    source = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    return await _start(launcher, request, (source, out_in, err_in), [(1, out), (2, err)], None)


async def _start(
    launcher: Launcher,
    request: Request,
    theirs: tuple[int, int, int],
    outputs: list[tuple[int, int]],
    stdin: int | None,
) -> ProgramSession:
    try:
        program = await launcher.start(request, theirs)
    except BaseException:
        for descriptor in {fd for _, fd in outputs} | ({stdin} if stdin is not None else set()):
            os.close(descriptor)
        raise
    return ProgramSession(program, outputs, stdin, terminal=request.tty)


def set_size(terminal: int, width: int, height: int) -> None:
    """Tell a terminal its size."""
    with suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


async def _read_ready(descriptor: int) -> bytes:
    """Some bytes, or none at the end. A terminal whose last user has gone answers EIO."""
    while True:
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:
            await _ready(descriptor)
        except OSError:
            return b""


async def _ready(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_writer(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_writer(descriptor)
