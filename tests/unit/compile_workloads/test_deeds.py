"""What controllers did, as Events in Kubernetes' words."""

from tests.unit.simulate import World, deployment, job, stateful_set

from podwire.plan import EventFact, PlaneFact


def said(world: World, kind: str) -> dict[str, str]:
    """Messages by reason, of one kind of object."""
    world.now += 2
    world.settle()
    return {
        e["reason"]: e["message"]
        for e in sorted(world.all("Event"), key=lambda e: str(e["message"]))
        if e["involvedObject"]["kind"] == kind and e["source"]["component"] != "podwire"
    }


def test_a_deployment_says_how_it_scales_and_its_set_which_pods_it_made() -> None:
    world = World()
    world.apply(deployment("web", 1))
    world.settle()
    (rs,) = world.all("ReplicaSet")
    (pod,) = world.pods()
    name = rs["metadata"]["name"]
    assert said(world, "Deployment") == {"ScalingReplicaSet": f"Scaled up replica set {name} from 0 to 1"}
    assert said(world, "ReplicaSet") == {"SuccessfulCreate": f"Created pod: {pod}"}
    node = world.get("Pod", pod)["spec"]["nodeName"]
    assert said(world, "Pod")["Scheduled"] == f"Successfully assigned default/{pod} to {node}"
    event = next(e for e in world.all("Event") if e["reason"] == "Scheduled")
    assert (event["type"], event["source"]["component"]) == ("Normal", "default-scheduler")
    world.edit("Deployment", "web", lambda d: d["spec"].update(replicas=0))
    world.settle()
    assert said(world, "Deployment")["ScalingReplicaSet"] in (
        f"Scaled down replica set {name} from 1 to 0",
        f"Scaled up replica set {name} from 0 to 1",
    )
    messages = {e["message"] for e in world.all("Event")}
    assert f"Scaled down replica set {name} from 1 to 0" in messages
    assert f"Deleted pod: {pod}" in messages


def test_a_stateful_set_and_a_job_have_words_of_their_own() -> None:
    world = World()
    world.apply(stateful_set("db", 1))
    world.apply(job("x"))
    world.exits = lambda name: 0 if name.startswith("x") else None
    world.settle()
    assert said(world, "StatefulSet") == {"SuccessfulCreate": "create Pod db-0 in StatefulSet db successful"}
    found = said(world, "Job")
    assert found["SuccessfulCreate"].startswith("Created pod: x-") and found["Completed"] == "Job completed"


def test_the_same_deed_again_counts() -> None:
    world = World()
    world.apply(stateful_set("db", 1))
    world.settle()
    for _ in range(2):
        world.now += 5
        world.settle()
        world.delete("Pod", "db-0")
        world.settle()
    world.now += 5
    world.settle()
    (event,) = [e for e in world.all("Event") if e["reason"] == "SuccessfulCreate"]
    assert event["count"] == 3


def test_a_refused_pod_is_said_to_have_failed() -> None:
    world = World()
    world.apply(stateful_set("db", 1))
    key = next(k for k in world.compile().writes.writes if k.startswith("create/Pod"))
    world.plane("api", PlaneFact(True, rejected={key: "exceeded quota"}))
    world.now += 2
    world.compile()
    world.now += 2
    plans = world.compile()
    bodies = [w.body for k, w in plans.writes.writes.items() if k.startswith("event/")]  # type: ignore[union-attr]
    assert [(b["reason"], b["type"]) for b in bodies] == [("FailedCreate", "Warning")]
    assert bodies[0]["message"] == "create Pod db-0 in StatefulSet db failed error: exceeded quota"


def test_no_burst_of_observed_events_is_lost() -> None:
    world = World()
    world.apply(stateful_set("db", 1))
    world.settle()
    uid = world.get("Pod", "db-0")["metadata"]["uid"]
    for number in range(1000):
        fact = EventFact("Pod", "default", "db-0", uid, "Normal", "Pulled", f"image {number}", "kubelet", world.now)
        world.builder.observe("events", fact)
    world.now += 2
    world.settle()
    assert sum(e["reason"] == "Pulled" for e in world.all("Event")) == 1000
    world.now += 120
    assert world.snapshot().facts.events == ()


def test_a_burst_is_told_later() -> None:
    world = World()
    world.apply(deployment("web", 150))
    world.edit_node("node-1", status={"allocatable": {"pods": "500"}})
    world.settle()
    assert not world.all("Event") and world.compiled is not None
    assert world.compiled.wake_at is not None and world.compiled.wake_at - world.now > 1.4
    world.now = world.compiled.wake_at
    world.settle()
    assert len(world.all("Event")) >= 300
