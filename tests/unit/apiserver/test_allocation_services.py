"""Cluster addresses, node ports and type changes of Services (S4-S11)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.apiserver.status import StatusError


def refused(call: Any, value: dict[str, Any]) -> str:
    with pytest.raises(StatusError) as caught:
        call(value)
    assert caught.value.code == 422
    return str(caught.value)


def test_dynamic_addresses_leave_the_static_band_alone(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("a"))
        # /12: band of 256, so the first dynamic one is 10.96.1.1.
        assert made["spec"]["clusterIP"] == "10.96.1.1" and made["spec"]["clusterIPs"] == ["10.96.1.1"]
        assert made["spec"]["ipFamilies"] == ["IPv4"] and made["spec"]["ipFamilyPolicy"] == "SingleStack"
        assert bench.create(kit.service("b"))["spec"]["clusterIP"] == "10.96.1.2"
        static = bench.create(kit.service("c", clusterIP="10.96.0.10"))
        assert static["spec"]["clusterIP"] == "10.96.0.10"
        words = refused(bench.create, kit.service("d", clusterIP="10.96.0.10"))
        assert words == (
            'Service "d" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: '
            "failed to allocate IP 10.96.0.10: provided IP is already allocated"
        )
        assert "is not in the valid range" in refused(bench.create, kit.service("e", clusterIP="192.0.2.1"))
        bench.delete("Service", "default/c")
        bench.create(kit.service("d", clusterIP="10.96.0.10"))

    kit.run(body)


def test_an_exhausted_range_is_an_error_of_the_server(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = [bench.create(kit.service(f"s{n}"))["spec"]["clusterIP"] for n in range(6)]
        assert len(set(made)) == 6
        with pytest.raises(StatusError, match="range is full") as caught:
            bench.create(kit.service("more"))
        assert caught.value.code == 500

    kit.run(body, "10.96.0.0/29")


def test_node_ports_are_a_pool_by_number(kit: Any) -> None:
    async def body(bench: Any) -> None:
        ports = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}, {"name": "w", "port": 80}]
        made = bench.create(kit.service("a", type="NodePort", ports=ports))
        numbers = [port["nodePort"] for port in made["spec"]["ports"]]
        assert numbers[0] == numbers[1] != numbers[2] and min(numbers) == 30086
        taken = kit.service("b", type="NodePort", ports=[{"port": 9, "nodePort": numbers[2], "protocol": "UDP"}])
        words = refused(bench.create, taken)
        assert words.endswith(
            f"spec.ports[0].nodePort: Invalid value: {numbers[2]}: provided port is already allocated"
        )
        outside = refused(bench.create, kit.service("c", type="NodePort", ports=[{"port": 9, "nodePort": 80}]))
        assert "The range of valid ports is 30000-32767" in outside

    kit.run(body)


def test_updates_that_omit_allocated_values_keep_them(kit: Any) -> None:
    async def body(bench: Any) -> None:
        ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
        local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
        made = bench.create(kit.service("s", ports=ports, **local))["spec"]
        again = bench.update(kit.service("s", ports=list(reversed(ports)), **local))["spec"]
        assert again["clusterIP"] == made["clusterIP"] and again["healthCheckNodePort"] == made["healthCheckNodePort"]
        assert {p["name"]: p["nodePort"] for p in again["ports"]} == {p["name"]: p["nodePort"] for p in made["ports"]}

    kit.run(body)


def test_type_changes(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", type="NodePort"))
        port, address = made["spec"]["ports"][0]["nodePort"], made["spec"]["clusterIP"]
        plain = bench.update({**made, "spec": {**made["spec"], "type": "ClusterIP"}})
        assert "nodePort" not in plain["spec"]["ports"][0] and plain["spec"]["clusterIP"] == address
        assert "externalTrafficPolicy" not in plain["spec"]
        bench.create(kit.service("t", type="NodePort", ports=[{"port": 1, "nodePort": port}]))
        external = {**plain["spec"], "type": "ExternalName", "externalName": "example.com"}
        named = bench.update({**plain, "spec": external})
        assert not {"clusterIP", "clusterIPs", "ipFamilies"} & set(named["spec"])
        bench.create(kit.service("u", clusterIP=address))
        back = bench.update({**named, "spec": {"ports": [{"port": 80}], "type": "ClusterIP"}})
        assert back["spec"]["clusterIP"] != address

    kit.run(body)


def test_leaving_load_balancer_empties_its_status(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", type="LoadBalancer"))
        seen = bench.update({**made, "status": {"loadBalancer": {"ingress": [{"ip": "10.89.0.200"}]}}}, "status")
        port = seen["spec"]["ports"][0]["nodePort"]
        node = bench.update({**seen, "spec": {**seen["spec"], "type": "NodePort"}})
        assert node["status"]["loadBalancer"] == {} and node["spec"]["ports"][0]["nodePort"] == port
        assert "allocateLoadBalancerNodePorts" not in node["spec"]

    kit.run(body)


def test_headless_and_other_families(kit: Any) -> None:
    async def body(bench: Any) -> None:
        headless = bench.create(kit.service("h", clusterIP="None", selector={"a": "b"}))
        assert headless["spec"]["clusterIPs"] == ["None"] and headless["spec"]["ipFamilies"] == ["IPv4"]
        lonely = bench.create(kit.service("l", clusterIP="None"))
        assert lonely["spec"]["ipFamilyPolicy"] == "RequireDualStack"
        assert "not configured on this cluster" in refused(bench.create, kit.service("six", ipFamilies=["IPv6"]))
        words = refused(bench.create, kit.service("dual", ipFamilyPolicy="RequireDualStack"))
        assert "this cluster is not configured for dual-stack services" in words

    kit.run(body)


STEP = st.tuples(st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer", "delete"]), st.integers(0, 5))


@given(st.lists(STEP, max_size=40))
@settings(max_examples=50, deadline=None)
def test_nothing_is_given_twice_and_nothing_leaks(kit: Any, steps: list[tuple[str, int]]) -> None:
    async def body(bench: Any) -> None:
        for kind, number in steps:
            key, value = f"default/s{number}", kit.service(f"s{number}", type=kind)
            if kind == "delete":
                if bench.get("Service", key):
                    bench.delete("Service", key)
            else:
                bench.update(value)
        found = [value["spec"] for _, value in bench.store.heads("Service")]
        addresses = [spec["clusterIP"] for spec in found]
        ports = [port["nodePort"] for spec in found for port in spec["ports"] if "nodePort" in port]
        assert len(set(addresses)) == len(addresses) and len(set(ports)) == len(ports)
        allocator = bench.verbs.objects.allocator
        assert len(allocator.taken("IPv4")) == len(addresses) and set(allocator.ports.taken) == set(ports)

    kit.run(body)


def test_external_addresses_are_denied_but_for_those_there_are(kit: Any) -> None:
    async def body(bench: Any) -> None:
        with pytest.raises(StatusError, match="Use of external IPs is denied by admission control") as caught:
            bench.create(kit.service("a", externalIPs=["192.0.2.7"]))
        assert caught.value.code == 403
        bench.verbs.objects.allocator.allow_external_ips = True
        made = bench.create(kit.service("a", externalIPs=["192.0.2.7", "192.0.2.8"]))
        bench.verbs.objects.allocator.allow_external_ips = False
        less = bench.update({**made, "spec": {**made["spec"], "externalIPs": ["192.0.2.8"]}})
        assert less["spec"]["externalIPs"] == ["192.0.2.8"]
        with pytest.raises(StatusError, match=r"192\.0\.2\.9"):
            bench.update({**less, "spec": {**less["spec"], "externalIPs": ["192.0.2.8", "192.0.2.9"]}})

    kit.run(body)
