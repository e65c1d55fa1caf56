"""Which drivers execute the plans: real planes, or fakes where this machine cannot carry packets.

Everything registered on the stack is closed in reverse: nft first, then the pods, then the control sockets that the
pods' processes talk to. While containers of other runtimes are attached, rules and wires stay when the process ends.
"""

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec

from podwire.client import Source
from podwire.cluster.home import ClusterHome
from podwire.engine import Engine, Slot
from podwire.node import FakeNodeRuntime, NodeRuntime
from podwire.node.sockets import open_socket
from podwire.node.volumes import TokenSource
from podwire.plan import Plans
from podwire.planes.api import ApiDriver
from podwire.planes.nft import NftPlan
from podwire.snapshot import Settings


class Driven(msgspec.Struct, frozen=True):
    """The slots for the engine, and what serves logs, exec and port-forward."""

    slots: Sequence[Slot]
    runtime: NodeRuntime | FakeNodeRuntime


class NftPart:
    """The part of the plans the kernel gets; the same object while both parts are."""

    def __init__(self) -> None:
        """Nothing given out yet."""
        self._last: NftPlan | None = None

    def __call__(self, plans: Plans) -> NftPlan:
        """The nft plan of ``plans``."""
        last = self._last
        if last is None or last.services is not plans.services or last.policy is not plans.policy:
            self._last = last = NftPlan(plans.services, plans.policy)
        return last


async def drive_packets(
    stack: AsyncExitStack, engine: Engine, source: Source, *, home: ClusterHome, settings: Settings, tokens: TokenSource
) -> Driven:
    """Namespaces, nftables, Envoy and DNS on this machine; ``tokens`` issues what pods prove themselves with."""
    from podwire.node.attach_server import AttachServer
    from podwire.planes.dns.driver import DnsDriver
    from podwire.planes.envoy import EnvoyDriver
    from podwire.planes.nft import NftDriver
    from podwire.planes.nft.edge import EdgeDriver
    from podwire.planes.proxyhealth.driver import ProxyHealthDriver, Timed
    from podwire.planes.proxyhealth.machine import SyncState

    envoy = EnvoyDriver(engine.report, run_dir=home.run)
    await envoy.start()
    stack.push_async_callback(envoy.close)
    dns = DnsDriver(engine.report, run_dir=home.run)
    await dns.start()
    stack.push_async_callback(dns.close)
    runtime = NodeRuntime(engine.report, state_dir=home.path, tokens=tokens)
    stack.push_async_callback(runtime.close)
    nft = NftDriver(engine.report, cluster=settings.cluster, run_dir=home.run, established=settings.established)
    stack.push_async_callback(lambda: nft.close(leave=runtime.outlives))
    attaching = AttachServer(runtime.attacher, home.run)
    attaching.start()
    stack.push_async_callback(attaching.close)
    sync = SyncState()
    health = ProxyHealthDriver(
        engine.report,
        cluster=settings.cluster,
        open_socket=lambda space, kind, family: open_socket(space, kind, family=family),
        clock=time.time,
        sync=sync,
        count=nft.count_services,
    )
    health.add_metrics(nft.metrics)
    stack.push_async_callback(health.close)
    edge = EdgeDriver(engine.report, cluster=settings.cluster)
    stack.push_async_callback(edge.close)
    slots = (
        Slot("nodes", lambda plans: plans.nodes, runtime),
        Slot("edge", lambda plans: plans.nodes, edge),
        Slot("nft", NftPart(), Timed(nft, lambda plan: plan.services, sync, clock=time.time)),
        Slot("proxyhealth", lambda plans: plans.services, health),
        Slot("envoy", lambda plans: plans.routes, envoy),
        Slot("dns", lambda plans: plans.zone, dns),
        _api_slot(stack, engine, source),
    )
    return Driven(slots, runtime)


async def drive_simulated(stack: AsyncExitStack, engine: Engine, source: Source) -> Driven:
    """The same API, controllers, compiler and explanations; nobody sends a packet."""
    from podwire.planes.envoy.fake import FakeEnvoy

    runtime = FakeNodeRuntime(engine.report)
    stack.push_async_callback(runtime.close)
    slots = (
        Slot("nodes", lambda plans: plans.nodes, runtime),
        Slot("envoy", lambda plans: plans.routes, FakeEnvoy(engine.report)),
        _api_slot(stack, engine, source),
    )
    return Driven(slots, runtime)


def _api_slot(stack: AsyncExitStack, engine: Engine, source: Source) -> Slot:
    api = ApiDriver(source, engine.report)
    stack.push_async_callback(api.close)
    return Slot("api", lambda plans: plans.writes, api)
