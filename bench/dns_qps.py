"""``dns-qps``: queries per second of one server core, A, AAAA, SRV and NXDOMAIN over 1,000 and 10,000 Services."""

import asyncio

from bench.dns_rig import Server, dnsperf, measure, report

SECONDS, SIZES, ENDPOINTS = 5, (1_000, 10_000), 2


def run() -> None:
    """Queries per second; the last line is that of 10,000 Services."""
    for services in SIZES:
        value, peer = asyncio.run(measure(services, ENDPOINTS, lambda server, n=services: _rate(server, n)))  # type: ignore[misc]
        report(f"dns-qps-{services}" if services != SIZES[-1] else "dns-qps", value, "queries/s", peer)


async def _rate(server: Server, services: int) -> float:
    rate, lost = await asyncio.to_thread(dnsperf, server, services, SECONDS)
    print(f"dns-qps {server.name}, {services} Services: {rate:.0f}/s, {lost:.2f} % lost", flush=True)
    return rate
