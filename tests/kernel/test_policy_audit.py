"""Audited policies deny nothing and are told; counters are exact while the log is flooded."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.cluster.system import NodeLayout
from podwire.explain import World
from podwire.plan import node_netns
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Observation, Probe, open_sockets, send_probes
from podwire.testing.process import eventually
from podwire.testing.promise import netns_of

pytestmark = pytest.mark.kernel
DEADLINE_SECONDS = 30
FLOOD = 6000
Json = dict[str, Any]
BACK_RULE = "NetworkPolicy default/back spec.podSelector"


def pod(name: str) -> Json:
    ports = [{"name": "web", "containerPort": 8080}, {"name": "udp", "containerPort": 5353, "protocol": "UDP"}]
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def isolate(name: str, mode: str) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "annotations": {"podwire.dev/policy-mode": mode}},
        "spec": {
            "podSelector": {"matchLabels": {"app": name}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
        },
    }


async def ask(run_dir: Path, **what: object) -> list[Json]:
    reader, writer = await asyncio.open_unix_connection(run_dir / "flows.sock")
    writer.write(json.dumps(what).encode() + b"\n")
    lines = (await reader.read()).splitlines()
    writer.close()
    return [json.loads(line) for line in lines if line.strip()]


def probe(cluster: EmbeddedCluster, source: str, target: str, port: int, protocol: str = "TCP") -> Probe:
    assert cluster.state is not None
    world = World(cluster.state.snapshot, cluster.state.plans)
    pods = world.plans.policy.pods
    party = world.pod_party(pods[f"default/{source}"].pod)
    assert party is not None
    return Probe(netns_of(world, party), pods[f"default/{target}"].addresses[0], port, protocol)


async def packets(cluster: EmbeddedCluster) -> dict[tuple[str, str], int]:
    total: dict[tuple[str, str], int] = {}
    for count in await ask(cluster.home.run, what="counts"):
        key = count["verdict"], count["rule"]
        total[key] = total.get(key, 0) + count["packets"]
    return total


def events(cluster: EmbeddedCluster, reason: str) -> list[Json]:
    assert cluster.server is not None
    return [v for v in cluster.server.list_all()[0] if v["kind"] == "Event" and v["reason"] == reason]


def test_an_audited_policy_lets_through_and_says_what_it_would_deny() -> None:
    async def check() -> None:
        objects = [pod("friend"), pod("other"), pod("back"), isolate("back", "audit")]
        async with running_cluster(objects) as cluster, asyncio.timeout(DEADLINE_SECONDS):
            friend, other = (probe(cluster, name, "back", 8080) for name in ("friend", "other"))
            seen = await send_probes([friend, other])
            assert {o.outcome for o in seen.values()} == {"connects"}
            records = await ask(cluster.home.run, denied=True, follow=False)
            assert [(r["verdict"], r["source"]["name"], r["rules"]) for r in records] == [
                ("audited", "default/other", [BACK_RULE])
            ]
            assert await packets(cluster) == {
                ("audited", BACK_RULE): 1,
                ("allowed", "NetworkPolicy default/back spec.ingress[0].from[0]"): 1,
            }
            told = await asyncio.to_thread(eventually, lambda: events(cluster, "NetworkPolicyAudited"))
            assert "would be denied: isolated by default/back" in told[0]["message"]
            assert not events(cluster, "NetworkPolicyDenied")

    asyncio.run(check())


def test_enforcing_an_audited_policy_cuts_what_it_let_through() -> None:
    async def check() -> None:
        async with running_cluster([pod("other"), pod("back"), isolate("back", "audit")]) as cluster:
            other = probe(cluster, "other", "back", 8080)
            assert (await send_probes([other]))[other].outcome == "connects"
            assert not await cluster.apply([isolate("back", "enforce")])
            assert not await cluster.wait_ready(DEADLINE_SECONDS)
            assert (await send_probes([other]))[other] == Observation("dropped")

    asyncio.run(check())


def test_every_denied_packet_is_counted_while_the_log_is_flooded() -> None:
    async def check() -> None:
        async with running_cluster(
            [pod("other"), pod("back"), isolate("back", "enforce")], layout=NodeLayout(nodes=1)
        ) as cluster:
            target = probe(cluster, "other", "back", 5353, "UDP")
            (flood,) = open_sockets(target.netns, [("UDP", target.address)])
            with flood:
                flood.connect((target.address, target.port))
                loop = asyncio.get_running_loop()
                for _ in range(FLOOD):
                    await loop.sock_sendall(flood, b"?")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while (found := await packets(cluster)).get(("denied", BACK_RULE), 0) < FLOOD:
                    pass  # what is in the sender's queue is not counted yet
                text = await metrics(cluster)
            assert found == {("denied", BACK_RULE): FLOOD}
            rule = f'verdict="denied",direction="ingress",rule="{BACK_RULE}"'
            assert f"podwire_policy_packets_total{{{rule}}} {FLOOD}" in text

    asyncio.run(check())


async def metrics(cluster: EmbeddedCluster) -> str:
    """Of the node's proxy, asked on the node."""
    assert cluster.state is not None
    (name,) = cluster.state.plans.services.nodes
    netns = f"/run/netns/{node_netns(cluster.state.snapshot.settings.cluster, name)}"
    (opened,) = open_sockets(netns, [("TCP", "127.0.0.1")])
    await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", 10249))
    reader, writer = await asyncio.open_connection(sock=opened)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: node\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    return text
