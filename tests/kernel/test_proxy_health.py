"""The proxy's listeners inside real node namespaces, asked from the host as a cloud load balancer would."""

import asyncio
import json
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest

from podwire.cli.flows import ask_services
from podwire.engine import State
from podwire.plan import node_netns
from podwire.planes.nft.netns import run_in_netns
from podwire.testing.clusters import running_cluster

pytestmark = pytest.mark.kernel
OBJECTS = [
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {
            "nodeName": "node-2",
            "containers": [{"name": "main", "image": "example.com/x", "ports": [{"containerPort": 8080}]}],
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "selector": {"app": "web"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    },
]


def get(address: str, port: int, path: str = "/") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def get_inside(cluster: str, node: str, url: str) -> str:
    """What ``url`` answers to somebody on the node itself."""
    asked = urllib.parse.urlsplit(url)

    def connect() -> socket.socket:
        return socket.create_connection((asked.hostname, asked.port), timeout=5)

    with run_in_netns(node_netns(cluster, node), connect) as connection:
        connection.sendall(f"GET {asked.path or '/'} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            return answer.read().decode()


def listens(state: State) -> bool:
    fact = state.snapshot.facts.planes.get("proxyhealth")
    unit = state.plans.services.ports.get("default/web:80/TCP")
    return fact is not None and fact.ready and unit is not None and unit.health_check_node_port > 0


async def check() -> None:
    async with running_cluster(OBJECTS) as cluster:
        state = await cluster.wait_state(listens, 20)
        services = state.plans.services
        port = services.ports["default/web:80/TCP"].health_check_node_port
        first, second = (services.nodes[f"node-{n}"].addresses[0] for n in (1, 2))
        bad, good = await asyncio.gather(*(asyncio.to_thread(get, a, port) for a in (first, second)))
        assert (bad[0], good[0]) == (503, 200)
        assert json.loads(good[1])["localEndpoints"] == 1
        assert (await asyncio.to_thread(get, first, 10256, "/healthz"))[0] == 200
        assert (await asyncio.to_thread(get, first, 10256, "/livez"))[0] == 200
        with pytest.raises(urllib.error.URLError):  # metrics stay inside the node
            await asyncio.to_thread(get, first, 10249, "/metrics")
        (address,) = services.ports["default/web:80/TCP"].cluster_ips
        name = state.snapshot.settings.cluster
        for _ in range(3):
            await asyncio.to_thread(get_inside, name, "node-1", f"http://{address}:80")
        metrics = await asyncio.to_thread(get_inside, name, "node-1", "http://127.0.0.1:10249/metrics")
        labels = 'namespace="default",service="web",port="80",protocol="TCP"'
        assert f"podwire_service_connections_total{{{labels}}} 3\n" in metrics
        assert f'podwire_service_rejected_total{{{labels},reason="no_endpoints"}} 0\n' in metrics
        counted = await asyncio.to_thread(ask_services, cluster.home)
        assert [(c["service"], c["connections"], c["refused"]) for c in counted] == [("default/web:80/TCP", 3, 0)]
        assert counted[0]["bytes"] > 1000


def test_health_checks_and_healthz_answer_on_the_nodes() -> None:
    asyncio.run(check())
