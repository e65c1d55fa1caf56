"""An API server whose pods are commands of this machine: what the stream tests talk to."""

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from podwire.apiserver import ApiServer, ApiSettings
from podwire.base import PodwireError

Line = tuple[float, str, bytes]


class Session:
    """A process with pipes; sizes are remembered."""

    def __init__(self, process: asyncio.subprocess.Process, *, tty: bool) -> None:
        self.process = process
        self.sizes: list[tuple[int, int]] = []
        self.tty = tty
        self.killed = False
        self._chunks: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(16)
        self._pump = asyncio.ensure_future(self._pump_all())

    async def _pump_all(self) -> None:
        assert self.process.stdout and self.process.stderr
        await asyncio.gather(self._one(1, self.process.stdout), self._one(1 if self.tty else 2, self.process.stderr))
        await self._chunks.put(None)

    async def _one(self, stream: int, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(32 * 1024):
            await self._chunks.put((stream, data))

    async def read(self) -> tuple[int, bytes] | None:
        return await self._chunks.get()

    async def write(self, data: bytes) -> None:
        if self.process.stdin:
            self.process.stdin.write(data)
            await self.process.stdin.drain()

    async def close_stdin(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()

    def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        return await self.process.wait()

    def kill(self) -> None:
        self.killed = True
        self._pump.cancel()
        # Ends the process and lets go of its pipes; the public way waits for output nobody reads.
        self.process._transport.close()  # type: ignore[attr-defined]


class Backend:
    """Every container runs; its log is ``lines``, its ports are this machine's."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.more = asyncio.Event()
        self.log_ended = False
        self.sessions: list[Session] = []

    async def logs(self, uid: str, container: str, *, follow: bool, previous: bool) -> AsyncIterator[Line]:
        if container == "silent":
            raise PodwireError('container "silent" has not started yet')
        if previous:
            yield 0.0, "stdout", b"of the previous run\n"
            return
        at = 0
        while True:
            self.more.clear()
            while at < len(self.lines):
                yield self.lines[at]
                at += 1
            if not follow or self.log_ended:
                return
            await self.more.wait()

    def log(self, text: str, stream: str = "stdout", at: float | None = None) -> None:
        self.lines.append((time.time() if at is None else at, stream, text.encode()))
        self.more.set()

    async def exec(self, uid: str, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> Session:
        if container == "silent":
            raise PodwireError('container "silent" is not running')
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        session = Session(process, tty=tty)
        self.sessions.append(session)
        return session

    async def attach(self, uid: str, container: str, *, stdin: bool, tty: bool) -> Session:
        return await self.exec(uid, container, ("sh", "-c", "echo attached; cat"), stdin=stdin, tty=tty)

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            raise PodwireError(f"connection refused by port {port}") from error


class Rig:
    """The server in a thread of its own, and kubectl pointed at it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "kubeconfig"
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.backend: Backend = self.call(_made())
        self.server = ApiServer(ApiSettings(directory=directory / "api"), backend=self.backend)
        self.call(self.server.start())
        self.server.kubeconfig.write(self.config)

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def do(self, function: Any, *args: Any, **named: Any) -> None:
        """Run something on the server's loop."""

        async def run() -> None:
            function(*args, **named)

        self.call(run())

    def stop(self) -> None:
        self.call(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def pod(self, name: str, *containers: str, **status: Any) -> None:
        """A pod on a node, running unless ``status`` says otherwise."""
        names = containers or ("main",)
        spec = {"nodeName": "n1", "containers": [{"name": each, "image": "example.com/x:1"} for each in names]}
        meta = {"name": name, "namespace": "default"}
        self.call(self.server.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}))
        running = {
            "phase": "Running",
            "containerStatuses": [
                {"name": each, "state": {"running": {}}, "ready": True, "restartCount": 0, "image": "x", "imageID": "x"}
                for each in names
            ],
        }
        self.call(self.server.merge("Pod", "default", name, {"status": status or running}, subresource="status"))

    def command(self, *words: str) -> list[str]:
        return ["kubectl", f"--kubeconfig={self.config}", f"--cache-dir={self.directory / 'cache'}", *words]

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.directory), **more}

    def kubectl(
        self, *words: str, stdin: bytes | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
            env=self.environment(**(env or {})),
        )

    def credentials(self) -> tuple[str, Path, Path, Path]:
        """Server URL, and files with CA, certificate and key."""
        config = self.server.kubeconfig
        files = []
        for name, data in (("ca", config.ca), ("cert", config.certificate), ("key", config.key)):
            path = self.directory / f"{name}.pem"
            path.write_bytes(data)
            files.append(path)
        return config.server, files[0], files[1], files[2]


async def _made() -> Backend:
    return Backend()


def status_of(text: bytes) -> dict[str, Any]:
    """The Status in a channel message."""
    found: dict[str, Any] = json.loads(text)
    return found
