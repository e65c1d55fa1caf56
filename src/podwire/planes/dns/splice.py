"""Puts an upstream's answer behind aliases of our own zone. Pure.

An upstream compresses names against its own message, so owner names, and the names inside the data of the types that
may be compressed (RFC 3597 section 4), are expanded before they move. Everything else is copied byte for byte.
"""

from collections.abc import Iterator
from typing import NamedTuple

from podwire.planes.dns import wire
from podwire.planes.dns.render import SOA, Rec, Tail, Writer
from podwire.planes.dns.wire import AA, OPT, RA, TC, Malformed, Query

_NAME_AT = {2: 0, 5: 0, 12: 0, 39: 0, 15: 2, 33: 6}
"""Bytes before the name in the data of NS, CNAME, PTR, DNAME, MX, SRV. SOA has two names."""


class Foreign(NamedTuple):
    """One record of an upstream: ``head`` is type, class and TTL, ``data`` without pointers."""

    section: int
    owner: bytes
    head: bytes
    data: bytes

    @property
    def rtype(self) -> int:
        """Numeric type."""
        return int.from_bytes(self.head[:2], "big")


def append_response(query: Query, tail: Tail, response: bytes) -> Tail:
    """``tail`` with the answers of ``response`` behind it. The response code is the upstream's (RFC 6604).

    Raises :class:`Malformed`.
    """
    writer = Writer(query.name)
    for owner, rec in read_aliases(query, tail):
        writer.add(owner, rec)
    foreign = list(read_records(response))
    answers = [r for r in foreign if r.section == 0]
    authority = [r for r in foreign if r.section == 1 and r.rtype == SOA]
    for record in (*answers, *authority):
        writer.add_raw(record.owner, record.head, record.data)
    flags = AA | RA | (response[3] & 15) | (TC if response[2] & 2 else 0)
    counts = (tail.counts[0] + len(answers), len(authority), 0)
    return Tail(flags, counts, bytes(writer.out), tuple(writer.ends), True)


def read_aliases(query: Query, tail: Tail) -> Iterator[tuple[bytes, Rec]]:
    """The CNAME records of a tail that we rendered, with names expanded."""
    head = wire.message(query, 0, tail.counts, tail.body)
    for record in read_records(head):
        target = wire.decode_name(record.data)
        yield record.owner, Rec(5, int.from_bytes(record.head[4:8], "big"), target)


def read_records(packet: bytes) -> Iterator[Foreign]:
    """All records of a message but OPT. Raises :class:`Malformed`."""
    if len(packet) < 12:
        raise Malformed
    at = 12
    for _ in range(int.from_bytes(packet[4:6], "big")):
        at = wire.skip_name(packet, at, pointers=True) + 4
    for section in range(3):
        for _ in range(int.from_bytes(packet[6 + 2 * section : 8 + 2 * section], "big")):
            owner, at = expand_name(packet, at)
            head, size = packet[at : at + 8], int.from_bytes(packet[at + 8 : at + 10], "big")
            start, at = at + 10, at + 10 + size
            if at > len(packet):
                raise Malformed
            record = Foreign(section, owner, head, packet[start:at])
            if record.rtype != OPT:
                yield record._replace(data=_expand_data(packet, start, at, record.rtype))


def expand_name(packet: bytes, at: int) -> tuple[bytes, int]:
    """An uncompressed name and the offset behind it. Pointers must go backward. Raises :class:`Malformed`."""
    end = wire.skip_name(packet, at, pointers=True)
    out = b""
    floor = at
    while True:
        length = packet[at] if at < len(packet) else 64
        if length == 0:
            return out + b"\0", end
        if length >= 0xC0 and at + 1 < len(packet):
            at = (length & 0x3F) << 8 | packet[at + 1]
            if at >= floor:
                raise Malformed
            floor = at
            continue
        if length > 63 or at + 1 + length > len(packet) or len(out) + 1 + length > 254:
            raise Malformed
        out += packet[at : at + 1 + length]
        at += 1 + length


def _expand_data(packet: bytes, start: int, end: int, rtype: int) -> bytes:
    if rtype == SOA:
        first, at = expand_name(packet, start)
        second, at = expand_name(packet, at)
        return first + second + packet[at:end]
    before = _NAME_AT.get(rtype)
    if before is None:
        return packet[start:end]
    name, _ = expand_name(packet, start + before)
    return packet[start : start + before] + name
