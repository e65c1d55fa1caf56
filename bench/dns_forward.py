"""``dns-forward``: queries per second of one server core for names of an upstream, none of them in a cache.

The upstream is podwire's worker with a zone of its own, on the generator's core, the same for the peer.
"""

import asyncio
import os

import msgspec

from bench.dns_rig import CLIENT_CORE, Server, World, coredns_server, dnsperf, name_of, podwire_server, report
from podwire.base import Origin, Ref
from podwire.compile.corefile_blocks import compile_corefile
from podwire.plan import ZonePlan

SECONDS, SERVICES = 5, 1_000
ORIGIN = Origin(Ref("ConfigMap", "kube-system", "coredns"))


def run() -> None:
    """Queries per second of the server's own processor time."""
    asyncio.run(_run())


async def _run() -> None:
    plan = World(SERVICES, 2).zone()
    async with podwire_server(plan, core=CLIENT_CORE) as upstream:
        corefile = f". {{\n forward . 127.0.0.1:{upstream.port}\n}}\n"
        async with podwire_server(_forwarding(plan, corefile)) as server:
            value = await _rate(server)
        peer: float | None = None
        path = os.environ.get("PEER_COREDNS")
        if path:
            # The peer's own zone is another one, so every name of the upstream's goes there.
            more = f"forward cluster.local 127.0.0.1:{upstream.port}"
            async with coredns_server(path, 1, 1, more=more, domain="other.local") as server:
                peer = await _rate(server)
    report("dns-forward", value, "queries/s of server time", peer)


def _forwarding(plan: ZonePlan, corefile: str) -> ZonePlan:
    config = compile_corefile(corefile, ORIGIN, resolv_conf=()).config
    return msgspec.structs.replace(plan, units={}, config=config)


async def _rate(server: Server) -> float:
    asked = [(name_of(number), "A") for number in range(SERVICES)]
    rate, lost = await asyncio.to_thread(dnsperf, server, SERVICES, SECONDS, asked=asked)
    used = server.used / (rate * SECONDS) * 1e6
    seen = f"dns-forward {server.name}: {rate:.0f}/s seen, {lost:.2f} % lost"
    print(f"{seen}, {used:.1f} us of server time each", flush=True)
    return rate * SECONDS / server.used
