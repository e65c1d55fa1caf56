"""Wires of pods and nodes with IPv6, alone and beside IPv4."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.kernel.node_world import ORIGIN, WEB, World, body_of, get, run, stand_in, talk

from podwire.plan import node_netns
from podwire.plan.node import ExternalRoute, HttpCheck, Network, Probe, StandInPort

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(not os.path.isdir("/proc/sys/net/ipv6"), reason="needs a kernel with IPv6"),
]
FAMILIES = ((6,), (4, 6), (6, 4))


@pytest.mark.parametrize("network", ["host-gw", "vxlan"])
@pytest.mark.parametrize("families", FAMILIES)
def test_pods_nodes_and_the_host_reach_each_other(tmp_path: Path, families: tuple[int, ...], network: Network) -> None:
    async def test(world: World) -> None:
        world.families, world.network = families, network
        check = Probe(HttpCheck(80), period_seconds=1)
        pods = [world.add(name, stand_in(WEB, readiness=check)) for name in ("one", "two")]
        pods.append(world.add("far", stand_in(WEB), node="node-2"))
        edge = world.add("edge", stand_in(StandInPort(8080)), node="node-2", host_network=True)
        await world.ready(*pods, edge)
        for index, family in enumerate(families):
            place = {uid: world.facts[uid].addresses[index] for uid in (*pods, edge)}
            assert all((":" in address) == (family == 6) for address in place.values())
            for source in (*pods, edge):
                for target in pods:
                    answer = body_of(await talk(world.netns(source), place[target], 80, get()))
                    caller = str(answer["caller"]).rpartition(":")[0].strip("[]")
                    assert (answer["pod"], caller) == (world.pods[target].pod.name, place[source])
                answer = body_of(await talk(world.netns(source), place[edge], 8080, get()))
                assert answer["pod"] == "edge"
            reader, writer = await asyncio.open_connection(place[edge], 8080)
            writer.write(get())
            host = world.of_families(f"{world.prefix}.1", f"{world.prefix6}:1")[index]
            assert str(body_of(await reader.read())["caller"]).rpartition(":")[0].strip("[]") == host
            writer.close()

    run(test, tmp_path)


def test_a_port_is_forwarded_to_a_pod_that_has_ipv6_only(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.families = (6,)
        one = world.add("one", stand_in(WEB))
        await world.ready(one)
        reader, writer = await world.runtime.connect(one, 80)
        writer.write(get())
        assert body_of(await reader.read())["pod"] == "one"
        writer.close()

    run(test, tmp_path)


def test_the_host_reaches_virtual_addresses_through_their_nodes(tmp_path: Path) -> None:
    async def routed(address: str) -> str:
        command = ["ip", "-6", "route", "get", address]
        done = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        return (await done.communicate())[0].decode()

    async def test(world: World) -> None:
        world.families = (4, 6)
        address = f"{world.prefix6}:200"
        world.routes[address] = ExternalRoute(address, "node-2", ORIGIN)
        await world.apply()
        assert f"via {world.prefix6}:3" in await routed(address)
        world.routes.clear()
        await world.apply()
        assert " via " not in await routed(address)

    run(test, tmp_path)


def test_links_make_up_no_addresses_of_their_own(tmp_path: Path) -> None:
    """Nothing is solicited, advertised or detected."""

    async def test(world: World) -> None:
        world.families = (4, 6)
        one = world.add("one", stand_in(WEB))
        await world.ready(one)
        for space, expected in ((world.netns(one), 0), (node_netns(world.cluster, "node-1"), 1)):
            command = ["ip", "-n", space, "-6", "-o", "address", "show"]
            shown = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            text = (await shown.communicate())[0].decode()
            assert text.count("fe80") == expected and "tentative" not in text and "fd00" in text

    run(test, tmp_path)
