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

PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}

_TUPLE_IP, _TUPLE_PROTO = 1, 2
_ENDS = ((socket.AF_INET, 1, 2), (socket.AF_INET6, 3, 4))
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3
_FRAGMENT = 44
_EXTENSIONS = frozenset({0, 43, _FRAGMENT, 60})  # hop-by-hop, routing, fragment, destination options
_HEADER = struct.Struct("=HH")
_PORTS = struct.Struct("!HH")


class Tuple(msgspec.Struct, frozen=True):
    """One direction of a connection. Ports are 0 for protocols without."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int


def make_message(kind: int, flags: int, body: bytes = b"", *, group: int = 0, family: int = 0) -> bytes:
    """A netlink header, an nfgenmsg (``family`` 0: any; ``group`` is its resource), and attributes."""
    header = struct.pack("=IHHII", 20 + len(body), kind, flags, 1, 0)
    return header + struct.pack("!BBH", family, 0, group) + body


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


def is_interrupted(data: bytes) -> bool:
    """Whether the kernel's tables changed while it told them (``NLM_F_DUMP_INTR``)."""
    while len(data) >= 16:
        length, _, flags = struct.unpack_from("=IHH", data)
        if flags & 0x10 or length < 16:
            return bool(flags & 0x10)
        data = data[(length + 3) & ~3 :]
    return False


def split_attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and data of each attribute."""
    while len(data) >= 4:
        length, kind = _HEADER.unpack_from(data)
        if length < 4:
            return
        yield kind & 0x3FFF, data[4:length]
        data = data[(length + 3) & ~3 :]


def parse_tuple(data: bytes) -> Tuple | None:
    """A conntrack tuple; None when it is not IP."""
    parts = dict(split_attributes(data))
    ends = dict(split_attributes(parts.get(_TUPLE_IP, b"")))
    transport = dict(split_attributes(parts.get(_TUPLE_PROTO, b"")))
    number = transport.get(_PROTO_NUM, b"")
    for family, source, destination in _ENDS:
        if source in ends and destination in ends and number:
            return Tuple(
                protocol_name(number[0]),
                socket.inet_ntop(family, ends[source]),
                int.from_bytes(transport.get(_SRC_PORT, b""), "big"),
                socket.inet_ntop(family, ends[destination]),
                int.from_bytes(transport.get(_DST_PORT, b""), "big"),
            )
    return None


def parse_packet(data: bytes) -> Tuple | None:
    """The addresses and ports in a packet's first bytes; None for what is not IP or too short."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= 20:
        start = (data[0] & 15) * 4 if int.from_bytes(data[6:8], "big") & 0x1FFF == 0 else 0
        return _tuple(data, data[9], start, (socket.AF_INET, 12, 16))
    if version == 6 and len(data) >= 40:
        number, start = _find_transport(data)
        return _tuple(data, number, start, (socket.AF_INET6, 8, 24))
    return None


def _tuple(data: bytes, number: int, start: int, ends: tuple[int, int, int]) -> Tuple:
    """``start`` is where the transport header begins, 0 when it is not in this packet."""
    family, source, destination = ends
    size, protocol, ports = destination - source, protocol_name(number), (0, 0)
    if start and protocol in ("TCP", "UDP", "SCTP") and len(data) >= start + 4:
        ports = _PORTS.unpack_from(data, start)
    texts = [socket.inet_ntop(family, data[at : at + size]) for at in (source, destination)]
    return Tuple(protocol, texts[0], ports[0], texts[1], ports[1])


def _find_transport(data: bytes) -> tuple[int, int]:
    """Protocol and offset behind the extension headers of an IPv6 packet (RFC 8200, 4); offset 0 when cut off."""
    number, start = data[6], 40
    while number in _EXTENSIONS and len(data) >= start + 8:
        if number == _FRAGMENT:
            if int.from_bytes(data[start + 2 : start + 4], "big") >> 3:
                return data[start], 0
            number, start = data[start], start + 8
        else:
            number, start = data[start], start + (data[start + 1] + 1) * 8
    return number, start if number not in _EXTENSIONS else 0


def protocol_name(number: int) -> str:
    """As Kubernetes spells it; the number when Kubernetes has no word."""
    return PROTOCOLS.get(number, str(number))


def tuple_family(found: Tuple) -> int:
    """``AF_INET`` or ``AF_INET6``: what a message about the connection must name."""
    return socket.AF_INET6 if ":" in found.source else socket.AF_INET
