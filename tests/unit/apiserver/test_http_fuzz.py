"""Hostile requests over real connections: every answer is a right status with a Status body, never a 500, never a hang.

``PODWIRE_FUZZ_SECONDS`` says for how long (a few seconds otherwise), ``PODWIRE_FUZZ_SEED`` repeats a run. After each
round everything is deleted; over a long run memory must not grow.
"""

import asyncio
import gc
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.unit.apiserver.http_mutator import Mutator

from podwire.apiserver import ApiServer, ApiSettings

SECONDS = float(os.environ.get("PODWIRE_FUZZ_SECONDS", "3"))
SEED = int(os.environ.get("PODWIRE_FUZZ_SEED", "1"))
ROUND, CONNECTIONS = 1500, 4
GROWTH_BYTES = 48 * 1024 * 1024
"""More than the history of watches may hold; what is left after the second round is the base."""
WARM_SECONDS = 60.0
TOKEN = "fuzz"
ANSWER_SECONDS = 30.0


class Wrong(Exception):
    """An answer that may not be."""


class Wire:
    """One keep-alive connection that opens again when the server closes it."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port, self._context = port, context
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes) -> tuple[int, bytes]:
        """Status and body; 0: the server hung up (it may, on what is no HTTP)."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        assert self._reader is not None
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: x",
            f"Authorization: Bearer {TOKEN}",
            f"Content-Length: {len(body)}",
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        self._writer.write("\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._writer.drain()
                return await self._answer(method)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.close()
            return 0, b""

    async def _answer(self, method: str) -> tuple[int, bytes]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        while head.startswith("http/1.1 100"):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        code = int(head.split()[1])
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = b""
        if method != "HEAD" and code not in (204, 304):
            if "chunked" in fields.get("transfer-encoding", ""):
                body = await self._chunks()
            else:
                body = await self._reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            self.close()
        return code, body

    async def _chunks(self) -> bytes:
        assert self._reader is not None
        found = b""
        while length := int(await self._reader.readline(), 16):
            found += await self._reader.readexactly(length)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return found

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class Complaints(logging.Handler):
    """What our own code says went wrong."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


def judge(asked: tuple[Any, ...], code: int, body: bytes) -> None:
    """Raise unless the answer is one that Kubernetes could give."""
    if code == 0 and asked[0] != "BREW" and not re.search(r"[^!-~]", asked[1]):
        raise Wrong(f"no answer to {asked!r}")
    if code < 400:
        return
    if code >= 500 and code not in (501, 503, 504):
        raise Wrong(f"{code} {body[:600]!r} to {asked!r}")
    if body.startswith(b"{"):
        status = json.loads(body)
        if status.get("kind") == "Status" and not (status["code"] == code and status["status"] == "Failure"):
            raise Wrong(f"{code} but {body[:300]!r}")


async def one_round(server: ApiServer, mutator: Mutator, until: float) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    done = 0

    async def work() -> None:
        nonlocal done
        wire = Wire(server.port, context)
        try:
            while done < ROUND and time.monotonic() < until:
                asked = mutator.request()
                done += 1
                answer = await wire.ask(*asked)
                if not answer[0]:  # the server may have closed an idle connection: once more on a new one
                    answer = await wire.ask(*asked)
                judge(asked, *answer)
        finally:
            wire.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())
    return done


KEPT = ("kubernetes", "default", "kube-root-ca.crt", "kube-system", "kube-public", "kube-node-lease", "10.96.0.1")


def empty(server: ApiServer) -> None:
    """Remove what the round made, finalizers or not."""
    objects = server.verbs.objects
    for kind in objects.store.head_kinds():
        for key, value in [*objects.store.heads(kind)]:
            ours = "kubernetes.io/bootstrapping" in (value["metadata"].get("labels") or {})
            gone = objects.get(kind, key) is None
            if not (ours or gone or value["metadata"]["name"] in KEPT):
                objects.remove(kind, key)


def resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_no_request_is_a_500() -> None:
    complaints = Complaints()
    loggers = [logging.getLogger(name) for name in ("podwire", "asyncio")]
    for logger in loggers:
        logger.addHandler(complaints)

    async def body() -> None:
        server = ApiServer(ApiSettings(token=TOKEN))
        await server.start()
        started, mutator, total, base = time.monotonic(), Mutator(SEED), 0, 0
        try:
            while time.monotonic() < started + SECONDS:
                total += await one_round(server, mutator, started + SECONDS)
                empty(server)
                await server.store.settled(server.store.head_rv)
                elapsed, resident = time.monotonic() - started, resident_bytes()
                print(f"{elapsed:.0f} s: {total} requests, {resident / 1e6:.0f} MB", flush=True)
                assert not complaints.found, complaints.found[0]
                base = base or (resident if elapsed > WARM_SECONDS else 0)
                assert not base or resident < base + GROWTH_BYTES, "memory grows"
        finally:
            await server.stop()
        assert total > 50

    try:
        asyncio.run(body())
    finally:
        for logger in loggers:
            logger.removeHandler(complaints)
