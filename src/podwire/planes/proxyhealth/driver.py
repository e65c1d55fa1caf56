"""The health driver: opens the listeners inside the nodes' namespaces and answers.

Rules:

1. ``apply`` opens and closes what changed; answers are made from the newest plan at the time of the request.
2. A node whose namespace or address does not exist yet, and a port somebody else holds, are tried again in the
   background; a taken port is reported in the fact ``proxyhealth``.
3. A client that says nothing is dropped after :data:`PATIENCE_SECONDS`; nobody is kept alive.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec

from podwire.base import PodwireError, join_port
from podwire.plan import CountServices, Driver, PlaneFact, Report, ServicePlan, node_netns
from podwire.planes.proxyhealth.machine import PortWatch, SyncState
from podwire.planes.proxyhealth.render import (
    Answer,
    Listener,
    NodeHealth,
    answer,
    has_check,
    render_health,
    render_listeners,
)

OpenSocket = Callable[[str, socket.SocketKind, socket.AddressFamily], socket.socket]
"""A non-blocking socket inside a namespace; raises :class:`PodwireError` when there is none."""

T = TypeVar("T")
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

PATIENCE_SECONDS = 5.0
RETRY_SECONDS = (0.02, 0.1, 0.5, 2.0)
HEAD_BYTES = 16384
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


async def _nothing_more(_: str) -> str:
    return ""


class ProxyHealthDriver:
    """Executes the listeners of a :class:`podwire.plan.ServicePlan` (a :class:`podwire.plan.Driver`)."""

    def __init__(
        self,
        report: Report,
        *,
        cluster: str,
        open_socket: OpenSocket,
        clock: Callable[[], float],
        sync: SyncState,
        count: CountServices,
    ) -> None:
        """Nothing listens before the first apply. ``count`` is asked at each request for metrics."""
        self._count = count
        self._more: Callable[[str], Awaitable[str]] = _nothing_more
        self._report = report
        self._cluster = cluster
        self._open_socket = open_socket
        self._clock = clock
        self._sync = sync
        self._checked = PortWatch(has_check)
        self._health: dict[str, NodeHealth] = {}
        self._wanted: tuple[Listener, ...] = ()
        self._servers: dict[Listener, asyncio.Server] = {}
        self._refused: dict[str, str] = {}
        self._reported: PlaneFact | None = None
        self._retry: asyncio.Task[None] | None = None

    def add_metrics(self, more: Callable[[str], Awaitable[str]]) -> None:
        """What else the metrics of a node say, in Prometheus text; asked at each request."""
        self._more = more

    async def apply(self, plan: ServicePlan) -> None:
        """Make it so."""
        self._checked.advance(plan.ports)
        checked = self._checked.found.values()
        self._health = render_health(plan, checked)
        self._wanted = render_listeners(plan, checked)
        for gone in self._servers.keys() - set(self._wanted):
            self._servers.pop(gone).close()
        if not await self._open_missing() and self._retry is None:
            self._retry = asyncio.create_task(self._open_later(), name="proxyhealth-retry")

    async def close(self) -> None:
        """Stop listening."""
        self._wanted = ()
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
            self._retry = None
        for server in self._servers.values():
            server.close()
        self._servers = {}

    async def _open_missing(self) -> bool:
        """Whether everything listens now."""
        self._refused = {}
        for listener in self._wanted:
            if listener not in self._servers:
                await self._open(listener)
        missing = len(self._wanted) - len(self._servers)
        fact = PlaneFact(ready=not missing, rejected=dict(self._refused))
        if fact != self._reported:
            self._reported = fact
            self._report("proxyhealth", fact)
        return not missing

    async def _open(self, listener: Listener) -> None:
        try:
            family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
            opened = self._open_socket(node_netns(self._cluster, listener.node), socket.SOCK_STREAM, family)
        except (PodwireError, OSError):
            return  # rule 2; a namespace in the making is a plain file, which cannot be entered (EINVAL)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind((listener.address, listener.port))
            server = await asyncio.start_server(self._serve(listener), sock=opened, limit=HEAD_BYTES)
        except OSError as error:
            opened.close()
            if error.errno != errno.EADDRNOTAVAIL:
                place = f"{listener.node}/{join_port(listener.address, listener.port)}"
                self._refused[place] = f"{listener.purpose} cannot listen: {error.strerror}"
            return
        self._servers[listener] = server

    async def _open_later(self) -> None:
        attempt = 0
        while self._wanted:
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1
            if await self._open_missing():
                break
        self._retry = None

    def _serve(self, listener: Listener) -> Handler:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(await self._respond(listener, head))
                    await writer.drain()
            writer.close()

        return serve

    async def _respond(self, listener: Listener, head: bytes) -> bytes:
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        health = self._health.get(listener.node)
        if len(words) != 3 or health is None:
            return format_answer(Answer(400, "bad request\n", "text/plain"))
        if words[0] not in ("GET", "HEAD"):
            return format_answer(Answer(405, "method not allowed\n", "text/plain"))
        counts = await self._count(listener.node) if listener.purpose == "metrics" else ()
        made = answer(listener, words[1], health, self._sync, now=self._clock(), counts=counts)
        if listener.purpose == "metrics" and words[1].partition("?")[0] == "/metrics":
            made = msgspec.structs.replace(made, body=made.body + await self._more(listener.node))
        return format_answer(made, with_body=words[0] == "GET")


def format_answer(made: Answer, *, with_body: bool = True) -> bytes:
    """HTTP/1.1, one answer a connection."""
    body = made.body.encode()
    fields = (
        ("Content-Type", made.content_type),
        ("X-Content-Type-Options", "nosniff"),
        *made.headers,
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
    )
    head = f"HTTP/1.1 {made.status} {REASONS[made.status]}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields)
    return head.encode() + b"\r\n" + (body if with_body else b"")


class Timed(Generic[T]):
    """Another driver of Services, with its syncs counted."""

    def __init__(
        self,
        inner: Driver[T],
        services: Callable[[T], ServicePlan],
        sync: SyncState,
        *,
        clock: Callable[[], float],
    ) -> None:
        """``services`` finds the Service plan in what ``inner`` applies."""
        self._inner = inner
        self._services = services
        self._sync = sync
        self._clock = clock

    async def apply(self, plan: T) -> None:
        """Apply, and take the time."""
        services, started = self._services(plan), self._clock()
        self._sync.queue(services, started)
        try:
            await self._inner.apply(plan)
        except PodwireError:
            self._sync.fail()
            raise
        self._sync.finish(services, started=started, now=self._clock())

    async def close(self) -> None:
        """Close the other driver."""
        await self._inner.close()
