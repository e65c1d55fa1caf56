"""``services-sync``: 10,000 Services x 4 endpoints from objects to a node's kernel, nothing known before."""

import asyncio
import os
import subprocess
import time

from bench.cluster import report
from bench.kubeproxy_peer import kube_proxy, peer_binary
from bench.services_rig import SERVICES, many, node
from podwire.compile import Compiler
from podwire.engine.garbage import without_collections
from podwire.plan import Fact, PlaneFact, node_netns
from podwire.planes.nft import NftDriver, NftPlan
from podwire.snapshot import Settings, SnapshotBuilder


def run() -> None:
    """Seconds of compiling and of loading, and their sum."""
    name = f"b{os.getpid()}"
    netns = node_netns(name, "node-1")
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        seconds = asyncio.run(_measure(name))
    finally:
        subprocess.run(["ip", "netns", "del", netns], check=True)
    binary = peer_binary()
    peer = asyncio.run(_measure_peer(binary)) if binary else None
    report("services-sync", seconds, "s", peer=("kube-proxy", peer) if peer else None)


async def _measure(name: str) -> float:
    builder = SnapshotBuilder(Settings(cluster=name))
    for value in (node(), *many(SERVICES)):
        builder.put(value)
    started = time.perf_counter()
    with without_collections():
        plans = Compiler().compile(builder.snapshot(time.time())).plans
    compiled = time.perf_counter()
    facts: list[Fact] = []
    driver = NftDriver(lambda key, fact: facts.append(fact), cluster=name)
    await driver.apply(NftPlan(plans.services, plans.policy))
    loaded = time.perf_counter()
    await driver.close()
    fact = facts[-1]
    if not isinstance(fact, PlaneFact) or not plans.services.ports.keys() <= fact.applied.keys():
        raise SystemExit("the kernel did not take every Service port")
    print(f"services-sync: all plans {compiled - started:.3f} s, kernel {loaded - compiled:.3f} s", flush=True)
    return loaded - started


async def _measure_peer(binary: str) -> float:
    async with kube_proxy(binary, SERVICES) as peer:
        return peer.sync_seconds
