"""What both ends of a pod's link need, for each address of the pod. Pure; messages only.

A pod has a /32 address (IPv6: /128) and no subnet. Its gateway is 169.254.1.1 (fe80::1) on its own link, which is
answered by a permanent neighbour entry: nobody is ever asked for anything (fabric.py rule 2).
"""

from typing import Final

from podwire.node import netlink

GATEWAY_MAC: Final = bytes([0xEE] * 6)
_GATEWAYS: Final = {32: "169.254.1.1", 128: "fe80::1"}
_EVERYWHERE: Final = {32: "0.0.0.0/0", 128: "::/0"}


def gateway_of(address: str) -> str:
    """Where a pod with this address sends everything."""
    return _GATEWAYS[netlink.width_of(address)]


def everywhere(address: str) -> str:
    """The block of all addresses of its family."""
    return _EVERYWHERE[netlink.width_of(address)]


def node_entries(index: int, addresses: tuple[str, ...], mac: bytes) -> tuple[netlink.Message, ...]:
    """On the node: where the addresses are, ``index`` being the link."""
    neighbours = (netlink.set_neighbour(index, address, mac) for address in addresses)
    return (*neighbours, *(netlink.set_route(address, index=index) for address in addresses))


def pod_entries(index: int, address: str) -> tuple[netlink.Message, ...]:
    """In the pod: its address and its gateway, without the default route."""
    gateway = gateway_of(address)
    # A link-local gateway needs no route of its own.
    reach = () if ":" in gateway else (netlink.set_route(gateway, index=index),)
    added = netlink.add_address(index, address, netlink.width_of(address))
    return (added, *reach, netlink.set_neighbour(index, gateway, GATEWAY_MAC))
