"""Hand-made Endpoints become EndpointSlices (S39)."""

from typing import Any

from tests.unit.simulate import World, service

MANAGED = "endpointslice.kubernetes.io/managed-by"


def endpoints(*ips: str, labels: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "default", "labels": labels or {}, **meta},
        "subsets": [
            {
                "addresses": [{"ip": ip} for ip in ips],
                "notReadyAddresses": [{"ip": "192.0.2.99"}],
                "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
            }
        ],
    }


def selectorless() -> dict[str, Any]:
    made = service("db", "x", ports=[{"name": "sql", "port": 5432, "protocol": "TCP"}])
    made["spec"].pop("selector")
    return made


def mirrors(world: World) -> list[dict[str, Any]]:
    return [
        s for s in world.all("EndpointSlice") if s["metadata"]["labels"].get(MANAGED, "").startswith("endpointslicem")
    ]


def mirrored_world(**meta: Any) -> World:
    world = World()
    world.apply(selectorless())
    world.apply(endpoints("192.0.2.1", "192.0.2.2", **meta))
    world.settle()
    return world


def test_addresses_ports_and_conditions_are_mirrored_and_proxied() -> None:
    world = mirrored_world(labels={"team": "a"})
    (part,) = mirrors(world)
    assert [(e["addresses"], e["conditions"]) for e in part["endpoints"]] == [
        (["192.0.2.1"], {"ready": True}),
        (["192.0.2.2"], {"ready": True}),
        (["192.0.2.99"], {"ready": False}),
    ]
    assert part["ports"] == [{"name": "sql", "protocol": "TCP", "port": 5432}]
    assert part["metadata"]["labels"]["team"] == "a"
    assert part["metadata"]["ownerReferences"][0]["kind"] == "Endpoints"


def test_a_change_replaces_and_settles() -> None:
    world = mirrored_world()
    before = mirrors(world)[0]["metadata"]["name"]
    world.apply(endpoints("192.0.2.3"))
    world.settle()
    (part,) = mirrors(world)
    assert part["metadata"]["name"] == before
    assert part["endpoints"][0]["addresses"] == ["192.0.2.3"]
    assert not world.compile().writes.writes


def test_skip_label_leader_election_and_a_selector_remove_the_mirrors() -> None:
    world = mirrored_world()
    world.apply(endpoints("192.0.2.1", labels={"endpointslice.kubernetes.io/skip-mirror": "true"}))
    world.settle()
    assert not mirrors(world)
    assert not mirrors(mirrored_world(annotations={"control-plane.alpha.kubernetes.io/leader": "{}"}))
    world = mirrored_world()
    world.apply(selectorless() | {"spec": {**selectorless()["spec"], "selector": {"app": "db"}}})
    world.settle()
    assert not mirrors(world)


def test_without_its_service_nothing_is_mirrored() -> None:
    world = mirrored_world()
    world.delete("Service", "db")
    world.settle()
    assert not mirrors(world)


def test_a_subset_is_cut_at_a_thousand_addresses() -> None:
    world = World()
    world.apply(selectorless())
    world.apply(endpoints(*(f"192.0.{2 + i // 250}.{i % 250 + 1}" for i in range(1200))))
    world.settle()
    assert sum(len(part["endpoints"]) for part in mirrors(world)) == 1000
