"""Priority and tolerations of new pods."""

from typing import Any

import pytest

from podwire.apiserver.podadmission import system_classes
from podwire.apiserver.status import StatusError

SECONDS = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
LOST = [{"key": f"node.kubernetes.io/{state}", **SECONDS} for state in ("not-ready", "unreachable")]


def refusal(call: Any, value: Any) -> str:
    with pytest.raises(StatusError) as caught:
        call(value)
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")
    return str(caught.value).partition("is forbidden: ")[2]


def priority_class(name: str, value: int, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": value,
        **more,
    }


def with_spec(value: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**value, "spec": {**value["spec"], **spec}}


def test_priority_comes_from_the_class(kit: Any) -> None:
    async def body(bench: Any) -> None:
        plain = bench.create(kit.pod("plain"))["spec"]
        assert (plain["priority"], plain["preemptionPolicy"]) == (0, "PreemptLowerPriority")
        assert "priorityClassName" not in plain
        bench.create(priority_class("high", 1000, preemptionPolicy="Never"))
        high = bench.create(with_spec(kit.pod("high"), priorityClassName="high"))["spec"]
        assert (high["priority"], high["preemptionPolicy"]) == (1000, "Never")
        for value in system_classes():
            bench.create(value)
        critical = with_spec(kit.pod("critical"), priorityClassName="system-cluster-critical", priority=2_000_000_000)
        assert bench.create(critical)["spec"]["priority"] == 2_000_000_000
        bench.create(priority_class("usual", 7, globalDefault=True))
        usual = bench.create(kit.pod("usual"))["spec"]
        assert (usual["priority"], usual["priorityClassName"]) == (7, "usual")

    kit.run(body)


def test_what_the_class_does_not_say_is_refused(kit: Any) -> None:
    async def body(bench: Any) -> None:
        missing = with_spec(kit.pod("a"), priorityClassName="none")
        assert refusal(bench.create, missing) == "no PriorityClass with name none was found"
        written = with_spec(kit.pod("a"), priority=5)
        assert refusal(bench.create, written) == (
            "the integer value of priority (5) must not be provided in pod spec; "
            "priority admission controller computed 0 from the given PriorityClass name"
        )
        policy = with_spec(kit.pod("a"), preemptionPolicy="Never")
        assert "computed PreemptLowerPriority from the given PriorityClass name" in refusal(bench.create, policy)
        bench.create(priority_class("usual", 7, globalDefault=True))
        second = priority_class("second", 8, globalDefault=True)
        wanted = "PriorityClass usual is already marked as default. Only one default can exist"
        assert refusal(bench.create, second) == wanted
        made = bench.create({**second, "globalDefault": False})
        assert refusal(bench.update, {**made, "globalDefault": True}) == wanted

    kit.run(body)


def test_pods_tolerate_lost_nodes_for_a_while(kit: Any) -> None:
    async def body(bench: Any) -> None:
        assert bench.create(kit.pod("plain"))["spec"]["tolerations"] == LOST
        forever = [{"operator": "Exists"}]
        assert bench.create(with_spec(kit.pod("forever"), tolerations=forever))["spec"]["tolerations"] == forever
        mine = [
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "tolerationSeconds": 5,
                "effect": "NoExecute",
            }
        ]
        found = bench.create(with_spec(kit.pod("mine"), tolerations=mine))["spec"]["tolerations"]
        assert found == [*mine, LOST[0]]

    kit.run(body)
