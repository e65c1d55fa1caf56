"""Netlink messages as bytes, against what ``strace ip ...`` shows."""

import errno
import struct

from podwire.node import netlink


def test_attributes_are_padded_to_four_bytes() -> None:
    assert netlink.encode_attribute(3, b"lo\0") == b"\x07\x00\x03\x00lo\x00\x00"
    assert netlink.encode_attribute(4, b"\x01\0\0\0") == b"\x08\x00\x04\x00\x01\x00\x00\x00"


def test_a_route_names_gateway_link_and_source() -> None:
    message = netlink.set_route("10.244.1.0/24", via="10.89.0.2", index=7, source="10.89.0.3")
    family, length, _, _, table, protocol, scope, kind, _ = struct.unpack("=BBBBBBBBI", message.body[:12])
    assert (family, length, table, protocol, scope, kind) == (2, 24, 254, 3, 0, 1)
    assert message.body[12:] == (
        b"\x08\x00\x01\x00\x0a\xf4\x01\x00"
        b"\x08\x00\x05\x00\x0a\x59\x00\x02"
        b"\x08\x00\x07\x00\x0a\x59\x00\x03"
        b"\x08\x00\x04\x00\x07\x00\x00\x00"
    )


def test_the_default_route_has_no_destination_and_a_link_route_link_scope() -> None:
    default = netlink.set_route("0.0.0.0/0", via="169.254.1.1", index=2)
    assert default.body[1] == 0
    assert default.body[12:20] == b"\x08\x00\x05\x00\xa9\xfe\x01\x01"
    assert netlink.set_route("10.244.1.5/32", index=2).body[6] == netlink.SCOPE_LINK


def test_a_veth_carries_its_peer_down_and_its_namespace() -> None:
    message = netlink.add_veth("p1", netlink.Peer("eth0", 100, 9, b"\x0a\x58\0\0\0\1"), index=5, mac=b"\xee" * 6)
    body = message.body
    assert struct.unpack("=BxHiII", body[:16]) == (0, 0, 5, 1, 1)
    assert b"\x07\x00\x03\x00p1\x00\x00" in body
    assert b"\x09\x00\x01\x00veth\x00" in body
    assert struct.pack("=BxHiII", 0, 0, 100, 0, 0) + b"\x09\x00\x03\x00eth0\x00" in body
    assert struct.pack("=HHI", 8, 28, 9) in body


def test_header_counts_and_asks_for_an_answer() -> None:
    data = netlink.encode(netlink.set_up(3), 42)
    length, kind, flags, sequence, _ = struct.unpack("=IHHII", data[:16])
    assert (length, kind, sequence) == (len(data), netlink.RTM_NEWLINK, 42)
    assert flags == netlink.NLM_REQUEST | netlink.NLM_ACK


def test_acknowledgements_of_one_datagram() -> None:
    def answer(sequence: int, code: int) -> bytes:
        return struct.pack("=IHHIIi", 20, 2, 0, sequence, 0, -code)

    data = answer(1, 0) + answer(2, errno.EEXIST)
    assert list(netlink.decode_acknowledgements(data)) == [(1, 0), (2, errno.EEXIST)]


def test_an_error_says_what_was_asked() -> None:
    error = netlink.NetlinkError(errno.EEXIST, "create veth p1")
    assert str(error) == "cannot create veth p1: File exists"
    assert error.code == errno.EEXIST


def test_ipv6_addresses_are_used_at_once() -> None:
    message = netlink.add_address(7, "fd00::2", 128)
    assert struct.unpack("=BBBBI", message.body[:8]) == (10, 128, netlink.NO_DETECTION, 0, 7)
    assert len(message.body) == 8 + 2 * 20


def test_an_ipv6_route_has_no_scope_and_addresses_of_sixteen_bytes() -> None:
    default = netlink.set_route("::/0", via="fe80::1", index=100, source="fd00::2")
    assert (default.body[0], default.body[1], default.body[6]) == (10, 0, netlink.SCOPE_UNIVERSE)
    assert len(default.body) == 12 + 20 + 20 + 8
    alone = netlink.set_route("fd00::2", index=7)
    assert (alone.body[1], alone.body[6]) == (128, netlink.SCOPE_UNIVERSE)
