"""``dns-scale``: what a second worker on a second core brings: queries per second of server time, one worker and two.

The machine has two cores and the generator needs one of them, so what is compared is work per second of the workers'
own processor time: 2.0 means that two workers do twice the work of one in the same time.
"""

import asyncio

from bench.dns_rig import CLIENT_CORE, SERVER_CORE, Server, World, dnsperf, podwire_server, report

SECONDS, SERVICES, ENDPOINTS, CLIENTS = 5, 1_000, 2, 32


def run() -> None:
    """The factor."""
    asyncio.run(_run())


async def _run() -> None:
    plan = World(SERVICES, ENDPOINTS).zone()
    share = ("--share", "1", "--number")
    async with podwire_server(plan, more=(*share, "0")) as first:
        alone = await _efficiency(first)
        async with podwire_server(plan, core=CLIENT_CORE, port=first.port, more=(*share, "1")) as second:
            both = await _efficiency(first, second)
    print(f"dns-scale: {alone:.0f} and {both:.0f} queries per second of server time", flush=True)
    report("dns-scale", 2 * both / alone, "x one worker, of two", None)
    assert SERVER_CORE != CLIENT_CORE


async def _efficiency(*servers: Server) -> float:
    """Queries for each second of the workers' processor time."""
    before = sum(server.cpu_seconds() for server in servers[1:])
    rate, lost = await asyncio.to_thread(dnsperf, servers[0], SERVICES, SECONDS, clients=CLIENTS)
    used = servers[0].used + sum(server.cpu_seconds() for server in servers[1:]) - before
    print(f"dns-scale {len(servers)} workers: {rate:.0f}/s, {lost:.2f} % lost, {used:.2f} s used", flush=True)
    return rate * SECONDS / used
