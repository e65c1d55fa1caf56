"""ClusterNetworkPolicy semantics C1 to C7, decided by the same tables the kernel gets."""

import json
from typing import Any

import pytest

from podwire.compile import compile_plans
from podwire.compile.context import Context, Piece
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.kube.validate.clusterpolicy import check_cluster_network_policy
from podwire.plan import Merge, PolicyPlan, PolicyVerdict, decide_policy
from podwire.testing.build import namespace, node, pod, policy, snapshot

Obj = dict[str, Any]
WEB_IP, DB_IP, CLIENT_IP, OUTSIDE = "10.244.0.2", "10.244.0.3", "10.244.1.2", "198.51.100.7"
WORLD = (
    namespace("a", team="red"),
    namespace("b", team="blue"),
    pod("a/web", WEB_IP, labels={"app": "web"}, ports=[{"name": "http", "containerPort": 8080}]),
    pod("a/db", DB_IP, labels={"app": "db"}, ports=[{"name": "http", "containerPort": 9000}]),
    pod("b/client", CLIENT_IP, labels={"app": "client"}, node="node-2"),
)
ALL: Obj = {"namespaces": {}}
BLUE: Obj = {"namespaces": {"matchLabels": {"team": "blue"}}}
RED: Obj = {"namespaces": {"matchLabels": {"team": "red"}}}


def cluster(name: str, tier: str = "Admin", priority: int = 1, *, subject: Obj = ALL, **rules: Any) -> Obj:
    spec = {"tier": tier, "priority": priority, "subject": subject, **rules}
    meta = {"name": name, "uid": name, "generation": 1}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": meta,
        "spec": spec,
    }


def rule(action: str, *peers: Obj, way: str = "from", **more: Any) -> Obj:
    return {"action": action, way: list(peers), **more}


def compiled(*policies: Obj) -> Piece:
    return compile_policy(Context(snapshot(*WORLD, *policies), Memo()))


def verdict(piece: Piece, subject: str, direction: Any, peer: str, port: int = 8080) -> PolicyVerdict:
    assert piece.policy is not None
    found = piece.policy.pods[subject]
    return decide_policy(piece.policy, subject=found, direction=direction, peer=peer, protocol="TCP", port=port)


def into_web(*policies: Obj, peer: str = CLIENT_IP, port: int = 8080) -> str:
    return verdict(compiled(*policies), "a/web", "ingress", peer, port).action


DENY_BLUE = cluster("deny", subject=RED, ingress=[rule("Deny", BLUE)])
ISOLATE = policy("a/all", podSelector={}, policyTypes=["Ingress"])
ADMIT = policy("a/any", podSelector={}, policyTypes=["Ingress"], ingress=[{}])


def test_it_isolates_nobody() -> None:
    assert into_web(DENY_BLUE) == "deny"
    assert into_web(DENY_BLUE, peer=DB_IP) == "allow"
    assert into_web(DENY_BLUE, peer=OUTSIDE) == "allow"


def test_tiers_go_admin_then_networkpolicy_then_baseline() -> None:
    accept = cluster("accept", ingress=[rule("Accept", BLUE)])
    baseline = cluster("base", "Baseline", ingress=[rule("Deny", ALL)])
    assert into_web(accept, ISOLATE) == "allow"
    assert into_web(DENY_BLUE, ADMIT) == "deny"
    assert into_web(baseline) == "deny"
    assert into_web(baseline, ADMIT) == "allow"
    assert into_web(accept, baseline) == "allow"


def test_lower_priority_numbers_and_names_go_first() -> None:
    accept, deny = [rule("Accept", BLUE)], [rule("Deny", BLUE)]
    assert into_web(cluster("x", priority=5, ingress=deny), cluster("y", priority=4, ingress=accept)) == "allow"
    assert into_web(cluster("x", ingress=deny), cluster("y", ingress=accept)) == "deny"
    assert into_web(cluster("x", ingress=[*accept, *deny])) == "allow"


