"""``api-list``: a list of 10,000 objects, median latency from request to last byte."""

import asyncio
import statistics
import time

from bench.api_client import Client
from bench.api_subjects import Subject, compare, fill, subjects

OBJECTS, ROUNDS = 10_000, 15


def run() -> None:
    """ConfigMaps of half a kilobyte, as JSON, without pages."""
    with subjects() as found:
        results = {subject.name: asyncio.run(_measure(subject)) for subject in found}
        for subject in found:
            memory = subject.memory_bytes() / 1e6
            print(f"api-list {subject.name}: {results[subject.name]:.1f} ms, {memory:.0f} MB resident", flush=True)
    compare("api-list", results, "ms", more_is_better=False)


async def _measure(subject: Subject) -> float:
    client = Client(subject.url)
    await fill(client, OBJECTS)
    milliseconds, server, own = [], subject.cpu_seconds(), time.process_time()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        data = await client.get("/api/v1/namespaces/default/configmaps")
        milliseconds.append((time.perf_counter() - started) * 1000)
        assert data.count(b'"kind"') >= 1 and len(data) > OBJECTS * 400
    server, own = (subject.cpu_seconds() - server) / ROUNDS, (time.process_time() - own) / ROUNDS
    print(
        f"api-list {subject.name}: processor time a list: server {server * 1000:.1f} ms, client {own * 1000:.1f} ms",
        flush=True,
    )
    await client.close()
    return statistics.median(milliseconds)
