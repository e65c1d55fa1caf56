"""``services-change``: one endpoint of one of 10,000 Services, from the API write to the kernels of both nodes."""

import asyncio
import time
from functools import partial

from bench.cluster import report
from bench.services_rig import SERVICES, cluster_with, endpoint_slice, percentile
from podwire.engine import State
from podwire.plan import digest

CHANGES = 200


def run() -> None:
    """p99 in milliseconds; the confirmation of the kernels goes through one more compile, which is counted."""
    asyncio.run(_measure())


async def _measure() -> None:
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
    p50, p99 = (percentile(seconds, share) * 1000 for share in (0.5, 0.99))
    print(f"services-change: p50 {p50:.1f} ms, p99 {p99:.1f} ms, {CHANGES} changes", flush=True)
    report("services-change", p99, "ms")


def _is_in_force(key: str, address: str, state: State) -> bool:
    unit = state.plans.services.ports[key]
    if all(e.address != address for e in unit.endpoints):
        return False
    wanted, planes = digest(unit), state.snapshot.facts.planes
    return all(planes[f"nft/{name}"].applied.get(key) == wanted for name in state.plans.services.nodes)
