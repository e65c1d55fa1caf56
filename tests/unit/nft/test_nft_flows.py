"""Netlink's bytes to packets, and packets to records, counters and Events in names."""

import socket
import struct

import msgspec

from podwire.base import FieldPath, Origin, Ref
from podwire.plan import Decision, Matched, PolicyPlan, PolicyPod, ServiceNode, ServicePlan
from podwire.planes.nft.flows import EVENT_EVERY_SECONDS, KEPT, FlowLog, format_counts
from podwire.planes.nft.hits import HitCounts
from podwire.planes.nft.nflog import LoggedPacket, NewConnection, parse_log, parse_new_connections
from podwire.planes.nft.tables import NftPlan
from podwire.planes.nft.wire import Tuple, make_attribute, make_message, parse_packet

DENY, ALLOW = 12, 11
POLICY = Ref("NetworkPolicy", "t", "p")
DECISIONS = {
    DENY: Decision("deny", "ingress", (Matched(Origin(POLICY, FieldPath("spec.podSelector"))),)),
    ALLOW: Decision("allow", "ingress", (Matched(Origin(POLICY, FieldPath("spec.ingress[0]"))),)),
}


def packet_of(source: str, destination: str, ports: tuple[int, int], protocol: int = 6) -> bytes:
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    return bytes([0x45]) + bytes(8) + bytes([protocol]) + bytes(2) + ends + struct.pack("!HH", *ports) + bytes(4)


def logged_message(prefix: bytes, mark: int, payload: bytes) -> bytes:
    attributes = make_attribute(2, struct.pack("!I", mark)) + make_attribute(10, prefix + b"\0")
    return make_message(4 << 8, 0, attributes + make_attribute(9, payload), group=41)


def test_logged_packets_are_read() -> None:
    payload = packet_of("10.244.0.2", "10.244.1.2", (4000, 80))
    data = logged_message(b"podwire-np in nat", 0xA000000C, payload) + logged_message(b"other", 1, payload)
    packet = Tuple("TCP", "10.244.0.2", 4000, "10.244.1.2", 80)
    assert list(parse_log(data)) == [LoggedPacket("ingress", DENY, packet, translated=True)]


def test_what_is_no_packet_is_passed_over() -> None:
    assert parse_packet(b"") is None
    assert parse_packet(bytes([0x50]) + bytes(60)) is None
    truncated = logged_message(b"podwire-np out", 5, b"\x45")
    assert list(parse_log(truncated)) == []
    assert list(parse_log(truncated[:30])) == []
    later_fragment = bytearray(packet_of("10.0.0.1", "10.0.0.2", (1, 2)))
    later_fragment[7] = 5
    assert parse_packet(bytes(later_fragment)) == Tuple("TCP", "10.0.0.1", 0, "10.0.0.2", 0)


def six_packet(next_header: int, rest: bytes) -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, "fd00::1") + socket.inet_pton(socket.AF_INET6, "fd00::2")
    return bytes([0x60]) + bytes(5) + bytes([next_header, 64]) + ends + rest


def test_ipv6_packets_are_read_behind_their_extension_headers() -> None:
    tcp = struct.pack("!HH", 4000, 80) + bytes(4)
    found = Tuple("TCP", "fd00::1", 4000, "fd00::2", 80)
    assert parse_packet(six_packet(6, tcp)) == found
    assert parse_packet(six_packet(0, bytes([60, 0]) + bytes(6) + bytes([6, 1]) + bytes(14) + tcp)) == found
    assert parse_packet(six_packet(44, bytes([6, 0, 0, 1]) + bytes(4) + tcp)) == found
    later = Tuple("TCP", "fd00::1", 0, "fd00::2", 0)
    assert parse_packet(six_packet(44, bytes([6, 0, 0, 9]) + bytes(4) + tcp)) == later
    assert parse_packet(six_packet(58, bytes(8))) == msgspec.structs.replace(later, protocol="ICMPv6")
    assert parse_packet(six_packet(0, bytes([0, 255]) + bytes(6))) == msgspec.structs.replace(later, protocol="0")


def tuple_attribute(kind: int, source: str, destination: str, ports: tuple[int, int]) -> bytes:
    ends = make_attribute(1, socket.inet_aton(source)) + make_attribute(2, socket.inet_aton(destination))
    numbers = make_attribute(1, b"\x06") + make_attribute(2, struct.pack("!H", ports[0]))
    transport = numbers + make_attribute(3, struct.pack("!H", ports[1]))
    return make_attribute(kind | 0x8000, make_attribute(1 | 0x8000, ends) + make_attribute(2 | 0x8000, transport))


def test_new_connections_are_read() -> None:
    original = tuple_attribute(1, "10.244.0.2", "10.96.0.1", (4000, 80))
    reply = tuple_attribute(2, "10.244.1.2", "10.244.0.2", (8080, 4000))
    (found,) = parse_new_connections(make_message(1 << 8, 0, original + reply))
    assert found.original == Tuple("TCP", "10.244.0.2", 4000, "10.96.0.1", 80)
    assert found.reply == Tuple("TCP", "10.244.1.2", 8080, "10.244.0.2", 4000)


