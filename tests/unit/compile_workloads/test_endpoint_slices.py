"""EndpointSlices and Endpoints (S30 to S38)."""

from typing import Any

from tests.unit.simulate import World, deployment, pod, service, stateful_set


def slices(world: World, name: str) -> list[dict[str, Any]]:
    label = "kubernetes.io/service-name"
    return [s for s in world.all("EndpointSlice") if s["metadata"]["labels"].get(label) == name]


def endpoints(world: World, name: str) -> dict[str, dict[str, Any]]:
    return {e["targetRef"]["name"]: e for s in slices(world, name) for e in s.get("endpoints", ())}


def test_a_service_without_pods_has_one_empty_slice_and_empty_endpoints() -> None:
    world = World()
    world.apply(service("web", "web"))
    world.settle()
    (part,) = slices(world, "web")
    assert part["endpoints"] == []
    assert part["ports"] == []
    assert world.get("Endpoints", "web")["subsets"] == []


def test_endpoints_carry_everything_s33_to_s36_ask_for() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.apply(service("web", "web") | {"metadata": {"name": "web", "labels": {"team": "shop"}}})
    world.settle()
    (part,) = slices(world, "web")
    assert part["metadata"]["labels"] == {
        "team": "shop",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert part["metadata"]["ownerReferences"][0]["kind"] == "Service"
    assert part["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    for name, item in endpoints(world, "web").items():
        made = world.get("Pod", name)
        assert item["addresses"] == [made["status"]["podIP"]]
        assert item["conditions"] == {"ready": True, "serving": True, "terminating": False}
        assert item["nodeName"] == made["spec"]["nodeName"]
        assert item["zone"] in "ab"
        assert item["targetRef"]["uid"] == made["metadata"]["uid"]
        assert "hostname" not in item


def test_an_unready_pod_leaves_rotation_and_stays_listed() -> None:
    world = World()
    world.apply(deployment("web", 2))
    world.apply(service("web", "web"))
    world.settle()
    victim = world.pods()[0]
    world.unready.add(victim)
    world.settle()
    assert endpoints(world, "web")[victim]["conditions"] == {"ready": False, "serving": False, "terminating": False}
    (subset,) = world.get("Endpoints", "web")["subsets"]
    assert [a["targetRef"]["name"] for a in subset["notReadyAddresses"]] == [victim]
    assert len(subset["addresses"]) == 1


def test_unready_pods_are_published_when_asked() -> None:
    world = World()
    world.unready.add("p")
    world.apply(pod("p"))
    world.apply(service("web", "p", publishNotReadyAddresses=True))
    world.settle()
    assert endpoints(world, "web")["p"]["conditions"] == {"ready": True, "serving": False, "terminating": False}


def test_a_terminating_pod_stays_until_it_is_gone() -> None:
    world = World()
    world.apply(pod("p"))
    world.apply(service("web", "p"))
    world.settle()
    world.hold_gone = True
    world.delete("Pod", "p")
    world.settle()
    assert endpoints(world, "web")["p"]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    assert world.get("Endpoints", "web")["subsets"] == []
    world.hold_gone = False
    world.settle()
    assert endpoints(world, "web") == {}
    assert len(slices(world, "web")) == 1


def test_a_hostname_needs_the_services_name_as_subdomain() -> None:
    world = World()
    world.apply(stateful_set("db", 1))
    world.apply(service("db", "db", clusterIP="None"))
    world.apply(service("other", "db"))
    world.settle()
    assert endpoints(world, "db")["db-0"]["hostname"] == "db-0"
    assert "hostname" not in endpoints(world, "other")["db-0"]
    assert slices(world, "db")[0]["metadata"]["labels"]["service.kubernetes.io/headless"] == ""


def test_a_name_that_resolves_differently_gives_several_slices() -> None:
    world = World()
    for name, number in (("a", 8080), ("b", 9090)):
        value = pod(name)
        value["metadata"]["labels"] = {"app": "x"}
        value["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": number}]
        world.apply(value)
    world.apply(service("x", "x"))
    world.settle()
    assert sorted(s["ports"][0]["port"] for s in slices(world, "x")) == [8080, 9090]
    assert [s["ports"][0]["port"] for s in world.get("Endpoints", "x")["subsets"]] == [8080, 9090]


def test_an_unknown_name_leaves_the_port_out() -> None:
    world = World()
    world.apply(pod("p"))
    ports = [{"name": "a", "port": 1, "targetPort": "http"}, {"name": "b", "port": 2, "targetPort": "nope"}]
    world.apply(service("x", "p", ports=ports))
    world.settle()
    (part,) = slices(world, "x")
    assert [p["name"] for p in part["ports"]] == ["a"]


def test_packing_is_at_most_a_hundred_and_stable() -> None:
    world = World()
    world.apply(deployment("web", 250))
    world.apply(service("web", "web"))
    world.settle()
    assert sorted(len(s["endpoints"]) for s in slices(world, "web")) == [50, 100, 100]
    before = {s["metadata"]["name"]: {e["targetRef"]["name"] for e in s["endpoints"]} for s in slices(world, "web")}
    full = next(name for name, members in before.items() if len(members) == 100)
    victim = sorted(before[full])[0]
    world.log.clear()
    world.delete("Pod", victim)
    world.settle()
    after = {s["metadata"]["name"]: {e["targetRef"]["name"] for e in s["endpoints"]} for s in slices(world, "web")}
    assert after.keys() == before.keys()
    moved = [name for name in before if (before[name] - {victim}) - after[name]]
    assert moved == []


def test_foreign_slices_are_left_alone() -> None:
    world = World()
    world.apply(service("web", "web"))
    labels = {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "me"}
    meta = {"name": "mine", "labels": labels}
    foreign = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4"}
    world.apply(foreign | {"endpoints": [{"addresses": ["192.0.2.1"]}], "ports": []})
    world.settle()
    assert world.get("EndpointSlice", "mine")["endpoints"] == [{"addresses": ["192.0.2.1"]}]
    assert len(slices(world, "web")) == 2


def test_a_service_without_selector_has_nothing_derived() -> None:
    world = World()
    world.apply(service("web", "web", selector={}))
    world.settle()
    assert slices(world, "web") == []


def test_a_deleted_service_takes_its_objects_along() -> None:
    world = World()
    world.apply(service("web", "web"))
    world.settle()
    world.delete("Service", "web")
    world.settle()
    assert slices(world, "web") == []
    assert world.all("Endpoints") == []


def test_traffic_distribution_gives_hints_to_ready_endpoints() -> None:
    world = World()
    world.apply(pod("p"))
    world.apply(service("zone", "p", trafficDistribution="PreferClose"))
    world.apply(service("node", "p", trafficDistribution="PreferSameNode"))
    world.settle()
    zone = endpoints(world, "zone")["p"]
    assert zone["hints"] == {"forZones": [{"name": zone["zone"]}]}
    near = endpoints(world, "node")["p"]
    assert near["hints"]["forNodes"] == [{"name": near["nodeName"]}]


def test_a_new_label_of_the_service_reaches_its_slices() -> None:
    world = World()
    world.apply(service("web", "web"))
    world.settle()
    world.edit("Service", "web", lambda s: s["metadata"].update(labels={"new": "yes"}))
    world.settle()
    assert slices(world, "web")[0]["metadata"]["labels"]["new"] == "yes"


def test_the_repeated_compile_asks_for_the_same_slices() -> None:
    world = World()
    world.apply(deployment("web", 3))
    world.apply(service("web", "web"))
    first = world.compile().writes
    assert world.compile().writes is first
