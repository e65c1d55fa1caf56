"""Who makes room for whom."""

from typing import Any

from tests.unit.simulate import World, pod

FULL = {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}


def world_of(nodes: int = 1) -> World:
    world = World(nodes=nodes)
    for index in range(nodes):
        world.edit_node(f"node-{index + 1}", status=FULL)
    for name, value in (("low", -5), ("mid", 100), ("high", 1000)):
        meta = {"name": name}
        world.apply({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": value})
    return world


def sized(name: str, cpu: str, priority: str = "", **spec: Any) -> dict[str, Any]:
    value = pod(name, priorityClassName=priority, **spec)
    value["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return value


def add(world: World, *values: dict[str, Any]) -> None:
    for value in values:
        world.apply(value)
        world.settle()


def places(world: World) -> dict[str, str]:
    return {p["metadata"]["name"]: p["spec"].get("nodeName", "") for p in world.all("Pod")}


def message(world: World, name: str) -> str:
    conditions = world.get("Pod", name)["status"]["conditions"]
    return next(str(c["message"]) for c in conditions if c["type"] == "PodScheduled")


def budget(app: str, least: int) -> dict[str, Any]:
    spec = {"minAvailable": least, "selector": {"matchLabels": {"app": app}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app}, "spec": spec}


def test_the_lowest_priority_makes_room_and_is_told_so() -> None:
    world = world_of()
    add(world, sized("a", "1", "mid"), sized("b", "1", "low"))
    world.hold_gone = True  # the victim takes its time
    add(world, sized("vip", "1", "high"))
    victim, vip = world.get("Pod", "b"), world.get("Pod", "vip")
    assert victim["metadata"]["deletionTimestamp"] and "deletionTimestamp" not in world.get("Pod", "a")["metadata"]
    told = next(c for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    assert vip["status"]["nominatedNodeName"] == "node-1"
    assert message(world, "vip") == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: not eligible due to a terminating pod on the nominated node."
    )
    world.now += 5
    world.settle()
    (event,) = (e for e in world.all("Event") if e["reason"] == "Preempted")
    assert event["message"] == f"Preempted by pod {vip['metadata']['uid']} on node node-1"
    assert (event["type"], event["involvedObject"]["name"]) == ("Normal", "b")
    world.hold_gone = False
    world.settle()
    assert places(world) == {"a": "node-1", "vip": "node-1"}


def test_no_more_is_pushed_out_than_needed_and_the_node_is_chosen_by_cost() -> None:
    world = world_of(nodes=2)
    add(world, sized("a", "1", "mid", nodeName="node-1"), sized("b", "1", "low", nodeName="node-1"))
    add(world, sized("c", "2", "mid", nodeName="node-2"))
    add(world, sized("vip", "1", "high"))
    assert places(world) == {"a": "node-1", "c": "node-2", "vip": "node-1"}


def test_budgets_are_kept_where_they_can_be() -> None:
    world = world_of(nodes=2)
    guarded, free = (sized(n, "2", "low", nodeName=f"node-{i}") for i, n in ((1, "guarded"), (2, "free")))
    guarded["metadata"]["labels"] = {"app": "guarded"}
    add(world, guarded, free, budget("guarded", 1))
    add(world, sized("vip", "1", "high"))
    assert places(world) == {"guarded": "node-1", "vip": "node-2"}
    add(world, sized("second", "2", "high"))  # no other way: the budget is broken
    assert places(world) == {"vip": "node-2", "second": "node-1"}


def test_who_may_not_or_cannot_preempt_waits_and_says_so() -> None:
    world = world_of()
    add(world, sized("a", "2", "mid"))
    add(world, sized("never", "1", "high", preemptionPolicy="Never"), sized("equal", "1", "mid"))
    add(world, sized("huge", "9", "high"), sized("elsewhere", "1", "high", nodeSelector={"disk": "ssd"}))
    lacks = "0/1 nodes are available: 1 Insufficient cpu."
    none = "preemption: 0/1 nodes are available: 1"
    assert message(world, "never") == f"{lacks} preemption: not eligible due to preemptionPolicy=Never."
    assert message(world, "equal") == f"{lacks} {none} No preemption victims found for incoming pod."
    assert message(world, "huge") == f"{lacks} {none} Preemption is not helpful for scheduling."
    assert message(world, "elsewhere").endswith(f"{none} Preemption is not helpful for scheduling.")
    assert places(world)["a"] == "node-1"


def test_the_room_made_is_kept_for_the_one_it_was_made_for() -> None:
    world = world_of()
    add(world, sized("a", "2", "low"))
    world.hold_gone = True
    add(world, sized("vip", "2", "high"))
    add(world, sized("late", "1", "mid"))
    world.hold_gone = False
    world.settle()
    assert places(world) == {"vip": "node-1", "late": ""}


def test_ports_and_anti_affinity_are_reasons_to_preempt() -> None:
    world = world_of()
    first, second = sized("a", "1", "low"), sized("b", "1", "high")
    for value in (first, second):
        value["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]
    add(world, first, second)
    assert places(world) == {"b": "node-1"}
