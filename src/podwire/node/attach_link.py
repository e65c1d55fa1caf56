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
from podwire.node import netlink, netns, podlink
from podwire.node.attach_words import BAD_CONFIG, BAD_ENVIRONMENT, Key, Refused

_NS_GET_NSTYPE: Final = 0xB703
_SIOCGIFADDR: Final = 0x8915
_ANYWHERE: Final = {socket.AF_INET: ("192.0.2.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}
"""Documentation's addresses: whatever the routes are, only a default route leads there. Nothing is ever sent."""


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


def configure(descriptor: int, interface: str, addresses: tuple[str, ...]) -> None:
    """Addresses and routes of the container's side."""
    with netns.inside(descriptor):
        index = socket.if_nametoindex(interface)
        inside = netlink.Netlink()
        try:
            inside.send([netlink.set_up(index), *(m for a in addresses for m in podlink.pod_entries(index, a))])
            # Where another network gave a default route, that one stays.
            routes = [(a, podlink.everywhere(a), podlink.gateway_of(a)) for a in addresses]
            inside.send([netlink.add_route(all_of_it, via=via, index=index, source=a) for a, all_of_it, via in routes])
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


def find_faults(descriptor: int, interface: str, addresses: tuple[str, ...]) -> str:
    """What is wrong inside the container, in words; empty when nothing is."""
    with netns.inside(descriptor):
        try:
            socket.if_nametoindex(interface)
        except OSError:
            return f"the container has no interface {interface}"
        present = _addresses_of(interface)
        for address in addresses:
            if address not in present:
                return f"interface {interface} does not have the address {address}"
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect(_ANYWHERE[family])
                except OSError as error:
                    return f"the container has no default route: {os.strerror(error.errno or 0)}"
    return ""


def _addresses_of(interface: str) -> set[str]:
    found = set()
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        answer = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()))
        found.add(socket.inet_ntoa(answer[20:24]))
    with suppress(FileNotFoundError), open("/proc/thread-self/net/if_inet6", encoding="ascii") as table:
        rows = (line.split() for line in table)
        found |= {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(r[0])) for r in rows if r[5] == interface}
    return found
