"""DaemonSets and revisions against an API in memory."""

from typing import Any

from tests.unit.simulate import World, daemon_set, node, stateful_set


def nodes(world: World) -> list[str]:
    return sorted(p["spec"].get("nodeName", "") for p in world.all("Pod"))


def images(world: World) -> dict[str, str]:
    return {p["spec"]["nodeName"]: p["spec"]["containers"][0]["image"] for p in world.all("Pod")}


def set_image(world: World, image: str, kind: str = "DaemonSet") -> None:
    def change(value: dict[str, Any]) -> None:
        value["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.edit(kind, "agent", change)


def status(world: World) -> dict[str, int]:
    found: dict[str, int] = world.get("DaemonSet", "agent")["status"]
    return found


def test_every_node_gets_a_pod_and_a_new_node_too() -> None:
    world = World(nodes=2)
    world.apply(daemon_set("agent"))
    world.settle()
    assert nodes(world) == ["node-1", "node-2"]
    world.apply(node("node-3", 2))
    world.settle()
    assert nodes(world) == ["node-1", "node-2", "node-3"]
    found = status(world)
    assert found["desiredNumberScheduled"] == found["currentNumberScheduled"] == found["numberAvailable"] == 3
    assert found["numberUnavailable"] == 0


def test_pods_carry_the_tolerations_of_daemons() -> None:
    world = World(nodes=1)
    world.apply(daemon_set("agent"))
    world.settle()
    (pod,) = world.all("Pod")
    keys = {(t["key"], t["effect"]) for t in pod["spec"]["tolerations"]}
    assert ("node.kubernetes.io/unschedulable", "NoSchedule") in keys
    assert ("node.kubernetes.io/not-ready", "NoExecute") in keys


def test_a_cordoned_node_keeps_and_gets_its_daemon() -> None:
    world = World(nodes=1)
    world.edit_node("node-1", unschedulable=True)
    world.apply(daemon_set("agent"))
    world.settle()
    assert nodes(world) == ["node-1"]


def test_selectors_and_taints_decide_who_gets_one() -> None:
    world = World(nodes=2)
    value = daemon_set("agent")
    value["spec"]["template"]["spec"]["nodeSelector"] = {"topology.kubernetes.io/zone": "a"}
    world.apply(value)
    world.settle()
    assert nodes(world) == ["node-1"]
    world.edit_node("node-1", taints=[{"key": "x", "value": "", "effect": "NoSchedule"}])
    world.settle()
    assert nodes(world) == ["node-1"]
    assert (status(world)["desiredNumberScheduled"], status(world)["numberMisscheduled"]) == (0, 1)
    world.edit_node("node-1", taints=[{"key": "x", "value": "", "effect": "NoExecute"}])
    world.settle()
    assert nodes(world) == []


def test_a_roll_takes_one_node_at_a_time() -> None:
    world = World(nodes=3)
    world.apply(daemon_set("agent"))
    world.settle()
    set_image(world, "new:1")
    fewest = 3
    for _ in range(60):
        world.step()
        ready = [p for p in world.all("Pod") if _is_ready(p) and "deletionTimestamp" not in p["metadata"]]
        fewest = min(fewest, len(ready))
    assert fewest == 2
    world.settle()
    assert set(images(world).values()) == {"new:1"}
    assert status(world)["updatedNumberScheduled"] == 3


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))


def test_a_surge_never_leaves_a_node_without_a_ready_pod() -> None:
    world = World(nodes=2)
    world.apply(daemon_set("agent", updateStrategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}))
    world.settle()
    set_image(world, "new:1")
    for _ in range(60):
        world.step()
        served = {p["spec"].get("nodeName") for p in world.all("Pod") if _is_ready(p)}
        assert served >= {"node-1", "node-2"}
    world.settle()
    assert set(images(world).values()) == {"new:1"} and len(world.pods()) == 2


def test_an_unready_new_pod_stops_the_roll() -> None:
    world = World(nodes=3)
    world.apply(daemon_set("agent"))
    world.settle()
    before = set(world.pods())
    set_image(world, "bad:1")
    for _ in range(40):
        world.unready |= set(world.pods()) - before
        world.step()
    assert sorted(images(world).values()).count("bad:1") == 1


def test_on_delete_updates_only_what_is_deleted() -> None:
    world = World(nodes=2)
    world.apply(daemon_set("agent", updateStrategy={"type": "OnDelete"}))
    world.settle()
    set_image(world, "new:1")
    world.settle()
    assert set(images(world).values()) == {"example.com/agent:1"}
    world.delete("Pod", world.pods()[0])
    world.settle()
    assert sorted(images(world).values()) == ["example.com/agent:1", "new:1"]


def revisions(world: World) -> dict[int, str]:
    found = world.all("ControllerRevision")
    return {r["revision"]: r["data"]["spec"]["template"]["spec"]["containers"][0]["image"] for r in found}


def test_revisions_are_numbered_and_one_that_comes_back_is_the_newest() -> None:
    for make, kind in ((daemon_set("agent"), "DaemonSet"), (stateful_set("agent", 1), "StatefulSet")):
        world = World()
        world.apply(make)
        world.settle()
        set_image(world, "new:1", kind)
        world.settle()
        assert revisions(world) == {1: "example.com/agent:1", 2: "new:1"}
        set_image(world, "example.com/agent:1", kind)
        world.settle()
        assert revisions(world) == {2: "new:1", 3: "example.com/agent:1"}
        assert world.all("ControllerRevision")[0]["data"]["spec"]["template"]["$patch"] == "replace"


def test_old_revisions_go_beyond_the_limit() -> None:
    world = World()
    world.apply(daemon_set("agent", revisionHistoryLimit=1))
    for number in range(4):
        set_image(world, f"v:{number}")
        world.settle()
    assert revisions(world) == {3: "v:2", 4: "v:3"}


def test_deleting_the_set_takes_pods_and_revisions() -> None:
    world = World()
    world.apply(daemon_set("agent"))
    world.settle()
    world.delete("DaemonSet", "agent")
    world.settle()
    assert world.pods() == [] and world.all("ControllerRevision") == []
