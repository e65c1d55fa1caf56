"""DNS messages as bytes: questions in, names and records out. Pure, and strict about what strangers send.

Rules:

1. The 12-byte header is judged before anything is parsed: shorter messages and responses are dropped silently, so
   that no two servers can be made to talk to each other.
2. A question has labels of at most 63 bytes, a name of at most 255, no compression pointer. Its bytes go verbatim
   into the reply (clients vary the case to detect forgery); look-ups use the lower-cased copy.
3. FORMERR: QDCOUNT other than 1, records in answer or authority (but the SOA of an IXFR), a second OPT, OPT not at the
   root, trailing bytes.
4. The reply has an OPT only when the query had one; of its flags only DO is copied, options are not echoed.

Source: RFC 1035 section 4, RFC 6891, RFC 8906, RFC 8914; section 6 of the DNS reference in ``docs/design/dns.md``.
"""

from collections.abc import Iterator
from typing import NamedTuple

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}
OPT, IXFR, AXFR, CLASS_IN = 41, 251, 252, 1

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

QR, AA, TC, RD, RA, OPCODE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x7800

EDE_OTHER, EDE_NOT_READY, EDE_NOT_AUTHORITATIVE, EDE_NO_REACHABLE, EDE_NETWORK = 0, 14, 20, 22, 23

OUR_SIZE = 1232
"""The UDP payload we advertise and never exceed: no fragments (DNS flag day 2020)."""

_ONE_QUESTION, _ONE_AUTHORITY = b"\0\1\0\0\0\0", b"\0\1\0\0\0\1"
_OPT_FIXED = b"\0" + OPT.to_bytes(2, "big") + OUR_SIZE.to_bytes(2, "big")


class Malformed(Exception):
    """The message violates the format; the reply is ``rcode`` with a header only."""

    def __init__(self, rcode: int = FORMERR) -> None:
        """Keep the response code."""
        super().__init__(rcode)
        self.rcode = rcode


class Query(NamedTuple):
    """A well-formed question. ``question`` is name, type and class as sent; ``key`` the lower-cased name."""

    ident: bytes
    flags: int
    question: bytes
    key: bytes
    rtype: int
    rclass: int
    edns: bool
    version: int
    size: int
    dnssec_ok: bool
    options: bool
    serial: int | None = None
    """What the client of an IXFR has."""

    @property
    def name(self) -> bytes:
        """The name as sent, uncompressed."""
        return self.question[:-4]

    def replaced(self, question: bytes) -> "Query":
        """The same client's question about something else."""
        rtype, rclass = int.from_bytes(question[-4:-2], "big"), int.from_bytes(question[-2:], "big")
        return self._replace(question=question, key=question[:-4].lower(), rtype=rtype, rclass=rclass)


def encode_name(text: str) -> bytes:
    """Uncompressed wire form of a dotted name, case kept. Raises :class:`ValueError` when it is no DNS name."""
    if text in ("", "."):
        return b"\0"
    parts = text.rstrip(".").encode("ascii").split(b".")
    wire = b"".join(bytes((len(part),)) + part for part in parts if 0 < len(part) < 64)
    if len(wire) != sum(map(len, parts)) + len(parts) or len(wire) > 254:
        raise ValueError(f"not a DNS name: {text!r}")
    return wire + b"\0"


def encode_service(text: str) -> bytes:
    """Data of an HTTPS record (RFC 9460 section 2.2): ``1 .`` or ``1 name port=8443``; names are not compressed."""
    priority, target, *parameters = text.split(" ")
    out = int(priority).to_bytes(2, "big") + encode_name(target)
    for parameter in parameters:
        out += b"\0\3\0\2" + int(parameter.removeprefix("port=")).to_bytes(2, "big")
    return out


def decode_name(wire: bytes) -> str:
    """Dotted form of an uncompressed name, for logs; bytes that do not print are shown as ``\\ddd``."""
    labels = (
        "".join(chr(b) if 33 <= b < 127 and b not in b".\\" else f"\\{b:03d}" for b in x) for x in labels_of(wire)
    )
    return ".".join(labels) or "."


def labels_of(wire: bytes) -> Iterator[bytes]:
    """Labels of an uncompressed name, left to right, without the root."""
    at = 0
    while wire[at]:
        yield wire[at + 1 : at + 1 + wire[at]]
        at += 1 + wire[at]


def suffixes_of(wire: bytes) -> Iterator[tuple[int, bytes]]:
    """``(offset, rest)`` of an uncompressed name and every ancestor, the root excluded."""
    at = 0
    while wire[at]:
        yield at, wire[at:]
        at += 1 + wire[at]


def parse_query(packet: bytes) -> Query | None:
    """The question of a packet; None when it must be dropped silently. Raises :class:`Malformed`."""
    if len(packet) < 12 or packet[2] & 0x80:
        return None
    flags = packet[2] << 8 | packet[3]
    if flags & OPCODE:
        raise Malformed(NOTIMP)
    counts = packet[4:10]
    if counts not in (_ONE_QUESTION, _ONE_AUTHORITY):
        raise Malformed
    end = skip_name(packet, 12, pointers=False)
    if end + 4 > len(packet):
        raise Malformed
    question = packet[12 : end + 4]
    rtype, rclass = int.from_bytes(packet[end : end + 2], "big"), int.from_bytes(packet[end + 2 : end + 4], "big")
    after, serial = end + 4, None
    if counts == _ONE_AUTHORITY:
        after, serial = _parse_serial(packet, after, rtype)
    opt = _parse_additional(packet, after, packet[10] << 8 | packet[11])
    edns, version, size, dnssec_ok, options = opt or (False, 0, 512, False, False)
    key = question[:-4].lower()
    return Query(packet[:2], flags, question, key, rtype, rclass, edns, version, size, dnssec_ok, options, serial)


