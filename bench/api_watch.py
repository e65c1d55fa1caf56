"""``api-watch``: from sending a create (its durable write is within) until the last of 100 watchers has it, p99."""

import asyncio
import time

from bench.api_subjects import Client, Subject, compare, config_map, subjects

WATCHERS, EVENTS = 100, 200
PAUSE_SECONDS = 0.01


def run() -> None:
    """One writer; 100 watch connections to one collection."""
    with subjects() as found:
        results = {subject.name: asyncio.run(_measure(subject)) for subject in found}
        for subject in found:
            memory = subject.memory_bytes() / 1e6
            print(f"api-watch {subject.name}: p99 {results[subject.name]:.2f} ms, {memory:.0f} MB", flush=True)
    compare("api-watch", results, "ms", more_is_better=False)


async def _measure(subject: Subject) -> float:
    client, delays = Client(subject), list[float]()
    ready, seen = [asyncio.Event() for _ in range(WATCHERS)], dict[bytes, float]()
    counts: dict[bytes, int] = {}
    everybody = asyncio.Event()

    async def watch(number: int) -> None:
        path = "/api/v1/namespaces/default/configmaps?watch=1&labelSelector=app%3Dbench"
        async with client.session.get(client.url + path) as response:
            ready[number].set()
            async for line in response.content:
                name = line.partition(b'"name":"e-')[2].partition(b'"')[0]
                counts[name] = counts.get(name, 0) + 1
                if counts[name] == WATCHERS:
                    seen[name] = time.perf_counter()
                    everybody.set()

    tasks = [asyncio.create_task(watch(number)) for number in range(WATCHERS)]
    await asyncio.gather(*(event.wait() for event in ready))
    for number in range(EVENTS):
        everybody.clear()
        sent = time.perf_counter()
        await client.post("/api/v1/namespaces/default/configmaps", config_map(f"e-{number}"))
        async with asyncio.timeout(10):
            await everybody.wait()
        delays.append((seen[str(number).encode()] - sent) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    return sorted(delays)[int(len(delays) * 0.99)]
