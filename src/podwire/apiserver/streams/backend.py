"""What streams need from whoever runs the pods. The API server knows nobody who does: this shape is the seam."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Protocol


class ExecSession(Protocol):
    """One running command, or one attachment to a container's first process."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next output: 1 and bytes of stdout, or 2 and bytes of stderr; None when both have ended."""
        ...

    async def write(self, data: bytes) -> None:
        """Feed stdin; returns when the process can take more."""
        ...

    async def close_stdin(self) -> None:
        """End of stdin."""
        ...

    def resize(self, width: int, height: int) -> None:
        """The terminal's new size, in characters."""
        ...

    async def wait(self) -> int:
        """The exit code, when the command has ended."""
        ...

    def kill(self) -> Awaitable[None] | None:
        """End it (exec), or let go of it (attach)."""
        ...


class PodBackend(Protocol):
    """Streams of running containers. Methods raise :class:`PodwireError` when the container does not run."""

    def logs(
        self, uid: str, container: str, *, follow: bool, previous: bool
    ) -> AsyncIterator[tuple[float, str, bytes]]:
        """Log lines, oldest first: Unix time, ``stdout`` or ``stderr``, one line with its newline."""
        ...

    async def exec(self, uid: str, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> ExecSession:
        """Start a command in a container."""
        ...

    async def attach(self, uid: str, container: str, *, stdin: bool, tty: bool) -> ExecSession:
        """Attach to a container's first process."""
        ...

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection to a port of the pod."""
        ...