def _parse_serial(packet: bytes, at: int, rtype: int) -> tuple[int, int]:
    """The end of the SOA record in the authority section of an IXFR (RFC 1995 section 3), and its serial."""
    end = skip_name(packet, at, pointers=True)
    data = end + 10
    after = data + int.from_bytes(packet[end + 8 : data], "big")
    if rtype != IXFR or after > len(packet) or packet[end : end + 2] != b"\0\6":
        raise Malformed
    numbers = skip_name(packet, skip_name(packet, data, pointers=True), pointers=True)
    if numbers + 20 != after:
        raise Malformed
    return after, int.from_bytes(packet[numbers : numbers + 4], "big")


def skip_name(packet: bytes, at: int, *, pointers: bool) -> int:
    """The offset behind the name at ``at``. Raises :class:`Malformed` when it leaves the packet, is longer than 255
    bytes, or has a pointer where ``pointers`` is false."""
    start, end = at, len(packet)
    while at < end:
        length = packet[at]
        if length == 0:
            if at + 1 - start > 255:
                break
            return at + 1
        if length >= 0xC0 and pointers and at + 2 <= end:
            return at + 2
        if length > 63:
            break
        at += 1 + length
    raise Malformed


def _parse_additional(packet: bytes, at: int, count: int) -> tuple[bool, int, int, bool, bool] | None:
    """``(edns, version, size, DO, has options)`` of the OPT record. Other records (TSIG) are skipped."""
    found = None
    for _ in range(count):
        end = skip_name(packet, at, pointers=True)
        if end + 10 > len(packet):
            raise Malformed
        data = end + 10
        after = data + int.from_bytes(packet[end + 8 : data], "big")
        if after > len(packet):
            raise Malformed
        if packet[end] == 0 and packet[end + 1] == OPT:
            if found is not None or packet[at]:
                raise Malformed
            _check_options(packet[data:after])
            size = int.from_bytes(packet[end + 2 : end + 4], "big")
            found = (True, packet[end + 5], size, bool(packet[end + 6] & 0x80), after > data)
        at = after
    if at != len(packet):
        raise Malformed
    return found


def _check_options(data: bytes) -> None:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise Malformed
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    if at != len(data):
        raise Malformed


def header_only(packet: bytes, rcode: int) -> bytes:
    """The reply to a message whose question cannot be trusted: header, opcode and RD copied, no AA."""
    flags = QR | (packet[2] << 8 & (OPCODE | RD)) | rcode
    return packet[:2] + flags.to_bytes(2, "big") + bytes(8)


def udp_limit(query: Query, ours: int = OUR_SIZE) -> int:
    """How long a reply over UDP may be: what the client takes, at least 512, at most ours (rule 6 of section 6)."""
    return max(512, min(query.size, ours)) if query.edns else 512


def opt_record(query: Query, *, rcode: int = 0, ede: tuple[int, str] | None = None, more: bytes = b"") -> bytes:
    """Our OPT record, with an extended error when there is something to say and ``more`` options; empty when the
    query had none."""
    if not query.edns:
        return b""
    options = more
    if ede is not None:
        text = ede[1].encode()[:200]
        options += b"\0\x0f" + (2 + len(text)).to_bytes(2, "big") + ede[0].to_bytes(2, "big") + text
    flags = b"\x80\0" if query.dnssec_ok else b"\0\0"
    return _OPT_FIXED + bytes((rcode >> 4, 0)) + flags + len(options).to_bytes(2, "big") + options


def build_request(query: Query, *, recursion: bool = True) -> bytes:
    """A message with this question for an upstream: EDNS with our size when the query has it, the client's DO."""
    flags = (RD if recursion else 0) | (query.flags & 0x10)
    opt = opt_record(query)
    head = b"\0\0" + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0" + (b"\0\1" if opt else b"\0\0")
    return head + query.question + opt


def has_option(packet: bytes, code: int) -> bool:
    """Whether a well-formed query has an EDNS option."""
    at = skip_name(packet, 12, pointers=False) + 4
    while at < len(packet):
        end = skip_name(packet, at, pointers=True)
        data, after = end + 10, end + 10 + int.from_bytes(packet[end + 8 : end + 10], "big")
        while packet[end + 1] == OPT and data < after:
            if packet[data : data + 2] == code.to_bytes(2, "big"):
                return True
            data += 4 + int.from_bytes(packet[data + 2 : data + 4], "big")
        at = after
    return False


def message(query: Query, flags: int, counts: tuple[int, int, int], body: bytes) -> bytes:
    """A whole reply: ``flags`` are AA, TC, RA and the response code; QR and RD are added, the question copied."""
    head = QR | (query.flags & RD) | flags
    answers, authority, additional = counts
    return (
        query.ident
        + head.to_bytes(2, "big")
        + b"\0\1"
        + answers.to_bytes(2, "big")
        + authority.to_bytes(2, "big")
        + additional.to_bytes(2, "big")
        + query.question
        + body
    )


def error_reply(query: Query, rcode: int, *, ede: tuple[int, str] | None = None, flags: int = RA) -> bytes:
    """A reply with a question and no records; codes above 15 need the OPT record."""
    opt = opt_record(query, rcode=rcode, ede=ede)
    return message(query, flags | (rcode & 15), (0, 0, 1 if opt else 0), opt)
