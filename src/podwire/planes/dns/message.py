"""An answer on its way back through the plugins, and its last form as bytes. Pure.

Rules:

1. An answer is one of three: ``tails`` compiled from our own table (the fast way), ``raw`` bytes of an upstream that
   go out as they came, or records. :meth:`Message.open` turns the first two into records, for plugins that change them.
2. Only answers made of untouched tails may be remembered by packet (``memorable``).
3. Raw bytes go out unchanged only to the very question they answer; anything else is written anew.
"""

from collections.abc import Iterator
from typing import NamedTuple

from podwire.planes.dns import splice, wire
from podwire.planes.dns.render import Tail, Writer, fit_reply
from podwire.planes.dns.wire import AA, RA, TC, Query

A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, ANY = 1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 255
CLASS_CH = 3
RCODES = {"NOERROR": 0, "FORMERR": 1, "SERVFAIL": 2, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}
RCODE_NAMES = {number: name for name, number in RCODES.items()}
TYPE_NAMES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 28: "AAAA", 29: "LOC",
    33: "SRV", 35: "NAPTR", 39: "DNAME", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3",
    52: "TLSA", 64: "SVCB", 65: "HTTPS", 99: "SPF", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip
TYPES = {name: number for number, name in TYPE_NAMES.items()}


class Rr(NamedTuple):
    """One record; names in ``data`` are not compressed."""

    owner: bytes
    rtype: int
    rclass: int
    ttl: int
    data: bytes

    @property
    def head(self) -> bytes:
        """Type, class and TTL on the wire."""
        return self.rtype.to_bytes(2, "big") + self.rclass.to_bytes(2, "big") + self.ttl.to_bytes(4, "big")


Sections = tuple[tuple[Rr, ...], tuple[Rr, ...], tuple[Rr, ...]]
EMPTY: Sections = ((), (), ())


class Message:
    """An answer. ``source`` is the plugin that gave it; ``ede`` an extended error; ``options`` go into our OPT;
    ``ordered``: the addresses are in an order that matters; ``transfer`` are the whole messages of a zone transfer,
    which nobody changes."""

    __slots__ = (
        "drop",
        "ede",
        "flags",
        "memorable",
        "options",
        "ordered",
        "raw",
        "rcode",
        "rotate",
        "sections",
        "source",
        "tails",
        "transfer",
    )

    def __init__(self, rcode: int = 0, sections: Sections = EMPTY, *, flags: int = AA | RA, source: str = "") -> None:
        """Of records; use :func:`from_tails` and :func:`from_raw` for the other forms."""
        self.rcode = rcode
        self.sections = sections
        self.flags = flags
        self.source = source
        self.ede: tuple[int, str] | None = None
        self.options = b""
        self.raw: bytes | None = None
        self.tails: tuple[Tail, ...] = ()
        self.memorable = False
        self.rotate = False
        self.ordered = False
        self.drop = False
        self.transfer: Iterator[bytes] | None = None

    @property
    def failed(self) -> bool:
        """Whether asking again might help."""
        return self.rcode == wire.SERVFAIL

    def open(self, query: Query) -> Sections:
        """The records; raises :class:`wire.Malformed` when an upstream sent nonsense."""
        self.memorable = False
        packet = self.raw
        if self.tails:
            tail = self.tails[0]
            packet = wire.message(query, 0, tail.counts, tail.body)
        if packet is not None:
            self.sections = read_sections(packet)
            self.raw, self.tails = None, ()
        return self.sections

    def change(self, query: Query, sections: Sections) -> None:
        """Other records."""
        self.open(query)
        self.sections = sections


def from_tails(tails: tuple[Tail, ...], *, source: str) -> Message:
    """Our own answer, one tail per rotation."""
    flags = tails[0].flags
    made = Message(flags & 15, flags=flags & ~15, source=source)
    made.tails, made.memorable = tails, True
    return made


def from_raw(packet: bytes, *, source: str) -> Message:
    """An upstream's answer."""
    made = Message(packet[3] & 15, flags=(packet[2] << 8 | packet[3]) & (AA | TC | 0x20) | RA, source=source)
    made.raw = packet
    return made


def failure(why: str, *, code: int = wire.EDE_OTHER, rcode: int = wire.SERVFAIL, source: str = "") -> Message:
    """An error with the reason (RFC 8914)."""
    made = Message(rcode, flags=RA, source=source)
    made.ede = (code, why)
    return made


