"""One run of a container: a process, or a stand-in. Both start, end with an exit code, and can be stopped.

Rules:

1. A run is used once. ``exited`` is done when the run has ended, with its exit code (128 + signal when killed).
2. Stopping is SIGTERM, the grace period, SIGKILL; a stand-in answers 0.3 s longer and ends with code 0.
3. Two stand-ins of one pod share its ports: the first one has a port, as two containers cannot listen on the same.
"""

import asyncio
import os
import signal
from contextlib import suppress
from typing import Final, assert_never

import msgspec

from podwire.base import PodwireError
from podwire.node.context import PodContext
from podwire.node.launch import Program
from podwire.node.logs import Capture, RunLog
from podwire.node.standin import Identity, StandIn
from podwire.node.streams import ContainerInput, set_size
from podwire.plan.node import Container, ProcessWork, StandInPort, StandInWork

DRAIN_SECONDS: Final = 0.3


class ProcessRun:
    """A program with its own root, host name and processes, in the pod's network."""

    def __init__(
        self, context: PodContext, container: Container, log: RunLog, *, words: str, beside: Program | None
    ) -> None:
        """Nothing runs before :meth:`start`. ``words`` is the file for the termination message, or empty; ``beside``
        the program whose processes it shares."""
        assert isinstance(container.work, ProcessWork)
        self._context = context
        self._container = container
        self._work = container.work
        self._log = log
        self._words = words
        self._beside = beside
        self._captures: list[Capture] = []
        self.program: Program | None = None
        self.stdin: ContainerInput | None = None
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._reaper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the program. Raises :class:`PodwireError` with a message for the user."""
        container = self._container
        request = self._context.request(container, self._work.argv, cwd=self._work.working_dir, tty=container.tty)
        request = msgspec.structs.replace(request, beside=self._beside)
        if self._words:
            place = (container.message_path, self._words, False)
            request = msgspec.structs.replace(request, mounts=(*request.mounts, place))
        streams = self._open_terminal() if container.tty else self._open_pipes()
        try:
            self.program = await self._context.services.launcher.start(request, streams)
        except BaseException:
            self._close_streams()
            raise
        self._reaper = asyncio.create_task(self._reap(self.program))

    def _open_pipes(self) -> tuple[int, int, int]:
        out, out_in = os.pipe2(os.O_CLOEXEC)
        err, err_in = os.pipe2(os.O_CLOEXEC)
        self._captures = [Capture(out, "stdout", self._log), Capture(err, "stderr", self._log)]
        if not self._container.stdin:
            return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), out_in, err_in
        source, sink = os.pipe2(os.O_CLOEXEC)
        self.stdin = ContainerInput(sink, terminal=False, once=self._container.stdin_once)
        return source, out_in, err_in

    def _open_terminal(self) -> tuple[int, int, int]:
        master, slave = os.openpty()
        set_size(master, 80, 24)
        if self._container.stdin:
            self.stdin = ContainerInput(os.dup(master), terminal=True, once=self._container.stdin_once)
        self._captures = [Capture(master, "stdout", self._log)]
        return slave, os.dup(slave), os.dup(slave)

    def _close_streams(self) -> None:
        for capture in self._captures:
            capture.close()
        if self.stdin is not None:
            self.stdin.close()

    async def _reap(self, program: Program) -> None:
        code = await program.wait()
        with suppress(
            TimeoutError
        ):  # a line that is still in the pipe; nobody else can hold it, the PID namespace died
            async with asyncio.timeout(1):
                for capture in self._captures:
                    await capture.ended.wait()
        self._close_streams()
        if not self.exited.done():
            self.exited.set_result(code)

    async def stop(self, grace_seconds: float) -> None:
        """End it; returns when it has ended."""
        if self.program is None:
            return
        if grace_seconds > 0:
            self.program.signal(getattr(signal, self._container.stop_signal, signal.SIGTERM))
            await asyncio.wait([self.exited], timeout=grace_seconds)
        self.program.kill()
        await asyncio.wait([self.exited], timeout=10)


class StandInRun:
    """A stand-in on the container's ports."""

    def __init__(self, context: PodContext, container: Container, log: RunLog) -> None:
        """Nothing listens before :meth:`start`."""
        assert isinstance(container.work, StandInWork)
        self._context = context
        self._container = container
        self._log = log
        unit = context.unit
        identity = Identity(unit.pod.name, unit.pod.namespace, unit.node, context.addresses)
        self.server = StandIn(identity, log=self.print, tls=context.services.tls.context)
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def print(self, line: str) -> None:
        """One line of output."""
        data = line.encode() + b"\n"
        self._log.hear("stdout", data)
        self._log.write("stdout", [data])

    async def start(self) -> None:
        """Listen. Raises :class:`PodwireError` naming the ports that cannot be had; then it listens on none."""
        assert isinstance(self._container.work, StandInWork)
        refused = await self.set_ports(self._container.work.ports)
        if refused:
            self._close()
            raise PodwireError("; ".join(refused))
        ports = ", ".join(f"{number}/{protocol}" for number, protocol in self.server.ports)
        self.print(f"stand-in for {self._container.image}: listening on {ports or 'no port'}")

    async def set_ports(self, ports: tuple[StandInPort, ...]) -> list[str]:
        """Listen on exactly these; returns what could not be had."""
        taken = self._context.taken
        others = {key for key, owner in taken.items() if owner != self._container.name}
        refused = await self.server.listen(self._context.netns, ports, taken=others)
        self._release()
        taken.update(dict.fromkeys(self.server.ports, self._container.name))
        return refused

    def _release(self) -> None:
        taken = self._context.taken
        for key in [key for key, owner in taken.items() if owner == self._container.name]:
            del taken[key]

    def _close(self) -> None:
        self.server.close()
        self._release()

    async def stop(self, grace_seconds: float) -> None:
        """Stop listening, after a moment in which the data planes turn away, as a well-behaved server does."""
        if grace_seconds > 0:
            await asyncio.sleep(min(grace_seconds, DRAIN_SECONDS))
        self._close()
        if not self.exited.done():
            self.exited.set_result(0)


Run = ProcessRun | StandInRun


def make_run(
    context: PodContext, container: Container, log: RunLog, *, words: str = "", beside: Program | None = None
) -> Run:
    """The run that a container's work asks for. ``words``: where a program leaves its termination message;
    ``beside``: the program whose processes it shares."""
    match container.work:
        case ProcessWork():
            return ProcessRun(context, container, log, words=words, beside=beside)
        case StandInWork():
            return StandInRun(context, container, log)
        case _ as never:
            assert_never(never)
