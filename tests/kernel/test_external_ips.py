"""externalIPs where they are allowed: virtual addresses for everybody inside (P15)."""

import asyncio

import pytest

from podwire.explain import Target, World, trace
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Probe, send_probes
from podwire.testing.promise import agrees, netns_of, predicted_by

pytestmark = pytest.mark.kernel
ADDRESS = "192.0.2.7"


def pod(name: str, node: str) -> dict[str, object]:
    container = {"name": "main", "image": "example.com/x", "ports": [{"containerPort": 8080}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"nodeName": node, "containers": [container]},
    }


def service(policy: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "externalIPs": [ADDRESS],
            "externalTrafficPolicy": policy,
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
def test_pods_and_nodes_reach_external_addresses(policy: str) -> None:
    async def check() -> None:
        objects = [pod("client", "node-1"), pod("web", "node-2"), service(policy)]
        async with running_cluster(objects, external_ips=True) as cluster:
            assert cluster.state is not None
            world = World(cluster.state.snapshot, cluster.state.plans)
            sources = [world.pod_party(p.pod) for p in world.plans.policy.pods.values()]
            sources += [world.node_party(name) for name in world.plans.services.nodes]
            for source in sources:
                assert source is not None
                probe = Probe(netns_of(world, source), ADDRESS, 80, "TCP")
                predicted = predicted_by(trace(world, source, Target(ADDRESS, 80)))
                observed = (await send_probes([probe]))[probe]
                assert agrees(predicted, observed), f"{source.name}: {predicted} {observed}"
                assert observed.outcome == "connects"

    asyncio.run(check())
