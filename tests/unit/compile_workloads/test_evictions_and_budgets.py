"""Taints that send pods away, nodes that are lost, and disruption budgets, against an API in memory."""

from typing import Any

from tests.unit.simulate import START, World, daemon_set, deployment, pod, quiet, stamp

Json = dict[str, Any]
TAINT = {"key": "gone", "value": "soon", "effect": "NoExecute"}


def wake(world: World) -> float:
    assert world.compiled is not None and world.compiled.wake_at is not None
    return world.compiled.wake_at


def test_a_no_execute_taint_sends_pods_away_at_once() -> None:
    world = quiet(nodes=1)
    world.apply(pod("plain"))
    world.apply(pod("able", tolerations=[{"key": "gone", "operator": "Exists"}]))
    world.settle()
    world.edit_node("node-1", taints=[TAINT])
    world.settle()
    assert world.pods() == ["able"]


def test_a_toleration_for_a_time_ends() -> None:
    world = quiet(nodes=1)
    stay = {"key": "gone", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    world.apply(pod("p", tolerations=[stay]))
    world.settle()
    world.edit_node("node-1", taints=[{**TAINT, "timeAdded": stamp(START - 20)}])
    world.settle()
    assert world.pods() == ["p"] and wake(world) == START + 40
    world.now = START + 40
    world.settle()
    assert world.pods() == []


def test_without_time_added_the_time_counts_from_when_it_was_seen() -> None:
    world = quiet(nodes=1)
    stay = {"key": "gone", "operator": "Exists", "tolerationSeconds": 60}
    world.apply(pod("p", tolerations=[stay]))
    world.settle()
    world.edit_node("node-1", taints=[TAINT])
    world.compile()
    world.now += 10
    world.compile()
    assert wake(world) == START + 60


def test_pods_leave_a_node_that_is_not_ready_after_five_minutes_but_daemons_stay() -> None:
    world = quiet(nodes=1)
    world.apply(pod("p"))
    world.apply(daemon_set("agent"))
    world.settle()
    condition = {"type": "Ready", "status": "False", "lastTransitionTime": stamp(START)}
    world.builder.snapshot(world.now)
    from podwire.plan import NodeFact

    world.builder.observe("node-1", NodeFact(False))
    world.edit_node("node-1", status={"conditions": [condition]})
    world.settle()
    assert len(world.pods()) == 2 and wake(world) == START + 300
    world.now = START + 300
    world.settle()
    assert [name.partition("-")[0] for name in world.pods()] == ["agent"]


def test_pods_of_a_node_that_is_gone_are_collected() -> None:
    world = quiet(nodes=1)
    world.apply(pod("p", nodeName="node-7"))
    world.settle()
    assert world.pods() == ["p"] and wake(world) == START + 40
    world.now = START + 40
    world.settle()
    assert world.pods() == []


def budget(**spec: Any) -> Json:
    meta = {"name": "b"}
    body = {"selector": {"matchLabels": {"app": "web"}}, **spec}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": body}


def status(world: World) -> Json:
    found: Json = world.get("PodDisruptionBudget", "b")["status"]
    return found


def counts(world: World) -> tuple[int, int, int, int]:
    found = status(world)
    names = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    return tuple(found.get(name, 0) for name in names)


def test_budgets_count_what_may_go() -> None:
    for spec, expected in (
        ({"minAvailable": 2}, (1, 3, 2, 3)),
        ({"maxUnavailable": 1}, (1, 3, 2, 3)),
        ({"minAvailable": "50%"}, (1, 3, 2, 3)),
        ({"maxUnavailable": "30%"}, (1, 3, 2, 3)),
        ({"minAvailable": 5}, (0, 3, 5, 3)),
    ):
        world = quiet()
        world.apply(deployment("web", 3))
        world.apply(budget(**spec))
        world.settle()
        assert counts(world) == expected, spec


def test_an_unready_pod_uses_the_budget_up() -> None:
    world = quiet()
    world.apply(deployment("web", 3))
    world.apply(budget(maxUnavailable=1))
    world.settle()
    world.unready.add(world.pods()[0])
    world.settle()
    assert counts(world) == (0, 2, 2, 3)
    assert [c["reason"] for c in status(world)["conditions"]] == ["InsufficientPods"]


def test_a_noted_eviction_counts_until_the_pod_is_gone_or_two_minutes_passed() -> None:
    world = quiet()
    world.apply(deployment("web", 3))
    world.apply(budget(maxUnavailable=1))
    world.settle()
    value = world.get("PodDisruptionBudget", "b")
    value["status"]["disruptedPods"] = {world.pods()[0]: stamp(START)}
    world._store("PodDisruptionBudget", "default/b", value)
    world.settle()
    assert counts(world)[0] == 0 and wake(world) == START + 120
    world.now = START + 120
    world.settle()
    assert counts(world)[0] == 1 and not status(world).get("disruptedPods")


def test_a_pod_without_controller_makes_percentages_unknown() -> None:
    world = quiet()
    value = pod("bare")
    value["metadata"]["labels"] = {"app": "web"}
    world.apply(value)
    world.apply(budget(minAvailable="50%"))
    world.settle()
    assert counts(world)[0] == 0
    assert [c["reason"] for c in status(world)["conditions"]] == ["SyncFailed"]