def plan_of(decisions: dict[int, Decision] = DECISIONS) -> NftPlan:
    pods = {
        "x": PolicyPod(Ref("Pod", "t", "x"), "uid-x", "a", ("10.244.0.2",), (1,), {}, "x"),
        "y": PolicyPod(Ref("Pod", "t", "y"), "uid-y", "a", ("10.244.1.2",), (1,), {"ingress": DENY}, "y"),
    }
    nodes = {"a": ServiceNode("a", "", ("10.89.0.2",), (), Origin(Ref("Node", "", "a")))}
    return NftPlan(ServicePlan({}, nodes, (), ()), PolicyPlan(pods, {}, (), {}, decisions))


def denied_packet(number: int = DENY) -> LoggedPacket:
    return LoggedPacket("ingress", number, Tuple("TCP", "10.244.0.2", 4000, "10.244.1.2", 80))


def test_a_denial_names_pods_and_policy_and_is_told_once_a_minute() -> None:
    log = FlowLog()
    log.load(plan_of())
    record, event = log.deny("a", denied_packet(), 100.0)
    assert (str(record.source), str(record.destination)) == ("t/x:4000", "t/y:80")
    assert record.rules == ("NetworkPolicy t/p spec.podSelector",)
    assert event is not None and event.name == "y"
    assert event.message == "ingress from t/x (10.244.0.2) on 80/TCP denied: isolated by t/p; no rule allows it"
    assert log.deny("a", denied_packet(), 101.0)[1] is None
    assert log.deny("a", denied_packet(), 101.0 + EVENT_EVERY_SECONDS)[1] is not None


def test_an_audited_packet_is_told_as_such() -> None:
    log = FlowLog()
    log.load(plan_of())
    record, event = log.deny("a", msgspec.structs.replace(denied_packet(), audited=True), 100.0)
    assert record.verdict == "audited" and event is not None
    assert (event.type, event.reason) == ("Normal", "NetworkPolicyAudited")
    assert "would be denied: isolated by t/p" in event.message


def test_the_mark_tells_denied_from_audited() -> None:
    payload = packet_of("10.244.0.2", "10.244.1.2", (4000, 80))
    words = (0xA000000C, 0xC000000C)
    found = [next(parse_log(logged_message(b"podwire-np in", word, payload))) for word in words]
    assert [(logged.number, logged.audited) for logged in found] == [(DENY, False), (DENY, True)]


def test_counters_are_the_kernels_by_rule_and_go_on_when_tables_are_loaded_anew() -> None:
    log, counts = FlowLog(), HitCounts()
    log.load(plan_of())
    counts.take("a", {0xA000000C: 5, 0x9000000B: 7})
    counts.take("b", {0xC000000C: 1})
    counts.take("a", {0xA000000C: 2})
    found = {(c.node, c.verdict, c.rule): c.packets for c in log.counts(counts.by_node())}
    assert found == {
        ("a", "denied", "NetworkPolicy t/p spec.podSelector"): 7,
        ("a", "allowed", "NetworkPolicy t/p spec.ingress[0]"): 7,
        ("b", "audited", "NetworkPolicy t/p spec.podSelector"): 1,
    }
    text = format_counts(c for c in log.counts(counts.by_node()) if c.node == "b")
    labels = 'verdict="audited",direction="ingress",rule="NetworkPolicy t/p spec.podSelector"'
    assert f"podwire_policy_packets_total{{{labels}}} 1" in text


def test_late_messages_resolve_after_the_decision_is_gone() -> None:
    log = FlowLog()
    log.load(plan_of())
    log.load(plan_of({}))
    assert log.deny("a", denied_packet(), 1.0)[0].rules == ("NetworkPolicy t/p spec.podSelector",)
    assert log.deny("a", denied_packet(99), 1.0)[0].text == "by a policy that is gone now"


def test_connections_are_judged_where_their_pod_is_and_never_the_nodes_own() -> None:
    log = FlowLog()
    log.load(plan_of())

    def connection(source: str) -> NewConnection:
        asked = Tuple("TCP", source, 4000, "10.244.1.2", 80)
        return NewConnection(asked, Tuple("TCP", "10.244.1.2", 80, source, 4000))

    assert [r.direction for r in log.allow("a", connection("10.9.9.9"), 1.0)] == ["ingress"]
    assert log.allow("b", connection("10.9.9.9"), 1.0) == ()
    assert log.allow("a", connection("10.89.0.2"), 1.0) == ()


def test_the_log_is_bounded() -> None:
    log = FlowLog()
    log.load(plan_of())
    for _ in range(KEPT + 5):
        log.deny("a", denied_packet(), 1.0)
    assert len(log.records) == KEPT
