"""``services-sync``: 10,000 Services x 4 endpoints from objects to a node's kernel, nothing known before."""

import asyncio
import os
import subprocess
import time

from bench.cluster import report
from bench.services_rig import SERVICES, many
from podwire.compile import Compiler
from podwire.plan import Fact, PlaneFact, node_netns
from podwire.planes.nft import NftDriver, NftPlan
from podwire.snapshot import Settings, SnapshotBuilder


def run() -> None:
    """Seconds of compiling and of loading, and their sum."""
    name = f"b{os.getpid()}"
    netns = node_netns(name, "node-1")
    subprocess.run(["ip", "netns", "add", netns], check=True)
    try:
        asyncio.run(_measure(name))
    finally:
        subprocess.run(["ip", "netns", "del", netns], check=True)


async def _measure(name: str) -> None:
    builder = SnapshotBuilder(Settings(cluster=name))
    for value in (_node(), *many(SERVICES)):
        builder.put(value)
    started = time.perf_counter()
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
    report("services-sync", loaded - started, "s")


def _node() -> dict[str, object]:
    addresses = [{"type": "InternalIP", "address": "10.89.0.10"}]
    spec = {"podCIDR": "10.244.0.0/24"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-1"},
        "spec": spec,
        "status": {"addresses": addresses},
    }
