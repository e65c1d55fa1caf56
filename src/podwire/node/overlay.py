"""The pod network between nodes: how one node sends to the pods of another. Pure; messages only.

Rules:

1. ``host-gw``: a route to the other node's pods by that node. Packets cross the fabric as they are.
2. ``vxlan``: packets cross the fabric inside UDP from node to node, so the fabric never sees a pod's address. One
   device a node, and three entries a peer, all permanent: the route to its pods by the first address of its block, the
   neighbour entry of that address, and where frames for that neighbour go. No ARP, no learning, no flooding.
3. A node's own packets to pods have the node's address either way: policies and NAT see the same as without a tunnel.
4. The device has the first address of its node's block. Nobody uses it, but without any address even loose reverse
   path filtering drops what arrives from other nodes' own addresses (``fib_validate_source``: ``no_addr``).
5. What a pod may send in one piece is the fabric's size less the tunnel's 50 bytes.

The layout and the numbers (UDP port 8472, VNI 1) are flannel's, so its habits of looking into a node work here.

Source: RFC 7348; flannel ``pkg/backend/vxlan``; services reference, section 6.4.
"""

import socket
from collections.abc import Iterable, Mapping

import msgspec

from podwire.base import Cidr
from podwire.node import netlink
from podwire.plan.node import ETHERNET_MTU, VXLAN_OVERHEAD, Node, NodePlan

DEVICE, DEVICE_INDEX = "vxlan.1", 101
VNI, PORT = 1, 8472


class Way(msgspec.Struct, frozen=True):
    """How one block of pod addresses is reached, and how to forget it."""

    set: tuple[netlink.Message, ...]
    delete: tuple[netlink.Message, ...]


def fabric_mtu(plan: NodePlan) -> int:
    """The size of packets on the links between nodes: room for pods, and Ethernet's at least."""
    return max(ETHERNET_MTU, plan.mtu + (VXLAN_OVERHEAD if plan.network == "vxlan" else 0))


def device(plan: NodePlan, node: Node) -> tuple[netlink.Message, ...]:
    """What a node needs once, before its ways."""
    if plan.network != "vxlan":
        return ()
    tunnel = netlink.Tunnel(VNI, node.addresses[0], PORT)
    return (
        netlink.add_vxlan(DEVICE, tunnel, index=DEVICE_INDEX, mac=_mac_of(node), mtu=plan.mtu),
        netlink.add_address(DEVICE_INDEX, _first_address(node), 32),
    )


def ways(network: str, node: Node, others: Iterable[Node]) -> Mapping[str, Way]:
    """By block of pod addresses."""
    make = _tunnelled if network == "vxlan" else _direct
    return {other.pod_cidrs[0]: make(node, other) for other in others}


def _direct(node: Node, other: Node) -> Way:
    block, via = other.pod_cidrs[0], other.addresses[0]
    return Way((netlink.set_route(block, via=via),), (netlink.delete_route(block, via=via),))


def _tunnelled(node: Node, other: Node) -> Way:
    block, first, mac = other.pod_cidrs[0], _first_address(other), _mac_of(other)
    return Way(
        (
            netlink.set_forwarding(DEVICE_INDEX, mac, other.addresses[0]),
            netlink.set_neighbour(DEVICE_INDEX, first, mac),
            netlink.set_route(block, via=first, index=DEVICE_INDEX, source=node.addresses[0], on_link=True),
        ),
        (
            netlink.delete_route(block, via=first, index=DEVICE_INDEX),
            netlink.delete_neighbour(DEVICE_INDEX, first),
            netlink.delete_forwarding(DEVICE_INDEX, mac, other.addresses[0]),
        ),
    )


def _first_address(node: Node) -> str:
    return str(Cidr.parse_lenient(node.pod_cidrs[0]).network.network_address)


def _mac_of(node: Node) -> bytes:
    """Of the tunnel's end, another one than the node's on the fabric."""
    return b"\x0e\x58" + socket.inet_aton(node.addresses[0])
