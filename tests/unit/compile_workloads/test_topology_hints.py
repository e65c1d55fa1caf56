"""Zone hints in proportion to CPU (KEP-2433): numbers as kubernetes' topologycache tests have them."""

from collections import Counter
from math import ceil
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.simulate import World, pod, service
from tests.unit.simulate import node as sim_node

from podwire.compile.topology import Part, Topology, assign_hints, compile_topology
from podwire.kube import Node, parse
from podwire.kube.discovery import Endpoint, EndpointConditions
from podwire.plan import NodeFact

AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def node(name: str, zone: str, cpu: str = "1", **labels: str) -> Node:
    value = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone} | labels},
        "status": {"allocatable": {"cpu": cpu}},
    }
    made = parse(value)
    assert isinstance(made, Node)
    return made


def topology(*nodes: Node) -> Topology:
    return compile_topology({n.metadata.name: n for n in nodes}, [n.metadata.name for n in nodes])


def endpoints(*zones: str, ready: bool = True) -> tuple[Endpoint, ...]:
    return tuple(
        Endpoint(addresses=(f"10.0.0.{i + 1}",), zone=z or None, conditions=EndpointConditions(ready=ready))
        for i, z in enumerate(zones)
    )


def hints(made: tuple[tuple[Endpoint, ...], ...]) -> Counter[str]:
    return Counter(e.hints.for_zones[0].name for part in made for e in part if e.hints)


def balance(zones: str, *nodes: Node) -> tuple[Counter[str], str]:
    made, said = assign_hints([Part(endpoints(*zones), True)], topology(*nodes), "IPv4")
    return hints(made), said.message


EQUAL = (node("n1", "a"), node("n2", "b"), node("n3", "c"))


def test_each_endpoint_is_hinted_for_its_own_zone_where_that_is_even() -> None:
    assert balance("abc", *EQUAL)[0] == {"a": 1, "b": 1, "c": 1}


def test_hints_move_from_the_largest_surplus_to_the_largest_deficit() -> None:
    assert balance("aaaabc", *EQUAL)[0] == {"a": 2, "b": 2, "c": 2}


def test_shares_follow_cpu() -> None:
    assert balance("aaabbb", node("n1", "a", "4"), node("n2", "b", "2"))[0] == {"a": 4, "b": 2}


def test_small_differences_stay() -> None:
    """Rule 4: surplus and deficit below one endpoint each."""
    assert balance("aaaabbb", node("n1", "a"), node("n2", "b"))[0] == {"a": 4, "b": 3}


def test_too_few_endpoints_for_the_zones() -> None:
    found, why = balance("ab", *EQUAL)
    assert not found
    assert why == "Insufficient number of endpoints (2 endpoints, 3 zones), addressType: IPv4"


def test_zones_that_cannot_be_served_without_overload() -> None:
    nodes = (node("n1", "a", "9"), node("n2", "b"), node("n3", "c"), node("n4", "d"))
    found, why = balance("aaaa", *nodes)
    assert not found
    assert why.startswith("Unable to allocate minimum required endpoints to each zone")


def test_a_node_without_zone_or_cpu_ends_it_and_the_control_plane_does_not_count() -> None:
    assert "Insufficient Node information" in balance("ab", node("n1", "a"), node("n2", ""))[1]
    assert "Insufficient Node information" in balance("ab", node("n1", "a"), node("n2", "b", "0"))[1]
    control = node("n0", "", **{"node-role.kubernetes.io/control-plane": ""})
    assert balance("ab", control, node("n1", "a"), node("n2", "b"))[0] == {"a": 1, "b": 1}


def test_an_endpoint_without_zone_removes_all_hints() -> None:
    made, said = assign_hints([Part(endpoints("a", "", "b"), True)], topology(*EQUAL), "IPv4")
    assert not hints(made)
    assert said.message.startswith("One or more endpoints do not have a zone")


