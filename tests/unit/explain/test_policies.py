"""Where each policy is in force, by what the kernels confirmed; and what they refused."""

from typing import Any

from podwire.compile import compile_plans
from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.explain import World
from podwire.explain.policies import PolicyState, explain_policies
from podwire.plan import Merge, PlaneFact, digest
from podwire.snapshot import Settings, Snapshot, SnapshotBuilder
from podwire.testing.build import NOW, namespace, node, pod, policy

Json = dict[str, Any]
BASE = (
    namespace("a", team="red"),
    node("node-1", "10.89.0.10"),
    node("node-2", "10.89.0.11", pod_cidr="10.244.1.0/24"),
    pod("a/web", "10.244.0.2", labels={"app": "web"}),
    pod("a/db", "10.244.1.2", labels={"app": "db"}, node="node-2"),
)
ALL = policy("a/all", policyTypes=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}])
WEB = policy("a/web", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Egress"])
NOBODY = policy("a/nobody", podSelector={"matchLabels": {"app": "none"}}, policyTypes=["Egress"])
CLUSTER = {
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "kind": "ClusterNetworkPolicy",
    "metadata": {"name": "c", "uid": "c", "generation": 3},
    "spec": {
        "tier": "Admin",
        "priority": 1,
        "subject": {"namespaces": {}},
        "ingress": [{"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "blue"}}}]}],
    },
}


def instant(facts: dict[str, PlaneFact], *objects: Json) -> Snapshot:
    builder = SnapshotBuilder(Settings())
    for value in (*BASE, *objects):
        builder.put(value)
    for name, fact in facts.items():
        builder.observe(f"nft/{name}", fact)
    return builder.snapshot(NOW)


def confirmed(*objects: Json, nodes: tuple[str, ...] = ("node-1", "node-2"), **more: Any) -> dict[str, PlaneFact]:
    plan = compile_plans(instant({}, *objects)).policy
    applied = {p.uid: digest(p) for p in plan.pods.values()}
    return {name: PlaneFact(ready=True, applied=applied, **more) for name in nodes}


def states(facts: dict[str, PlaneFact], *objects: Json) -> dict[str, PolicyState]:
    snapshot = instant(facts, *objects)
    return {s.policy.name: s for s in explain_policies(World(snapshot, compile_plans(snapshot)))}


def test_confirmed_everywhere_is_in_force() -> None:
    found = states(confirmed(ALL, WEB, NOBODY), ALL, WEB, NOBODY)
    assert (found["all"].pods, found["all"].nodes, found["all"].is_enforced) == (2, ("node-1", "node-2"), True)
    assert (found["web"].pods, found["web"].nodes, found["web"].is_enforced) == (1, ("node-1",), True)
    assert (found["nobody"].pods, found["nobody"].nodes, found["nobody"].is_enforced) == (0, (), True)


def test_a_node_that_has_not_confirmed_is_counted_out() -> None:
    found = states(confirmed(ALL, nodes=("node-1",)), ALL)
    assert (found["all"].enforced, found["all"].is_enforced) == (("node-1",), False)


def test_what_was_confirmed_for_other_rules_does_not_count() -> None:
    stricter = policy("a/all", policyTypes=["Ingress"])
    found = states(confirmed(stricter), ALL)
    assert found["all"].enforced == ()


def test_what_a_kernel_refuses_is_named_on_the_policies_it_concerns() -> None:
    facts = confirmed(ALL, WEB)
    facts["node-2"] = PlaneFact(ready=True, applied=facts["node-2"].applied, rejected={"cidrs": "No space left"})
    found = states(facts, ALL, WEB)
    assert found["all"].enforced == ("node-1",)
    assert found["all"].refused == ("the kernel of node-2 refuses the table of all cidrs: No space left",)
    assert found["web"].is_enforced and not found["web"].refused


def test_a_refused_pod_concerns_the_policies_about_it() -> None:
    facts = confirmed(ALL, WEB)
    facts["node-2"] = PlaneFact(ready=True, applied={}, rejected={"pod-a-db": "No buffer space"})
    found = states(facts, ALL, WEB)
    assert "the tables of pod a/db" in found["all"].refused[0] and not found["web"].refused
    codes = [(f.code, f.ref.name) for f in compile_plans(instant(facts, ALL, WEB)).findings if f.severity == "error"]
    assert codes == [("PW2006", "all")]


def condition(facts: dict[str, PlaneFact], cluster: Json) -> dict[str, Any] | None:
    piece = compile_policy(Context(instant(facts, cluster), Memo()))
    write = piece.writes.get("status/ClusterNetworkPolicy c")
    assert write is None or isinstance(write, Merge)
    return write.patch["status"]["conditions"][0] if write else None


def with_status(condition: dict[str, Any]) -> Json:
    return {**CLUSTER, "status": {"conditions": [condition]}}


def test_a_cluster_policy_is_enforced_once_every_kernel_says_so() -> None:
    assert condition({}, CLUSTER) is None
    assert condition(confirmed(CLUSTER, nodes=("node-1",)), CLUSTER) is None
    found = condition(confirmed(CLUSTER), CLUSTER)
    assert found is not None and (found["status"], found["observedGeneration"]) == ("True", 3)
    assert condition({}, with_status(found)) is None


def test_a_refusal_takes_the_condition_back() -> None:
    found = condition(confirmed(CLUSTER), CLUSTER)
    assert found is not None
    facts = confirmed(CLUSTER, rejected={"pod-a-web": "No buffer space"})
    now = condition(facts, with_status(found))
    assert now is not None and (now["status"], now["reason"]) == ("False", "NotEnforced")
    assert "No buffer space" in now["message"]
