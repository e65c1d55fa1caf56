"""Reading what tables hold, by netlink: no text, and without libnftables' lock. Counters of elements, how many elements
there are, the handles of rules.

Rules:

1. A dump that the kernel marks as interrupted by a change is made again; an element is never told twice.
2. Keys are the kernel's bytes: each part of a concatenation padded to four bytes, addresses and ports big-endian,
   marks in the machine's order (:func:`pack_l4`, :func:`unpack_mark`).

Source: linux ``include/uapi/linux/netfilter/nf_tables.h``.
"""

import socket
import struct
import sys
from collections.abc import Iterator

import msgspec

from podwire.planes.nft.wire import (
    DONE,
    DUMP,
    ERROR,
    REQUEST,
    is_interrupted,
    make_attribute,
    make_message,
    split_attributes,
    split_messages,
)

_GET_ELEMENTS = 10 << 8 | 13  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETSETELEM
_GET_RULES = 10 << 8 | 7
_RULE_TABLE, _RULE_HANDLE = 1, 3
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_ELEMENT_KEY, _ELEMENT_EXPRESSION = 1, 7
_EXPRESSION_DATA = 2
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2
_ATTEMPTS = 4
_NUMBERS = {"TCP": socket.IPPROTO_TCP, "UDP": socket.IPPROTO_UDP, "SCTP": 132}


class Count(msgspec.Struct, frozen=True, gc=False):
    """What one element has counted."""

    packets: int = 0
    bytes: int = 0


def read_counts(connection: socket.socket, name: str) -> dict[bytes, Count]:
    """Counts by key of the map or set ``name`` (as :class:`podwire.planes.nft.tables.Family` spells it); elements that
    counted nothing are left out.

    ``connection`` is a netfilter netlink socket of the namespace. Raises :class:`OSError`; when the table is not there
    with ENOENT.
    """
    body, family = _named(name)
    message = make_message(_GET_ELEMENTS, REQUEST | DUMP, body, family=family)
    found: dict[bytes, Count] = {}
    for _ in range(_ATTEMPTS):
        found = {}
        if _dump(connection, message, found):
            break
    return found


def count_elements(connection: socket.socket, name: str) -> int:
    """How many elements a map or set holds; 0 when it is not there. Raises :class:`OSError`."""
    try:
        return sum(
            sum(1 for _ in split_attributes(elements))
            for body in _ask(connection, _GET_ELEMENTS, *_named(name))
            for kind, elements in split_attributes(body[4:])
            if kind == _LIST_ELEMENTS
        )
    except FileNotFoundError:
        return 0


def read_rule_handles(connection: socket.socket, family: str, table: str) -> frozenset[int]:
    """The handles of all rules of a table; none when it is not there. Raises :class:`OSError`."""
    body = make_attribute(_RULE_TABLE, table.encode() + b"\0")
    try:
        found = [dict(split_attributes(one[4:])) for one in _ask(connection, _GET_RULES, body, _numbers(family))]
    except FileNotFoundError:
        return frozenset()
    return frozenset(
        int.from_bytes(one[_RULE_HANDLE], "big") for one in found if one[_RULE_TABLE].rstrip(b"\0") == table.encode()
    )


def _ask(connection: socket.socket, kind: int, body: bytes, family: int) -> Iterator[bytes]:
    """The bodies of a dump."""
    connection.send(make_message(kind, REQUEST | DUMP, body, family=family))
    while True:
        for kind_seen, answer in split_messages(connection.recv(1 << 17)):
            if kind_seen == DONE:
                return
            if kind_seen == ERROR:
                raise OSError(-struct.unpack_from("=i", answer)[0], "the kernel refused to list")
            yield answer


def _named(name: str) -> tuple[bytes, int]:
    """The attributes that name a map or set, and its family."""
    family, table, bare = name.split(" ")
    body = make_attribute(_LIST_TABLE, table.encode() + b"\0") + make_attribute(_LIST_SET, bare.encode() + b"\0")
    return body, _numbers(family)


def _numbers(family: str) -> int:
    return socket.AF_INET if family == "ip" else socket.AF_INET6


def _dump(connection: socket.socket, message: bytes, found: dict[bytes, Count]) -> bool:
    """Whether the answer is of one piece."""
    connection.send(message)
    whole = True
    while True:
        data = connection.recv(1 << 17)
        whole = whole and not is_interrupted(data)
        for kind, body in split_messages(data):
            if kind == DONE:
                return whole
            if kind == ERROR:
                raise OSError(-struct.unpack_from("=i", body)[0], "the kernel refused to list elements")
            for kind_of, elements in split_attributes(body[4:]):
                if kind_of == _LIST_ELEMENTS:
                    found.update(_parse(elements))


def _parse(elements: bytes) -> Iterator[tuple[bytes, Count]]:
    for _, element in split_attributes(elements):
        parts = dict(split_attributes(element))
        count = _parse_counter(dict(split_attributes(parts.get(_ELEMENT_EXPRESSION, b""))).get(_EXPRESSION_DATA, b""))
        if count is not None:
            yield parts[_ELEMENT_KEY][4:], count  # behind the header of NFTA_DATA_VALUE


def _parse_counter(data: bytes) -> Count | None:
    values = dict(split_attributes(data))
    packets = int.from_bytes(values.get(_COUNTER_PACKETS, b""), "big")
    return Count(packets, int.from_bytes(values.get(_COUNTER_BYTES, b""), "big")) if packets else None


def pack_l4(protocol: str, port: int, address: str = "") -> bytes:
    """The key ``address . protocol . port``; without an address ``protocol . port``."""
    ends = b""
    if address:
        ends = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
    return ends + struct.pack("!B3xH2x", _NUMBERS[protocol], port)


def unpack_mark(key: bytes) -> int:
    """The mark that a key consists of."""
    return int.from_bytes(key[:4], sys.byteorder)
