"""NetworkPolicy semantics N1 to N11, decided by the same tables the kernel gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.plan import PolicyPlan, decide_policy
from podwire.testing.build import namespace, pod, policy, snapshot

WEB = [{"name": "http", "containerPort": 8080}]
WORLD = (
    namespace("a", team="red"),
    namespace("b", team="blue"),
    pod("a/web", "10.244.0.2", labels={"app": "web"}, ports=WEB),
    pod("a/db", "10.244.0.3", labels={"app": "db"}, ports=[{"name": "http", "containerPort": 9000}]),
    pod("b/client", "10.244.1.2", labels={"app": "client"}, node="node-2"),
)
OUTSIDE = "198.51.100.7"


def plan_of(*policies: dict[str, Any]) -> PolicyPlan:
    piece = compile_policy(Context(snapshot(*WORLD, *policies), Memo()))
    assert piece.policy is not None
    return piece.policy


def allowed(plan: PolicyPlan, source: str, destination: str, port: int = 8080, protocol: str = "TCP") -> bool:
    """Egress of the source and ingress of the destination, for addresses."""
    pods = {a: p for p in plan.pods.values() for a in p.addresses}
    out = decide_policy(
        plan, subject=pods.get(source), direction="egress", peer=destination, protocol=protocol, port=port
    )
    into = decide_policy(
        plan, subject=pods.get(destination), direction="ingress", peer=source, protocol=protocol, port=port
    )
    return out.action == "allow" and into.action == "allow"


WEB_IP, DB_IP, CLIENT_IP = "10.244.0.2", "10.244.0.3", "10.244.1.2"


def ingress(*rules: Any, selector: Any = None) -> dict[str, Any]:
    return policy("a/p", podSelector=selector or {}, policyTypes=["Ingress"], ingress=list(rules))


@pytest.mark.parametrize(
    ("rules", "source", "port", "expected"),
    [
        ([], CLIENT_IP, 8080, False),  # N4: no rules deny all
        ([{}], OUTSIDE, 1, True),  # N4: one empty rule allows all
        ([{"from": []}], OUTSIDE, 1, True),
        ([{"from": [{"podSelector": {}}]}], DB_IP, 1, True),  # N6: own namespace
        ([{"from": [{"podSelector": {}}]}], CLIENT_IP, 1, False),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}], CLIENT_IP, 1, True),
        ([{"from": [{"namespaceSelector": {"matchLabels": {"team": "blue"}}}]}], DB_IP, 1, False),
        (
            [{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}]}],
            CLIENT_IP,
            1,
            True,
        ),
        ([{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "client"}}}]}], DB_IP, 1, False),
        ([{"from": [{"ipBlock": {"cidr": "10.244.0.0/16"}}]}], CLIENT_IP, 1, True),  # N7: pod addresses too
        ([{"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.0/24"]}}]}], CLIENT_IP, 1, False),
        ([{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}], OUTSIDE, 1, True),
        ([{"ports": [{"port": 8080}]}], CLIENT_IP, 8080, True),
        ([{"ports": [{"port": 8080}]}], CLIENT_IP, 8081, False),
        ([{"ports": [{"port": 8000, "endPort": 8100}]}], CLIENT_IP, 8100, True),
        ([{"ports": [{"port": 8000, "endPort": 8100}]}], CLIENT_IP, 8101, False),
        ([{"ports": [{"port": "http"}]}], CLIENT_IP, 8080, True),  # N11
        ([{"ports": [{"port": "http"}]}], CLIENT_IP, 9000, False),
        ([{"ports": [{"protocol": "UDP"}]}], CLIENT_IP, 8080, False),  # N10
        ([{"ports": [{"protocol": "TCP"}]}], CLIENT_IP, 1, True),
        ([{"from": [{"podSelector": {}}]}, {"ports": [{"port": 80}]}], CLIENT_IP, 80, True),  # N5: rules are united
    ],
)
def test_ingress_rules(rules: list[Any], source: str, port: int, expected: bool) -> None:
    assert allowed(plan_of(ingress(*rules)), source, WEB_IP, port) is expected


def test_no_policy_allows_everything() -> None:
    assert allowed(plan_of(), OUTSIDE, WEB_IP)


def test_named_port_on_egress_resolves_per_destination() -> None:
    plan = plan_of(
        policy("a/p", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}], "ports": [{"port": "http"}]}])
    )
    assert allowed(plan, DB_IP, WEB_IP, 8080)
    assert not allowed(plan, DB_IP, WEB_IP, 9000)
    assert allowed(plan, WEB_IP, DB_IP, 9000)
    assert not allowed(plan, WEB_IP, OUTSIDE, 8080)


def test_missing_policy_types_mean_ingress_and_egress_only_with_egress_rules() -> None:
    bare = plan_of(policy("a/p"))
    assert set(bare.pods["a/web"].isolated) == {"ingress"}
    both = plan_of(policy("a/p", egress=[{}]))
    assert set(both.pods["a/web"].isolated) == {"ingress", "egress"}


def test_a_denial_names_every_isolating_policy() -> None:
    plan = plan_of(ingress(), policy("a/q", policyTypes=["Ingress"]))
    verdict = decide_policy(
        plan, subject=plan.pods["a/web"], direction="ingress", peer=CLIENT_IP, protocol="TCP", port=80
    )
    assert verdict.decision is not None
    assert [m.origin.ref.name for m in verdict.decision.matched] == ["p", "q"]


def test_an_allowance_names_rule_and_peer() -> None:
    plan = plan_of(ingress({"from": [{"podSelector": {"matchLabels": {"app": "x"}}}, {"podSelector": {}}]}))
    verdict = decide_policy(plan, subject=plan.pods["a/web"], direction="ingress", peer=DB_IP, protocol="TCP", port=80)
    assert verdict.decision is not None
    assert [m.origin.path for m in verdict.decision.matched] == ["spec.ingress[0].from[1]"]


def test_an_invalid_cidr_matches_nothing_and_is_a_finding() -> None:
    bad = ingress({"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]})
    piece = compile_policy(Context(snapshot(*WORLD, bad), Memo()))
    assert [f.code for f in piece.findings] == ["PW2001"]
    assert piece.policy is not None and not allowed(piece.policy, CLIENT_IP, WEB_IP)


def test_completed_and_host_network_pods_are_neither_subject_nor_peer() -> None:
    done = pod("a/done", "10.244.0.9", labels={"app": "web"})
    done["status"]["phase"] = "Succeeded"
    piece = compile_policy(Context(snapshot(*WORLD, done, ingress()), Memo()))
    assert piece.policy is not None and "a/done" not in piece.policy.pods


def test_a_readiness_flip_keeps_every_unit() -> None:
    memo = Memo()
    first = compile_policy(Context(snapshot(*WORLD, ingress({})), memo)).policy
    memo.sweep()
    flipped = pod("a/web", WEB_IP, labels={"app": "web"}, ports=WEB)
    flipped["status"]["conditions"][0]["status"] = "False"
    second = compile_policy(
        Context(snapshot(*(o for o in WORLD if o["metadata"]["name"] != "web"), flipped, ingress({})), memo)
    ).policy
    assert first is not None and second is not None
    assert all(first.pods[key] is second.pods[key] for key in first.pods)


cidrs = st.sampled_from(
    ["0.0.0.0/0", "10.244.0.0/16", "10.244.0.0/31", "10.244.1.2/32", "198.51.0.0/16", "198.51.100.0/24"]
)


@given(
    st.lists(st.tuples(cidrs, st.lists(cidrs, max_size=2)), max_size=4),
    st.sampled_from([WEB_IP, DB_IP, CLIENT_IP, OUTSIDE]),
)
def test_blocks_agree_with_a_naive_model(blocks: list[tuple[str, list[str]]], source: str) -> None:
    from podwire.base import Cidr

    rule = {"from": [{"ipBlock": {"cidr": cidr, "except": excepts}} for cidr, excepts in blocks]}
    naive = (
        any(
            Cidr.parse(cidr).contains(source) and not any(Cidr.parse(e).contains(source) for e in excepts)
            for cidr, excepts in blocks
        )
        or not blocks
    )
    assert allowed(plan_of(ingress(rule)), source, WEB_IP) is (naive or source == WEB_IP)
