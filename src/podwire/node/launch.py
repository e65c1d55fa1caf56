"""Starting programs inside pods: the runtime's side of the fork server (:mod:`podwire.node.zygote`).

Rules:

1. The server starts with the first program; a cluster of stand-ins never needs it.
2. Descriptors of a :class:`Request` are given away: the launcher closes its copies once the server has them.
3. When the server dies, every program has died with it (they are reported as killed) and the next start gets a new
   server.
"""

import asyncio
import marshal
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from podwire.base import PodwireError
from podwire.node import netns

_STARTS_AT_ONCE: Final = 32
"""Requests and descriptors wait in the socket's buffer, which must never be full: sending does not wait."""


class ProgramMissing(PodwireError):
    """The program could not be started. ``code`` is the errno."""

    retryable = False

    def __init__(self, code: int, text: str) -> None:
        """``text`` is shown to the user as it is."""
        super().__init__(text)
        self.code = code


class Request(msgspec.Struct, frozen=True):
    """What to run and where. ``join`` is the running program whose root, host name and processes are shared; of
    ``beside`` only the processes are. ``reaps``: as the first process of others, it collects those that nobody waits
    for, without knowing.

    ``mounts``: path in the container, file or folder of this machine, read-only. ``root``: the folders of the root file
    system, topmost first; none: the machine's; ``read_only`` but for what is mounted. ``keep``: numbers of the
    capabilities it may have; None: all. ``user``, ``group``: ids or names; empty: root.
    """

    netns: str
    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str = ""
    hostname: str = ""
    files: tuple[tuple[str, int, bytes], ...] = ()
    binds: tuple[str, ...] = ()
    mounts: tuple[tuple[str, str, bool], ...] = ()
    root: tuple[str, ...] = ()
    user: str = ""
    group: str = ""
    groups: tuple[int, ...] = ()
    keep: tuple[int, ...] | None = None
    read_only: bool = False
    no_new_privileges: bool = False
    tty: bool = False
    join: "Program | None" = None
    beside: "Program | None" = None
    reaps: bool = False


class Program:
    """A started program. ``pid`` is its process id on this machine."""

    def __init__(self, launcher: "Launcher", ident: int) -> None:
        """Made by :meth:`Launcher.start`."""
        self.ident = ident
        self.pid = 0
        self._launcher = launcher
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[int] = loop.create_future()

    async def wait(self) -> int:
        """Its exit code; 128 + signal when it was killed."""
        return await asyncio.shield(self.exited)

    def signal(self, number: int) -> None:
        """Send a signal; a program that has ended is fine."""
        if not self.exited.done():
            self._launcher.send("signal", self.ident, int(number))

    def kill(self) -> None:
        """End it, and everything it started."""
        self.signal(signal.SIGKILL)


class Launcher:
    """Owns the fork server. Use from the event loop's thread only."""

    def __init__(self, state_dir: Path) -> None:
        """``state_dir`` gets one empty folder, the server's mount point."""
        self._root = state_dir / "root"
        self._channel: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._programs: dict[int, Program] = {}
        self._next = 0
        self._starts = asyncio.Semaphore(_STARTS_AT_ONCE)

    def ensure_server(self) -> socket.socket:
        """Start the server unless it runs."""
        if self._channel is not None:
            return self._channel
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        script = str(Path(__file__).with_name("zygote.py"))
        argv = [sys.executable, "-I", "-S", script, str(theirs.fileno()), str(self._root)]
        self._server = subprocess.Popen(
            argv, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, start_new_session=True, cwd="/"
        )
        theirs.close()
        ours.setblocking(False)
        asyncio.get_running_loop().add_reader(ours, self._read)
        self._channel = ours
        return ours

    def _read(self) -> None:
        while self._channel is not None:
            try:
                data = self._channel.recv(65536)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self._lost()
                return
            self._answer(*marshal.loads(data))  # noqa: S302  # from our own child

    def _answer(self, what: str, ident: int, *rest: object) -> None:
        program = self._programs.get(ident)
        if program is None:
            return
        match what, *rest:
            case "started", int(pid):
                program.pid = pid
                _settle(program.started, None)
            case "failed", int(code), str(text):
                del self._programs[ident]
                if not program.started.done():
                    program.started.set_exception(ProgramMissing(code, text))
            case "exit", int(code):
                del self._programs[ident]
                _settle(program.exited, code)

    def _lost(self) -> None:
        """The server is gone, and with it all programs."""
        self._drop_channel()
        programs, self._programs = self._programs, {}
        for program in programs.values():
            if not program.started.done():
                program.started.set_exception(PodwireError("the process that starts containers died"))
            _settle(program.exited, 128 + signal.SIGKILL)

    def _drop_channel(self) -> None:
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._channel = None
        if self._server is not None:
            with suppress(subprocess.TimeoutExpired):
                self._server.wait(timeout=10)
            self._server = None

    def send(self, operation: str, ident: int, value: int, descriptors: tuple[int, ...] = ()) -> None:
        """One message to the server; a server that is gone is noticed by the reader."""
        channel = self.ensure_server()
        message = marshal.dumps((operation, ident, value))
        channel.setblocking(True)
        try:
            socket.send_fds(channel, [message], descriptors)
        except OSError as error:
            raise PodwireError("the process that starts containers died") from error
        finally:
            channel.setblocking(False)

    async def start(self, request: Request, streams: tuple[int, int, int]) -> Program:
        """Run a program with these standard streams, which are closed here.

        Raises :class:`ProgramMissing` when it cannot be started, :class:`PodwireError` when the server or the pod's
        namespace is gone.
        """
        async with self._starts:
            return await self._start(request, streams)

    async def _start(self, request: Request, streams: tuple[int, int, int]) -> Program:
        self._next += 1
        program = Program(self, self._next)
        opened = list(streams)
        try:
            payload = os.memfd_create("podwire-start")
            opened.append(payload)
            _write_all(payload, _encode(request))
            try:
                space = os.open(netns.path_of(request.netns), os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise PodwireError(f"network namespace {request.netns} is gone") from error
            opened.append(space)
            self._programs[program.ident] = program
            self.send("start", program.ident, 0, (payload, *streams, space))
        except PodwireError:
            self._programs.pop(program.ident, None)
            raise
        finally:
            for descriptor in opened:
                os.close(descriptor)
        await program.started
        return program

    async def close(self) -> None:
        """End the server and every program."""
        if self._channel is None:
            return
        programs = list(self._programs.values())
        self._channel.shutdown(socket.SHUT_WR)
        for program in programs:
            await asyncio.wait([program.exited], timeout=10)
        if self._channel is not None:
            self._lost()


def _settle(future: "asyncio.Future[object] | asyncio.Future[int] | asyncio.Future[None]", value: object) -> None:
    if not future.done():
        future.set_result(value)  # type: ignore[arg-type]


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _encode(request: Request) -> bytes:
    value = {
        "argv": list(request.argv),
        "env": request.env,
        "cwd": request.cwd,
        "hostname": request.hostname,
        "files": list(request.files),
        "binds": list(request.binds),
        "mounts": list(request.mounts),
        "root": list(request.root),
        "user": request.user,
        "group": request.group,
        "groups": list(request.groups),
        "keep": None if request.keep is None else list(request.keep),
        "read_only": request.read_only,
        "no_new_privileges": request.no_new_privileges,
        "tty": request.tty,
        "join": request.join.ident if request.join is not None else 0,
        "beside": request.beside.ident if request.beside is not None else 0,
        "reaps": request.reaps,
    }
    return marshal.dumps(value)
