"""The link of one attached container: made, looked at and removed. Blocks; runs in the thread of the wires.

The same link as a pod's (:mod:`podwire.node.fabric` rule 2), into a namespace somebody else made, under the name that
was asked for. The kernel chooses the index there, since others may have links in it.
"""

import fcntl
import os
import socket
import struct
from contextlib import suppress
from typing import Final

from podwire.base import PodwireError, stable_hash
from podwire.node import netlink, netns
from podwire.node.attach_words import BAD_CONFIG, BAD_ENVIRONMENT, Key, Refused

_NS_GET_NSTYPE: Final = 0xB703
_SIOCGIFADDR: Final = 0x8915
_ANYWHERE: Final = ("192.0.2.1", 9)
"""TEST-NET-1: whatever the routes are, only a default route leads there. Nothing is ever sent."""


def link_name(key: Key) -> str:
    """Name of the link on the node's side, which no pod's has (at most 15 bytes)."""
    return f"c{stable_hash(f'{key.network}/{key.container}/{key.interface}', size_bytes=6)}"


def require_netns(descriptor: int) -> None:
    """Raises :class:`Refused` unless the descriptor is that of a network namespace."""
    try:
        if fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == netns.CLONE_NEWNET:
            return
    except OSError:
        pass
    raise Refused(BAD_ENVIRONMENT, "CNI_NETNS is no network namespace")


def configure(descriptor: int, interface: str, address: str, *, gateway: str, gateway_mac: bytes) -> None:
    """Address and routes of the container's side."""
    with netns.inside(descriptor):
        index = socket.if_nametoindex(interface)
        inside = netlink.Netlink()
        try:
            inside.send(
                [
                    netlink.set_up(index),
                    netlink.add_address(index, address, 32),
                    netlink.set_route(f"{gateway}/32", index=index),
                    netlink.set_neighbour(index, gateway, gateway_mac),
                ]
            )
            # Where another network gave a default route, that one stays.
            inside.send([netlink.add_route("0.0.0.0/0", via=gateway, index=index, source=address)])
        finally:
            inside.close()


def refuse_taken(descriptor: int, interface: str) -> None:
    """Raises :class:`Refused` when the container has an interface of that name (SPEC: MUST return an error)."""
    with netns.inside(descriptor):
        try:
            socket.if_nametoindex(interface)
        except OSError:
            return
    raise Refused(BAD_CONFIG, f"the container has an interface {interface} already")


def remove(descriptor: int, interface: str) -> None:
    """Delete the interface inside the container; its other end goes with it. Missing things are fine."""
    with suppress(OSError, PodwireError), netns.inside(descriptor):
        inside = netlink.Netlink()
        try:
            inside.send([netlink.delete_link(interface)])
        finally:
            inside.close()


def find_faults(descriptor: int, interface: str, address: str) -> str:
    """What is wrong inside the container, in words; empty when nothing is."""
    with netns.inside(descriptor):
        try:
            socket.if_nametoindex(interface)
        except OSError:
            return f"the container has no interface {interface}"
        if _address_of(interface) != address:
            return f"interface {interface} does not have the address {address}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(_ANYWHERE)
            except OSError as error:
                return f"the container has no default route: {os.strerror(error.errno or 0)}"
    return ""


def _address_of(interface: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])
