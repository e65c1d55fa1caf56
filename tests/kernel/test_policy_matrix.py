"""Peers x ports x directions x paths in one cluster: predicted equals observed in every cell, refused told from denied.

One subject pod for every combination of peer and port and direction, each with one policy and a Service of its own;
packets go from every pod, node and the host, by pod address, cluster IP, NodePort on every node and
load balancer, to oneself too, TCP and UDP, to ports that listen and ports that do not.
"""

import asyncio
from typing import Any

import pytest

from podwire.engine import State
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import send_probes
from podwire.testing.promise import Mismatch, agrees, make_cases

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("matrix")]
Json = dict[str, Any]

PEERS: dict[str, list[Json] | None] = {
    "any": None,
    "pods": [{"podSelector": {"matchLabels": {"side": "left"}}}],
    "namespaces": [{"namespaceSelector": {"matchLabels": {"team": "far"}}}],
    "both": [{"namespaceSelector": {"matchLabels": {"team": "far"}}, "podSelector": {"matchLabels": {"side": "left"}}}],
    "either": [
        {"namespaceSelector": {"matchLabels": {"team": "far"}}},
        {"podSelector": {"matchLabels": {"side": "left"}}},
    ],
    "block": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.0/24"]}}],
    "outside": [{"ipBlock": {"cidr": "10.89.0.0/16"}}],
}
PORTS: dict[str, list[Json] | None] = {
    "all": None,
    "number": [{"port": 8080}],
    "name": [{"port": "web"}],
    "range": [{"port": 8000, "endPort": 8080}],
    "udp": [{"protocol": "UDP", "port": 5353}],
    "service-port": [{"port": 80}],
}
BATCH = 500
DIRECTIONS = ("Ingress", "Egress")


def pod(name: str, namespace: str, side: str, port: int) -> Json:
    ports = [{"name": "web", "containerPort": port}, {"name": "udp", "containerPort": 5353, "protocol": "UDP"}]
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]}
    meta = {"name": name, "namespace": namespace, "labels": {"side": side, "app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def service(name: str, kind: str) -> Json:
    ports = [
        {"name": "web", "port": 80, "targetPort": "web"},
        {"name": "udp", "port": 53, "targetPort": "udp", "protocol": "UDP"},
    ]
    spec = {"type": kind, "selector": {"app": name}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "near"}, "spec": spec}


def policy(name: str, direction: str, peers: list[Json] | None, ports: list[Json] | None) -> Json:
    side = "from" if direction == "Ingress" else "to"
    rule = {key: value for key, value in ((side, peers), ("ports", ports)) if value is not None}
    spec = {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": [direction], direction.lower(): [rule]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "near"},
        "spec": spec,
    }


def world(direction: str, kind: str) -> list[Json]:
    """Subjects in namespace ``near``, four plain pods to talk with, the Services ``kind`` before some subjects."""
    near = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "near", "labels": {"team": "near"}}}
    far = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "far", "labels": {"team": "far"}}}
    objects = [
        near,
        far,
        *(pod(f"{side}-{ns}", ns, side, 8080) for ns in ("near", "far") for side in ("left", "right")),
    ]
    for at, (peer, peers) in enumerate(PEERS.items()):
        for port, ports in PORTS.items():
            name = f"{peer}-{port}"
            objects += [pod(name, "near", "subject", (8080, 9090)[at % 2]), policy(name, direction, peers, ports)]
        objects.append(service(f"{peer}-number", kind))
    return [*objects, service("left-near", kind), service("right-near", kind)]


async def find_wrong_cells(state: State) -> tuple[int, list[Mismatch]]:
    """All cells predicted to be silent at once; the others in batches, so that no server's queue overflows: a packet
    lost in a queue is not a verdict."""
    cases = list(make_cases(state))
    silent = [case for case in cases if all(o.outcome == "dropped" for o in case.predicted)]
    quiet = {case.probe for case in silent}
    answered = [case for case in cases if case.probe not in quiet]
    batches = [silent, *(answered[at : at + BATCH] for at in range(0, len(answered), BATCH))]
    wrong: list[Mismatch] = []
    for batch in batches:
        seen = await send_probes([case.probe for case in batch])
        wrong += [Mismatch(c, seen[c.probe]) for c in batch if not agrees(c.predicted, seen[c.probe])]
    return len(cases), wrong


@pytest.mark.parametrize("kind", ("ClusterIP", "LoadBalancer"))
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_every_cell(direction: str, kind: str) -> None:
    async def check() -> None:
        async with running_cluster(world(direction, kind)) as cluster:
            assert cluster.state is not None
            sent, wrong = await find_wrong_cells(cluster.state)
        assert not wrong, f"{len(wrong)} of {sent}:\n" + "\n".join(map(str, wrong[:20]))
        assert sent >= 5000

    asyncio.run(check())
