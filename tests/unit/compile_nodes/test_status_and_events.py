"""Observed facts to status, final deletions and Events."""

from typing import Any

from tests.unit.simulate import START, World, pod, service

from podwire.plan import ContainerFact, EventFact, NodeFact, PlaneFact, PodFact
from podwire.snapshot import Owned, Settings


def observe(world: World, *containers: ContainerFact, name: str = "p", **fields: Any) -> dict[str, Any]:
    """The status after the given facts and as many writes as it takes."""
    uid = world.get("Pod", name)["metadata"]["uid"]
    world.builder.observe(uid, PodFact(uid, "node-1", ("10.244.0.9",), containers, started_at=START, **fields))
    for _ in range(4):
        for write in world.compile().writes.writes.values():
            world.write(write)
    status: dict[str, Any] = world.get("Pod", name).get("status", {})
    return status


def world_with(**spec: Any) -> World:
    world = World()
    world.apply(pod("p", nodeName="node-1", **spec))
    return world


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status["conditions"]}


RUNNING = ContainerFact("main", "running", ready=True, started=True, started_at=START, container_id="podwire://1")


def test_nothing_is_written_before_anything_is_known() -> None:
    assert [k for k in world_with().compile().writes.writes if "status/Pod" in k] == []


def test_a_sandbox_without_containers_has_an_address_and_is_pending() -> None:
    status = observe(world_with(), ContainerFact("main", "waiting", reason="ContainerCreating"))
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Pending", "10.244.0.9", "10.89.0.10")
    assert status["containerStatuses"][0]["ready"] is False
    assert conditions(status) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "False",
        "ContainersReady": "False",
        "PodScheduled": "True",
    }


def test_a_sandbox_that_cannot_be_made_says_why() -> None:
    world = world_with()
    uid = world.get("Pod", "p")["metadata"]["uid"]
    world.builder.observe(uid, PodFact(uid, "node-1", message="Failed to create pod sandbox: no address left"))
    for write in world.compile().writes.writes.values():
        world.write(write)
    status = world.get("Pod", "p")["status"]
    assert status["phase"] == "Pending"
    waiting = status["containerStatuses"][0]["state"]["waiting"]
    assert waiting["message"] == "Failed to create pod sandbox: no address left"
    assert conditions(status)["PodReadyToStartContainers"] == "False"


def test_a_running_pod_is_ready_and_the_times_do_not_move() -> None:
    world = world_with()
    status = observe(world, RUNNING)
    assert status["phase"] == "Running"
    assert set(conditions(status).values()) == {"True"}
    assert status["containerStatuses"][0]["state"] == {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
    assert status["qosClass"] == "BestEffort"
    world.now += 100
    assert observe(world, RUNNING) == status
    assert world.compile().writes.writes == {}


def test_readiness_changes_only_its_own_conditions() -> None:
    world = world_with()
    observe(world, RUNNING)
    world.now += 60
    unready = ContainerFact("main", "running", started=True, started_at=START, container_id="podwire://1")
    status = observe(world, unready)
    moved = {c["type"] for c in status["conditions"] if c["lastTransitionTime"] == "2027-01-15T08:01:00Z"}
    assert moved == {"Ready", "ContainersReady"}
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["reason"], ready["message"]) == ("ContainersNotReady", "containers with unready status: [main]")


def test_foreign_conditions_stay_and_gates_count() -> None:
    world = world_with(readinessGates=[{"conditionType": "example.com/go"}])
    status = observe(world, RUNNING)
    assert conditions(status)["Ready"] == "False"
    world.objects["Pod", "default/p"]["status"]["conditions"].append({"type": "example.com/go", "status": "True"})
    world.edit("Pod", "p", lambda p: None)
    status = observe(world, RUNNING)
    assert conditions(status)["Ready"] == "True"
    assert conditions(status)["example.com/go"] == "True"


def test_phases_of_pods_that_end() -> None:
    done = ContainerFact("main", "terminated", exit_code=0, started_at=START, finished_at=START + 1)
    failed = ContainerFact("main", "terminated", exit_code=3, started_at=START, finished_at=START + 1)
    assert observe(world_with(restartPolicy="Never"), done)["phase"] == "Succeeded"
    assert observe(world_with(restartPolicy="Never"), failed)["phase"] == "Failed"
    assert observe(world_with(restartPolicy="OnFailure"), failed)["phase"] == "Running"
    assert observe(world_with(), done)["phase"] == "Running"


