"""An embedded cluster: API server, engine, planes and node runtime in one process.

Rules:

1. ``start`` brings up what needs nobody else first (the API server, the control sockets of Envoy and DNS), then the
   engine. Processes of the planes (Envoy, the DNS worker) are containers of system pods and start with them.
2. Everything that was acknowledged by the API is on disk; everything else is rebuilt from it. So a killed process
   leaves only kernel state, which the next start removes first.
3. ``close`` undoes what ``start`` did, in reverse order, and keeps the API's state unless asked to forget it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import msgspec

import podwire
from podwire.apiserver.server import ApiServer, ApiSettings
from podwire.base import Finding, PodwireError, Ref
from podwire.cluster.adapter import EmbeddedSource, apply_objects, issue_token, revisions_of
from podwire.cluster.addresses import IpFamily, give_addresses
from podwire.cluster.drivers import drive_packets, drive_simulated
from podwire.cluster.home import ClusterHome
from podwire.cluster.measured import Measured
from podwire.cluster.system import NodeLayout, lay_out, system_objects
from podwire.engine import Engine, State, is_ready, waiting_for
from podwire.node import FakeNodeRuntime
from podwire.planes.dns.driver import dns_argv
from podwire.planes.envoy import envoy_argv
from podwire.snapshot import DnsOptions, ImageRule, Settings

Json = dict[str, Any]


class EmbeddedCluster:
    """One running cluster. Use :meth:`start`, then :meth:`apply`, :meth:`wait_ready`, and :meth:`close` in the end."""

    def __init__(
        self,
        home: ClusterHome,
        layout: NodeLayout | None = None,
        *,
        images: Sequence[ImageRule] = (),
        simulated: bool = False,
        allow_external_ips: bool = False,
        dns: DnsOptions | None = None,
    ) -> None:
        """Nothing happens yet; ``home`` must be open. ``simulated``: everything but packets."""
        self.home = home
        self._layout = layout or NodeLayout()
        self.simulated = simulated
        settings = (simulated_settings if simulated else make_settings)(home, images, self._layout.ip_family)
        settings = msgspec.structs.replace(settings, allow_external_ips=allow_external_ips, dns=dns or DnsOptions())
        self.settings = lay_out(settings, self._layout)
        self._stack = AsyncExitStack()
        self._engine: Engine | None = None
        self._running: asyncio.Task[None] | None = None
        self.server: ApiServer | None = None
        self._unseen: dict[Ref, int] = {}

    @property
    def state(self) -> State | None:
        """The newest instant."""
        return self._engine.state if self._engine else None

    @property
    def bugs(self) -> list[str]:
        """Our own mistakes so far, in words; their tracebacks are in the log."""
        return self._engine.bugs if self._engine else []

    async def start(self) -> None:
        """Everything up; returns when the loop runs. On failure everything is taken back."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        reachable = () if self.simulated else self.settings.host_addresses  # pods reach the API server by the fabric
        self.server = ApiServer(
            ApiSettings(
                directory=self.home.path,
                addresses=("127.0.0.1", *reachable),
                advertise=reachable[0] if reachable else "",
                service_cidrs=self.settings.service_cidrs,
                cluster=self.settings.cluster,
                domain=self.settings.domain,
            )
        )
        await self.server.start()
        self.server.verbs.objects.allocator.allow_external_ips = self.settings.allow_external_ips
        self._stack.push_async_callback(self.server.stop)
        self.server.kubeconfig.write(self.home.kubeconfig)
        self.home.settings.write_bytes(msgspec.json.encode(self.settings))
        self.home.settings.chmod(0o600)
        source = EmbeddedSource(self.server)
        engine = self._engine = Engine(source, settings=self.settings, clock=time.time)
        if self.simulated:
            driven = await drive_simulated(self._stack, engine, source)
        else:
            tokens = partial(issue_token, self.server)
            driven = await drive_packets(
                self._stack, engine, source, home=self.home, settings=self.settings, tokens=tokens
            )
        engine.add(driven.slots)
        self.server.backend = driven.runtime
        if not isinstance(driven.runtime, FakeNodeRuntime):
            self.server.serve_metrics(Measured(driven.runtime))
        self._running = asyncio.create_task(engine.run(), name="engine")
        self._stack.push_async_callback(self._stop_engine)
        await self._ensure_system_objects()

    async def _ensure_system_objects(self) -> None:
        objects = system_objects(self.settings, self._layout, version=podwire.__version__)
        assert self.server is not None
        present = {(v["kind"], v["metadata"]["name"]) for v in self.server.list_all()[0]}
        # The Corefile is the user's as soon as it is there.
        wanted = [v for v in objects if v["kind"] != "ConfigMap" or ("ConfigMap", v["metadata"]["name"]) not in present]
        refused = await self.apply(wanted)
        if refused:
            raise PodwireError("; ".join(map(str, refused)))

    async def apply(self, objects: Sequence[Json]) -> tuple[Finding, ...]:
        """Server-side apply of manifests; what the API refuses becomes a finding, the rest goes on."""
        assert self.server is not None
        findings = await apply_objects(self.server, objects)
        self._unseen |= revisions_of(self.server, objects)
        return findings

    async def wait_ready(self, timeout_seconds: float) -> tuple[str, ...]:
        """Wait until networking is ready; what it still waits for when the time is over (empty: ready)."""
        engine = self._engine
        assert engine is not None and self._running is not None
        waiter = asyncio.create_task(engine.wait_until(self._is_ready))
        await asyncio.wait({waiter, self._running}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._running.done():
            await self.serve()
        if waiter.done():
            return ()
        state = engine.state
        if state is None:
            return ("the first look at the API",)
        return tuple(map(str, waiting_for(state.snapshot, state.plans)))

    def _is_ready(self, state: State) -> bool:
        """Ready, and not merely because what was applied has not come around yet."""
        assert self.server is not None
        for ref, revision in list(self._unseen.items()):
            found = state.snapshot.find(ref)
            shown = found is not None and int(found.metadata.resource_version) >= revision
            if shown or self.server.get(ref.kind, ref.namespace, ref.name) is None:
                del self._unseen[ref]
        return not self._unseen and is_ready(state.snapshot, state.plans)

    async def wait_state(self, predicate: Callable[[State], bool], timeout_seconds: float) -> State:
        """The first published state that satisfies ``predicate``. Raises :class:`TimeoutError`."""
        assert self._engine is not None
        async with asyncio.timeout(timeout_seconds):
            return await self._engine.wait_until(predicate)

    async def serve(self) -> None:
        """Until cancelled, or until the engine fails."""
        assert self._running is not None
        try:
            await asyncio.shield(self._running)
        except BaseExceptionGroup as group:
            known, bugs = group.split(PodwireError)
            if known is None or bugs is not None:
                raise
            raise PodwireError("; ".join(sorted({str(e) for e in _leaves(known)}))) from group

    async def close(self) -> None:
        """Undo everything but the API's state."""
        await self._stack.aclose()

    async def _stop_engine(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def make_settings(home: ClusterHome, images: Sequence[ImageRule], family: IpFamily = "ipv4") -> Settings:
    """Settings of an embedded cluster: its own fabric, and podwire's planes as images."""
    number = home.ensure_number(family)
    proxy = Settings().ingress_proxy
    binds = (str(home.run),)
    planes = (
        ImageRule("podwire/dns", dns_argv(home.run), "podwire's DNS", binds),
        ImageRule("podwire/envoy", envoy_argv(home.run, proxy), "Envoy", binds),
    )
    settings = Settings(cluster=home.name, upstreams=host_nameservers(), images=(*images, *planes))
    return give_addresses(settings, family, number)


def simulated_settings(home: ClusterHome, images: Sequence[ImageRule], family: IpFamily = "ipv4") -> Settings:
    """Settings of a cluster without packets: nothing waits for a plane, and no fabric is claimed."""
    planes = ImageRule("podwire/*", ("true",), "simulated")
    return give_addresses(Settings(cluster=home.name, images=(*images, planes), planes=False), family)


def host_nameservers() -> tuple[str, ...]:
    """Nameservers of the host's resolv.conf."""
    try:
        with open("/etc/resolv.conf", encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return ()
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")
