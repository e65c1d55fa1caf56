"""Policy packets (N numbers of docs/design/policy.md) with hand-made tables, and changes under live flows."""

import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernel.nft_world import HOST, NO_POLICY, NODES, Probe, World, in_loop, service

from podwire.base import Cidr, Origin, Ref
from podwire.plan import Decision, Fact, Matched, PlaneFact, PolicyPlan, PolicyPod, PortClass, RuleKey, digest
from podwire.plan.policy import Direction
from podwire.planes.nft import NftDriver
from podwire.planes.nft.netns import run_in_netns

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("nft")]

ALLOW_IN, DENY_IN, ALLOW_OUT, DENY_OUT = 11, 12, 13, 14
MATCHED = (Matched(Origin(Ref("NetworkPolicy", "t", "p"))),)
DECISIONS = {
    ALLOW_IN: Decision("allow", "ingress", MATCHED),
    DENY_IN: Decision("deny", "ingress", MATCHED),
    ALLOW_OUT: Decision("allow", "egress", MATCHED),
    DENY_OUT: Decision("deny", "egress", MATCHED),
}
DEFAULTS: dict[Direction, int] = {"ingress": DENY_IN, "egress": DENY_OUT}
PORTS = (
    PortClass("TCP", 80, 80, 1),
    PortClass("TCP", 8000, 8999, 2),
    PortClass("UDP", 80, 80, 3),
)
OUTSIDE, WIDE = 900, 901