def test_a_finished_phase_is_final() -> None:
    world = world_with(restartPolicy="Never")
    observe(world, ContainerFact("main", "terminated", exit_code=0))
    assert observe(world, RUNNING)["phase"] == "Succeeded"


def test_restarts_and_the_last_state() -> None:
    again = ContainerFact(
        "main", "waiting", reason="CrashLoopBackOff", message="back-off", restarts=2, last_exit_code=1
    )
    status = observe(world_with(), again)["containerStatuses"][0]
    assert status["restartCount"] == 2
    assert status["state"]["waiting"] == {"reason": "CrashLoopBackOff", "message": "back-off"}
    assert status["lastState"]["terminated"]["reason"] == "Error"


def test_restarts_do_not_count_backwards() -> None:
    world = world_with()
    observe(world, ContainerFact("main", "running", ready=True, started=True, restarts=4))
    assert observe(world, RUNNING)["containerStatuses"][0]["restartCount"] == 4


def test_init_containers_come_first() -> None:
    world = World()
    value = pod("p", nodeName="node-1")
    value["spec"]["initContainers"] = [{"name": "prepare", "image": "busybox", "command": ["true"]}]
    world.apply(value)
    prepare = ContainerFact("prepare", "running", started_at=START)
    waiting = ContainerFact("main", "waiting", reason="PodInitializing")
    status = observe(world, waiting, init_containers=(prepare,))
    assert (status["phase"], conditions(status)["Initialized"]) == ("Pending", "False")
    done = ContainerFact("prepare", "terminated", exit_code=0)
    status = observe(world, RUNNING, init_containers=(done,))
    assert (status["phase"], conditions(status)["Initialized"]) == ("Running", "True")


def test_podwires_own_plane_decides_its_pods_readiness() -> None:
    world = World(Settings())
    value = pod("p", nodeName="node-1")
    value["spec"]["containers"][0]["image"] = "podwire/dns"
    world.apply(value)
    assert conditions(observe(world, RUNNING))["Ready"] == "False"
    world.plane("dns", PlaneFact(True))
    assert conditions(observe(world, RUNNING))["Ready"] == "True"


def test_after_a_restart_a_pod_that_was_ready_is_not() -> None:
    world = world_with()
    observe(world, RUNNING)
    again = World(Settings())
    again.apply(world.get("Node", "node-1", ""))
    again._store("Pod", "default/p", world.get("Pod", "p"))
    for write in again.compile().writes.writes.values():
        again.write(write)
    status = again.get("Pod", "p")["status"]
    assert conditions(status)["Ready"] == conditions(status)["ContainersReady"] == "False"
    assert status["podIP"] == "10.244.0.9"
    assert "status/Pod/default/p" not in again.compile().writes.writes


def test_a_deleted_pod_goes_when_the_runtime_says_so() -> None:
    world = World()
    world.apply(pod("p"))
    world.settle()
    world.hold_gone = True
    world.delete("Pod", "p")
    world.settle()
    assert world.pods() == ["p"]
    world.hold_gone = False
    world.settle()
    assert world.pods() == []


def test_a_deleted_pod_on_a_node_that_is_gone_goes_too() -> None:
    world = World()
    world.apply(pod("p", nodeName="ghost"))
    world.delete("Pod", "p")
    world.settle()
    assert world.pods() == []


def test_a_deleted_pod_nobody_speaks_of_goes_after_its_grace() -> None:
    world = World()
    world.apply(pod("p", nodeName="node-1"))
    world.delete("Pod", "p")
    plans = world.compile()
    assert "end/Pod/default/p" not in plans.writes.writes
    assert world.compiled is not None
    assert world.compiled.wake_at == START + 35
    world.now = START + 35
    assert "end/Pod/default/p" in world.compile().writes.writes


def test_a_pod_with_finalizers_is_not_removed() -> None:
    world = World()
    value = pod("p", nodeName="ghost")
    value["metadata"]["finalizers"] = ["example.com/wait"]
    world.apply(value)
    world.delete("Pod", "p")
    assert "end/Pod/default/p" not in world.compile().writes.writes


