"""Services that change while clients use them: UDP sockets recover (P16), session affinity goes on and off (P11)."""

import asyncio
import socket
from functools import partial
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.engine import State
from podwire.plan import digest, pod_netns
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Probe, open_sockets, send_probes

pytestmark = pytest.mark.kernel
UDP, TCP = "default/echo:53/UDP", "default/echo:80/TCP"


def pod(name: str, node: str) -> dict[str, Any]:
    ports = [{"containerPort": 5353, "protocol": "UDP"}, {"containerPort": 8080}]
    container = {"name": "main", "image": "example.com/x", "ports": ports}
    meta = {"name": name, "namespace": "default", "labels": {"app": name, "tier": "all"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": node, "containers": [container]}}


def service(affinity: str = "None", **selector: str) -> dict[str, Any]:
    ports = [
        {"name": "udp", "port": 53, "protocol": "UDP", "targetPort": 5353},
        {"name": "tcp", "port": 80, "targetPort": 8080},
    ]
    meta = {"name": "echo", "namespace": "default"}
    spec = {"selector": selector, "sessionAffinity": affinity, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def in_force(pods: set[str], affinity_seconds: int, state: State) -> bool:
    """Whether every kernel sends to these pods."""
    planes, ports = state.snapshot.facts.planes, state.plans.services.ports
    for key in (UDP, TCP):
        unit = ports[key]
        if {e.pod.name for e in unit.endpoints if e.pod} != pods or unit.affinity_seconds != affinity_seconds:
            return False
        if any(planes[f"nft/{name}"].applied.get(key) != digest(unit) for name in state.plans.services.nodes):
            return False
    return True


async def switch(cluster: EmbeddedCluster, pods: set[str], affinity: str = "None", **selector: str) -> State:
    assert not await cluster.apply([service(affinity, **selector)])
    return await cluster.wait_state(partial(in_force, pods, 10800 if affinity == "ClientIP" else 0), 30)


async def ask(opened: socket.socket) -> str:
    """Who answers a datagram; ``refused`` when nobody may."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(5):
            await loop.sock_sendall(opened, b"hello")
            return (await loop.sock_recv(opened, 4096)).decode().split()[0]
    except ConnectionRefusedError:
        return "refused"


async def answering(probe: Probe, times: int) -> set[str]:
    """The pods that answer ``times`` connections one after the other."""
    return {(await send_probes([probe]))[probe].pod for _ in range(times)}


def test_udp_clients_recover_and_affinity_switches_live() -> None:
    async def check() -> None:
        objects = [pod("client", "node-1"), pod("one", "node-1"), pod("two", "node-2"), service(app="nobody")]
        async with running_cluster(objects) as cluster:
            state = await cluster.wait_state(partial(in_force, set(), 0), 30)
            client = state.plans.policy.pods["default/client"]
            space = f"/run/netns/{pod_netns(cluster.settings.cluster, client.pod, client.uid)}"
            address = state.plans.services.ports[UDP].cluster_ips[0]
            (opened,) = await asyncio.to_thread(open_sockets, space, [("UDP", address)])
            with opened:
                opened.connect((address, 53))
                assert await ask(opened) == "refused"
                await switch(cluster, {"one"}, app="one")
                assert await ask(opened) == "one"
                await switch(cluster, {"two"}, app="two")
                assert await ask(opened) == "two"
            probe = Probe(space, address, 80, "TCP")
            await switch(cluster, {"client", "one", "two"}, "ClientIP", tier="all")
            assert len(await answering(probe, 20)) == 1
            await switch(cluster, {"client", "one", "two"}, tier="all")
            assert len(await answering(probe, 40)) > 1

    asyncio.run(check())


CHURN = 40


def other(index: int, *, port: int) -> dict[str, Any]:
    """A Service that has nothing to do with the one under test, but the pods behind it."""
    meta = {"name": f"other-{index}", "namespace": "default"}
    spec = {"selector": {"tier": "all"}, "ports": [{"port": port, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


async def say(opened: socket.socket, path: str) -> None:
    """One request on a connection that stays."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10):
        await loop.sock_sendall(opened, f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = b""
        while f'"/{path}"'.encode() not in answer:
            part = await loop.sock_recv(opened, 65536)
            assert part, "the connection was closed"
            answer += part


def test_connections_outlive_unrelated_changes_and_the_removal_of_their_endpoint() -> None:
    async def check() -> None:
        objects = [pod("client", "node-1"), pod("one", "node-1"), pod("two", "node-2"), service(app="one")]
        async with running_cluster(objects) as cluster:
            state = await cluster.wait_state(partial(in_force, {"one"}, 0), 30)
            client = state.plans.policy.pods["default/client"]
            space = f"/run/netns/{pod_netns(cluster.settings.cluster, client.pod, client.uid)}"
            address = state.plans.services.ports[TCP].cluster_ips[0]
            talking, sending = await asyncio.to_thread(open_sockets, space, [("TCP", address), ("UDP", address)])
            with talking, sending:
                await asyncio.get_running_loop().sock_connect(talking, (address, 80))
                sending.connect((address, 53))
                for index in range(CHURN):
                    assert not await cluster.apply([other(index % 8, port=80 + index)])
                    await say(talking, f"churn-{index}")
                    assert await ask(sending) == "one"
                # P17: what was begun goes on with an endpoint that gets nothing new; a datagram is new each time (P16).
                await switch(cluster, {"two"}, app="two")
                await say(talking, "removed")
                assert await ask(sending) == "two"
                assert await answering(Probe(space, address, 80, "TCP"), 20) == {"default/two"}
                await say(talking, "still")

    asyncio.run(check())
