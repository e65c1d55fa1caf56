"""``api-writes``: durable creates a second, 16 clients at once."""

import asyncio
import time

from bench.api_client import Client
from bench.api_subjects import Subject, compare, config_map, subjects

CLIENTS, SECONDS = 16, 6.0


def run() -> None:
    """ConfigMaps of half a kilobyte; each client waits for its answer before it writes again."""
    with subjects() as found:
        results = {subject.name: asyncio.run(_measure(subject)) for subject in found}
        for subject in found:
            memory = subject.memory_bytes() / 1e6
            print(f"api-writes {subject.name}: {results[subject.name]:.0f}/s, {memory:.0f} MB resident", flush=True)
    compare("api-writes", results, "creates/s", more_is_better=True)


async def _measure(subject: Subject) -> float:
    clients = [Client(subject.url) for _ in range(CLIENTS)]
    done, end = [0] * CLIENTS, time.monotonic() + SECONDS

    async def work(number: int) -> None:
        while time.monotonic() < end:
            name = f"w-{number}-{done[number]}"
            await clients[number].post("/api/v1/namespaces/default/configmaps", config_map(name))
            done[number] += 1

    started, server, own = time.monotonic(), subject.cpu_seconds(), time.process_time()
    await asyncio.gather(*(work(number) for number in range(CLIENTS)))
    seconds = time.monotonic() - started
    server, own = (subject.cpu_seconds() - server) / sum(done), (time.process_time() - own) / sum(done)
    print(
        f"api-writes {subject.name}: processor time a create: server {server * 1000:.2f} ms,"
        f" client {own * 1000:.2f} ms",
        flush=True,
    )
    for client in clients:
        await client.close()
    return sum(done) / seconds
