"""Reading the counters of a map's or set's elements, by netlink: no text, and without libnftables' lock.

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
    family, table, bare = name.split(" ")
    body = make_attribute(_LIST_TABLE, table.encode() + b"\0") + make_attribute(_LIST_SET, bare.encode() + b"\0")
    message = make_message(
        _GET_ELEMENTS, REQUEST | DUMP, body, family=socket.AF_INET if family == "ip" else socket.AF_INET6
    )
    found: dict[bytes, Count] = {}
    for _ in range(_ATTEMPTS):
        found = {}
        if _dump(connection, message, found):
            break
    return found


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