def test_pass_leaves_the_tier() -> None:
    skip = cluster("a-pass", ingress=[rule("Pass", BLUE)])
    assert into_web(skip, DENY_BLUE) == "allow"
    assert into_web(skip, DENY_BLUE, ISOLATE) == "deny"
    base = cluster("base", "Baseline", ingress=[rule("Pass", BLUE), rule("Deny", ALL)])
    assert into_web(base) == "allow"
    assert into_web(base, peer=DB_IP) == "deny"


@pytest.mark.parametrize(
    ("protocols", "port", "expected"),
    [
        ([{"tcp": {"destinationPort": {"number": 8080}}}], 8080, "deny"),
        ([{"tcp": {"destinationPort": {"number": 8080}}}], 8081, "allow"),
        ([{"tcp": {"destinationPort": {"range": {"start": 8000, "end": 8100}}}}], 8100, "deny"),
        ([{"tcp": {"destinationPort": {"range": {"start": 8000, "end": 8100}}}}], 8101, "allow"),
        ([{"tcp": {}}], 1, "deny"),
        ([{"udp": {}}], 1, "allow"),
        ([{"destinationNamedPort": "http"}], 8080, "deny"),
        ([{"destinationNamedPort": "http"}], 9000, "allow"),
    ],
)
def test_protocols(protocols: list[Obj], port: int, expected: str) -> None:
    deny = cluster("deny", ingress=[rule("Deny", BLUE, protocols=protocols)])
    assert into_web(deny, port=port) == expected


def test_networks_match_pods_and_the_outside() -> None:
    block = rule("Deny", {"networks": ["198.51.100.0/24", f"{CLIENT_IP}/32"]}, way="to")
    piece = compiled(cluster("net", egress=[block]))
    assert verdict(piece, "a/web", "egress", OUTSIDE).action == "deny"
    assert verdict(piece, "a/web", "egress", CLIENT_IP).action == "deny"
    assert verdict(piece, "a/web", "egress", "203.0.113.1").action == "allow"


@pytest.mark.parametrize("peer", [{}, {"domainNames": ["example.com", "web.a.svc.cluster.local"]}])
def test_what_is_not_enforced_fails_closed_and_is_said(peer: Obj) -> None:
    piece = compiled(cluster("x", egress=[rule("Deny", peer, way="to")]))
    assert verdict(piece, "a/web", "egress", OUTSIDE).action == "deny"
    assert {f.code for f in piece.findings} & {"PW2020", "PW2021"}
    (write,) = piece.writes.values()
    assert isinstance(write, Merge)
    assert write.patch["status"]["conditions"][0]["status"] == "False"
    accept = compiled(
        cluster("x", egress=[rule("Accept", peer, way="to")]), policy("a/p", podSelector={}, policyTypes=["Egress"])
    )
    assert verdict(accept, "a/web", "egress", OUTSIDE).action == "deny"


def test_a_pod_to_itself_by_a_service_is_subject_to_cluster_policies_only() -> None:
    assert into_web(ISOLATE, peer=WEB_IP) == "allow"
    assert into_web(cluster("red", ingress=[rule("Deny", RED)]), peer=WEB_IP) == "deny"
    assert into_web(DENY_BLUE, ISOLATE, peer=WEB_IP) == "allow"


def test_decisions_name_the_rule() -> None:
    found = verdict(compiled(DENY_BLUE), "a/web", "ingress", CLIENT_IP)
    assert found.decision is not None
    assert [str(m.origin) for m in found.decision.matched] == ["ClusterNetworkPolicy deny spec.ingress[0].from[0]"]


def test_idle_policies_and_rules_are_said() -> None:
    nobody = policy("a/none", podSelector={"matchLabels": {"app": "gone"}})
    half = policy(
        "a/half",
        podSelector={},
        ingress=[{"from": [{"podSelector": {}}]}, {"from": [{"podSelector": {"matchLabels": {"app": "gone"}}}]}],
    )
    shadowed = cluster("late", priority=9, subject=RED, ingress=[rule("Accept", BLUE)])
    found = {(f.ref.name, f.code, str(f.path)) for f in compiled(nobody, half, DENY_BLUE, shadowed).findings}
    assert found == {
        ("none", "PW2030", "spec.podSelector"),
        ("half", "PW2031", "spec.ingress[1]"),
        ("late", "PW2031", "spec.ingress[0]"),
    }


