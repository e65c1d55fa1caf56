"""``api-watch``: from sending a create (its durable write is within) until the last of 100 watchers has it, p99.

The client takes part in the latency: it writes once and reads 100 times. It is bare asyncio protocols (``api_client``),
its own processor time an event is printed beside the server's, and what it needs for the same bytes from a server that
does nothing is the floor of the measurement.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial

from bench.api_client import Client, request_head
from bench.api_subjects import Subject, compare, config_map, subjects

WATCHERS, EVENTS, WARM = 100, 300, 20
PAUSE_SECONDS = 0.01
PATH = "/api/v1/namespaces/default/configmaps"


def run() -> None:
    """One writer; 100 watch connections to one collection."""
    with subjects() as found:
        results = {}
        for subject in found:
            results[subject.name] = asyncio.run(_measure(subject))
            memory = subject.memory_bytes() / 1e6
            print(f"api-watch {subject.name}: p99 {results[subject.name]:.2f} ms, {memory:.0f} MB", flush=True)
    compare("api-watch", results, "ms", more_is_better=False)


class Audience:
    """Counts what the watchers have."""

    def __init__(self) -> None:
        self.begun = 0
        self.seen = 0
        self.changed = asyncio.Event()

    def on_data(self, data: bytes) -> None:
        """A piece: the head of the answer, or one event (they are a kilobyte: never split, never together)."""
        if data.startswith(b"HTTP/1.1 200"):
            self.begun += 1
        self.seen += data.count(b'"name":"e-')
        self.changed.set()

    def has(self, events: int) -> bool:
        """Whether that many came."""
        return self.seen >= events

    async def wait(self, reached: Callable[[], bool]) -> None:
        """Until it is so."""
        async with asyncio.timeout(30):
            while not reached():
                self.changed.clear()
                await self.changed.wait()


async def _measure(subject: Subject) -> float:
    client, audience, delays = Client(subject.url), Audience(), list[float]()
    for _ in range(WATCHERS):
        connection = await client.connect()
        connection.on_data = audience.on_data
        connection.send(request_head("GET", f"{PATH}?watch=1&labelSelector=app%3Dbench"))
    await audience.wait(lambda: audience.begun == WATCHERS)
    server, own = 0.0, 0.0
    for number in range(EVENTS + WARM):
        if number == WARM:
            server, own = subject.cpu_seconds(), time.process_time()
        sent = time.perf_counter()
        await client.post(PATH, config_map(f"e-{number}"))
        await audience.wait(partial(audience.has, (number + 1) * WATCHERS))
        delays.append((time.perf_counter() - sent) * 1000)
        await asyncio.sleep(PAUSE_SECONDS)
    server, own = (subject.cpu_seconds() - server) / EVENTS, (time.process_time() - own) / EVENTS
    await client.close()
    delays = sorted(delays[WARM:])
    median, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    print(
        f"api-watch {subject.name}: median {median:.2f} ms, p99 {p99:.2f} ms; processor time an event:"
        f" server {server * 1000:.2f} ms, client {own * 1000:.2f} ms",
        flush=True,
    )
    return p99
