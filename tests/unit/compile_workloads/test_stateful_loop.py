"""StatefulSets against an API in memory."""

from typing import Any

from tests.unit.simulate import World, stateful_set


def images(world: World) -> dict[str, str]:
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in world.all("Pod")}


def set_image(world: World, image: str) -> None:
    def change(value: dict[str, Any]) -> None:
        value["spec"]["template"]["spec"]["containers"][0]["image"] = image

    world.edit("StatefulSet", "db", change)


def test_pods_come_in_order_and_each_waits_for_the_one_before() -> None:
    world = World()
    world.apply(stateful_set("db", 3))
    seen: list[list[str]] = []
    for _ in range(30):
        world.step()
        if not seen or seen[-1] != world.pods():
            seen.append(world.pods())
    assert seen == [["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]]
    world.settle()
    pod = world.get("Pod", "db-1")
    assert pod["spec"]["hostname"] == "db-1"
    assert pod["spec"]["subdomain"] == "db"
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-1"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"


def test_an_unready_pod_stops_the_rest() -> None:
    world = World()
    world.unready.add("db-0")
    world.apply(stateful_set("db", 3))
    world.settle()
    assert world.pods() == ["db-0"]
    world.unready.clear()
    world.settle()
    assert len(world.pods()) == 3


def test_parallel_does_not_wait() -> None:
    world = World()
    world.unready |= {"db-0", "db-1", "db-2"}
    world.apply(stateful_set("db", 3, podManagementPolicy="Parallel"))
    world.settle()
    assert len(world.pods()) == 3


def test_scaling_down_takes_the_highest_ordinal_first_one_at_a_time() -> None:
    world = World()
    world.apply(stateful_set("db", 3))
    world.settle()
    world.hold_gone = True
    world.edit("StatefulSet", "db", lambda s: s["spec"].update(replicas=1))
    world.settle()
    ending = [p["metadata"]["name"] for p in world.all("Pod") if "deletionTimestamp" in p["metadata"]]
    assert ending == ["db-2"]
    world.hold_gone = False
    world.settle()
    assert world.pods() == ["db-0"]


def test_a_rolling_update_goes_from_the_highest_ordinal_down() -> None:
    world = World()
    world.apply(stateful_set("db", 3))
    world.settle()
    set_image(world, "new:1")
    order: list[str] = []
    for _ in range(60):
        world.step()
        order += [name for name, image in images(world).items() if image == "new:1" and name not in order]
    assert order == ["db-2", "db-1", "db-0"]
    world.settle()
    status = world.get("StatefulSet", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert status["updatedReplicas"] == 3


def test_the_partition_keeps_lower_ordinals_and_remakes_them_from_a_sibling() -> None:
    world = World()
    world.apply(stateful_set("db", 3, updateStrategy={"rollingUpdate": {"partition": 2}}))
    world.settle()
    set_image(world, "new:1")
    world.settle()
    assert images(world) == {"db-0": "example.com/db:1", "db-1": "example.com/db:1", "db-2": "new:1"}
    world.delete("Pod", "db-0")
    world.settle()
    assert images(world) == {"db-0": "example.com/db:1", "db-1": "example.com/db:1", "db-2": "new:1"}
    assert world.get("Pod", "db-0")["spec"]["hostname"] == "db-0"


def test_on_delete_updates_only_what_is_deleted() -> None:
    world = World()
    world.apply(stateful_set("db", 2, updateStrategy={"type": "OnDelete"}))
    world.settle()
    set_image(world, "new:1")
    world.settle()
    assert set(images(world).values()) == {"example.com/db:1"}
    world.delete("Pod", "db-1")
    world.settle()
    assert images(world) == {"db-0": "example.com/db:1", "db-1": "new:1"}


def test_ordinals_may_start_elsewhere() -> None:
    world = World()
    world.apply(stateful_set("db", 2, ordinals={"start": 5}))
    world.settle()
    assert world.pods() == ["db-5", "db-6"]


def test_claims_become_volumes_and_a_finding() -> None:
    world = World()
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    world.apply(stateful_set("db", 1, volumeClaimTemplates=[claim]))
    world.settle()
    assert world.get("Pod", "db-0")["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "data-db-0"}
    assert [f.code for f in world.compile().findings if f.ref.kind == "Pod"] == ["PW6020"]


def test_the_status_matches_the_pods() -> None:
    world = World()
    world.apply(stateful_set("db", 2))
    world.settle()
    status = world.get("StatefulSet", "db")["status"]
    assert (status["replicas"], status["readyReplicas"], status["availableReplicas"]) == (2, 2, 2)
    assert (status["currentReplicas"], status["updatedReplicas"]) == (2, 2)
    assert status["observedGeneration"] == 1
