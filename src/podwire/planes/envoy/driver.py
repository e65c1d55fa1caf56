"""The gRPC server Envoy fetches its configuration from: one unix socket, one delta ADS stream per Envoy.

Rules:

1. The node id of a stream is the key of its proxy. An Envoy may connect before the first plan: it waits.
2. A newer stream of the same proxy replaces the older one (Envoy was killed and its end not seen yet).
3. A fact is reported when it says something new. Before an Envoy serves, only refusals are.
4. gRPC is imported by :meth:`EnvoyDriver.start`. The protobuf modules and the certificate of last resort (90 ms) come
   from a thread it starts, while the rest of podwire brings up nodes; plans and streams wait for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podwire.base import EnvironmentUnfit
from podwire.plan import PlaneFact, Report, RoutePlan

if TYPE_CHECKING:
    from podwire.planes.envoy.render import KeyPair
    from podwire.planes.envoy.session import Session

RETRY_SECONDS = 1.0
STOP_SECONDS = 1.0
METHOD = ("envoy.service.discovery.v3.AggregatedDiscoveryService", "DeltaAggregatedResources")
_LONGEST_SOCKET_PATH = 107


def ads_path(run_dir: Path) -> Path:
    """The socket of the configuration stream."""
    return run_dir / "ads.sock"


class _Proxy:
    """One proxy: its session, its current stream, and the fact reported last."""

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.wake = asyncio.Event()
        self.stream: object | None = None
        self.fact: PlaneFact | None = None


class EnvoyDriver:
    """Executes route plans on every Envoy that connects to ``run_dir``."""

    def __init__(self, report: Report, *, run_dir: Path) -> None:
        """Cheap; nothing listens before :meth:`start`."""
        self._report = report
        self._run_dir = run_dir
        self._proxies: dict[str, _Proxy] = {}
        self._server: Any = None
        self._loading: asyncio.Future[KeyPair] | None = None

    async def start(self) -> None:
        """Listen on the socket (mode 0600). Raises :class:`EnvironmentUnfit` when the path is too long for one."""
        if self._server is not None:
            return
        path = ads_path(self._run_dir)
        if len(str(path).encode()) > _LONGEST_SOCKET_PATH:
            raise EnvironmentUnfit(
                f"socket path {path} is longer than {_LONGEST_SOCKET_PATH} bytes: choose a shorter one"
            )
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        import grpc
        import grpc.aio

        service, method = METHOD
        handler = grpc.stream_stream_rpc_method_handler(self._stream)
        options = (
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        )
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        path.chmod(0o600)
        self._server = server
        self._loading = asyncio.ensure_future(asyncio.to_thread(_load))

    async def apply(self, plan: RoutePlan) -> None:
        """Hand every proxy its plan. Returns at once: confirmation comes as facts."""
        await self.start()
        for key, proxy_plan in plan.proxies.items():
            proxy = await self._ensure_proxy(key)
            proxy.session.want(proxy_plan)
            self._tell(key, proxy)
            proxy.wake.set()
        for key in self._proxies.keys() - plan.proxies.keys():
            if self._proxies[key].stream is None:
                del self._proxies[key]

    async def close(self) -> None:
        """Stop listening and end all streams; Envoys keep serving what they have until they are ended."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)
            await server.wait_for_termination(STOP_SECONDS)
        if self._loading is not None:
            await self._loading
        self._proxies.clear()
        ads_path(self._run_dir).unlink(missing_ok=True)

    async def _ensure_proxy(self, key: str) -> _Proxy:
        if self._loading is None:
            raise RuntimeError("start() comes first")
        fallback = await asyncio.shield(self._loading)
        if key not in self._proxies:
            from podwire.planes.envoy.session import Session

            self._proxies[key] = _Proxy(Session(fallback))
        return self._proxies[key]

    async def _stream(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """One Envoy, from connect to disconnect."""
        stream = aiter(requests)
        first = await anext(stream, None)
        if first is None or self._loading is None:
            return
        await asyncio.shield(self._loading)
        from podwire.planes.envoy import wire

        key = wire.node_of(first)
        proxy = await self._ensure_proxy(key)
        proxy.stream = mine = object()
        proxy.wake = asyncio.Event()  # the pump of an older stream must not take our wake-ups
        proxy.session.connect()
        pump = asyncio.create_task(self._pump(key, proxy, context))
        try:
            message: bytes | None = first
            while message is not None and proxy.stream is mine and not pump.done():
                request = wire.parse_request(message)
                if request is not None:
                    proxy.session.receive(request)
                    self._tell(key, proxy)
                    proxy.wake.set()
                message = await anext(stream, None)
        finally:
            if proxy.stream is mine:
                proxy.stream = None
                proxy.session.disconnect()
                self._tell(key, proxy)
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, key: str, proxy: _Proxy, context: Any) -> None:
        """Write what the session has to say; offer refused listeners again while there are any."""
        from podwire.planes.envoy import wire

        mine, wake = proxy.stream, proxy.wake
        while proxy.stream is mine:
            for response in proxy.session.poll():
                await context.write(wire.format_response(response))
            wait = RETRY_SECONDS if proxy.fact is not None and proxy.fact.message else None
            try:
                async with asyncio.timeout(wait):
                    await wake.wait()
            except TimeoutError:
                proxy.session.retry()
            wake.clear()

    def _tell(self, key: str, proxy: _Proxy) -> None:
        fact = proxy.session.fact()
        starting = not fact.ready and not fact.rejected and not fact.message
        if fact == proxy.fact or (starting and (proxy.fact is None or not proxy.fact.ready)):
            return
        proxy.fact = fact
        self._report(f"envoy/{key}", fact)


def _load() -> "KeyPair":
    """Everything sessions need, in a thread."""
    from podwire.planes.envoy import selfsigned, session, wire

    assert session and wire
    return selfsigned.make_fallback()
