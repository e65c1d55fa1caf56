"""Rendered elements, read the way the kernel reads them, mean what ``decide_backends`` says."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.kernel.nft_families import six, translate_plan

from podwire.base import Cidr, Origin, Ref, differences
from podwire.plan import Endpoint, PolicyPlan, ServiceNode, ServicePlan, ServicePort, decide_backends
from podwire.plan.services import Scope
from podwire.planes.nft import tables as t
from podwire.planes.nft.fake import FakeKernel
from podwire.planes.nft.machine import Machine
from podwire.planes.nft.render import Renderer, render_node
from podwire.planes.nft.render_services import assign_slots
from podwire.planes.nft.tables import NftPlan

NODES = {
    name: ServiceNode(name, name[-1], (address,), (Cidr.parse(pods),), Origin(Ref("Node", "", name)))
    for name, address, pods in (("node-a", "10.89.0.2", "10.244.0.0/24"), ("node-b", "10.89.0.3", "10.244.1.0/24"))
}
NO_POLICY = PolicyPlan(pods={}, cidrs={}, ports=(), rule_sets={}, decisions={})
OUTSIDE, POD = "192.0.2.1", "10.244.0.9"


def endpoint(number: int, node: str = "node-a", **fields: Any) -> Endpoint:
    plain = Endpoint(
        address=f"10.244.{'ab'.index(node[-1])}.{number}",
        port=8080,
        node=node,
        zone=node[-1],
        ready=True,
        serving=True,
        terminating=False,
        pod=Ref("Pod", "t", f"p{number}"),
        origin=Origin(Ref("EndpointSlice", "t", "s")),
    )
    return msgspec.structs.replace(plain, **fields)


def service(name: str = "web", *endpoints: Endpoint, **fields: Any) -> ServicePort:
    ref = Ref("Service", "t", name)
    plain = ServicePort(
        origin=Origin(ref),
        service=ref,
        port_name="",
        protocol="TCP",
        port=80,
        node_port=0,
        cluster_ips=("10.96.0.1",),
        load_balancer_ips=(),
        external_ips=(),
        affinity_seconds=0,
        internal_local=False,
        external_local=False,
        source_ranges=(),
        endpoints=endpoints,
    )
    return msgspec.structs.replace(plain, **fields)


def plan(*units: ServicePort, policy: PolicyPlan = NO_POLICY) -> NftPlan:
    services = ServicePlan(
        ports={u.key: u for u in units},
        nodes=NODES,
        service_cidrs=(Cidr.parse("10.96.0.0/12"),),
        cluster_cidrs=(Cidr.parse("10.244.0.0/16"),),
    )
    return NftPlan(services, policy)


def loaded(wanted: NftPlan, node: str = "node-a") -> FakeKernel:
    kernel = FakeKernel()
    for transaction in Machine().advance(render_node(wanted.services, wanted.policy, node)).transactions:
        kernel.run(transaction)
    return kernel


def place(e: Endpoint) -> str:
    return f"{e.address} . {e.port}"


ENDPOINTS = st.lists(
    st.builds(
        lambda number, node, state, hint: endpoint(
            number,
            node,
            ready=state == 0,
            serving=state < 2,
            terminating=state == 1,
            for_zones=(node[-1],) if hint else (),
            for_nodes=(node,) if hint == 2 else (),
        ),
        st.integers(1, 9),
        st.sampled_from(sorted(NODES)),
        st.integers(0, 2),
        st.integers(0, 2),
    ),
    max_size=5,
    unique_by=lambda e: e.address,
)
UNITS = st.builds(
    lambda ends, **fields: service("web", *sorted(ends), **fields),
    ENDPOINTS,
    internal_local=st.booleans(),
    external_local=st.booleans(),
    affinity_seconds=st.sampled_from((0, 60)),
    node_port=st.just(30080),
    load_balancer_ips=st.sampled_from(((), ("10.89.9.1",))),
    protocol=st.sampled_from(("TCP", "UDP")),
)


@given(UNITS, st.sampled_from(sorted(NODES)))
def test_elements_mean_what_is_decided(unit: ServicePort, node: str) -> None:
    kernel = loaded(plan(unit), node)
    external = [(a, 80) for a in unit.load_balancer_ips] + [(NODES[node].addresses[0], 30080)]
    cases: list[tuple[Scope, str, bool, list[tuple[str, int]]]] = [
        ("internal", POD, False, [("10.96.0.1", 80)]),
        ("external", OUTSIDE, False, external),
        ("shortcut", POD, False, external),
        ("shortcut", NODES[node].addresses[0], True, external),
    ]
    for scope, source, local, targets in cases:
        wanted = decide_backends(unit, node=node, zone=node[-1], scope=scope)
        for address, port in targets:
            seen = kernel.route(source, address, unit.protocol, port, local=local, pods="10.244.0.0/16")
            assert seen.endpoints == frozenset(map(place, wanted.endpoints))
            assert seen.what == ("nat" if wanted.endpoints else wanted.none)


def test_who_is_hidden_behind_the_node() -> None:
    """P5, P6, P19."""
    kernel = loaded(plan(service("web", endpoint(1), node_port=30080)))
    local = loaded(plan(service("web", endpoint(1), node_port=30080, external_local=True)))

    def hidden(at: FakeKernel, source: str, address: str, port: int, **fields: bool) -> bool:
        is_local = fields.get("local", False)
        return at.route(source, address, "TCP", port, local=is_local, pods="10.244.0.0/16").masquerade

    assert not hidden(kernel, POD, "10.96.0.1", 80)
    assert hidden(kernel, OUTSIDE, "10.96.0.1", 80)
    assert hidden(kernel, OUTSIDE, "10.89.0.2", 30080)
    assert hidden(kernel, POD, "10.89.0.2", 30080)
    assert not hidden(local, OUTSIDE, "10.89.0.2", 30080)
    assert not hidden(local, POD, "10.89.0.2", 30080)
    assert hidden(local, "10.89.0.2", "10.89.0.2", 30080, local=True)


def test_source_ranges_filter_the_balancer_address_only() -> None:
    """P12; S15: a /0 range filters nothing."""
    ranges = (Cidr.parse("198.51.100.0/24"),)
    unit = service("web", endpoint(1), load_balancer_ips=("10.89.9.1",), node_port=30080, source_ranges=ranges)
    kernel = loaded(plan(unit))

    def what(at: FakeKernel, source: str, address: str, port: int) -> str:
        return at.route(source, address, "TCP", port, local=False, pods="10.244.0.0/16").what

    assert what(kernel, OUTSIDE, "10.89.9.1", 80) == "drop"
    assert what(kernel, "198.51.100.7", "10.89.9.1", 80) == "nat"
    assert what(kernel, OUTSIDE, "10.89.0.2", 30080) == "nat"
    everybody = msgspec.structs.replace(unit, source_ranges=(Cidr.parse("0.0.0.0/0"),))
    assert what(loaded(plan(everybody)), OUTSIDE, "10.89.9.1", 80) == "nat"


def test_slots_stay_dense_and_move_little() -> None:
    ends = tuple(endpoint(n) for n in range(1, 6))
    kept = assign_slots(ends, [ends[0], ends[2], ends[3], ends[4]])
    assert kept == (ends[0], ends[4], ends[2], ends[3])
    replaced = assign_slots(ends, [ends[0], endpoint(9), *ends[2:]])
    assert replaced == (ends[0], endpoint(9), *ends[2:])
    assert assign_slots(ends, []) == ()
    assert assign_slots((), ends) == ends


@given(st.lists(st.integers(0, 8), unique=True), st.lists(st.integers(0, 8), unique=True))
def test_slots_hold_exactly_the_wanted(before: list[int], after: list[int]) -> None:
    wanted = [endpoint(n) for n in after]
    slots = assign_slots(tuple(endpoint(n) for n in before), wanted)
    assert sorted(slots) == sorted(wanted)


def test_unchanged_units_are_the_same_objects_on_all_nodes() -> None:
    renderer = Renderer()
    one, two = service("one", endpoint(1)), service("two", endpoint(2), cluster_ips=("10.96.0.2",))
    before = renderer.render(plan(one, two))
    changed = msgspec.structs.replace(two, endpoints=(endpoint(3),))
    after = renderer.render(plan(one, changed))
    assert after["node-a"].services[one.key] is before["node-b"].services[one.key]
    assert after["node-a"].services[two.key] is after["node-b"].services[two.key]
    assert after["node-a"].services[two.key] is not before["node-a"].services[two.key]
    assert differences(before["node-a"].services, after["node-a"].services) == {two.key}


def test_services_that_were_there_before_the_first_node_reach_it() -> None:
    wanted, renderer = plan(service("web", endpoint(1))), Renderer()
    renderer.render(msgspec.structs.replace(wanted, services=msgspec.structs.replace(wanted.services, nodes={})))
    tables = renderer.render(wanted)
    assert all("t/web:80/TCP" in found.services for found in tables.values())


def test_node_dependent_units_follow_nodes() -> None:
    renderer = Renderer()
    unit = service("local", endpoint(1), external_local=True, node_port=30080)
    first = plan(unit)
    only_a = msgspec.structs.replace(
        first, services=msgspec.structs.replace(first.services, nodes={"node-a": NODES["node-a"]})
    )
    assert set(renderer.render(only_a)) == {"node-a"}
    both = renderer.render(first)
    assert both["node-b"].services.keys() == both["node-a"].services.keys()
    fresh = render_node(first.services, first.policy, "node-b")
    assert both["node-b"].services == fresh.services


def test_a_family_that_the_cluster_does_not_route_is_left_out() -> None:
    unit = service("dual", endpoint(1), endpoint(2, address="fd00::2"), cluster_ips=("10.96.0.1", "fd00:96::1"))
    tables = render_node(plan(unit).services, NO_POLICY, "node-a")
    assert not any(name.startswith("ip6 ") for name in tables.services[unit.key].elements)
    assert "ip6" not in "".join(tables.rules.values())
    only_six = render_node(translate_plan(plan(unit), (6,)).services, NO_POLICY, "node-a")
    assert all("table ip " not in text and "table ip6 " in text for text in only_six.rules.values())


def test_each_family_is_decided_among_its_own_endpoints() -> None:
    unit = service("dual", endpoint(1), endpoint(2), cluster_ips=("10.96.0.1", "fd00::a60:1"))
    wanted = translate_plan(plan(), (4, 6))
    wanted = msgspec.structs.replace(wanted, services=msgspec.structs.replace(wanted.services, ports={unit.key: unit}))
    kernel = loaded(wanted)
    assert kernel.route(POD, "10.96.0.1", "TCP", 80, local=False, pods="10.244.0.0/16").what == "nat"
    assert kernel.route(six(POD), "fd00::a60:1", "TCP", 80, local=False, pods="fd00::af4:0/112").what == "refuse"


@pytest.mark.parametrize(("count", "seconds", "chain"), [(3, 0, "lb3"), (3, 60, "sticky3-60s")])
def test_class_numbers_are_distinct_and_fit(count: int, seconds: int, chain: str) -> None:
    assert t.BackendClass(count, seconds).chain == chain
    assert t.BackendClass(32767, 86400).number < t.DROP
    assert t.BackendClass(count, seconds).number != t.BackendClass(count, seconds + 1).number