def test_nodes_are_ready_when_their_namespace_is() -> None:
    world = World()
    world.settle()
    (ready,) = world.get("Node", "node-1", "")["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", "KubeletReady")
    assert ready["lastHeartbeatTime"] == ready["lastTransitionTime"]
    world.builder.observe("node-1", NodeFact(False, "no veth"))
    world.now += 5
    world.settle()
    (ready,) = world.get("Node", "node-1", "")["status"]["conditions"]
    assert (ready["status"], ready["message"]) == ("False", "no veth")


def fact(at: float, message: str = "Back-off restarting") -> EventFact:
    return EventFact("Pod", "default", "p", "uid-p", "Warning", "BackOff", message, "kubelet", at)


def test_event_facts_become_events_and_repetition_a_count() -> None:
    world = World()
    world.builder.observe("", fact(START))
    world.settle()
    assert world.all("Event") == []
    assert world.compiled is not None
    assert world.compiled.wake_at == START + 1
    world.now = START + 1
    world.settle()
    (event,) = world.all("Event")
    assert (event["reason"], event["count"], event["involvedObject"]["uid"]) == ("BackOff", 1, "uid-p")
    world.builder.observe("", fact(START + 10))
    world.builder.observe("", fact(START + 20))
    world.builder.observe("", fact(START + 20, "another"))
    world.now = START + 30
    world.settle()
    repeated, other = sorted(world.all("Event"), key=lambda e: -e["count"])
    assert (repeated["count"], repeated["lastTimestamp"]) == (3, "2027-01-15T08:00:20Z")
    assert repeated["firstTimestamp"] == "2027-01-15T08:00:00Z"
    assert other["count"] == 1


def test_old_facts_are_not_written_again_when_the_api_forgot_them() -> None:
    world = World()
    world.builder.observe("", fact(START))
    world.now += 2
    world.settle()
    world.delete("Event", world.all("Event")[0]["metadata"]["name"])
    world.now += 3700
    world.settle()
    assert world.all("Event") == []


def test_a_finding_is_one_event_and_info_is_none() -> None:
    world = World()
    world.apply(service("a", "a", type="LoadBalancer", loadBalancerIP="192.0.2.1"))
    world.apply(service("b", "b", type="LoadBalancer", loadBalancerClass="x/y"))
    world.settle()
    world.now += 600
    world.settle()
    (event,) = world.all("Event")
    assert (event["reason"], event["type"], event["source"]) == ("PW1130", "Warning", {"component": "podwire"})
    assert event["involvedObject"]["fieldPath"] == "spec.loadBalancerIP"


def test_what_is_not_owned_is_not_written() -> None:
    nothing = Owned(
        workloads=False,
        scheduling=False,
        pod_status=False,
        endpoint_slices=False,
        load_balancers=False,
        ingress_status=False,
        events=False,
    )
    world = World(Settings(planes=False, owned=nothing))
    world.apply(pod("p", nodeName="node-1"))
    world.apply(service("p", "p", type="LoadBalancer", loadBalancerIP="192.0.2.1"))
    world.step()
    assert world.compile().writes.writes == {}


def visited() -> World:
    world = world_with(enableServiceLinks=False)
    world.apply(service("web", "p", ports=[{"port": 80, "targetPort": 9}]))
    guests = [
        {"name": "look", "image": "busybox"},
        {"name": "lacks", "image": "x", "envFrom": [{"secretRef": {"name": "s"}}]},
    ]
    world.edit("Pod", "p", lambda value: value["spec"].update(ephemeralContainers=guests))
    return world


def test_ephemeral_containers_are_planned_and_shown_and_leave_readiness_alone() -> None:
    world = visited()
    status = observe(world, RUNNING, ephemeral_containers=(ContainerFact("look", "terminated", exit_code=3),))
    assert (status["phase"], conditions(status)["Ready"]) == ("Running", "True")
    look, lacks = status["ephemeralContainerStatuses"]
    assert (look["state"]["terminated"]["exitCode"], look["ready"]) == (3, False)
    assert lacks["state"]["waiting"] == {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}
    assert [c.name for c in world.compile().nodes.pods["default/p"].ephemeral_containers] == ["look"]


def test_an_ephemeral_container_that_podwire_lost_has_ended_and_is_not_run_again() -> None:
    world = visited()
    observe(world, RUNNING, ephemeral_containers=(ContainerFact("look", "running", started_at=START),))
    status = observe(world, RUNNING)  # of a runtime that was started anew
    assert status["ephemeralContainerStatuses"][0]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert world.compile().nodes.pods["default/p"].ephemeral_containers == ()
