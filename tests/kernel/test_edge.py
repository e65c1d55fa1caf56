"""The load balancer outside of the nodes: spread over healthy nodes, drains, the client's address by traffic policy."""

import asyncio
import json
import os
import socket
from collections import Counter
from contextlib import closing
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.cluster.system import NodeLayout
from podwire.engine import State
from podwire.explain import Target, World, trace
from podwire.testing.clusters import running_cluster
from podwire.testing.generate import generate_cluster
from podwire.testing.promise import find_mismatches

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]
LAYOUT = NodeLayout(nodes=3, load_balancer="edge")
Json = dict[str, Any]


def pod(name: str, node: str) -> Json:
    container = {"name": "main", "image": "example.com/x", "ports": [{"containerPort": 8080}]}
    meta = {"name": name, "namespace": "default", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": [container]}}


def service(policy: str) -> Json:
    spec = {
        "type": "LoadBalancer",
        "externalTrafficPolicy": policy,
        "selector": {"app": "web"},
        "ports": [{"port": 80, "targetPort": 8080}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}


def address_of(state: State) -> str:
    return state.plans.services.ports["default/web:80/TCP"].load_balancer_ips[0]


def entries(state: State) -> tuple[str, ...]:
    route = next((r for r in state.plans.nodes.routes.values() if r.origin.ref.name == "web"), None)
    return route.entries or () if route is not None else ()


async def request(opened: socket.socket) -> Json:
    """Ask on a connection that stays open."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        await loop.sock_sendall(opened, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        data = b""
        while not data.partition(b"\r\n\r\n")[2].endswith(b"}\n") and not data.endswith(b"}"):
            data += await loop.sock_recv(opened, 65536)
    return json.loads(data.partition(b"\r\n\r\n")[2])  # type: ignore[no-any-return]


async def dial(address: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setblocking(False)
    async with asyncio.timeout(10):
        await asyncio.get_running_loop().sock_connect(opened, (address, 80))
    return opened


async def callers(address: str, times: int) -> Counter[tuple[str, str]]:
    """The node that answers and the address it saw, of ``times`` connections."""
    seen: Counter[tuple[str, str]] = Counter()
    for _ in range(times):
        with closing(await dial(address)) as one:
            said = await request(one)
            seen[said["node"], said["caller"].rpartition(":")[0]] += 1
    return seen


def run(policy: str, pods: list[Json], test: Any) -> None:
    async def main() -> None:
        async with running_cluster([*pods, service(policy)], layout=LAYOUT) as cluster, asyncio.timeout(100):
            await test(cluster)

    asyncio.run(main())


PODS = [pod("one", "node-1"), pod("two", "node-2"), pod("three", "node-3")]


def test_cluster_policy_spreads_over_all_nodes_and_hides_the_client() -> None:
    async def test(cluster: EmbeddedCluster) -> None:
        assert cluster.state is not None
        state = cluster.state
        assert entries(state) == ("node-1", "node-2", "node-3")
        seen = await callers(address_of(state), 120)
        # The node a connection came by is the address its backend saw.
        assert {caller for _, caller in seen} == {n.addresses[0] for n in state.plans.services.nodes.values()}
        assert {node for node, _ in seen} == {"node-1", "node-2", "node-3"}

    run("Cluster", PODS, test)


def test_local_policy_keeps_the_client_and_skips_nodes_without_endpoints() -> None:
    async def test(cluster: EmbeddedCluster) -> None:
        assert cluster.state is not None
        assert entries(cluster.state) == ("node-1", "node-2")
        seen = await callers(address_of(cluster.state), 60)
        host = cluster.settings.host_addresses[0]
        assert set(seen) == {("node-1", host), ("node-2", host)}
        assert min(seen.values()) > 10

    run("Local", PODS[:2], test)


def test_a_drained_node_gets_nothing_new_and_keeps_what_it_has() -> None:
    async def test(cluster: EmbeddedCluster) -> None:
        assert cluster.state is not None
        assert cluster.server is not None
        address = address_of(cluster.state)
        old = [await dial(address) for _ in range(12)]
        try:
            before = [(await request(one))["node"] for one in old]
            assert "node-1" in before
            taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
            await cluster.server.merge("Node", "", "node-1", {"spec": {"taints": [taint]}})
            await cluster.wait_state(lambda s: entries(s) == ("node-2", "node-3"), 30)
            async with asyncio.timeout(30):
                while "node-1" in {node for node, _ in await callers(address, 30)}:
                    pass
            assert [(await request(one))["node"] for one in old] == before
            await cluster.server.merge("Node", "", "node-1", {"spec": {"taints": None}})
            await cluster.wait_state(lambda s: len(entries(s)) == 3, 30)
            async with asyncio.timeout(30):
                while "node-1" not in {node for node, _ in await callers(address, 30)}:
                    pass
        finally:
            for one in old:
                one.close()

    run("Local", PODS, test)


def test_an_excluded_node_and_a_cordoned_one() -> None:
    async def test(cluster: EmbeddedCluster) -> None:
        assert cluster.server is not None
        label = {"node.kubernetes.io/exclude-from-external-load-balancers": ""}
        await cluster.server.merge("Node", "", "node-2", {"metadata": {"labels": label}})
        await cluster.server.merge("Node", "", "node-3", {"spec": {"unschedulable": True}})
        cordoned = await cluster.wait_state(lambda s: s.snapshot.nodes["node-3"].spec.unschedulable, 30)
        assert entries(cordoned) == ("node-1", "node-3")

    run("Cluster", PODS, test)


def test_no_healthy_node_is_silence() -> None:
    async def test(cluster: EmbeddedCluster) -> None:
        assert cluster.state is not None
        world = World(cluster.state.snapshot, cluster.state.plans)
        address = address_of(cluster.state)
        found = trace(world, world.host_party(), Target(address, 80))
        assert [(b.observes, b.hops[-1].code) for b in found.branches] == [("dropped", "PW1145")]
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.settimeout(2.5)
            with pytest.raises(TimeoutError):
                one.connect((address, 80))

    run("Local", [], test)


@pytest.mark.parametrize("seed", range(6))
def test_the_promise_holds_at_the_edge(seed: int) -> None:
    async def check() -> None:
        async with running_cluster(generate_cluster(seed), layout=LAYOUT) as cluster:
            assert cluster.state is not None
            sent, mismatches = await find_mismatches(cluster.state)
        assert not mismatches, "\n".join(map(str, mismatches[:20]))
        assert sent >= 60

    asyncio.run(check())