def test_untouched_slices_keep_their_hints_while_no_zone_passes_its_maximum() -> None:
    both = topology(node("n1", "a"), node("n2", "b"))
    (first,), _ = assign_hints([Part(endpoints("a", "a", "b", "b"), True)], both, "IPv4")
    made, _ = assign_hints([Part(first, False), Part(endpoints("b", "b"), True)], both, "IPv4")
    assert made[0] == first
    assert hints(made) == {"a": 3, "b": 3}


def test_endpoints_that_are_not_ready_carry_no_hint() -> None:
    parts = [Part(endpoints("a", "b"), True), Part(endpoints("a", ready=False), True)]
    made, _ = assign_hints(parts, topology(node("n1", "a"), node("n2", "b")), "IPv4")
    assert hints(made) == {"a": 1, "b": 1}
    assert made[1][0].hints is None


@given(st.lists(st.sampled_from("abc"), max_size=40), st.tuples(*[st.integers(1, 16)] * 3))
def test_no_zone_is_overloaded_and_every_endpoint_is_hinted(zones: list[str], cpus: tuple[int, ...]) -> None:
    nodes = [node(f"n{z}", z, str(c)) for z, c in zip("abc", cpus, strict=True)]
    found, why = balance("".join(zones), *nodes)
    if not found:
        assert why.startswith(("Insufficient number", "Unable"))
        return
    assert found.total() == len(zones)
    desired = {zone: cpu / sum(cpus) * len(zones) for zone, cpu in zip("abc", cpus, strict=True)}
    raised = {zone: max(share, ceil(share / 1.2)) for zone, share in desired.items()}
    # Rule 4 stops below half an endpoint of surplus, and upstream raises desired shares to their minimums, so they may
    # add up to more than there are endpoints: a zone misses at most that excess and half of one for each other zone.
    excess = sum(raised.values()) - len(zones)
    assert all(found[zone] > share - excess - 1 - 1e-9 for zone, share in raised.items())


def zoned_world() -> World:
    """Two nodes that say how much CPU they have."""
    world = World(nodes=0)
    for index in range(2):
        made = sim_node(f"node-{index + 1}", index)
        made["status"]["allocatable"] = {"cpu": "8"}
        world.apply(made)
        world.builder.observe(made["metadata"]["name"], NodeFact(True))
    return world


def slices(world: World) -> list[dict[str, Any]]:
    return [e for s in world.all("EndpointSlice") for e in s.get("endpoints", ())]


def test_auto_by_the_loop_with_its_event_and_removal() -> None:
    world = zoned_world()
    for index in range(4):
        world.apply(pod(f"p{index}") | {"metadata": {"name": f"p{index}", "labels": {"app": "p"}}})
    world.apply(service("web", "p") | {"metadata": {"name": "web", "annotations": AUTO}})
    world.settle()
    found = Counter(e["hints"]["forZones"][0]["name"] for e in slices(world))
    assert found == {"a": 2, "b": 2}
    events = [e for e in world.all("Event") if e["reason"] == "TopologyAwareHintsEnabled"]
    assert [(e["type"], e["message"]) for e in events] == [
        ("Normal", "Topology Aware Hints has been enabled, addressType: IPv4")
    ]
    world.apply(service("web", "p") | {"metadata": {"name": "web", "annotations": {}}})
    world.settle()
    assert not any("hints" in e for e in slices(world))


def test_auto_overrides_traffic_distribution_and_says_why_it_cannot() -> None:
    world = zoned_world()
    world.apply(pod("p") | {"metadata": {"name": "p", "labels": {"app": "p"}}})
    made = service("web", "p", trafficDistribution="PreferSameZone")
    world.apply(made | {"metadata": {"name": "web", "annotations": AUTO}})
    world.settle()
    assert not any("hints" in e for e in slices(world))
    events = [e for e in world.all("Event") if e["reason"] == "TopologyAwareHintsDisabled"]
    assert {e["type"] for e in events} == {"Warning"}
