"""Deployments through the whole compiler against an API in memory."""

from typing import Any

import pytest
from tests.unit.simulate import World, deployment, quiet, template


def ready(world: World, name: str) -> tuple[int, int, int]:
    status = world.get("Deployment", name)["status"]
    return status.get("updatedReplicas", 0), status.get("readyReplicas", 0), status.get("availableReplicas", 0)


def sizes(world: World) -> dict[str, int]:
    return {r["metadata"]["name"]: r["spec"]["replicas"] for r in world.all("ReplicaSet")}


def test_a_deployment_becomes_ready_and_then_nothing_is_written() -> None:
    world = World()
    world.apply(deployment("web", 3))
    world.settle()
    assert ready(world, "web") == (3, 3, 3)
    assert len(world.pods()) == 3
    nodes = sorted(p["spec"]["nodeName"] for p in world.all("Pod"))
    assert nodes == ["node-1", "node-1", "node-2"]
    conditions = {c["type"]: c["reason"] for c in world.get("Deployment", "web")["status"]["conditions"]}
    assert conditions == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
    annotation = world.get("Deployment", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
    assert annotation == "1"
    assert world.compile().writes is world.compile().writes


def test_no_write_conflicts_on_the_way() -> None:
    world = World()
    world.apply(deployment("web", 3))
    world.settle()
    assert [line for line in world.log if line.startswith("conflict")] == []


@pytest.mark.parametrize("target", [0, 1, 7])
def test_scaling_up_and_down(target: int) -> None:
    world = World()
    world.apply(deployment("web", 3))
    world.settle()
    world.edit("Deployment", "web", lambda d: d["spec"].update(replicas=target))
    world.settle()
    assert len(world.pods()) == target
    assert ready(world, "web") == (target, target, target)


def test_scaling_down_deletes_the_pods_that_are_not_ready_first() -> None:
    world = World()
    world.apply(deployment("web", 3))
    world.settle()
    victim = world.pods()[1]
    world.unready.add(victim)
    world.settle()
    world.edit("Deployment", "web", lambda d: d["spec"].update(replicas=2))
    world.settle()
    assert victim not in world.pods()


def roll(world: World, image: str) -> None:
    def change(value: dict[str, Any]) -> None:
        value["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.edit("Deployment", "web", change)


def test_a_rolling_update_keeps_the_minimum_available() -> None:
    world = World()
    world.apply(deployment("web", 4, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}))
    world.settle()
    old = set(world.pods())
    roll(world, "example.com/web:2")
    for _ in range(60):
        world.step()
        pods = [p for p in world.all("Pod") if "deletionTimestamp" not in p["metadata"]]
        available = [
            p
            for p in pods
            if any(c["type"] == "Ready" and c["status"] == "True" for c in p.get("status", {}).get("conditions", ()))
        ]
        assert len(available) >= 4
        assert len(pods) <= 5
    assert not old & set(world.pods())
    assert ready(world, "web") == (4, 4, 4)
    assert sorted(sizes(world).values()) == [0, 4]


def test_a_roll_to_pods_that_never_become_ready_stops_and_reports_the_deadline() -> None:
    world = quiet()
    world.apply(deployment("web", 4, progressDeadlineSeconds=60))
    world.settle()
    old = set(world.pods())
    roll(world, "broken:1")
    for _ in range(30):
        world.unready |= set(world.pods()) - old
        world.step()
        world.unready |= set(world.pods()) - old
    assert len(set(world.pods()) & old) == 3
    world.settle()
    compiled = world.compiled
    assert compiled is not None
    assert compiled.wake_at is not None
    world.now = compiled.wake_at
    world.settle()
    conditions = {c["type"]: c for c in world.get("Deployment", "web")["status"]["conditions"]}
    assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
    assert conditions["Progressing"]["status"] == "False"


def test_rollback_finds_the_old_set_again() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.settle()
    (first,) = sizes(world)
    roll(world, "example.com/web:2")
    world.settle()
    roll(world, "example.com/web:1")
    world.settle()
    assert len(sizes(world)) == 2
    assert sizes(world)[first] == 2
    annotations = world.get("ReplicaSet", first)["metadata"]["annotations"]
    assert annotations["deployment.kubernetes.io/revision"] == "3"
    assert annotations["deployment.kubernetes.io/revision-history"] == "1"


def test_recreate_waits_for_the_old_pods() -> None:
    world = World()
    world.apply(deployment("web", 2, strategy={"type": "Recreate"}))
    world.settle()
    old = set(world.pods())
    world.hold_gone = True
    roll(world, "example.com/web:2")
    world.settle()
    active = [p for p in world.all("Pod") if "deletionTimestamp" not in p["metadata"]]
    assert not {p["metadata"]["name"] for p in active} & old
    world.hold_gone = False
    world.settle()
    assert ready(world, "web") == (2, 2, 2)


def test_history_is_limited() -> None:
    world = World()
    world.apply(deployment("web", 1, revisionHistoryLimit=2))
    for number in range(5):
        roll(world, f"example.com/web:{number}")
        world.settle()
    assert len(sizes(world)) == 3


def test_a_paused_deployment_scales_and_does_not_roll() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.settle()
    world.edit("Deployment", "web", lambda d: d["spec"].update(paused=True))
    roll(world, "example.com/web:2")
    world.settle()
    assert len(sizes(world)) == 1
    world.edit("Deployment", "web", lambda d: d["spec"].update(replicas=3))
    world.settle()
    assert list(sizes(world).values()) == [3]


def test_a_resize_in_the_middle_of_a_roll_is_proportional() -> None:
    world = World()
    world.apply(deployment("web", 10, strategy={"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}))
    world.settle()
    old = set(world.pods())
    roll(world, "example.com/web:2")
    for _ in range(12):
        world.step()
        world.unready |= set(world.pods()) - old
    assert sorted(sizes(world).values()) == [5, 8]
    world.edit("Deployment", "web", lambda d: d["spec"].update(replicas=15))
    for _ in range(12):
        world.step()
        world.unready |= set(world.pods()) - old
    assert sorted(sizes(world).values()) == [7, 11]


def test_min_ready_seconds_make_a_pod_available_by_time_alone() -> None:
    world = quiet()
    world.apply(deployment("web", 1, minReadySeconds=10))
    world.settle()
    assert ready(world, "web") == (1, 1, 0)
    compiled = world.compiled
    assert compiled is not None
    assert compiled.wake_at is not None
    world.now = compiled.wake_at
    world.settle()
    assert ready(world, "web") == (1, 1, 1)


def test_a_deleted_pod_is_replaced_under_another_name_while_it_ends() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.settle()
    before = world.pods()
    world.hold_gone = True
    world.delete("Pod", before[0])
    world.settle()
    assert len(world.pods()) == 3
    world.hold_gone = False
    world.settle()
    assert len(world.pods()) == 2
    assert before[0] not in world.pods()


def test_deleting_the_deployment_removes_everything() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.settle()
    world.delete("Deployment", "web")
    world.settle()
    assert world.pods() == []
    assert sizes(world) == {}


def test_expressions_of_the_selector_keep_their_operator() -> None:
    world = World()
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}
    world.apply(deployment("web", 1) | {"spec": {"replicas": 1, "selector": selector, "template": template("web")}})
    world.settle()
    (replica_set,) = world.all("ReplicaSet")
    assert replica_set["spec"]["selector"]["matchExpressions"] == selector["matchExpressions"]


def test_two_fresh_compilers_agree() -> None:
    from podwire.compile import compile_plans

    world = World()
    world.apply(deployment("web", 5))
    world.step()
    world.step()
    snapshot = world.snapshot()
    assert compile_plans(snapshot).writes == compile_plans(snapshot).writes
