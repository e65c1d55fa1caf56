"""What containers print: lines on disk, one folder per pod, with followers.

Rules:

1. A line is stored as the CRI does: time, stream, ``F`` (whole line) or ``P`` (no newline follows), text.
2. Disk is bounded: a run keeps its two newest files of :data:`ROTATE_BYTES`; a container keeps two runs.
3. Files are private (0600) and end with the pod. No file stays open between writes. The first :data:`HEAD_BYTES` of a
   run stay in memory: most stand-ins print one line, and a folder and a file for each cost 0.5 ms a pod.

Source: kubernetes ``pkg/kubelet/kuberuntime/logs`` (CRI log format).
"""

import asyncio
import io
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from podwire.base import PodwireError

ROTATE_BYTES: Final = 10 * 1024 * 1024
HEAD_BYTES: Final = 1024
LINE_BYTES: Final = 16 * 1024
Line = tuple[float, str, bytes]
"""Unix time, ``stdout`` or ``stderr``, one line with its newline (without, when the program wrote none)."""


def format_line(at: float, stream: str, line: bytes) -> bytes:
    """The stored form, ending with a newline."""
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    whole = line.endswith(b"\n")
    return f"{stamp} {stream} {'F' if whole else 'P'} ".encode() + (line if whole else line + b"\n")


def parse_line(stored: bytes) -> Line:
    """The inverse of :func:`format_line`."""
    stamp, stream, flag, text = stored.split(b" ", 3)
    at = datetime.fromisoformat(stamp.decode()).timestamp()
    return at, stream.decode(), text if flag == b"F" else text[:-1]


class RunLog:
    """The log of one run of one container."""

    def __init__(self, folder: Path, run: int) -> None:
        """Files are ``folder/RUN.GENERATION.log``; none exists before the first line."""
        self.folder = folder
        self.run = run
        self.generation = 0
        self.closed = False
        self._size = 0
        self._head: bytes | None = b""
        self._followers: set[asyncio.Event] = set()
        self.listeners: set[Callable[[str, bytes], None]] = set()

    def path(self, generation: int) -> Path:
        """File of one generation."""
        return self.folder / f"{self.run}.{generation}.log"

    def hear(self, stream: str, data: bytes) -> None:
        """Pass output on as it came, for who is attached; it is not stored by this."""
        for listener in list(self.listeners):
            listener(stream, data)

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Append lines that were read just now."""
        now = time.time()
        data = b"".join(format_line(now, stream, line) for line in lines)
        if self._head is not None:
            self._head += data
            if len(self._head) <= HEAD_BYTES:
                self._wake()
                return
            data, self._head = self._head, None
        if self._size + len(data) > ROTATE_BYTES and self._size:
            self.generation, self._size = self.generation + 1, 0
            self.path(self.generation - 2).unlink(missing_ok=True)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.path(self.generation), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
        self._size += len(data)
        self._wake()

    def close(self) -> None:
        """No line follows; followers end."""
        self.closed = True
        self._wake()

    def remove(self) -> None:
        """Delete the files."""
        for path in self.folder.glob(f"{self.run}.*.log"):
            path.unlink(missing_ok=True)

    def _wake(self) -> None:
        for follower in self._followers:
            follower.set()

    async def read(self, *, follow: bool) -> AsyncIterator[Line]:
        """Lines from the oldest kept one; with ``follow`` until the run has ended."""
        generation, offset = max(0, self.generation - 1), 0
        woken = asyncio.Event()
        self._followers.add(woken)
        try:
            while True:
                woken.clear()
                last, closed = self.generation, self.closed
                for stored in self._stored(generation, offset):
                    offset += len(stored)
                    yield parse_line(stored)
                if generation < last:
                    generation, offset = generation + 1, 0
                elif closed or not follow:
                    return
                else:
                    await woken.wait()
        finally:
            self._followers.discard(woken)

    def _stored(self, generation: int, offset: int) -> Iterator[bytes]:
        if self._head is not None:
            return iter(io.BytesIO(self._head[offset:]))
        return _read_from(self.path(generation), offset)


def _read_from(path: Path, offset: int) -> Iterator[bytes]:
    with suppress(FileNotFoundError), open(path, "rb") as file:
        file.seek(offset)
        for stored in file:
            if stored.endswith(b"\n"):
                yield stored


class LogStore:
    """Logs of all pods."""

    def __init__(self, root: Path) -> None:
        """``root`` is created with the first line."""
        self._root = root
        self._runs: dict[tuple[str, str], list[RunLog]] = {}

    def open_run(self, uid: str, container: str, run: int) -> RunLog:
        """The log of a new run; the run before becomes the previous one, older ones are deleted."""
        log = RunLog(self._root / uid / container, run)
        runs = self._runs.setdefault((uid, container), [])
        runs.append(log)
        while len(runs) > 2:
            runs.pop(0).remove()
        return log

    def read(self, uid: str, container: str, *, follow: bool, previous: bool) -> AsyncIterator[Line]:
        """Lines of the current or the previous run. Raises :class:`PodwireError` when there is no such run."""
        runs = self._runs.get((uid, container), [])
        if previous and len(runs) < 2:
            raise PodwireError(f'previous terminated container "{container}" not found')
        if not runs:
            raise PodwireError(f'container "{container}" has not started yet')
        return runs[-2 if previous else -1].read(follow=follow)

    def current(self, uid: str, container: str) -> RunLog:
        """The newest run's log. Raises :class:`PodwireError` when there is none."""
        runs = self._runs.get((uid, container))
        if not runs:
            raise PodwireError(f'container "{container}" has not started yet')
        return runs[-1]

    def remove(self, uid: str) -> None:
        """Forget a pod; followers end."""
        for key in [key for key in self._runs if key[0] == uid]:
            for log in self._runs.pop(key):
                log.close()
        shutil.rmtree(self._root / uid, ignore_errors=True)

    def remove_all(self) -> None:
        """Delete what an earlier process stored; nothing of this one must be there yet."""
        shutil.rmtree(self._root, ignore_errors=True)


class Capture:
    """Moves what a pipe (or terminal) delivers into a log, line by line, until its end."""

    def __init__(self, descriptor: int, stream: str, log: RunLog) -> None:
        """Owns ``descriptor`` from now on."""
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._stream = stream
        self._log = log
        self._rest = b""
        self.ended = asyncio.Event()
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose last user has gone answers EIO
            data = b""
        if not data:
            self.close()
            return
        self._log.hear(self._stream, data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        whole = [line + b"\n" for line in lines]
        while len(self._rest) >= LINE_BYTES:
            whole.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        if whole:
            self._log.write(self._stream, whole)

    def close(self) -> None:
        """Store what is left and stop; the second time does nothing."""
        if self.ended.is_set():
            return
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        if self._rest:
            self._log.write(self._stream, [self._rest])
        self.ended.set()
