"""Traces over compiled plans: each kind of hop, each way to end."""

from typing import Any

import pytest

from podwire.compile import compile_plans
from podwire.explain import Trace, Unclear, World, format_trace, parse_source, parse_target, trace, trace_to_dict
from podwire.testing.build import endpoint, endpoint_slice, namespace, node, pod, policy, service, snapshot

WEB = [{"name": "http", "containerPort": 8080}]
BASE = (
    namespace("a"),
    namespace("b"),
    node("node-1", "10.89.0.10"),
    node("node-2", "10.89.0.11", zone="b", pod_cidr="10.244.1.0/24"),
    pod("a/web", "10.244.0.2", labels={"app": "web"}, ports=WEB),
    pod("b/client", "10.244.1.2", labels={"app": "client"}, node="node-2", ports=WEB),
    service("a/web", "10.96.0.20"),
    endpoint_slice("a/web", endpoint("10.244.0.2", pod="a/web")),
)


def world(*more: dict[str, Any]) -> World:
    found = snapshot(*BASE, *more)
    return World(found, compile_plans(found))


def ask(source: str, target: str, *more: dict[str, Any]) -> Trace:
    there = world(*more)
    party, assumptions = parse_source(there, source)
    return trace(there, party, parse_target(there, target), assumptions=assumptions)


def kinds(found: Trace) -> list[str]:
    return [hop.kind for hop in (*found.hops, *(found.branches[0].hops if found.branches else ()))]


def test_name_service_endpoint_and_policies_in_packet_order() -> None:
    found = ask("b/client", "http://web.a/")
    assert kinds(found) == ["dns", "service", "endpoint", "egress", "ingress", "listener"]
    assert found.verdict == "allowed"
    assert found.branches[0].observes == "connects"


def test_a_short_name_needs_the_own_namespace() -> None:
    found = ask("b/client", "http://web/")
    assert found.verdict == "denied"
    assert found.hops[-1].code == "PW1210"
    assert "web.b.svc.cluster.local" in found.hops[-1].text


def test_a_denial_names_the_policy_and_its_field() -> None:
    found = ask("b/client", "a/web:8080", policy("a/deny", policyTypes=["Ingress"]))
    hop = found.branches[0].hops[-1]
    assert (found.verdict, hop.kind, hop.code) == ("denied", "ingress", "PW2011")
    assert str(hop.origins[0]) == "NetworkPolicy a/deny spec.podSelector"
    assert found.branches[0].observes == "dropped"


def test_a_policy_that_blocks_dns_is_found_before_the_service() -> None:
    dns = (
        namespace("kube-system"),
        pod("kube-system/dns", "10.244.0.9", labels={"k8s-app": "kube-dns"}),
        service("kube-system/kube-dns", "10.96.0.10", ports=[{"name": "dns", "port": 53, "protocol": "UDP"}]),
        endpoint_slice("kube-system/kube-dns", endpoint("10.244.0.9"), port=53, name="dns", protocol="UDP"),
    )
    found = ask("b/client", "http://web.a/", policy("b/lock", policyTypes=["Egress"]), *dns)
    assert [hop.code for hop in found.hops] == ["PW1207"]


def test_no_ready_endpoint_is_refused() -> None:
    found = ask("b/client", "10.96.0.30:80", service("a/empty", "10.96.0.30"))
    assert (found.branches[0].observes, found.branches[0].hops[-1].code) == ("refused", "PW1102")


def test_internal_traffic_policy_local_drops_without_a_local_endpoint() -> None:
    local = service("a/near", "10.96.0.31", internalTrafficPolicy="Local")
    part = endpoint_slice("a/near", endpoint("10.244.0.2", pod="a/web"))
    assert ask("b/client", "10.96.0.31:80", local, part).branches[0].observes == "dropped"


@pytest.mark.parametrize(("port", "observes"), [("10.96.0.20:81", "refused"), ("10.96.9.9:80", "dropped")])
def test_addresses_nobody_serves(port: str, observes: str) -> None:
    assert ask("b/client", port).branches[0].observes == observes


def test_a_port_nobody_listens_on_is_refused() -> None:
    assert ask("b/client", "a/web:9999").branches[0].hops[-1].code == "PW1103"


def test_node_port_from_a_pod_through_another_node_is_masqueraded() -> None:
    open_to_nodes = policy(
        "a/nodes", policyTypes=["Ingress"], ingress=[{"from": [{"ipBlock": {"cidr": "10.89.0.0/24"}}]}]
    )
    exposed = service("a/np", "10.96.0.40", type="NodePort", ports=[{"port": 80, "nodePort": 30080, "protocol": "TCP"}])
    part = endpoint_slice("a/np", endpoint("10.244.0.2", pod="a/web"))
    through_other = ask("b/client", "10.89.0.11:30080", open_to_nodes, exposed, part)
    assert "nat" in kinds(through_other)
    assert through_other.verdict == "allowed"
    through_own = ask("b/client", "10.89.0.10:30080", open_to_nodes, exposed, part)
    assert through_own.verdict == "denied"  # the endpoint's own node still sees the pod


def test_text_and_json_tell_the_same_and_are_stable() -> None:
    first, second = ask("b/client", "http://web.a/"), ask("b/client", "http://web.a/")
    assert format_trace(first) == format_trace(second)
    assert "a/web" in format_trace(first)
    assert trace_to_dict(first)["verdict"] == "allowed"


@pytest.mark.parametrize("text", ["nope", "a/b/c/d", "a/cronjob/x", "b/missing"])
def test_unclear_sources_say_what_would_be_clear(text: str) -> None:
    with pytest.raises(Unclear):
        parse_source(world(), text)


@pytest.mark.parametrize("text", ["web", "tcp://web", "gopher://web:70", "http://", "web:99999", "http://web:x/"])
def test_unclear_targets(text: str) -> None:
    with pytest.raises(Unclear):
        parse_target(world(), text)


NODE_PORT = (
    service("a/np", "10.96.0.40", type="NodePort", ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}]),
    endpoint_slice("a/np", endpoint("10.244.0.2", pod="a/web")),
)


def test_a_node_sends_to_its_own_pods_past_every_policy() -> None:
    found = ask("node/node-1", "node/node-1:30080", *NODE_PORT, policy("a/deny", policyTypes=["Ingress"]))
    assert found.verdict == "allowed"
    assert "ingress" not in kinds(found)


def test_what_another_node_sends_back_is_filtered_with_that_node_as_peer() -> None:
    found = ask("node/node-1", "node/node-2:30080", *NODE_PORT, policy("a/deny", policyTypes=["Ingress"]))
    assert found.verdict == "denied"
    assert "10.89.0.11" in found.branches[0].hops[-1].text


def test_another_nodes_local_node_port_sees_a_stranger() -> None:
    local = service(
        "a/np",
        "10.96.0.40",
        type="NodePort",
        externalTrafficPolicy="Local",
        ports=[{"port": 80, "protocol": "TCP", "nodePort": 30080}],
    )
    assert ask("node/node-1", "node/node-2:30080", local, NODE_PORT[1]).branches[0].observes == "dropped"
    assert ask("node/node-2", "node/node-2:30080", local, NODE_PORT[1]).branches[0].observes == "connects"


def test_targets_by_object() -> None:
    assert ask("b/client", "a/svc/web:80").branches[0].observes == "connects"
    with pytest.raises(Unclear, match="load balancer"):
        ask("b/client", "a/lb/web:80")
