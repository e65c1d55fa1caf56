"""Whatever happens, and in whatever order writes arrive, the loop ends where the objects say."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.simulate import Conflict, World, daemon_set, deployment, service, stateful_set

ACTIONS = st.lists(
    st.tuples(st.sampled_from(["scale", "roll", "kill", "unready", "ready", "some", "strategy"]), st.integers(0, 7)),
    max_size=14,
)


def some_writes(world: World, number: int) -> None:
    """Only a part of the writes arrives before the next look."""
    plans = world.compile()
    for index, (key, write) in enumerate(plans.writes.writes.items()):
        if (index + number) % 3:
            try:
                world.write(write)
            except Conflict:
                world.log.append(f"conflict {key}")
    if number % 2:
        world.run_nodes(plans)


def act(world: World, action: str, number: int, kind: str) -> None:
    pods = world.pods()

    def set_image(value: dict[str, Any]) -> None:
        value["spec"]["template"]["spec"]["containers"][0]["image"] = f"app:{number % 3}"

    def set_strategy(value: dict[str, Any]) -> None:
        if kind == "DaemonSet":
            surge = {"maxSurge": number % 3 + 1, "maxUnavailable": 0}
            value["spec"]["updateStrategy"] = {"rollingUpdate": surge if number % 2 else {"maxUnavailable": "50%"}}
        elif kind == "Deployment":
            value["spec"]["strategy"] = {"type": "Recreate"} if number % 2 else {"type": "RollingUpdate"}
        else:
            value["spec"]["podManagementPolicy"] = "Parallel" if number % 2 else "OrderedReady"

    match action:
        case "scale" if kind == "DaemonSet":
            taints = [{"key": "k", "value": "v", "effect": "NoExecute" if number % 2 else "NoSchedule"}]
            world.edit_node(f"node-{number % 3 + 1}", taints=taints if number > 3 else [])
        case "scale":
            world.edit(kind, "x", lambda v: v["spec"].update(replicas=number))
        case "roll":
            world.edit(kind, "x", set_image)
        case "strategy":
            world.edit(kind, "x", set_strategy)
        case "kill" if pods:
            world.delete("Pod", pods[number % len(pods)])
        case "unready" if pods:
            world.unready.add(pods[number % len(pods)])
        case "ready":
            world.unready.clear()
    some_writes(world, number)


def check(world: World, kind: str) -> None:
    world.unready.clear()
    world.settle(limit=300)
    value = world.get(kind, "x")
    wanted = value["spec"]["replicas"]
    pods = world.all("Pod")
    image = value["spec"]["template"]["spec"]["containers"][0]["image"]
    assert len(pods) == wanted
    assert {p["spec"]["containers"][0]["image"] for p in pods} <= {image}
    assert value["status"].get("readyReplicas", 0) == wanted
    listed = [e for s in world.all("EndpointSlice") for e in s["endpoints"]]
    assert sorted(e["targetRef"]["name"] for e in listed) == world.pods()
    assert all(e["conditions"]["ready"] for e in listed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(ACTIONS)
def test_deployments_converge(actions: list[tuple[str, int]]) -> None:
    world = World()
    world.apply(deployment("x", 3))
    world.apply(service("x", "x"))
    for action, number in actions:
        act(world, action, number, "Deployment")
    check(world, "Deployment")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(ACTIONS)
def test_stateful_sets_converge(actions: list[tuple[str, int]]) -> None:
    world = World()
    world.apply(stateful_set("x", 3))
    world.apply(service("x", "x"))
    for action, number in actions:
        act(world, action, number, "StatefulSet")
    check(world, "StatefulSet")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(ACTIONS)
def test_daemon_sets_converge(actions: list[tuple[str, int]]) -> None:
    world = World(nodes=3)
    world.apply(daemon_set("x"))
    world.apply(service("x", "x"))
    for action, number in actions:
        act(world, action, number, "DaemonSet")
    for name in ("node-1", "node-2", "node-3"):
        world.edit_node(name, taints=[])
    world.unready.clear()
    world.settle(limit=300)
    value = world.get("DaemonSet", "x")
    image = value["spec"]["template"]["spec"]["containers"][0]["image"]
    pods = world.all("Pod")
    assert sorted(p["spec"]["nodeName"] for p in pods) == ["node-1", "node-2", "node-3"]
    assert {p["spec"]["containers"][0]["image"] for p in pods} == {image}
    assert value["status"]["numberAvailable"] == value["status"]["updatedNumberScheduled"] == 3
