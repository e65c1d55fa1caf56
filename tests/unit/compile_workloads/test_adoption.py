"""Orphans that find an owner, and pods taken out by their labels."""

from typing import Any

from tests.unit.simulate import World, daemon_set, deployment, pod, stateful_set

Json = dict[str, Any]


def owner(world: World, kind: str, name: str) -> str:
    owners = world.get(kind, name)["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("kind", ""))


def relabel(world: World, name: str, **labels: str) -> None:
    world.edit("Pod", name, lambda p: p["metadata"].update(labels=labels))


def test_a_pod_taken_out_by_its_labels_is_replaced_and_stays() -> None:
    world = World()
    world.apply(deployment("web", 1))
    world.settle()
    (name,) = world.pods()
    relabel(world, name, app="debug")
    world.settle()
    assert len(world.pods()) == 2 and owner(world, "Pod", name) == ""


def test_an_orphan_is_adopted_and_counts() -> None:
    world = World()
    world.apply(deployment("web", 1))
    world.settle()
    (first,) = world.pods()
    labels = world.get("Pod", first)["metadata"]["labels"]
    relabel(world, first, app="debug")
    world.settle()
    (second,) = [name for name in world.pods() if name != first]
    relabel(world, first, **labels)
    world.settle()
    assert len(world.pods()) == 1
    assert owner(world, "Pod", world.pods()[0]) == "ReplicaSet" and second


def test_a_deployment_made_again_adopts_what_it_left() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.settle()
    (rs,) = world.all("ReplicaSet")
    before = world.pods()

    def orphan(value: Json) -> None:
        value["metadata"]["ownerReferences"] = []

    name = rs["metadata"]["name"]
    world.edit("ReplicaSet", name, orphan)
    world.delete("Deployment", "web")
    world.apply(deployment("web", 2))
    world.settle()
    assert world.pods() == before and len(world.all("ReplicaSet")) == 1
    assert owner(world, "ReplicaSet", name) == "Deployment"


def test_a_stateful_set_adopts_pods_of_its_names_only() -> None:
    world = World()
    for name in ("db-0", "db-x"):
        value = pod(name)
        value["metadata"]["labels"] = {"app": "db"}
        world.apply(value)
    world.apply(stateful_set("db", 1))
    world.settle()
    assert owner(world, "Pod", "db-0") == "StatefulSet"
    assert owner(world, "Pod", "db-x") == ""


def test_a_daemon_set_adopts_the_pod_of_a_node() -> None:
    world = World(nodes=1)
    value = pod("agent-mine")
    value["metadata"]["labels"] = {"app": "agent"}
    world.apply(value)
    world.settle()
    world.apply(daemon_set("agent", updateStrategy={"type": "OnDelete"}))
    world.settle()
    assert len(world.pods()) == 1 and owner(world, "Pod", world.pods()[0]) == "DaemonSet"


def test_an_update_may_take_several_pods_at_a_time() -> None:
    for bound, fewest in ((2, 2), ("50%", 2), (1, 3)):
        world = World()
        strategy = {"rollingUpdate": {"maxUnavailable": bound}}
        world.apply(stateful_set("db", 4, podManagementPolicy="Parallel", updateStrategy=strategy))
        world.settle()

        def change(value: Json) -> None:
            value["spec"]["template"]["spec"]["containers"][0]["image"] = "new:1"

        world.edit("StatefulSet", "db", change)
        seen = 4
        for _ in range(60):
            world.step()
            alive = [p for p in world.all("Pod") if "deletionTimestamp" not in p["metadata"]]
            seen = min(seen, len(alive))
        world.settle()
        assert seen == fewest
        assert {p["spec"]["containers"][0]["image"] for p in world.all("Pod")} == {"new:1"}
