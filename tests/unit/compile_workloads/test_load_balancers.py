"""Addresses of LoadBalancer Services."""

from tests.unit.simulate import World, service

from podwire.cluster.addresses import give_addresses
from podwire.snapshot import AddressRange, Settings


def address(world: World, name: str) -> str:
    ingress = world.get("Service", name).get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    return str(ingress[0].get("ip", ""))


def small() -> Settings:
    return Settings(planes=False, load_balancer_pools=(AddressRange("10.89.0.200", "10.89.0.201"),))


def test_addresses_are_given_in_order_and_kept() -> None:
    world = World()
    world.apply(service("a", "a", type="LoadBalancer"))
    world.settle()
    world.apply(service("b", "b", type="LoadBalancer"))
    world.settle()
    assert (address(world, "a"), address(world, "b")) == ("10.89.0.200", "10.89.0.201")
    assert world.get("Service", "a")["status"]["loadBalancer"]["ingress"][0]["ipMode"] == "VIP"
    world.delete("Service", "a")
    world.settle()
    assert address(world, "b") == "10.89.0.201"


def test_an_exhausted_pool_is_a_finding_and_an_event_and_heals() -> None:
    world = World(small())
    for name in "abc":
        world.apply(service(name, name, type="LoadBalancer"))
        world.settle()
    assert address(world, "c") == ""
    assert [f.code for f in world.compile().findings] == ["PW1130"]
    assert [e["reason"] for e in world.all("Event")] == ["PW1130"]
    world.delete("Service", "a")
    world.settle()
    assert address(world, "c") == "10.89.0.200"
    assert world.compile().findings == ()


def test_an_asked_address_is_honoured_inside_the_pool_only() -> None:
    world = World()
    world.apply(service("a", "a", type="LoadBalancer", loadBalancerIP="10.89.0.220"))
    world.apply(service("b", "b", type="LoadBalancer", loadBalancerIP="192.0.2.1"))
    world.settle()
    assert address(world, "a") == "10.89.0.220"
    assert address(world, "b") == ""
    (finding,) = world.compile().findings
    assert finding.code == "PW1130"
    assert "192.0.2.1" in finding.message


def test_an_asked_address_that_is_taken_waits() -> None:
    world = World()
    world.apply(service("a", "a", type="LoadBalancer"))
    world.settle()
    world.apply(service("b", "b", type="LoadBalancer", loadBalancerIP="10.89.0.200"))
    world.settle()
    assert address(world, "b") == ""
    assert "belongs to another Service" in world.compile().findings[0].message


def test_another_controllers_class_is_left_alone() -> None:
    world = World()
    world.apply(service("a", "a", type="LoadBalancer", loadBalancerClass="example.com/lb"))
    world.settle()
    assert address(world, "a") == ""
    assert [(f.code, f.severity) for f in world.compile().findings] == [("PW1131", "info")]


def test_the_route_leads_to_a_node_with_a_local_endpoint() -> None:
    from tests.unit.simulate import pod

    world = World()
    world.apply(pod("p", nodeSelector={"topology.kubernetes.io/zone": "b"}))
    world.apply(service("local", "p", type="LoadBalancer", externalTrafficPolicy="Local"))
    world.apply(service("cluster", "p", type="LoadBalancer", clusterIP="10.96.1.2"))
    world.settle()
    routes = {a: r.node for a, r in world.compile().nodes.routes.items()}
    assert routes == {address(world, "local"): "node-2", address(world, "cluster"): "node-1"}


def addresses(world: World, name: str) -> list[str]:
    ingress = world.get("Service", name).get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return [str(entry["ip"]) for entry in ingress]


def test_an_address_of_each_family_in_the_order_of_the_service() -> None:
    world = World(give_addresses(Settings(planes=False), "dual"))
    world.apply(service("one", "one", type="LoadBalancer", ipFamilies=["IPv6"]))
    world.apply(service("both", "both", type="LoadBalancer", ipFamilies=["IPv6", "IPv4"]))
    world.settle()
    assert addresses(world, "both") == ["fd00:10:89::200", "10.89.0.200"]
    assert addresses(world, "one") == ["fd00:10:89::201"]
    world.apply(service("both", "both", type="LoadBalancer", ipFamilies=["IPv6"]))
    world.settle()
    assert addresses(world, "both") == ["fd00:10:89::200"]


def test_an_asked_address_counts_in_its_family_alone() -> None:
    world = World(give_addresses(Settings(planes=False), "dual"))
    families = ["IPv4", "IPv6"]
    world.apply(service("a", "a", type="LoadBalancer", ipFamilies=families, loadBalancerIP="10.89.0.240"))
    world.apply(service("b", "b", type="LoadBalancer", ipFamilies=["IPv6"], loadBalancerIP="10.89.0.241"))
    world.settle()
    assert addresses(world, "a") == ["10.89.0.240", "fd00:10:89::200"]
    assert addresses(world, "b") == ["fd00:10:89::201"]
    (finding,) = (f for f in world.compile().findings if f.code == "PW1130")
    assert "of no family of the Service (IPv6)" in finding.message
