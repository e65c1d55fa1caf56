"""Netfilter netlink messages: headers, attributes, and the addresses of connections and packets. Pure.

Source: linux ``include/uapi/linux/netfilter/nfnetlink.h``, ``nfnetlink_conntrack.h``, ``nfnetlink_log.h``.
"""

import socket
import struct
from collections.abc import Iterator

import msgspec

NETLINK_NETFILTER = 12
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 132: "SCTP"}

_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST = 1, 2
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_HEADER = struct.Struct("=HH")
_PORTS = struct.Struct("!HH")


class Tuple(msgspec.Struct, frozen=True):
    """One direction of a connection. Ports are 0 for protocols without."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int


def make_message(kind: int, flags: int, body: bytes = b"", *, group: int = 0) -> bytes:
    """A netlink header, an nfgenmsg for IPv4 (``group`` is its resource), and attributes."""
    header = struct.pack("=IHHII", 20 + len(body), kind, flags, 1, 0)
    return header + struct.pack("!BBH", socket.AF_INET, 0, group) + body


def make_attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return _HEADER.pack(4 + len(data), kind) + data + bytes(-len(data) % 4)


def split_messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each message."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            return
        yield kind, data[16:length]
        data = data[(length + 3) & ~3 :]


def split_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and data of each attribute."""
    while len(data) >= 4:
        length, kind = _HEADER.unpack_from(data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def parse_tuple(data: bytes) -> Tuple | None:
    """A conntrack tuple; None when it is not IPv4."""
    parts = dict(split_attributes(data))
    ends = dict(split_attributes(parts.get(_TUPLE_IP, b"")))
    transport = dict(split_attributes(parts.get(_TUPLE_PROTO, b"")))
    number = transport.get(_PROTO_NUM, b"")
    if _V4_SRC not in ends or _V4_DST not in ends or not number:
        return None
    return Tuple(
        protocol_name(number[0]),
        socket.inet_ntoa(ends[_V4_SRC]),
        int.from_bytes(transport.get(_SRC_PORT, b""), "big"),
        socket.inet_ntoa(ends[_V4_DST]),
        int.from_bytes(transport.get(_DST_PORT, b""), "big"),
    )


def parse_packet(data: bytes) -> Tuple | None:
    """The addresses of an IPv4 packet's first bytes; None for anything else."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    protocol, start = protocol_name(data[9]), (data[0] & 15) * 4
    first_fragment = int.from_bytes(data[6:8], "big") & 0x1FFF == 0
    ports = (0, 0)
    if first_fragment and protocol in ("TCP", "UDP", "SCTP") and len(data) >= start + 4:
        ports = _PORTS.unpack_from(data, start)
    return Tuple(protocol, socket.inet_ntoa(data[12:16]), ports[0], socket.inet_ntoa(data[16:20]), ports[1])


def protocol_name(number: int) -> str:
    """As Kubernetes spells it; the number when Kubernetes has no word."""
    return PROTOCOLS.get(number, str(number))
