"""An Ingress shows the controller's address exactly while the proxy serves it."""

from typing import Any

from tests.unit.simulate import World, service

from podwire.snapshot import Settings


def ingress(name: str, class_name: str = "nginx") -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"name": "http"}}}
    rule = {"host": "a.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"ingressClassName": class_name, "rules": [rule]},
    }


def controlled(settings: Settings) -> World:
    world = World(settings)
    spec = {"controller": "k8s.io/ingress-nginx"}
    meta = {"name": "nginx"}
    world.apply(
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": dict(meta), "spec": dict(spec)}
    )
    controller = service("ingress-nginx-controller", "x", type="LoadBalancer", clusterIP="10.96.7.7")
    controller["metadata"]["namespace"] = "ingress-nginx"
    world.apply(controller)
    world.apply(service("web", "web"))
    world.apply(ingress("mine"))
    return world


def addresses(world: World, name: str) -> list[str]:
    found = world.get("Ingress", name).get("status", {}).get("loadBalancer", {}).get("ingress", ())
    return [str(point["ip"]) for point in found]


def test_a_planned_ingress_has_the_controllers_address_where_nothing_is_waited_for() -> None:
    world = controlled(Settings(planes=False))
    world.settle()
    assert addresses(world, "mine") == ["10.89.0.200"]


def test_without_the_proxys_word_there_is_no_address() -> None:
    world = controlled(Settings())
    world.settle()
    assert addresses(world, "mine") == []


def test_the_address_goes_when_the_controller_has_none_any_more() -> None:
    world = controlled(Settings(planes=False))
    world.settle()
    world.delete("Service", "ingress-nginx-controller", "ingress-nginx")
    world.settle()
    assert addresses(world, "mine") == []


def test_another_controllers_ingress_keeps_its_status() -> None:
    world = controlled(Settings(planes=False))
    foreign = ingress("foreign", "other")
    foreign["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    world.apply(foreign)
    world.settle()
    assert addresses(world, "foreign") == ["192.0.2.9"]
