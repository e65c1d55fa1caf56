"""Messages of the pod network between nodes."""

import socket
import struct

import msgspec
import pytest

from podwire.base import Origin, Ref
from podwire.node import netlink, overlay
from podwire.plan import NodePlan
from podwire.plan.node import Node

ORIGIN = Origin(Ref("Node", "", "any"))
ONE = Node(ORIGIN, "one", "a", ("10.89.0.10",), ("10.244.0.0/24",))
TWO = Node(ORIGIN, "two", "a", ("10.89.0.11",), ("10.244.1.0/24",))
PLAN = NodePlan("c", ("10.89.0.0/24",), {"one": ONE, "two": TWO}, {}, {}, (), ("10.244.0.0/16",))
TUNNELLED = msgspec.structs.replace(PLAN, network="vxlan", mtu=1450)


def attributes(message: netlink.Message, header: int) -> dict[int, bytes]:
    found, at = {}, header
    while at < len(message.body):
        length, kind = struct.unpack_from("=HH", message.body, at)
        found[kind] = message.body[at + 4 : at + length]
        at += length + (-length % 4)
    return found


def test_host_gw_needs_no_device_and_a_route_a_peer() -> None:
    assert overlay.device(PLAN, ONE) == ()
    (message,) = overlay.ways("host-gw", ONE, [TWO])["10.244.1.0/24"].set
    assert message == netlink.set_route("10.244.1.0/24", via="10.89.0.11")


def test_a_tunnel_has_three_entries_a_peer_that_agree() -> None:
    forwarding, neighbour, route = overlay.ways("vxlan", ONE, [TWO])["10.244.1.0/24"].set
    mac = b"\x0e\x58" + socket.inet_aton("10.89.0.11")
    assert forwarding.body[0] == socket.AF_BRIDGE
    assert attributes(forwarding, 12) == {1: socket.inet_aton("10.89.0.11"), 2: mac}
    assert attributes(neighbour, 12) == {1: socket.inet_aton("10.244.1.0"), 2: mac}
    via = attributes(route, 12)
    assert (via[5], via[7]) == (socket.inet_aton("10.244.1.0"), socket.inet_aton("10.89.0.10"))
    assert struct.unpack_from("=I", route.body, 8)[0] == 4  # RTNH_F_ONLINK


def test_a_tunnel_is_undone_in_reverse() -> None:
    way = overlay.ways("vxlan", ONE, [TWO])["10.244.1.0/24"]
    assert [m.kind for m in way.set] == [netlink.RTM_NEWNEIGH, netlink.RTM_NEWNEIGH, netlink.RTM_NEWROUTE]
    assert [m.kind for m in way.delete] == [netlink.RTM_DELROUTE, netlink.RTM_DELNEIGH, netlink.RTM_DELNEIGH]


@pytest.mark.parametrize(
    ("network", "mtu", "fabric"),
    [
        ("host-gw", 1500, 1500),
        ("host-gw", 1400, 1500),
        ("vxlan", 1450, 1500),
        ("vxlan", 1500, 1550),
        ("host-gw", 9000, 9000),
    ],
)
def test_the_fabric_has_room_for_a_pods_packet_and_the_tunnel(network: str, mtu: int, fabric: int) -> None:
    assert overlay.fabric_mtu(msgspec.structs.replace(PLAN, network=network, mtu=mtu)) == fabric


def test_the_device_says_where_it_is_and_learns_nothing() -> None:
    link, address = overlay.device(TUNNELLED, ONE)
    assert attributes(link, 16)[4] == struct.pack("=I", 1450)
    data = socket.inet_aton("10.89.0.10")
    for part in (struct.pack("=HHI", 8, 1, 1), struct.pack("=HH", 8, 4) + data, struct.pack("!H", 8472)):
        assert part in link.body
    assert struct.pack("=HHB", 5, 7, 0) in link.body
    assert attributes(address, 8)[2] == socket.inet_aton("10.244.0.0")


BOTH = Node(ORIGIN, "one", "a", ("10.89.0.10", "fd00::a"), ("10.244.0.0/24", "fd00:1::/64"))
OTHER = Node(ORIGIN, "two", "a", ("10.89.0.11", "fd00::b"), ("10.244.1.0/24", "fd00:1:0:1::/64"))


def test_every_family_has_its_way() -> None:
    ways = overlay.ways("host-gw", BOTH, [OTHER])
    assert list(ways) == ["10.244.1.0/24", "fd00:1:0:1::/64"]
    assert ways["fd00:1:0:1::/64"].set == (netlink.set_route("fd00:1:0:1::/64", via="fd00::b"),)


def test_one_tunnel_carries_both_families_between_primary_addresses() -> None:
    assert len(overlay.device(TUNNELLED, BOTH)) == 2  # the device and one address
    forwarding, neighbour, route = overlay.ways("vxlan", BOTH, [OTHER])["fd00:1:0:1::/64"].set
    assert attributes(forwarding, 12)[1] == socket.inet_aton("10.89.0.11")
    assert attributes(neighbour, 12)[1] == socket.inet_pton(socket.AF_INET6, "fd00:1:0:1::")
    assert route.body[:2] == bytes([socket.AF_INET6, 64])


def test_a_tunnel_between_ipv6_addresses_needs_more_room() -> None:
    plan = msgspec.structs.replace(PLAN, network="vxlan", fabrics=("fd00::/64",), mtu=1500)
    assert overlay.fabric_mtu(plan) == 1570
