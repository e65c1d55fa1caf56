"""Wires of nodes and pods: who reaches whom, routes, nodes that come and go."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kernel.node_world import (
    ORIGIN,
    WEB,
    World,
    body_of,
    get,
    run,
    stand_in,
    talk,
)

from podwire.base import EnvironmentUnfit, PodwireError
from podwire.node import NodeRuntime, list_clusters
from podwire.node.fabric import host_link
from podwire.plan import NodeFact, node_netns
from podwire.plan.node import (
    ExternalRoute,
    StandInPort,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def test_pods_reach_each_other_and_the_nodes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB))
        far = world.add("far", stand_in(WEB), node="node-2")
        edge = world.add("edge", stand_in(StandInPort(8080)), node="node-2", host_network=True)
        await world.ready(one, two, far, edge)
        assert world.nodes == {"node-1": NodeFact(ready=True), "node-2": NodeFact(ready=True)}
        assert world.address(edge) == f"{world.prefix}.3"
        for source, target in ((one, two), (one, far), (far, one), (edge, one)):
            answer = body_of(await talk(world.netns(source), world.address(target), 80, get("/x?y=1")))
            assert (answer["pod"], answer["path"], answer["query"]) == (world.pods[target].pod.name, "/x", "y=1")
            assert str(answer["caller"]).split(":")[0] == world.address(source)
            assert answer["node"] == world.pods[target].node
        for source in (one, far):
            answer = body_of(await talk(world.netns(source), world.address(edge), 8080, get()))
            assert answer["pod"] == "edge"
        # The host is on the fabric: it reaches nodes, and nodes reach it.
        reader, writer = await asyncio.open_connection(f"{world.prefix}.3", 8080)
        writer.write(get())
        assert body_of(await reader.read())["caller"].split(":")[0] == f"{world.prefix}.1"  # type: ignore[attr-defined]
        writer.close()

    run(test, tmp_path)


def test_same_node_traffic_crosses_the_forward_hook(tmp_path: Path) -> None:
    if shutil.which("nft") is None:
        pytest.skip("needs nft")

    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB))
        await world.ready(one, two)
        rules = "table ip t { chain c { type filter hook forward priority 0; tcp dport 80 reject with tcp reset; }; }"
        command = ["ip", "netns", "exec", node_netns(world.cluster, "node-1"), "nft", "-f", "-"]
        await asyncio.to_thread(subprocess.run, command, input=rules.encode(), check=True)
        with pytest.raises(ConnectionError):
            await talk(world.netns(one), world.address(two), 80, get())

    run(test, tmp_path)


def test_external_routes_lead_through_their_node(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.routes["a"] = ExternalRoute(f"{world.prefix}.200", "node-2", ORIGIN)
        await world.apply()

        def routes() -> str:
            link = ["ip", "-4", "route", "show", "dev", host_link(world.cluster)]
            return subprocess.run(link, capture_output=True, text=True, check=True).stdout

        assert f"{world.prefix}.200 via {world.prefix}.3" in routes()
        world.routes.clear()
        await world.apply()
        assert f"{world.prefix}.200" not in routes()
        assert f"{world.prefix}.0/24" in routes()

    run(test, tmp_path)


def test_a_node_that_leaves_takes_its_pods_and_comes_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB), node="node-2")
        await world.ready(one, two)
        world.node_names.remove("node-2")
        await world.apply()
        assert "node node-2 has no namespace" in world.facts[two].message
        assert not world.nodes["node-2"].ready
        world.node_names.append("node-2")
        await world.ready(two)
        answer = body_of(await talk(world.netns(one), world.address(two), 80, get()))
        assert answer["pod"] == "two"

    run(test, tmp_path)


def test_a_pod_waits_for_a_free_address(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.pod_bits = 30
        first = world.add("first", stand_in(WEB), grace_seconds=0)
        await world.ready(first)
        second = world.add("second", stand_in(WEB))
        await world.apply()
        assert "no free pod address left" in world.facts[second].message
        del world.pods[first]
        await world.ready(second)

    run(test, tmp_path)


def test_a_second_runtime_of_the_same_cluster_is_refused(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.apply()
        other = NodeRuntime(lambda key, fact: None, state_dir=tmp_path / "other")
        with pytest.raises(PodwireError, match="running in another process"):
            await other.apply(world.plan())
        await other.close()
        assert world.cluster in list_clusters()

    run(test, tmp_path)


def test_another_cluster_on_the_same_subnet_is_refused(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.apply()
        other = World(tmp_path / "other")
        other.prefix = world.prefix
        with pytest.raises(EnvironmentUnfit, match="is already routed to pw"):
            await other.apply()
        await other.runtime.close()
        assert other.cluster not in list_clusters()
        assert world.cluster in list_clusters()

    run(test, tmp_path)


def test_without_privilege_the_missing_thing_is_named() -> None:
    program = (
        "import os; from podwire.base import EnvironmentUnfit; from podwire.node.netns import check_privilege\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: check_privilege()\n"
        "except EnvironmentUnfit as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.startswith("nodes and pods need CAP_NET_ADMIN and CAP_SYS_ADMIN; run podwire as root")


def test_port_forward_reaches_localhost_of_the_pod(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        reader, writer = await world.runtime.connect(uid, 80)
        writer.write(get("/through"))
        assert body_of(await reader.read())["path"] == "/through"
        writer.close()
        with pytest.raises(PodwireError, match="cannot connect to port 81"):
            await world.runtime.connect(uid, 81)

    run(test, tmp_path)
