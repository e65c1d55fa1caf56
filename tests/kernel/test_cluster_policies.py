"""ClusterNetworkPolicies of both tiers over NetworkPolicies: every packet does what ``trace`` says."""

import asyncio
from random import Random
from typing import Any

import pytest

from podwire.testing.clusters import running_cluster
from podwire.testing.generate import APPS, TCP_PORTS, TIERS, UDP_PORT, generate_cluster
from podwire.testing.promise import find_mismatches

pytestmark = pytest.mark.kernel
Json = dict[str, Any]
SEEDS = range(8)


def selector(random: Random, key: str, values: tuple[str, ...]) -> Json:
    return {} if random.random() < 0.3 else {"matchLabels": {key: random.choice(values)}}


def pods_or_namespaces(random: Random) -> Json:
    if random.random() < 0.4:
        return {"namespaces": selector(random, "team", APPS)}
    own = selector(random, "app", APPS) if random.random() < 0.5 else selector(random, "tier", TIERS)
    return {"pods": {"namespaceSelector": selector(random, "team", APPS), "podSelector": own}}


def peer(random: Random, direction: str) -> Json:
    if direction == "egress" and random.random() < 0.25:
        return {"networks": [random.choice(("10.244.0.0/24", "10.244.1.0/25", "10.89.0.0/16", "0.0.0.0/0"))]}
    return pods_or_namespaces(random)


def protocol(random: Random) -> Json:
    return random.choice(
        (
            {"tcp": {"destinationPort": {"number": random.choice(TCP_PORTS)}}},
            {"tcp": {"destinationPort": {"range": {"start": 8000, "end": 8080}}}},
            {"tcp": {}},
            {"udp": {"destinationPort": {"number": UDP_PORT}}},
        )
    )


def rule(random: Random, direction: str) -> Json:
    found: Json = {"action": random.choice(("Accept", "Deny", "Deny", "Pass"))}
    if random.random() < 0.6:
        named = random.random() < 0.2
        found["protocols"] = [{"destinationNamedPort": "web"}] if named else [protocol(random)]
        peers = [pods_or_namespaces(random)] if named else [peer(random, direction)]
    else:
        peers = [peer(random, direction) for _ in range(random.randint(1, 2))]
    return {**found, ("from" if direction == "ingress" else "to"): peers}


def cluster_policy(random: Random, name: str) -> Json:
    spec: Json = {"tier": random.choice(("Admin", "Baseline")), "priority": random.randint(0, 3)}
    spec["subject"] = pods_or_namespaces(random)
    for direction in ("ingress", "egress"):
        spec[direction] = [rule(random, direction) for _ in range(random.randint(0, 3))]
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_tiers(seed: int) -> None:
    random = Random(1000 + seed)
    objects = [*generate_cluster(seed), *(cluster_policy(random, f"cnp{i}") for i in range(random.randint(2, 5)))]

    async def check() -> None:
        async with running_cluster(objects) as cluster:
            assert cluster.state is not None
            assert cluster.state.plans.policy.decisions
            sent, mismatches = await find_mismatches(cluster.state)
        assert not mismatches, "\n".join(map(str, mismatches[:20]))
        assert sent >= 60

    asyncio.run(check())
