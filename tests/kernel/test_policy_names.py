"""Domain names and nodes in ClusterNetworkPolicies, with real questions and packets: the first SYN passes."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.explain import World
from podwire.planes.dns.wire import encode_name
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Probe, open_sockets, send_probes
from podwire.testing.promise import netns_of

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("policy-names")]
DEADLINE_SECONDS = 30
DNS = "10.96.0.10"
Json = dict[str, Any]


class Upstream:
    """A DNS server of the host: every name below example.com has the host's address on the fabric."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, int]] = {}
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="upstream")
        self._thread.start()

    def close(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            packet, client = self._socket.recvfrom(4096)
            if not packet:
                return
            end = packet.index(b"\0", 12) + 5
            address, ttl = self.answers.get(_name(packet), ("", 0))
            record = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", ttl, 4) + socket.inet_aton(address) if address else b""
            head = packet[:2] + struct.pack("!HHHHH", 0x8180 if address else 0x8183, 1, 1 if address else 0, 0, 0)
            self._socket.sendto(head + packet[12:end] + record, client)


def _name(packet: bytes) -> str:
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    return ".".join(labels).lower()


@contextmanager
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    try:
        yield made
    finally:
        made.close()


def pod(name: str) -> Json:
    ports = [{"name": "web", "containerPort": 8080}]
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def cluster_policy(*egress: Json) -> Json:
    mine = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "client"},
        "spec": {"tier": "Admin", "priority": 1, "subject": {"pods": mine}, "egress": list(egress)},
    }


def corefile(port: int) -> Json:
    zone = "kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n fallthrough in-addr.arpa ip6.arpa\n }\n"
    text = f".:53 {{\n errors\n health\n ready\n {zone} forward . 127.0.0.1:{port}\n cache 30\n}}\n"
    meta = {"name": "coredns", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}}


class Pod:
    """Asks DNS and connects, from inside a pod."""

    def __init__(self, cluster: EmbeddedCluster, name: str) -> None:
        assert cluster.state is not None
        world = World(cluster.state.snapshot, cluster.state.plans)
        party = world.pod_party(world.plans.policy.pods[f"default/{name}"].pod)
        assert party is not None
        self.netns = netns_of(world, party)

    async def resolve(self, name: str) -> str:
        """The address; empty when there is none."""
        (asking,) = open_sockets(self.netns, [("UDP", DNS)])
        loop = asyncio.get_running_loop()
        with asking:
            asking.connect((DNS, 53))
            await loop.sock_sendall(asking, b"\x12\x34\1\0\0\1" + bytes(6) + encode_name(name) + b"\0\1\0\1")
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await loop.sock_recv(asking, 4096)
        return socket.inet_ntoa(answer[-4:]) if answer[7] else ""

    async def connects(self, address: str, port: int) -> bool:
        """By the first SYN: nothing is repeated within the time given."""
        (opened,) = open_sockets(self.netns, [("TCP", address)])
        with opened:
            try:
                async with asyncio.timeout(0.9):
                    await asyncio.get_running_loop().sock_connect(opened, (address, port))
            except TimeoutError:
                return False
        return True


@contextmanager
def listening(address: str) -> Iterator[int]:
    with socket.create_server((address, 0)) as server:
        yield server.getsockname()[1]


def test_the_first_packet_to_a_name_passes_once_it_was_asked_for() -> None:
    """Many names, one after another, each connected to at the moment its answer arrives."""
    names = {"domainNames": ["api.example.com", "*.wild.example.com"]}
    policy = cluster_policy(
        {
            "action": "Accept",
            "to": [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}}],
        },
        {"action": "Accept", "to": [names]},
        {"action": "Deny", "to": [{"networks": ["0.0.0.0/0"]}]},
    )

    async def check(dns: Upstream) -> None:
        async with running_cluster([pod("client"), corefile(dns.port), policy]) as cluster:
            assert cluster.state is not None
            host = cluster.state.snapshot.settings.host_addresses[0]
            client = Pod(cluster, "client")
            with listening(host) as port:
                dns.answers = {"api.example.com": (host, 60), "other.example.com": (host, 60)}
                assert not await client.connects(host, port)
                assert await client.resolve("other.example.com") == host
                assert not await client.connects(host, port)
                assert await client.resolve("api.example.com") == host
                assert await client.connects(host, port)
            await learn_many(cluster, dns, client)

    with upstream() as dns:
        asyncio.run(check(dns))


async def learn_many(cluster: EmbeddedCluster, dns: Upstream, client: Pod) -> None:
    """When the answer is here, every kernel has confirmed its address."""
    assert cluster.state is not None
    for number in range(10):
        name, address = f"n{number}.wild.example.com", f"127.1.{number}.1"
        dns.answers[name] = (address, 60)
        assert await client.resolve(name) == address
        plans = cluster.state.plans
        assert address in plans.policy.names and plans.zone.released >= plans.policy.names_revision
    assert await client.resolve("wild.example.com") == ""


def test_nodes_as_peers_the_own_one_too() -> None:
    """A program of each node listens; NetworkPolicies exempt the own node, ClusterNetworkPolicies do not."""
    isolate = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "none"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
    }

    async def check() -> None:
        async with running_cluster([pod("client"), isolate]) as cluster:
            assert cluster.state is not None
            plans = cluster.state.plans
            mine = plans.policy.pods["default/client"].node
            near = plans.services.nodes[mine].addresses[0]
            (far,) = (n.addresses[0] for name, n in plans.services.nodes.items() if name != mine)
            client = Pod(cluster, "client")
            # Nobody listens there: refused means that the packet arrived.
            assert await outcomes(client, near, far) == ["refused", "dropped"]
            await replace(cluster, {"action": "Accept", "to": [{"nodes": {}}]})
            assert await outcomes(client, near, far) == ["refused", "refused"]
            await replace(cluster, {"action": "Deny", "to": [{"nodes": {}}]})
            assert await outcomes(client, near, far) == ["dropped", "dropped"]
            await replace(cluster, {"action": "Pass", "to": [{"nodes": {}}]})
            assert await outcomes(client, near, far) == ["refused", "dropped"]

    asyncio.run(check())


async def outcomes(client: Pod, *addresses: str) -> list[str]:
    probes = [Probe(client.netns, address, 4321, "TCP") for address in addresses]
    seen = await send_probes(probes)
    return [seen[probe].outcome for probe in probes]


async def replace(cluster: EmbeddedCluster, rule: Json) -> None:
    assert not await cluster.apply([cluster_policy(rule)])
    assert not await cluster.wait_ready(DEADLINE_SECONDS)