def read_sections(packet: bytes) -> Sections:
    """Answer, authority and additional records of a message, OPT left out. Raises :class:`wire.Malformed`."""
    found: tuple[list[Rr], list[Rr], list[Rr]] = ([], [], [])
    for record in splice.read_records(packet):
        head = record.head
        rclass, ttl = int.from_bytes(head[2:4], "big"), int.from_bytes(head[4:8], "big")
        found[record.section].append(Rr(record.owner, record.rtype, rclass, ttl, record.data))
    return tuple(found[0]), tuple(found[1]), tuple(found[2])


def encode(query: Query, message: Message, limit: int, *, turn: int = 0) -> bytes:
    """The reply as bytes, at most ``limit`` of them."""
    if message.tails:
        tails = message.tails
        tail = tails[turn % len(tails)] if message.rotate else tails[0]
        return fit_reply(query, tail, limit, ede=message.ede, options=message.options)
    raw = message.raw
    if raw is not None and _fits(query, raw, limit) and not message.options and message.ede is None:
        return query.ident + raw[2:]
    try:
        sections = message.open(query)
    except wire.Malformed:
        why = (wire.EDE_NETWORK, "the upstream's answer does not parse")
        return wire.error_reply(query, wire.SERVFAIL, ede=why)
    writer = Writer(query.name)
    for section in sections:
        for record in section:
            writer.add_raw(record.owner, record.head, record.data)
    answers, authority, additional = map(len, sections)
    tail = Tail(
        message.flags | message.rcode, (answers, authority, additional), bytes(writer.out), tuple(writer.ends), True
    )
    return fit_reply(query, tail, limit, ede=message.ede, options=message.options)


def _fits(query: Query, raw: bytes, limit: int) -> bool:
    return len(raw) <= limit and raw[12 : 12 + len(query.question)] == query.question


def soa_ttl(sections: Sections) -> int | None:
    """How long a negative answer may be kept (RFC 2308 section 5): the smaller of the SOA's TTL and its minimum."""
    for record in sections[1]:
        if record.rtype == SOA and len(record.data) >= 4:
            return min(record.ttl, int.from_bytes(record.data[-4:], "big"))
    return None


def name_below(zone: bytes, key: bytes) -> bool:
    """Whether ``key`` is ``zone`` or below it; both lower-cased wire names."""
    return zone == b"\0" or key == zone or (key.endswith(zone) and any(r == zone for _, r in wire.suffixes_of(key)))


def zone_of(zones: tuple[bytes, ...], key: bytes) -> bytes | None:
    """The longest of ``zones`` that holds ``key``."""
    return max((z for z in zones if name_below(z, key)), key=len, default=None)


def encode_data(rtype: str, text: str) -> bytes:
    """Record data from its presentation form. Raises :class:`ValueError`."""
    words = text.split()
    match rtype:
        case "A" | "AAAA":
            from ipaddress import ip_address

            packed = ip_address(text).packed
            if len(packed) != (4 if rtype == "A" else 16):
                raise ValueError(f"{text} is no address for {rtype}")
            return packed
        case "CNAME" | "NS" | "PTR":
            return wire.encode_name(text)
        case "MX":
            return int(words[0]).to_bytes(2, "big") + wire.encode_name(words[1])
        case "SRV":
            return b"".join(int(n).to_bytes(2, "big") for n in words[:3]) + wire.encode_name(words[3])
        case "SOA":
            numbers = b"".join(int(n).to_bytes(4, "big") for n in words[2:7])
            return wire.encode_name(words[0]) + wire.encode_name(words[1]) + numbers
        case "HTTPS":
            return wire.encode_service(text)
        case "TXT" | "HINFO":
            return b"".join(_strings(text))
    raise ValueError(f"records of type {rtype} cannot be written here")


def _strings(text: str) -> Iterator[bytes]:
    """Character strings: quoted, or words."""
    import shlex

    for part in shlex.split(text):
        data = part.encode()
        yield from (bytes((len(data[i : i + 255]),)) + data[i : i + 255] for i in range(0, max(len(data), 1), 255))


def parse_record(text: str) -> Rr:
    """``name ttl class type data`` as in a master file; TTL and class may be left out. Raises :class:`ValueError`."""
    name, *rest = text.split(None, 1)
    ttl, words = 3600, rest[0] if rest else ""
    for _ in range(2):
        first, _, others = words.partition(" ")
        if first.isdecimal():
            ttl, words = int(first), others.strip()
        elif first.upper() in ("IN", "CH"):
            words = others.strip()
    rtype, _, data = words.partition(" ")
    if rtype.upper() not in TYPES:
        raise ValueError(f"{text!r} is no record")
    return Rr(wire.encode_name(name), TYPES[rtype.upper()], 1, ttl, encode_data(rtype.upper(), data.strip()))
