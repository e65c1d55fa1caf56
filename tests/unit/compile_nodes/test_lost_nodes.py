"""A node whose link is cut: believed for a while, then lost, then back."""

from typing import Any

from tests.unit.simulate import World, deployment, service

from podwire.plan import NodeFact

LINK = "podwire.dev/link"


def world_of() -> World:
    world = World()
    world.apply(deployment("web", 2))
    world.apply(service("web", "web"))
    world.settle()
    return world


def cut(world: World, name: str, *, silent: bool = True) -> None:
    value = world.get("Node", name, "")
    value["metadata"]["annotations"] = {LINK: "cut"} if silent else {}
    world._store("Node", name, value)
    world.builder.observe(name, NodeFact(not silent, silent_since=world.now if silent else 0.0))


def ready(world: World, name: str) -> tuple[str, str]:
    conditions = world.get("Node", name, "")["status"]["conditions"]
    return next((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready")


def endpoints(world: World) -> list[str]:
    units = world.compile().services.ports
    return [e.node for key, unit in units.items() if key.startswith("default/web:") for e in unit.endpoints if e.ready]


def pod_on(world: World, node: str) -> dict[str, Any]:
    return next(p for p in world.all("Pod") if p["spec"]["nodeName"] == node)


def test_nobody_knows_within_the_grace_period() -> None:
    world = world_of()
    world.now += 10  # the Events of the start are written
    world.settle()
    cut(world, "node-2")
    world.settle()
    assert world.compile().nodes.nodes["node-2"].cut
    assert ready(world, "node-2")[0] == "True" and endpoints(world) == ["node-1", "node-2"]
    assert world.compiled is not None and world.compiled.wake_at == world.now + 50


def test_after_it_the_node_is_lost_its_pods_leave_the_endpoints_and_are_deleted_in_time() -> None:
    world = world_of()
    cut(world, "node-2")
    world.now += 51
    world.settle()
    node = world.get("Node", "node-2", "")
    assert ready(world, "node-2") == ("Unknown", "NodeStatusUnknown")
    taints = [(t["key"], t["effect"]) for t in node["spec"]["taints"]]
    assert taints == [("node.kubernetes.io/unreachable", e) for e in ("NoSchedule", "NoExecute")]
    lost = pod_on(world, "node-2")
    conditions = {c["type"]: c["status"] for c in lost["status"]["conditions"]}
    assert (conditions["Ready"], conditions["ContainersReady"]) == ("False", "True")
    assert endpoints(world) == ["node-1"]
    world.now += 301
    world.settle()
    gone = world.get("Pod", lost["metadata"]["name"])
    assert gone["metadata"]["deletionTimestamp"]  # and nobody over there hears of it
    assert not world.compile().nodes.pods[f"default/{lost['metadata']['name']}"].terminating
    assert [p["spec"].get("nodeName") for p in world.all("Pod")].count("node-1") == 2


def test_a_node_that_is_back_is_ready_at_once() -> None:
    world = world_of()
    cut(world, "node-2")
    world.now += 51
    world.settle()
    cut(world, "node-2", silent=False)
    world.settle()
    node = world.get("Node", "node-2", "")
    assert ready(world, "node-2") == ("True", "KubeletReady") and not node["spec"].get("taints")
    assert endpoints(world) == ["node-1", "node-2"]
