"""Packets that policy denied, as the kernel logs them (NFLOG), and new connections, as conntrack tells them.

Rules:

1. Sockets are made inside the node's namespace and keep belonging to it.
2. A denied packet comes with its decision word (the packet mark), and a log prefix that tells the direction and
   whether a Service translated it. Many kernels cannot add what the client asked for (NETFILTER_NETLINK_GLUE_CT).
3. New connections are subscribed to only while somebody watches: without listeners the kernel makes no events.

Source: linux ``include/uapi/linux/netfilter/nfnetlink_log.h``; ``docs/lab/2026-11-24-nflog.md``.
"""

import socket
import struct
from collections.abc import Iterator

import msgspec

from podwire.plan import Direction
from podwire.planes.nft.netns import run_in_netns
from podwire.planes.nft.tables import AUDIT
from podwire.planes.nft.wire import (
    ACK,
    ERROR,
    NETLINK_NETFILTER,
    REQUEST,
    Tuple,
    make_attribute,
    make_message,
    parse_packet,
    parse_tuple,
    split_attributes,
    split_messages,
)

GROUP = 41
SNAPLEN = 96
PREFIX = "podwire-np "

_LOG_PACKET, _LOG_CONFIG = 4 << 8, 4 << 8 | 1
_CFG_CMD, _CFG_MODE, _CFG_THRESHOLD = 1, 2, 5
_BIND, _COPY_PACKET = 1, 2
_MARK, _PAYLOAD, _PREFIX = 2, 9, 10
_CT_NEW = 1 << 8
_CT_GROUP_NEW = 1
_CT_ORIGINAL, _CT_REPLY = 1, 2
_BUFFER_BYTES = 1 << 20


class LoggedPacket(msgspec.Struct, frozen=True):
    """A packet policy denied, as it is after translation. ``number`` is the decision's; ``translated``: by a Service,
    on this node; ``audited``: let through, an audited policy would have denied it."""

    direction: Direction
    number: int
    packet: Tuple
    translated: bool = False
    audited: bool = False


class NewConnection(msgspec.Struct, frozen=True):
    """A connection that was let through: as the client sees it, and as its answers come back."""

    original: Tuple
    reply: Tuple


def open_log(netns: str) -> socket.socket:
    """A non-blocking socket that receives every packet logged in the namespace.

    Raises :class:`OSError` when the kernel has no NFLOG or somebody else reads the group, and
    :class:`FileNotFoundError` when there is no such namespace.
    """
    connection = _open(netns, groups=0)
    try:
        bind = make_attribute(_CFG_CMD, bytes([_BIND]))
        _configure(connection, bind)
        mode = make_attribute(_CFG_MODE, struct.pack("!IBB", SNAPLEN, _COPY_PACKET, 0))
        _configure(connection, mode + make_attribute(_CFG_THRESHOLD, struct.pack("!I", 1)))
    except BaseException:
        connection.close()
        raise
    connection.setblocking(False)
    return connection


def open_new_connections(netns: str) -> socket.socket:
    """A non-blocking socket that receives an event for each new connection of the namespace; raises as above."""
    connection = _open(netns, groups=_CT_GROUP_NEW)
    connection.setblocking(False)
    return connection


def _open(netns: str, *, groups: int) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)

    connection = run_in_netns(netns, make)
    connection.settimeout(5)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    connection.bind((0, groups))
    return connection


def _configure(connection: socket.socket, attributes: bytes) -> None:
    connection.send(make_message(_LOG_CONFIG, REQUEST | ACK, attributes, group=GROUP))
    while True:
        for kind, body in split_messages(connection.recv(1 << 16)):
            if kind == ERROR:
                code = -struct.unpack_from("=i", body)[0]
                if code:
                    raise OSError(code, "the kernel refuses to log packets here")
                return


def parse_log(data: bytes) -> Iterator[LoggedPacket]:
    """Denied packets of one read; what is not ours or not IP is left out."""
    for kind, body in split_messages(data):
        found = _parse_logged(dict(split_attributes(body[4:]))) if kind == _LOG_PACKET else None
        if found is not None:
            yield found


def _parse_logged(attributes: dict[int, bytes]) -> LoggedPacket | None:
    prefix = attributes.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
    packet = parse_packet(attributes.get(_PAYLOAD, b""))
    if not prefix.startswith(PREFIX) or packet is None:
        return None
    way, _, how = prefix.removeprefix(PREFIX).partition(" ")
    direction: Direction = "ingress" if way == "in" else "egress"
    word = int.from_bytes(attributes.get(_MARK, b""), "big")
    audited = word & AUDIT == AUDIT
    return LoggedPacket(direction, word & 0xFFFFF, packet, translated=how == "nat", audited=audited)


def parse_new_connections(data: bytes) -> Iterator[NewConnection]:
    """New connections of one read."""
    for kind, body in split_messages(data):
        if kind != _CT_NEW:
            continue
        attributes = dict(split_attributes(body[4:]))
        original = parse_tuple(attributes.get(_CT_ORIGINAL, b""))
        reply = parse_tuple(attributes.get(_CT_REPLY, b""))
        if original is not None and reply is not None:
            yield NewConnection(original, reply)
