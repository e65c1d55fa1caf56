"""Pods of different nodes through VXLAN: what crosses the fabric is UDP between nodes; what arrives is the pod's."""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.kernel.node_world import WEB, World, body_of, get, run, stand_in, talk

from podwire.base import PodwireError
from podwire.cluster.system import NodeLayout
from podwire.node import netns
from podwire.plan.node import edge_netns
from podwire.testing.clusters import running_cluster
from podwire.testing.generate import generate_cluster
from podwire.testing.promise import find_mismatches

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]
ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800
UDP, TCP = 17, 6


class Packet(msgspec.Struct, frozen=True):
    """The IPv4 header of a packet; of a VXLAN packet also the one inside."""

    source: str
    destination: str
    protocol: int
    port: int
    size: int
    vni: int = -1
    inner: "Packet | None" = None


def parse(data: bytes) -> Packet:
    size, protocol = struct.unpack_from("!H", data, 2)[0], data[9]
    source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    port = struct.unpack_from("!H", data, 22)[0] if protocol in (UDP, TCP) else 0
    if (protocol, port) != (UDP, 8472):
        return Packet(source, destination, protocol, port, size)
    flags, vni = data[28], int.from_bytes(data[32:35], "big")
    assert flags == 0x08  # RFC 7348: the VNI is valid
    return Packet(source, destination, protocol, port, size, vni, parse(data[36 + 14 :]))


class Ear:
    """Hears what passes the fabric's bridge between two nodes."""

    def __init__(self, cluster: str) -> None:
        with netns.entered(edge_netns(cluster)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.heard: list[Packet] = []

    def until(self, wanted: Callable[[Packet], bool]) -> list[Packet]:
        """All up to the first packet that is wanted; it may still be on its way when its sender goes on."""
        self._socket.settimeout(20)
        while not any(map(wanted, self.heard)):
            data, place = self._socket.recvfrom(65536)
            if place[1] == ETH_P_IP:
                self.heard.append(parse(data))
        return self.heard

    def __enter__(self) -> "Ear":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.parametrize("network", ["host-gw", "vxlan"])
def test_what_crosses_the_fabric(tmp_path: Path, network: str) -> None:
    async def test(world: World) -> None:
        world.network = network  # type: ignore[assignment]
        world.mtu = 1450 if network == "vxlan" else 1500
        one, far = world.add("one", stand_in(WEB)), world.add("far", stand_in(WEB), node="node-2")
        await world.ready(one, far)
        ends = {world.address(one), world.address(far)}
        with Ear(world.cluster) as ear:
            answer = body_of(
                await talk(world.netns(one), world.address(far), 80, get(extra=f"X-Long: {'x' * 4000}\r\n"))
            )
            heard = ear.until(lambda p: (p.inner or p).source == world.address(far) and (p.inner or p).size > 1000)
        assert str(answer["caller"]).split(":")[0] == world.address(one)
        outer = [p for p in heard if p.protocol in (TCP, UDP)]
        if network == "host-gw":
            assert {p.protocol for p in outer} == {TCP}
            assert all({p.source, p.destination} == ends for p in outer)
            return
        nodes = {f"{world.prefix}.2", f"{world.prefix}.3"}
        assert all({p.source, p.destination} == nodes and p.vni == 1 for p in outer)
        inner = [p.inner for p in outer if p.inner is not None]
        assert len(inner) == len(outer)
        assert all(p.protocol == TCP and {p.source, p.destination} == ends for p in inner)
        assert len({p.size for p in inner}) > 1

    run(test, tmp_path)


def test_a_node_that_comes_back_is_reached_through_the_tunnel(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.network, world.mtu = "vxlan", 1450
        world.node_names.append("node-3")
        one, far = world.add("one", stand_in(WEB)), world.add("far", stand_in(WEB), node="node-3")
        await world.ready(one, far)
        world.node_names.remove("node-2")
        await world.apply()
        assert body_of(await talk(world.netns(one), world.address(far), 80, get()))["pod"] == "far"
        world.node_names = ["node-1", "node-3", "node-2"]  # their addresses change places
        back = world.add("back", stand_in(WEB), node="node-2")
        await world.ready(back)
        assert body_of(await talk(world.netns(back), world.address(back), 80, get()))["pod"] == "back"
        await world.ready(far)
        for uid in (far, back):
            assert body_of(await talk(world.netns(one), world.address(uid), 80, get()))["node"] == world.pods[uid].node

    run(test, tmp_path)


@pytest.mark.parametrize(("network", "mtu"), [("host-gw", 1500), ("host-gw", 1400), ("vxlan", 1450), ("vxlan", 8950)])
def test_a_pod_sends_what_its_mtu_allows_in_one_piece(tmp_path: Path, network: str, mtu: int) -> None:
    async def test(world: World) -> None:
        world.network, world.mtu = network, mtu  # type: ignore[assignment]
        one, far = world.add("one", stand_in(WEB)), world.add("far", stand_in(WEB), node="node-2")
        await world.ready(one, far)
        for size, fits in ((mtu, True), (mtu + 1, False)):
            with netns.entered(world.netns(one)):
                sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with sender, Ear(world.cluster) as ear:
                sender.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: never fragment
                if fits:
                    sender.sendto(bytes(size - 28), (world.address(far), 9))
                    ear.until(lambda p: (p.inner or p).protocol == UDP and (p.inner or p).size == mtu)
                else:
                    with pytest.raises(OSError, match="Message too long"):
                        sender.sendto(bytes(size - 28), (world.address(far), 9))

    run(test, tmp_path)


def test_a_running_cluster_keeps_its_network(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.apply()
        world.network, world.mtu = "vxlan", 1450
        with pytest.raises(PodwireError, match="network and MTU; start it anew"):
            await world.apply()

    run(test, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_the_promise_holds_through_the_tunnel(seed: int) -> None:
    async def check() -> None:
        layout = NodeLayout(nodes=3, network="vxlan")
        async with running_cluster(generate_cluster(seed), layout=layout) as cluster:
            assert cluster.state is not None
            sent, mismatches = await find_mismatches(cluster.state)
        assert not mismatches, "\n".join(map(str, mismatches[:20]))
        assert sent >= 60

    asyncio.run(check())
