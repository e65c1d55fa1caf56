"""Which UDP flows go (P16), and reading them from netlink's bytes."""

import socket
import struct

from podwire.planes.nft.conntrack import Flow, _parse_flow, select_stale
from podwire.planes.nft.tables import UdpFlows
from podwire.planes.nft.wire import split_attributes, split_messages

DNS = UdpFlows(frozenset({("10.96.0.10", 53)}), 30053, frozenset({("10.244.0.2", 53)}))


def flow(destination: tuple[str, int], answerer: tuple[str, int]) -> Flow:
    return Flow(destination, answerer, b"")


def test_only_flows_to_a_target_with_a_gone_answerer_are_stale() -> None:
    good = flow(("10.96.0.10", 53), ("10.244.0.2", 53))
    gone = flow(("10.96.0.10", 53), ("10.244.0.9", 53))
    untranslated = flow(("10.96.0.10", 53), ("10.96.0.10", 53))
    by_node_port = flow(("10.89.0.2", 30053), ("10.244.0.9", 53))
    elsewhere = flow(("10.89.0.9", 30053), ("10.244.0.9", 53))
    other = flow(("10.96.0.11", 53), ("10.244.0.9", 53))
    flows = [good, gone, untranslated, by_node_port, elsewhere, other]
    assert select_stale(flows, [DNS], ["10.89.0.2"]) == [gone, untranslated, by_node_port]


def attribute(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


def tuple_of(source: str, destination: str, ports: tuple[int, int], protocol: int = socket.IPPROTO_UDP) -> bytes:
    addresses = attribute(1, socket.inet_aton(source)) + attribute(2, socket.inet_aton(destination))
    numbers = attribute(1, bytes([protocol])) + attribute(2, struct.pack("!H", ports[0]))
    return attribute(1 | 0x8000, addresses) + attribute(2 | 0x8000, numbers + attribute(3, struct.pack("!H", ports[1])))


def test_entries_are_read_from_both_tuples() -> None:
    original = tuple_of("10.244.0.7", "10.96.0.10", (4000, 53))
    reply = tuple_of("10.244.0.2", "10.244.0.7", (5353, 4000))
    attributes = dict(split_attributes(attribute(1 | 0x8000, original) + attribute(2 | 0x8000, reply)))
    assert list(_parse_flow(attributes)) == [Flow(("10.96.0.10", 53), ("10.244.0.2", 5353), original)]


def test_ipv6_entries_name_their_family_for_deletion() -> None:
    ends = [socket.inet_pton(socket.AF_INET6, a) for a in ("fd00::7", "fd00::a")]
    raw = attribute(1 | 0x8000, attribute(3, ends[0]) + attribute(4, ends[1]))
    raw += attribute(2 | 0x8000, attribute(1, b"\x11") + attribute(2, b"\x0f\xa0") + attribute(3, b"\x00\x35"))
    (found,) = _parse_flow({1: raw, 2: raw})
    assert (found.destination, found.answerer, found.family) == (("fd00::a", 53), ("fd00::7", 4000), socket.AF_INET6)


def test_other_protocols_are_passed_over() -> None:
    one = tuple_of("10.244.0.7", "10.96.0.10", (4000, 53), socket.IPPROTO_TCP)
    assert list(_parse_flow({1: one, 2: one})) == []
    assert list(_parse_flow({})) == []


def test_messages_are_split_by_their_lengths() -> None:
    data = b"".join(struct.pack("=IHHII", 16 + len(body), 3, 0, 0, 0) + body for body in (b"", b"abcd"))
    assert [body for _, body in split_messages(data)] == [b"", b"abcd"]
