"""Random ClusterNetworkPolicies, and audited policies, for the clusters of :mod:`generate`."""

from random import Random
from typing import Any

from podwire.testing.generate import APPS, TCP_PORTS, TIERS, UDP_PORT

Json = dict[str, Any]
POLICIES = ("NetworkPolicy", "ClusterNetworkPolicy")


def _selector(random: Random, key: str, values: tuple[str, ...]) -> Json:
    return {} if random.random() < 0.3 else {"matchLabels": {key: random.choice(values)}}


def _pods_or_namespaces(random: Random) -> Json:
    if random.random() < 0.4:
        return {"namespaces": _selector(random, "team", APPS)}
    own = _selector(random, "app", APPS) if random.random() < 0.5 else _selector(random, "tier", TIERS)
    return {"pods": {"namespaceSelector": _selector(random, "team", APPS), "podSelector": own}}


def _peer(random: Random, direction: str) -> Json:
    if direction == "egress" and random.random() < 0.25:
        return {"networks": [random.choice(("10.244.0.0/24", "10.244.1.0/25", "10.89.0.0/16", "0.0.0.0/0"))]}
    return _pods_or_namespaces(random)


def _protocol(random: Random) -> Json:
    return random.choice(
        (
            {"tcp": {"destinationPort": {"number": random.choice(TCP_PORTS)}}},
            {"tcp": {"destinationPort": {"range": {"start": 8000, "end": 8080}}}},
            {"tcp": {}},
            {"udp": {"destinationPort": {"number": UDP_PORT}}},
        )
    )


def _rule(random: Random, direction: str) -> Json:
    found: Json = {"action": random.choice(("Accept", "Deny", "Deny", "Pass"))}
    if random.random() < 0.6:
        named = random.random() < 0.2
        found["protocols"] = [{"destinationNamedPort": "web"}] if named else [_protocol(random)]
        peers = [_pods_or_namespaces(random)] if named else [_peer(random, direction)]
    else:
        peers = [_peer(random, direction) for _ in range(random.randint(1, 2))]
    return {**found, ("from" if direction == "ingress" else "to"): peers}


def generate_cluster_policy(random: Random, name: str) -> Json:
    """One policy of either tier with up to three rules a direction."""
    spec: Json = {"tier": random.choice(("Admin", "Baseline")), "priority": random.randint(0, 3)}
    spec["subject"] = _pods_or_namespaces(random)
    for direction in ("ingress", "egress"):
        spec[direction] = [_rule(random, direction) for _ in range(random.randint(0, 3))]
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def audit_some(random: Random, objects: list[Json]) -> list[Json]:
    """The same with about half of the policies annotated to be audited."""
    return [_audit(value) if value["kind"] in POLICIES and random.random() < 0.5 else value for value in objects]


def _audit(value: Json) -> Json:
    return {**value, "metadata": {**value["metadata"], "annotations": {"podwire.dev/policy-mode": "audit"}}}
