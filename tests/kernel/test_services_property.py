"""Generated Services: for each client exactly the predicted endpoints answer, and each sees the predicted address.

Readiness, termination and hints are drawn at random, in slices made by hand over the stand-ins of the cluster, because
what a real pod is changes while one looks. Types, policies, affinity and source ranges are drawn with them.
"""

import asyncio
from random import Random
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.cluster.system import NodeLayout
from podwire.testing.clusters import running_cluster
from podwire.testing.promise import find_mismatches
from podwire.testing.spread import find_spread_faults

pytestmark = pytest.mark.kernel
Json = dict[str, Any]
NODES = ("node-1", "node-2", "node-3")
ZONES = {"node-1": "a", "node-2": "b", "node-3": "a"}
SERVICES, PORT = 8, 8080
READY = (True, True, False)
STATES = (READY, READY, (False, True, True), (False, False, True), (False, False, False))
"""``ready``, ``serving``, ``terminating``."""


def pod(index: int, random: Random) -> Json:
    container = {"name": "main", "image": "example.com/x", "ports": [{"containerPort": PORT}]}
    spec = {"nodeName": random.choice(NODES), "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{index}", "namespace": "default"}, "spec": spec}


def service(index: int, random: Random, fabric: str) -> Json:
    kind = random.choice(("ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"))
    spec: Json = {"type": kind, "ports": [{"name": "web", "port": 80, "targetPort": PORT}]}
    if random.random() < 0.3:
        spec["internalTrafficPolicy"] = "Local"
    if random.random() < 0.3:
        spec["sessionAffinity"] = "ClientIP"
    if kind != "ClusterIP" and random.random() < 0.5:
        spec["externalTrafficPolicy"] = "Local"
    if kind == "LoadBalancer" and random.random() < 0.4:
        spec["allocateLoadBalancerNodePorts"] = False
    if kind == "LoadBalancer" and random.random() < 0.4:
        spec["loadBalancerSourceRanges"] = [random.choice((fabric, "10.244.0.0/16", "192.0.2.0/24"))]
    meta = {"name": f"s{index}", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def endpoint(name: str, address: str, node: str, random: Random) -> Json:
    """Ready, serving while it ends, ending and not serving, or not ready."""
    ready, serving, terminating = random.choice(STATES)
    return {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "nodeName": node,
        "zone": ZONES[node],
        "targetRef": {"kind": "Pod", "namespace": "default", "name": name},
    }


def endpoint_slice(index: int, pods: dict[str, tuple[str, str]], random: Random) -> Json:
    """Some of the pods; sometimes with hints for the zone or the node, of all of them or of all but one."""
    chosen = random.sample(sorted(pods), random.randint(0, len(pods)))
    endpoints = [endpoint(name, *pods[name], random) for name in chosen]
    if not index:  # one Service of every cluster has something to spread
        endpoints = [{**endpoint(name, *pods[name], random), "conditions": {"ready": True}} for name in sorted(pods)]
    hints = random.choice(("", "", "zones", "nodes"))
    for one in endpoints[random.choice((0, 0, 1)) :]:
        if hints:
            one["hints"] = {"forZones": [{"name": one["zone"]}]}
        if hints == "nodes":
            one["hints"]["forNodes"] = [{"name": one["nodeName"]}]
    meta = {"name": f"s{index}-hand", "namespace": "default", "labels": {"kubernetes.io/service-name": f"s{index}"}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "web", "port": PORT, "protocol": "TCP"}],
    }


async def fill(cluster: EmbeddedCluster, random: Random) -> None:
    """Services and their slices, once the pods have addresses."""
    assert cluster.state is not None
    known = cluster.state.plans.policy.pods.values()
    pods = {p.pod.name: (p.addresses[0], p.node) for p in known if p.pod.namespace == "default"}
    objects = [service(index, random, cluster.settings.fabrics[0]) for index in range(SERVICES)]
    objects += [endpoint_slice(index, pods, random) for index in range(SERVICES)]
    assert not await cluster.apply(objects)
    assert not await cluster.wait_ready(60)


@pytest.mark.parametrize("balancer", ["node", "edge"])
@pytest.mark.parametrize("seed", range(6))
def test_endpoints_and_sources_are_as_predicted(seed: int, balancer: str) -> None:
    async def check() -> None:
        random = Random(f"{seed} {balancer}")
        layout = NodeLayout(nodes=3, zones=("a", "b"), load_balancer=balancer)  # type: ignore[arg-type]
        async with running_cluster([pod(i, random) for i in range(5)], layout=layout) as cluster:
            await fill(cluster, random)
            sent, mismatches = await find_mismatches(cluster.state)  # type: ignore[arg-type]
            assert not mismatches, "\n".join(map(str, mismatches[:20]))
            several, faults = await find_spread_faults(cluster.state)  # type: ignore[arg-type]
        assert not faults, "\n".join(faults[:20])
        assert sent > 100
        assert several > 0

    asyncio.run(check())
