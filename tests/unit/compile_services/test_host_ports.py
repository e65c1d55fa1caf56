"""Ports of nodes that lead to pods, and who has them."""

from typing import Any

from tests.unit.simulate import World, pod, service

from podwire.base import Origin, Ref
from podwire.compile.hostports import Wish, opened_addresses
from podwire.kube import Pod
from podwire.kube.pods import ContainerPort
from podwire.plan import ServiceNode, ServicePort


def listening(name: str, node: str = "node-1", **port: Any) -> dict[str, Any]:
    value = pod(name, nodeName=node)
    value["spec"]["containers"][0]["ports"] = [{"containerPort": 8080, "protocol": "TCP", "hostPort": 80, **port}]
    return value


def units(world: World) -> dict[str, ServicePort]:
    return {key: unit for key, unit in world.compile().services.ports.items() if unit.host_node}


def findings(world: World) -> list[str]:
    return [f.message for f in world.compile().findings if f.code == "PW6027"]


def test_a_port_is_there_from_the_pods_address_to_its_end() -> None:
    world = World()
    world.apply(listening("web"))
    assert units(world) == {}  # no address yet
    world.unready.add("web")
    world.settle()
    (key,) = units(world)
    unit = units(world)[key]
    assert key == "default/web:80/TCP spec.containers[0].ports[0].hostPort"
    assert (unit.host_node, unit.host_ips) == ("node-1", ("10.89.0.10", "127.0.0.1"))
    (endpoint,) = unit.endpoints
    assert (endpoint.port, endpoint.ready, str(endpoint.origin.path)) == (8080, True, key.partition(" ")[2])
    assert units(world)[key] is unit
    world.exits = lambda name: 0
    world.edit("Pod", "web", lambda value: value["spec"].update(restartPolicy="Never"))
    world.settle()
    assert world.get("Pod", "web")["status"]["phase"] == "Succeeded"
    assert units(world) == {}


def test_the_older_pod_and_the_service_have_it() -> None:
    world = World()
    world.apply(listening("a"))
    world.now += 10
    world.apply(listening("b"))
    world.apply(listening("c", "node-2"))
    world.settle()
    assert sorted(u.service.name for u in units(world).values()) == ["a", "c"]
    assert findings(world) == ["hostPort 80/TCP of node node-1 is not opened: pod default/a has it"]
    web = service("web", "x", type="NodePort", clusterIP="10.96.0.9")
    web["spec"]["ports"] = [{"port": 1, "nodePort": 80, "protocol": "TCP"}]
    world.apply(web)
    world.settle()
    assert units(world) == {}
    assert {f.rpartition(": ")[2] for f in findings(world)} == {"Service default/web has it"}
    world.delete("Service", "web")
    world.settle()
    assert sorted(u.service.name for u in units(world).values()) == ["a", "c"]


def test_addresses() -> None:
    cases = {"0.0.0.0": ("10.89.0.10", "127.0.0.1"), "127.0.0.1": ("127.0.0.1",), "10.89.0.10": ("10.89.0.10",)}
    world = World()
    for number, address in enumerate((*cases, "10.89.0.11", "::1")):
        world.apply(listening(f"p{number}", hostPort=80 + number, hostIP=address))
    world.settle()
    assert [u.host_ips for u in units(world).values()] == list(cases.values())
    assert len(findings(world)) == 2


def test_the_host_network_is_the_node_itself() -> None:
    world = World()
    value = listening("web", hostPort=8080)
    value["spec"]["hostNetwork"] = True
    world.apply(value)
    world.settle()
    assert units(world) == {} and findings(world) == []


def test_an_unspecified_host_ip_means_one_family() -> None:
    node = ServiceNode("node-1", "a", ("10.89.0.10", "fd00::a"), (), Origin(Ref("Node", "", "node-1")))
    found = {ip: opened_addresses(Wish(Pod(), "", ContainerPort(host_ip=ip)), node) for ip in ("", "0.0.0.0", "::")}
    assert found == {
        "": ("10.89.0.10", "fd00::a", "127.0.0.1"),
        "0.0.0.0": ("10.89.0.10", "127.0.0.1"),
        "::": ("fd00::a",),
    }
