"""``dns-memory``: the server's memory with 10,000 Services and 100,000 endpoints."""

import asyncio

from bench.dns_rig import Server, measure, report

MEGABYTE = 1024 * 1024
SERVICES, ENDPOINTS = 10_000, 10


def run() -> None:
    """Proportional set size in MB."""
    value, peer = asyncio.run(measure(SERVICES, ENDPOINTS, _memory))
    report("dns-memory", value, "MB", peer)


async def _memory(server: Server) -> float:
    size = server.memory_bytes() / MEGABYTE
    print(f"dns-memory {server.name}: {size:.1f} MB", flush=True)
    return size
