"""``dns-qps``: queries per second of one server core, A, AAAA, SRV and NXDOMAIN over 1,000 and 10,000 Services.

Queries per second of the server's own processor time: what one core does when it does nothing else. The rate that was
seen is printed beside it; on a machine that is busy with other things, or whose generator is slower, it is lower.
"""

import asyncio

from bench.dns_rig import Server, dnsperf, measure, report

SECONDS, SIZES, ENDPOINTS = 5, (1_000, 10_000), 2


def run() -> None:
    """The last line is that of 10,000 Services."""
    for services in SIZES:
        value, peer = asyncio.run(measure(services, ENDPOINTS, lambda server, n=services: _rate(server, n)))  # type: ignore[misc]
        name = f"dns-qps-{services}" if services != SIZES[-1] else "dns-qps"
        report(name, value, "queries/s of server time", peer)


async def _rate(server: Server, services: int) -> float:
    rate, lost = await asyncio.to_thread(dnsperf, server, services, SECONDS)
    seen = f"dns-qps {server.name}, {services} Services: {rate:.0f}/s seen, {lost:.2f} % lost"
    print(f"{seen}, {server.used / (rate * SECONDS) * 1e6:.1f} us of server time each", flush=True)
    return rate * SECONDS / server.used
