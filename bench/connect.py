"""``connect``: TCP connect from pod to pod by a Service, with 1, 10,000 and 30,000 Services in the kernel, against no
Service at all: to the pod's own address, measured in the same clusters."""

import asyncio
import time
from typing import Any

from bench.cluster import report
from bench.services_rig import SERVICES, cluster_with, percentile
from podwire.explain import World
from podwire.plan import pod_netns
from podwire.testing.probes import open_sockets

CONNECTS = 2000
COUNTS = tuple(sorted({1, SERVICES, 3 * SERVICES}))


def run() -> None:
    """Median of connecting by the Service with many others, in microseconds, and what it costs more than none."""
    found = {count: asyncio.run(_measure(count)) for count in COUNTS}
    for count, (direct, through) in found.items():
        ratio = through / direct
        print(f"connect: {count} Services: {through:.0f} us by one, {direct:.0f} us without, {ratio:.2f}x", flush=True)
    report("connect", found[COUNTS[-1]][1], "us")


async def _measure(count: int) -> tuple[float, float]:
    objects = (_pod("client", "node-1"), _pod("server", "node-2"), _service())
    async with cluster_with(count, *objects) as cluster:
        assert cluster.state is not None
        world = World(cluster.state.snapshot, cluster.state.plans)
        units, pods = world.plans.services.ports, world.plans.policy.pods
        client = pods["default/client"]
        space = f"/run/netns/{pod_netns(cluster.settings.cluster, client.pod, client.uid)}"
        direct = await asyncio.to_thread(_connects, space, pods["default/server"].addresses[0], 8080)
        through = await asyncio.to_thread(_connects, space, units["default/server:80/TCP"].cluster_ips[0], 80)
    for name, values in (("pod", direct), ("Service", through)):
        p50, p99 = (percentile(values, share) * 1e6 for share in (0.5, 0.99))
        print(f"connect, {count} Services, by {name}: p50 {p50:.0f} us, p99 {p99:.0f} us", flush=True)
    return percentile(direct, 0.5) * 1e6, percentile(through, 0.5) * 1e6


def _connects(space: str, address: str, port: int) -> list[float]:
    seconds = []
    for start in range(0, CONNECTS, 100):
        for opened in open_sockets(space, [("TCP", address)] * min(100, CONNECTS - start)):
            opened.settimeout(5)
            started = time.perf_counter()
            opened.connect((address, port))
            seconds.append(time.perf_counter() - started)
            opened.close()
    return seconds


def _pod(name: str, node: str) -> dict[str, Any]:
    container = {"name": "main", "image": "example.com/stand-in", "ports": [{"containerPort": 8080}]}
    meta = {"name": name, "namespace": "default", "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": [container]}}


def _service() -> dict[str, Any]:
    spec = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "server", "namespace": "default"}, "spec": spec}
