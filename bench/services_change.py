"""``services-change``: one endpoint of one of 10,000 Services, from the API write to the kernels of both nodes."""

import asyncio
import time
from functools import partial

from bench.cluster import report
from bench.kubeproxy_peer import kube_proxy, peer_binary
from bench.services_rig import SERVICES, cluster_with, endpoint_slice, percentile
from podwire.engine import State
from podwire.plan import digest

CHANGES = 200
PEER_CHANGES = 10


def run() -> None:
    """p99 in milliseconds; the confirmation of the kernels goes through one more compile, which is counted."""
    binary = peer_binary()
    p50, p99 = asyncio.run(_measure())
    print(f"services-change: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {CHANGES} changes", flush=True)
    peer = asyncio.run(_measure_peer(binary)) if binary else None
    report("services-change", p99, "ms", peer=("kube-proxy, worst of ten", peer) if peer else None)


async def _measure_peer(binary: str) -> float:
    async with kube_proxy(binary, SERVICES) as peer:
        seconds = [await peer.change(number * 37 % SERVICES, number) for number in range(1, PEER_CHANGES + 1)]
    print(f"services-change: kube-proxy p50 {percentile(seconds, 0.5) * 1000:.0f} ms", flush=True)
    return max(seconds) * 1000


async def _measure() -> tuple[float, float]:
    seconds = []
    async with cluster_with(SERVICES) as cluster:
        assert cluster.server is not None
        for number in range(1, CHANGES + 1):
            index = number * 37 % SERVICES
            address = f"172.31.{number >> 8 & 255}.{number & 255}"
            started = time.perf_counter()
            await cluster.server.update(endpoint_slice(index, last=number))
            await cluster.wait_state(partial(_is_in_force, f"many/s{index}:80/TCP", address), 30)
            seconds.append(time.perf_counter() - started)
    return percentile(seconds, 0.5) * 1000, percentile(seconds, 0.99) * 1000


def _is_in_force(key: str, address: str, state: State) -> bool:
    unit = state.plans.services.ports[key]
    if all(e.address != address for e in unit.endpoints):
        return False
    wanted, planes = digest(unit), state.snapshot.facts.planes
    return all(planes[f"nft/{name}"].applied.get(key) == wanted for name in state.plans.services.nodes)
