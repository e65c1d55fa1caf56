"""``dns-update``: from the changed EndpointSlice to the changed answer, among 10,000 Services."""

import asyncio
import statistics
import time

from bench.dns_rig import World, ask_until, endpoint_slice, name_of, podwire_server, report

SERVICES, ENDPOINTS, CHANGES = 10_000, 2, 50


def run() -> None:
    """Milliseconds, 99th percentile; the share of the compiler is printed beside it."""
    asyncio.run(_run())


async def _run() -> None:
    world = World(SERVICES, ENDPOINTS)
    plan = world.zone()
    compiling, whole = [], []
    async with podwire_server(plan) as server:
        assert server.apply is not None
        for change in range(1, CHANGES + 1):
            number = change * 10  # headless: its answer is its endpoints
            value = endpoint_slice(number, ENDPOINTS, shift=change)
            wanted = bytes(map(int, value["endpoints"][0]["addresses"][0].split(".")))
            started = time.perf_counter()
            world.builder.put(value)
            plan = world.zone()
            compiling.append(time.perf_counter() - started)
            await server.apply(plan)
            await asyncio.to_thread(ask_until, server.port, name_of(number), wanted)
            whole.append(time.perf_counter() - started)
    parts = f"compile {statistics.median(compiling) * 1e3:.1f} ms, whole {statistics.median(whole) * 1e3:.1f} ms"
    print(f"dns-update median: {parts}", flush=True)
    report("dns-update", sorted(whole)[CHANGES * 99 // 100 - 1] * 1e3, "ms p99", None)
