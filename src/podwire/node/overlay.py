"""The pod network between nodes: how one node sends to the pods of another. Pure; messages only.

Rules:

1. ``host-gw``: a route to the other node's pods by that node. Packets cross the fabric as they are.
2. ``vxlan``: packets cross the fabric inside UDP from node to node, so the fabric never sees a pod's address. One
   device a node carries every address family between the nodes' primary addresses. Three entries a peer and block, all
   permanent: the route to its pods by the first address of the block, the neighbour entry of that address, and where
   frames for that neighbour go. No ARP, no learning, no flooding.
3. A node's own packets to pods have the node's address either way: policies and NAT see the same as without a tunnel.
4. The device has the first IPv4 address of its node's block. Nobody uses it, but without any address even loose reverse
   path filtering drops what arrives from other nodes' own addresses (``fib_validate_source``: ``no_addr``). IPv6 has no
   such filter, and would take an address here for the source of the node's own packets to its pods.
5. What a pod may send in one piece is the fabric's size less the tunnel's 50 bytes (70 between IPv6 addresses).

The layout and the numbers (UDP port 8472, VNI 1) are flannel's, so its habits of looking into a node work here.

Source: RFC 7348; flannel ``pkg/backend/vxlan``; services reference, section 6.4.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

import msgspec

from podwire.base import Cidr
from podwire.node import netlink
from podwire.plan.node import ETHERNET_MTU, Node, NodePlan, vxlan_overhead

DEVICE, DEVICE_INDEX = "vxlan.1", 101
VNI, PORT = 1, 8472


class Way(msgspec.Struct, frozen=True):
    """How one block of pod addresses is reached, and how to forget it."""

    set: tuple[netlink.Message, ...]
    delete: tuple[netlink.Message, ...]


def fabric_mtu(plan: NodePlan) -> int:
    """The size of packets on the links between nodes: room for pods, and Ethernet's at least."""
    return max(ETHERNET_MTU, plan.mtu + (vxlan_overhead(plan.fabrics[0]) if plan.network == "vxlan" else 0))


def device(plan: NodePlan, node: Node) -> tuple[netlink.Message, ...]:
    """What a node needs once, before its ways."""
    if plan.network != "vxlan":
        return ()
    tunnel = netlink.Tunnel(VNI, node.addresses[0], PORT)
    return (
        netlink.add_vxlan(DEVICE, tunnel, index=DEVICE_INDEX, mac=_mac_of(node), mtu=plan.mtu),
        *(netlink.add_address(DEVICE_INDEX, _first_address(b), 32) for b in node.pod_cidrs if ":" not in b),
    )


def ways(network: str, node: Node, others: Iterable[Node]) -> Mapping[str, Way]:
    """By block of pod addresses."""
    make = _tunnelled if network == "vxlan" else _direct
    return {block: make(node, other, index) for other in others for index, block in enumerate(other.pod_cidrs)}


def _direct(_: Node, other: Node, index: int) -> Way:
    block, via = other.pod_cidrs[index], other.addresses[index]
    return Way((netlink.set_route(block, via=via),), (netlink.delete_route(block, via=via),))


def _tunnelled(node: Node, other: Node, index: int) -> Way:
    block, source, end, mac = other.pod_cidrs[index], node.addresses[index], other.addresses[0], _mac_of(other)
    first = _first_address(block)
    return Way(
        (
            netlink.set_forwarding(DEVICE_INDEX, mac, end),
            netlink.set_neighbour(DEVICE_INDEX, first, mac),
            netlink.set_route(block, via=first, index=DEVICE_INDEX, source=source, on_link=True),
        ),
        (
            netlink.delete_route(block, via=first, index=DEVICE_INDEX),
            netlink.delete_neighbour(DEVICE_INDEX, first),
            netlink.delete_forwarding(DEVICE_INDEX, mac, end),
        ),
    )


def _first_address(block: str) -> str:
    return str(Cidr.parse_lenient(block).network.network_address)


def _mac_of(node: Node) -> bytes:
    """Of the tunnel's end, another one than the node's on the fabric."""
    return b"\x0e\x58" + ip_address(node.addresses[0]).packed[-4:]
