"""One command or attachment, carried over any set of channels.

1. Output is passed on as it comes; the carrier's speed is the process's speed.
2. When the output has ended and the exit code is known, the outcome is reported, then the session is over.
3. When the client leaves first, the command is ended.

Spec: kubernetes staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
from aiohttp.web import BaseRequest

from podwire.apiserver.status import bad_request
from podwire.apiserver.streams.backend import ExecSession, PodBackend
from podwire.apiserver.streams.outcome import Json, broken, ended
from podwire.apiserver.streams.target import check_assigned, check_running, container_of, unavailable
from podwire.base import PodwireError

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
Send = Callable[[int, bytes], Awaitable[None]]
"""Sends bytes on a channel (STDOUT, STDERR)."""


class CommandOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which streams the client wants, and what to run; no ``argv`` attaches."""

    container: str
    argv: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


def read_command(request: BaseRequest, pod: Json, *, attach: bool) -> CommandOptions:
    """The options of an exec or attach request. Raises :class:`StatusError` 400."""
    query = request.query
    container = container_of(pod, query.get("container", ""))
    check_assigned(pod)
    check_running(pod)
    wanted = {name: _is_true(query.get(name, "")) for name in ("stdin", "stdout", "stderr", "tty")}
    argv = () if attach else tuple(query.getall("command", []))
    if not attach and not argv:
        raise bad_request("you must specify at least one command for the container")
    if not (wanted["stdin"] or wanted["stdout"] or wanted["stderr"]):
        raise bad_request("you must specify at least one of stdin, stdout, stderr")
    if wanted["tty"]:
        wanted["stderr"] = False  # a terminal has one output
    return CommandOptions(container=container, argv=argv, **wanted)


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "t")


async def open_session(backend: PodBackend, uid: str, options: CommandOptions) -> ExecSession:
    """Start the command or attach. Raises :class:`StatusError` 500 in the backend's words."""
    try:
        if options.argv:
            return await backend.exec(uid, options.container, options.argv, stdin=options.stdin, tty=options.tty)
        return await backend.attach(uid, options.container, stdin=options.stdin, tty=options.tty)
    except PodwireError as error:
        raise unavailable(error) from error


async def run_session(session: ExecSession, options: CommandOptions, send: Send, gone: Awaitable[Any]) -> Json | None:
    """Carry output until the command has ended; its outcome, or None when the client left first (``gone``)."""
    output = asyncio.ensure_future(_carry_output(session, options, send))
    left = asyncio.ensure_future(gone)
    try:
        await asyncio.wait({output, left}, return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            return None
        return output.result()
    except ConnectionError:
        return None
    finally:
        # A client that leaves cancels this very task, perhaps twice: what must happen comes before the first wait.
        for task in (output, left):
            task.cancel()
        await end(session)
        await asyncio.gather(output, left, return_exceptions=True)


async def _carry_output(session: ExecSession, options: CommandOptions, send: Send) -> Json:
    wanted = {1: options.stdout, 2: options.stderr}
    try:
        while (chunk := await session.read()) is not None:
            stream, data = chunk
            if data and wanted.get(stream):
                await send(STDOUT if stream == 1 else STDERR, data)
        return ended(await session.wait())
    except PodwireError as error:
        return broken(str(error))


async def end(session: ExecSession) -> None:
    """End it, even when this task is cancelled meanwhile; a command that has ended does not mind."""
    with suppress(PodwireError, OSError):
        result = session.kill()
        if inspect.isawaitable(result):
            await asyncio.shield(asyncio.ensure_future(result))


async def feed(session: ExecSession, data: bytes) -> None:
    """Pass input on; a process that reads no more is no error of the client's."""
    with suppress(PodwireError, OSError):
        await session.write(data)


async def finish_input(session: ExecSession) -> None:
    """End of input."""
    with suppress(PodwireError, OSError):
        await session.close_stdin()


def resize(session: ExecSession, data: bytes) -> None:
    """A size message: ``{"Width": 80, "Height": 24}``. One that cannot be read is ignored, as kubelet does."""
    try:
        size = msgspec.json.decode(data, type=_Size)
    except msgspec.DecodeError:
        return
    if 0 < size.width < 1 << 16 and 0 < size.height < 1 << 16:
        session.resize(size.width, size.height)


class _Size(msgspec.Struct, rename={"width": "Width", "height": "Height"}):
    width: int = 0
    height: int = 0
