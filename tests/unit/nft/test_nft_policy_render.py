"""Rendered policy elements, read the way the kernel reads them, mean what ``decide_policy`` says."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.base import Cidr, Origin, Ref
from podwire.plan import (
    NAMES_UNIT,
    Decision,
    Matched,
    PolicyPlan,
    PolicyPod,
    PortClass,
    RuleKey,
    ServiceNode,
    ServicePlan,
    decide_policy,
)
from podwire.plan.policy import Direction
from podwire.planes.nft import tables as t
from podwire.planes.nft.fake import FakeKernel
from podwire.planes.nft.machine import Machine
from podwire.planes.nft.render import Renderer, render_node
from podwire.planes.nft.render_policy import render_cidrs, split_spans
from podwire.planes.nft.tables import NftPlan

NODES = ("node-a", "node-b")
SERVICES = ServicePlan(
    ports={},
    nodes={n: ServiceNode(n, "", (f"10.89.0.{i + 2}",), (), Origin(Ref("Node", "", n))) for i, n in enumerate(NODES)},
    service_cidrs=(Cidr.parse("10.96.0.0/12"),),
    cluster_cidrs=(Cidr.parse("10.244.0.0/16"),),
)
MATCHED = (Matched(Origin(Ref("NetworkPolicy", "t", "p"))),)
DECISIONS = {n: Decision("allow" if n % 2 else "deny", "ingress", MATCHED) for n in range(1, 5)}
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")
PORTS = (PortClass("TCP", 80, 80, 1), PortClass("TCP", 81, 90, 2), PortClass("UDP", 53, 53, 3))
PEERS = (0, 1, 2, 3, 101, 102)

RULES = st.dictionaries(
    st.builds(RuleKey, st.sampled_from(DIRECTIONS), st.sampled_from(PEERS), st.integers(0, 3)),
    st.integers(1, 4),
    max_size=8,
)
ISOLATED = st.dictionaries(st.sampled_from(DIRECTIONS), st.sampled_from((2, 4)))
PLANS = st.builds(
    lambda pods, rule_sets, cidrs: PolicyPlan(
        pods={
            f"t/p{n}": PolicyPod(
                pod=Ref("Pod", "t", f"p{n}"),
                uid=f"uid-{n}",
                node=NODES[n % 2],
                addresses=(f"10.244.{n % 2}.{n + 1}",),
                identities=(identity,),
                isolated=isolated,
                rule_set=f"set{which}",
            )
            for n, (identity, isolated, which) in enumerate(pods)
        },
        cidrs={Cidr.parse(text): number for text, number in cidrs.items()},
        ports=PORTS,
        rule_sets={f"set{n}": rules for n, rules in enumerate(rule_sets)},
        decisions=DECISIONS,
    ),
    st.lists(st.tuples(st.integers(1, 3), ISOLATED, st.integers(0, 1)), min_size=2, max_size=4),
    st.lists(RULES, min_size=2, max_size=2),
    st.dictionaries(st.sampled_from(("10.244.1.0/24", "192.0.2.0/24", "198.51.100.1/32")), st.integers(101, 102)),
)


def expected(plan: PolicyPlan, node: str, source: str, destination: str, protocol: str, port: int) -> str:
    by_address = {p.addresses[0]: p for p in plan.pods.values() if p.node == node}
    for direction, subject, peer in (("egress", source, destination), ("ingress", destination, source)):
        verdict = decide_policy(
            plan,
            subject=by_address.get(subject),
            direction="egress" if direction == "egress" else "ingress",
            peer=peer,
            protocol=protocol,
            port=port,
        )
        if verdict.action == "deny":
            return "deny"
    return "allow"


@settings(deadline=None)
@given(st.lists(PLANS, min_size=1, max_size=3))
def test_elements_mean_what_is_decided(history: list[PolicyPlan]) -> None:
    """After any history of plans, on every node, for every pair and port."""
    renderer = Renderer()
    kernels = {name: (FakeKernel(), Machine()) for name in NODES}
    for plan in history:
        for name, tables in renderer.render(NftPlan(SERVICES, plan)).items():
            kernel, machine = kernels[name]
            for transaction in machine.advance(tables).transactions:
                kernel.run(transaction)
    addresses = [p.addresses[0] for p in plan.pods.values()] + ["192.0.2.7", "198.51.100.1", "10.244.1.200"]
    for name in NODES:
        for source, destination in product(addresses, repeat=2):
            for protocol, port in (("TCP", 80), ("TCP", 85), ("TCP", 9), ("UDP", 53), ("SCTP", 80)):
                seen = kernels[name][0].decide(source, destination, protocol, port)
                assert seen == expected(plan, name, source, destination, protocol, port)


def test_rules_are_loaded_on_the_pods_own_node_only() -> None:
    pod = PolicyPod(Ref("Pod", "t", "p"), "u", "node-a", ("10.244.0.1",), (7,), {"ingress": 2}, "s")
    plan = PolicyPlan({"t/p": pod}, {}, (), {"s": {RuleKey("ingress", 3, 0): 1}}, DECISIONS)
    here, there = (render_node(SERVICES, plan, node).policy["pod/u"] for node in NODES)
    assert there.elements.keys() == {t.IP.identity}
    assert here.elements[t.IP.rules_in] == {"10.244.0.1 . 0x00000003 . 0x0": "0x90000001"}
    assert here.elements[t.IP.isolated_in] == {"10.244.0.1": "0xa0000002"}
    assert t.IP.rules_out not in here.elements


def test_a_recreated_pod_leaves_nothing_behind() -> None:
    """Same name, new uid, another address: the old unit goes (N9)."""
    renderer = Renderer()
    for uid, address in (("old", "10.244.0.1"), ("new", "10.244.0.2")):
        pod = PolicyPod(Ref("Pod", "t", "p"), uid, "node-a", (address,), (7,), {}, "")
        tables = renderer.render(NftPlan(SERVICES, PolicyPlan({"t/p": pod}, {}, (), {}, {})))["node-a"]
    assert set(tables.policy) == {"pod/new", "cidrs", "ports", NAMES_UNIT}


def test_overlapping_blocks_are_cut_first_wins() -> None:
    spans = [(10, 20, 1), (0, 100, 2), (15, 120, 3)]
    assert split_spans(spans) == [(0, 9, 2), (10, 20, 1), (21, 100, 2), (101, 120, 3)]
    cidrs = {Cidr.parse("10.1.0.0/16"): 1, Cidr.parse("fd00::/126"): 3, Cidr.parse("192.0.2.1"): 2}
    unit = render_cidrs(cidrs, t.FAMILIES)
    assert unit.elements[t.IP6.cidr_identity] == {"fd00::-fd00::3": "0x00000003"}
    assert t.IP6.cidr_identity not in render_cidrs(cidrs, (t.IP,)).elements
    assert unit.elements[t.IP.cidr_identity] == {"10.1.0.0-10.1.255.255": "0x00000001", "192.0.2.1": "0x00000002"}