NODES = (node("node-1", "10.89.0.2"), node("node-2", "10.89.0.3", zone="b"))
ZONE_B: Obj = {"nodes": {"matchLabels": {"topology.kubernetes.io/zone": "b"}}}


def on_nodes(*policies: Obj) -> PolicyPlan:
    return compile_plans(snapshot(*WORLD, *NODES, *policies)).policy


def out_of_web(plan: PolicyPlan, peer: str, port: int = 80) -> str:
    subject = plan.pods["a/web"]
    return decide_policy(plan, subject=subject, direction="egress", peer=peer, protocol="TCP", port=port).action


def test_nodes_are_their_addresses_and_none_is_understood() -> None:
    plan = on_nodes(cluster("n", egress=[rule("Deny", ZONE_B, way="to")]))
    assert [out_of_web(plan, a) for a in ("10.89.0.2", "10.89.0.3", OUTSIDE)] == ["allow", "deny", "allow"]
    plan = on_nodes(cluster("n", egress=[rule("Deny", {"nodes": {"matchLabels": {"no": "such"}}}, way="to")]))
    assert out_of_web(plan, OUTSIDE) == "allow"


def test_the_own_node_is_subject_to_cluster_policies_only() -> None:
    """N17, C8: web is on node-1."""
    isolate = policy("a/none", podSelector={}, policyTypes=["Egress"])
    assert out_of_web(on_nodes(isolate), "10.89.0.2") == "allow"
    assert out_of_web(on_nodes(isolate), "10.89.0.3") == "deny"
    every = cluster("n", egress=[rule("Deny", {"nodes": {}}, way="to", protocols=[{"tcp": {}}])])
    assert out_of_web(on_nodes(every), "10.89.0.2") == "deny"
    networks = cluster("n", egress=[rule("Deny", {"networks": ["10.89.0.0/24"]}, way="to")])
    assert out_of_web(on_nodes(networks), "10.89.0.2") == "deny"
    passing = cluster("n", egress=[rule("Pass", {"nodes": {}}, way="to"), rule("Deny", {"nodes": {}}, way="to")])
    assert out_of_web(on_nodes(passing, isolate), "10.89.0.2") == "allow"


def test_rules_about_nodes_differ_from_node_to_node() -> None:
    """web is on node-1, client on node-2; both are selected alike and must not share what holds for the own node."""
    plan = on_nodes(cluster("n", egress=[rule("Deny", ZONE_B, way="to")]))
    for key, own in (("a/web", "allow"), ("b/client", "deny")):
        address = {"a/web": "10.89.0.2", "b/client": "10.89.0.3"}[key]
        subject = plan.pods[key]
        found = decide_policy(plan, subject=subject, direction="egress", peer=address, protocol="TCP", port=1)
        assert found.action == own


def test_older_admin_policies_are_not_enforced_and_written_anew() -> None:
    """The converted form is a policy that the API takes and that denies what was meant."""
    older = {
        "apiVersion": "policy.networking.k8s.io/v1alpha1",
        "kind": "AdminNetworkPolicy",
        "metadata": {"name": "old", "uid": "old"},
        "spec": {
            "priority": 7,
            "subject": {"namespaces": {}},
            "ingress": [
                {"name": "in", "action": "Allow", "from": [RED], "ports": [{"namedPort": "http"}]},
                {"action": "Deny", "from": [ALL], "ports": [{"portNumber": {"protocol": "TCP", "port": 8080}}]},
            ],
            "egress": [{"action": "Pass", "to": [ALL], "ports": [{"portRange": {"start": 1, "end": 9}}]}],
        },
    }
    piece = compiled(older)
    assert verdict(piece, "a/web", "ingress", CLIENT_IP).action == "allow"
    (finding,) = (f for f in piece.findings if f.code == "PW2022")
    instead = json.loads(finding.fix.partition(" with ")[2])
    assert not list(check_cluster_network_policy(instead, None))
    assert into_web(instead) == "deny"
    assert into_web(instead, peer=DB_IP) == "allow"
    baseline = {**older, "kind": "BaselineAdminNetworkPolicy"}
    (finding,) = (f for f in compiled(baseline).findings if f.code == "PW2022")
    assert '"tier":"Baseline"' in finding.fix
