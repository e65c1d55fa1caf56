"""The socket on which CNI plugins ask a running podwire.

Rules:

1. The socket lies in the cluster's own directory (mode 0700): who can open it is the administrator anyway.
2. A client sends one request within :data:`PATIENCE_SECONDS` and gets one answer, also to what does not parse.
3. A descriptor that came with a request is closed here, whatever happens.
"""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final, assert_never

import msgspec

from podwire.node.attach_words import (
    BAD_ENVIRONMENT,
    IO_FAILURE,
    NOT_DECODED,
    REQUEST_BYTES,
    SOCKET_NAME,
    Answer,
    Refused,
    Request,
)
from podwire.node.attacher import Attacher

PATIENCE_SECONDS: Final = 10.0


class AttachServer:
    """Serves one cluster."""

    def __init__(self, attacher: Attacher, run_dir: Path) -> None:
        """Nothing listens before :meth:`start`."""
        self._attacher = attacher
        self._path = run_dir / SOCKET_NAME
        self._listening: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen. What a dead process left at the path is replaced."""
        self._path.unlink(missing_ok=True)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._listening.bind(str(self._path))
        self._path.chmod(0o600)
        self._listening.listen(64)
        self._listening.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._listening), name="cni")

    async def close(self) -> None:
        """Stop listening; requests under way end unanswered."""
        self._path.unlink(missing_ok=True)
        tasks = [t for t in (self._accepting, *self._serving) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._listening is not None:
            self._listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listening)
            task = asyncio.create_task(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        descriptors: list[int] = []
        with connection, suppress(OSError):
            connection.setblocking(True)
            connection.settimeout(PATIENCE_SECONDS)
            try:
                data = await asyncio.to_thread(_receive, connection, descriptors)
                answer = await self._answer(data, descriptors)
            except Refused as refused:
                answer = refused.answer
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(connection, msgspec.json.encode(answer) + b"\n")

    async def _answer(self, data: bytes, descriptors: list[int]) -> Answer:
        try:
            request = msgspec.json.decode(data, type=Request)
        except msgspec.DecodeError as error:
            raise Refused(NOT_DECODED, f"the request does not parse: {error}") from error
        match request.command:
            case "add":
                return await self._attacher.attach(request, _the_one(descriptors))
            case "check":
                return await self._attacher.check(request.key, _the_one(descriptors))
            case "del":
                await self._attacher.detach(request.key)
            case "gc":
                await self._attacher.collect(request.key.network, request.keep)
            case "status":
                self._attacher.check_status(request)
            case never:
                assert_never(never)
        return Answer()


def _the_one(descriptors: list[int]) -> int:
    if len(descriptors) != 1:
        raise Refused(BAD_ENVIRONMENT, "CNI_NETNS: the command needs the container's network namespace")
    return descriptors[0]


def _receive(connection: socket.socket, descriptors: list[int]) -> bytes:
    """One line. Descriptors go into the list as they come, so that they are closed even when the rest fails."""
    data = b""
    while not data.endswith(b"\n"):
        try:
            part, received, _, _ = socket.recv_fds(connection, 65536, 4)
        except TimeoutError as error:
            raise Refused(IO_FAILURE, "the request did not come in time") from error
        descriptors.extend(received)
        data += part
        if not part or len(data) > REQUEST_BYTES:
            raise Refused(IO_FAILURE, "the request is cut off, or too long")
    return data
