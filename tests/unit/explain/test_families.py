"""One connection has one family: which, and what is decided in it."""

from typing import Any

import pytest

from podwire.cluster.addresses import give_addresses
from podwire.compile import compile_plans
from podwire.explain import Trace, Unclear, World, parse_source, parse_target, trace
from podwire.snapshot import Settings
from podwire.testing.build import endpoint, endpoint_slice, namespace, node, pod, policy, service, snapshot

WEB = [{"name": "http", "containerPort": 8080}]
BOTH = {
    "ipFamilyPolicy": "RequireDualStack",
    "ipFamilies": ["IPv4", "IPv6"],
    "clusterIPs": ["10.96.0.20", "fd00:10:96::20"],
}
OBJECTS = (
    namespace("a"),
    node("node-1", "10.89.0.10", "fd00:10:89::a", pod_cidr="10.244.0.0/24,fd00:10:244::/64"),
    node("node-2", "10.89.0.11", "fd00:10:89::b", pod_cidr="10.244.1.0/24,fd00:10:244:1::/64"),
    pod("a/web", "10.244.0.2", "fd00:10:244::2", labels={"app": "web"}, ports=WEB),
    pod("a/client", "10.244.1.2", "fd00:10:244:1::2", labels={"app": "client"}, node="node-2", ports=WEB),
    pod("a/old", "10.244.1.3", labels={"app": "client"}, node="node-2", ports=WEB),
    service("a/web", "10.96.0.20", **BOTH),
    endpoint_slice("a/web", endpoint("10.244.0.2", pod="a/web")),
    endpoint_slice("a/web", endpoint("fd00:10:244::2", pod="a/web"), suffix="b"),
    service("a/four", "10.96.0.21", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]),
    endpoint_slice("a/four", endpoint("fd00:10:244::2", pod="a/web")),
)


def ask(source: str, target: str, *more: dict[str, Any]) -> Trace:
    found = snapshot(*OBJECTS, *more, settings=give_addresses(Settings(planes=False), "dual"))
    there = World(found, compile_plans(found))
    return trace(there, parse_source(there, source)[0], parse_target(there, target))


def observed(found: Trace) -> list[tuple[str, str]]:
    return [(branch.observes, branch.address) for branch in found.branches]


def test_a_name_of_both_families_is_tried_in_ipv6_first() -> None:
    found = ask("a/client", "http://web/")
    assert found.hops[0].text.startswith("web -> web.a.svc.cluster.local AAAA fd00:10:96::20 and 1 more")
    assert observed(found) == [("connects", "fd00:10:244::2")]


def test_who_has_ipv4_alone_takes_ipv4() -> None:
    found = ask("a/old", "http://web/")
    assert " A 10.96.0.20 " in found.hops[0].text
    assert observed(found) == [("connects", "10.244.0.2")]


def test_an_address_is_asked_in_brackets() -> None:
    assert observed(ask("a/client", "[fd00:10:96::20]:80")) == [("connects", "fd00:10:244::2")]
    assert observed(ask("a/client", "http://[fd00:10:244::2]:8080/")) == [("connects", "fd00:10:244::2")]
    with pytest.raises(Unclear, match=r"write an IPv6 address in brackets: \[fd00:10:96::20\]:80"):
        ask("a/client", "fd00:10:96::20:80")


def test_who_has_no_address_of_the_family_cannot_even_send() -> None:
    (branch,) = ask("a/old", "[fd00:10:96::20]:80").branches
    assert (branch.observes, branch.hops[0].code) == ("no-route", "PW6032")


def test_endpoints_of_the_other_family_are_none() -> None:
    (branch,) = ask("a/client", "http://four/").branches
    assert (branch.observes, branch.hops[0].code) == ("refused", "PW1102")


def test_a_node_port_is_there_in_the_families_of_the_service() -> None:
    assert observed(ask("a/client", "10.89.0.10:30080")) == [("refused", "")]
    assert observed(ask("a/client", "[fd00:10:89::a]:30080")) == [("unknown", "fd00:10:89::a")]


@pytest.mark.parametrize(
    ("cidr", "four", "six"),
    [
        ("10.244.1.0/24", "connects", "dropped"),
        ("fd00:10:244:1::/64", "dropped", "connects"),
        ("fd00:10:244:2::/64", "dropped", "dropped"),
        ("::/0", "dropped", "connects"),
    ],
)
def test_a_block_of_a_policy_is_about_addresses_of_its_family(cidr: str, four: str, six: str) -> None:
    rule = {"from": [{"ipBlock": {"cidr": cidr}}]}
    guard = policy("a/p", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"], ingress=[rule])
    assert observed(ask("a/client", "10.96.0.20:80", guard)) == [(four, "10.244.0.2")]
    assert observed(ask("a/client", "[fd00:10:96::20]:80", guard)) == [(six, "fd00:10:244::2")]