@pytest.fixture(scope="module", params=[4, 6], ids=["ipv4", "ipv6"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(families=(request.param,)) as built:
        yield built


def number_of(pod: str) -> int:
    return ord(pod[0]) * 10 + int(pod[1])


def policy(
    world: World,
    isolated: Mapping[str, tuple[Direction, ...]],
    rules: Mapping[str, Mapping[RuleKey, int]] | None = None,
    cidrs: Mapping[str, int] | None = None,
) -> PolicyPlan:
    """Every pod has an identity of its own: :func:`number_of`."""
    pods = {
        f"uid-{name}": PolicyPod(
            pod=Ref("Pod", "t", name),
            uid=f"uid-{name}",
            node=node,
            addresses=(address,),
            identities=(number_of(name),),
            isolated={d: DEFAULTS[d] for d in isolated.get(name, ())},
            rule_set=name,
        )
        for name, (node, address) in world.pods.items()
    }
    blocks = {Cidr.parse(text): number for text, number in (cidrs or {}).items()}
    return PolicyPlan(pods=pods, cidrs=blocks, ports=PORTS, rule_sets=rules or {}, decisions=DECISIONS)


def outcomes(world: World, *probes: Probe) -> list[str]:
    return [seen.by or seen.what for seen in world.probe(*probes)]


def ping(world: World, place: str, address: str) -> bool:
    """One ICMP echo request from a place."""
    six = world.families == (6,)
    family, protocol = (socket.AF_INET6, 58) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    ask, answer, offset = (128, 129, 0) if six else (8, 0, 20)  # only IPv4 hands over its header
    raw = run_in_netns(world.netns(place), lambda: socket.socket(family, socket.SOCK_RAW, protocol))
    with raw:
        raw.settimeout(0.7)
        raw.connect((world.real(address), 0))
        header = struct.pack("!BBHHH", ask, 0, 0, 7, 1)
        total = sum(struct.unpack("!4H", header))  # the kernel sums up ICMPv6 itself
        raw.send(struct.pack("!BBHHH", ask, 0, ~(total + (total >> 16)) & 0xFFFF, 7, 1))
        try:
            while raw.recv(200)[offset] != answer:
                pass
        except TimeoutError:
            return False
    return True


class Facts:
    """A driver and its last facts."""

    def __init__(self, world: World, established: Literal["cut", "keep"] = "cut") -> None:
        self.by_key: dict[str, Fact] = {}
        self.driver = NftDriver(self.by_key.__setitem__, cluster=world.cluster, established=established)


@in_loop
async def test_peers_ports_and_blocks(world: World) -> None:
    """One pod that lets in: a2 on port 80, b1 on a range, an outside block on any port except part of it."""
    rules = {
        "a1": {
            RuleKey("ingress", number_of("a2"), 1): ALLOW_IN,
            RuleKey("ingress", number_of("b1"), 2): ALLOW_IN,
            RuleKey("ingress", number_of("b2"), 0): ALLOW_IN,
            RuleKey("ingress", number_of("b2"), 2): DENY_IN,
            RuleKey("ingress", OUTSIDE, 0): ALLOW_IN,
        }
    }
    plan = policy(world, {"a1": ("ingress",)}, rules, {f"{HOST}/32": OUTSIDE, "10.89.0.4/30": WIDE})
    facts = Facts(world)
    a1 = world.address("a1")
    try:
        await facts.driver.apply(world.plan(policy=plan))
        assert outcomes(
            world,
            Probe("a2", a1, 80),
            Probe("a2", a1, 443),
            Probe("a2", a1, 80, "UDP"),
            Probe("b1", a1, 8080),
            Probe("b1", a1, 9000),
            Probe("b2", a1, 80, "UDP"),
            Probe("b2", a1, 443),
            Probe("b2", a1, 8080),
            Probe("a3", a1, 80),
            Probe("host", a1, 9000),
            Probe("a1", world.address("a3"), 80),
            Probe("node-a", a1, 80),
            Probe("node-b", a1, 80),
            Probe("a1", a1, 80),
        ) == ["a1", "drop", "drop", "a1", "drop", "a1", "a1", "drop", "drop", "a1", "a3", "a1", "drop", "a1"]
        fact = facts.by_key["nft/node-a"]
        assert isinstance(fact, PlaneFact)
        assert fact.applied["uid-a1"] == digest(world.plan(policy=plan).policy.pods["uid-a1"])
    finally:
        await facts.driver.close()


@in_loop
async def test_icmp_follows_the_any_port_decision(world: World) -> None:
    """N15."""
    rules = {"a1": {RuleKey("ingress", number_of("a2"), 1): ALLOW_IN, RuleKey("ingress", number_of("b2"), 0): ALLOW_IN}}
    facts = Facts(world)
    try:
        await facts.driver.apply(world.plan(policy=policy(world, {"a1": ("ingress",)}, rules)))
        assert not ping(world, "a2", world.address("a1"))
        assert ping(world, "b2", world.address("a1"))
        assert ping(world, "a1", world.address("b2"))
        assert ping(world, "node-a", world.address("a1"))
    finally:
        await facts.driver.close()


@in_loop
async def test_default_deny_both_ways_and_own_service(world: World) -> None:
    """N4, N16, N17: nothing passes but the pod's own Service and its own node."""
    unit = service("me", "10.96.0.6", world.endpoint("a1"))
    facts = Facts(world)
    try:
        await facts.driver.apply(world.plan(unit, policy=policy(world, {"a1": ("ingress", "egress")})))
        assert outcomes(
            world,
            Probe("a2", world.address("a1"), 80),
            Probe("b1", "10.96.0.6", 80),
            Probe("a1", world.address("a2"), 80),
            Probe("a1", HOST, 8080),
            Probe("a1", NODES["node-b"], 8080),
            Probe("a1", "10.96.0.6", 80),
            Probe("a1", NODES["node-a"], 8080),
            Probe("node-a", "10.96.0.6", 80),
        ) == ["drop", "drop", "drop", "drop", "drop", "a1", "node-a", "a1"]
    finally:
        await facts.driver.close()


@in_loop
async def test_rules_see_the_target_port(world: World) -> None:
    """N12: the Service's port 80 leads to 8080; only a rule on 8080 lets through."""
    unit = service("web", "10.96.0.1", world.endpoint("b1", 8080))
    facts = Facts(world)
    try:
        for port_class, expected in ((1, "drop"), (2, "b1")):
            rules = {"a1": {RuleKey("egress", number_of("b1"), port_class): ALLOW_OUT}}
            await facts.driver.apply(world.plan(unit, policy=policy(world, {"a1": ("egress",)}, rules)))
            assert outcomes(world, Probe("a1", "10.96.0.1", 80)) == [expected]
    finally:
        await facts.driver.close()


@in_loop
async def test_live_flows_stay_and_new_ones_obey(world: World) -> None:
    """N14, N19 in mode keep; removal of the policy opens again."""
    facts = Facts(world, "keep")
    a1 = world.address("a1")
    try:
        await facts.driver.apply(world.plan(policy=NO_POLICY))
        with world.socket("b1") as flow:
            flow.settimeout(5)
            flow.connect((world.real(a1), 80))
            assert flow.recv(100).startswith(b"a1 ")
            await facts.driver.apply(world.plan(policy=policy(world, {"a1": ("ingress",)})))
            flow.send(b"still there?")
            assert flow.recv(100) == b"a1 again"
        assert outcomes(world, Probe("b1", a1, 80)) == ["drop"]
        await facts.driver.apply(world.plan(policy=policy(world, {})))
        assert outcomes(world, Probe("b1", a1, 80)) == ["a1"]
    finally:
        await facts.driver.close()


@in_loop
async def test_a_changed_policy_cuts_what_it_forbids_and_nothing_else(world: World) -> None:
    """N19 in mode cut: TCP and UDP, whoever sends first; the allowed connection goes on; allowing again heals UDP."""
    facts = Facts(world)
    a1 = world.address("a1")
    friend = {"a1": {RuleKey("ingress", number_of("a2"), 0): ALLOW_IN}}
    try:
        await facts.driver.apply(world.plan(policy=NO_POLICY))
        with world.socket("b1") as flow, world.socket("a2") as kept, world.socket("b1", socket.SOCK_DGRAM) as udp:
            for each in (flow, kept, udp):
                each.settimeout(5)
                each.connect((world.real(a1), 80))
            assert flow.recv(100).startswith(b"a1 ") and kept.recv(100).startswith(b"a1 ")
            udp.send(b"hello")
            assert udp.recv(100).startswith(b"a1 ")
            await facts.driver.apply(world.plan(policy=policy(world, {"a1": ("ingress",)}, friend)))
            udp.send(b"hello")
            udp.settimeout(0.5)
            with pytest.raises(TimeoutError):
                udp.recv(100)
            flow.send(b"still there?")
            with pytest.raises(ConnectionResetError):
                flow.recv(100)
            kept.send(b"still there?")
            assert kept.recv(100) == b"a1 again"
            await facts.driver.apply(world.plan(policy=policy(world, {})))
            udp.settimeout(5)
            udp.send(b"hello")
            assert udp.recv(100).startswith(b"a1 ")
    finally:
        await facts.driver.close()


@in_loop
async def test_blocks_change_while_others_stay(world: World) -> None:
    """N7: an interval is split, moved and joined again; adjacent blocks never disturb each other."""
    rules = {"a1": {RuleKey("ingress", OUTSIDE, 0): ALLOW_IN}}
    facts = Facts(world)
    try:
        for cidrs, expected in (
            ({"10.89.0.0/24": OUTSIDE}, "a1"),
            ({"10.89.0.0/31": WIDE, "10.89.0.2/31": OUTSIDE}, "drop"),
            ({"10.89.0.0/31": OUTSIDE, "10.89.0.2/31": OUTSIDE}, "a1"),
            ({"0.0.0.0/0": OUTSIDE}, "a1"),
            ({}, "drop"),
        ):
            await facts.driver.apply(world.plan(policy=policy(world, {"a1": ("ingress",)}, rules, cidrs)))
            assert outcomes(world, Probe("host", world.address("a1"), 80)) == [expected], cidrs
    finally:
        await facts.driver.close()
