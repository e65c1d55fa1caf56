"""Answers as wire bytes: the part of a reply that depends on the question's name and type only. Pure.

Rules:

1. The meaning is that of :meth:`podwire.plan.ZoneIndex.resolve`; a test compares the two. This module does not import
   ``podwire.plan``, because the worker must start in milliseconds: records are plain tuples here.
2. Names compress against the question, so owner names and zone parts keep the case the client chose. SRV targets are
   never compressed (RFC 2782); they copy the question's bytes for the part they share with it.
3. Negative answers and the ends of empty chains carry the zone's SOA (RFC 2308).
4. Address sets rotate: one tail per rotation, at most :data:`MAX_TURNS`.
5. A tail knows where each record ends, so that it can be cut at a record boundary. Losing additional records is
   silent (RFC 2181 section 9); losing anything else sets TC.
"""

from typing import NamedTuple, Protocol

from podwire.planes.dns import wire
from podwire.planes.dns.wire import AA, NXDOMAIN, RA, SERVFAIL, TC, TYPES, Query

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV = (TYPES[t] for t in ("A", "NS", "CNAME", "SOA", "PTR", "TXT", "AAAA", "SRV"))
CHASED = (A, AAAA, CNAME)
MAX_CHASE = 10
MAX_TURNS = 8


class Rec(NamedTuple):
    """One record without its owner: numeric type, TTL, data in presentation form."""

    rtype: int
    ttl: int
    data: str


class Names(Protocol):
    """What rendering asks of a table. Names are lower-cased wire bytes."""

    def find(self, key: bytes) -> tuple[Rec, ...]:
        """Records at a name."""
        ...

    def exists(self, key: bytes) -> bool:
        """Whether the name or one below it has records."""
        ...

    def zone_of(self, key: bytes) -> bytes | None:
        """The apex of the zone that holds the name."""
        ...

    def falls_through(self, zone: bytes) -> bool:
        """Whether the upstreams answer what this zone does not know."""
        ...


class Tail(NamedTuple):
    """Everything behind the question. ``ends`` are the offsets in ``body`` after each record; ``linked`` says that
    other names than the question's went in; ``chase`` is a name that an upstream must resolve to complete it."""

    flags: int
    counts: tuple[int, int, int]
    body: bytes
    ends: tuple[int, ...]
    linked: bool
    chase: bytes | None = None


class _Step(NamedTuple):
    """Where the chase of aliases ended: the records of the answer section by owner, and why it ended."""

    answers: tuple[tuple[bytes, Rec], ...]
    rcode: int
    negative_zone: bytes | None = None
    upstream: bytes | None = None


class Writer:
    """Appends records behind a question and compresses names against everything written so far."""

    def __init__(self, name: bytes) -> None:
        """``name`` is the question's, as sent."""
        self.out = bytearray()
        self.ends: list[int] = []
        self._name = name
        self._base = 12 + len(name) + 4
        self._known = {rest.lower(): 12 + at for at, rest in wire.suffixes_of(name)}

    def add(self, owner: bytes, rec: Rec) -> None:
        """One record of class IN."""
        self.put_name(owner)
        self.out += rec.rtype.to_bytes(2, "big") + b"\0\1" + rec.ttl.to_bytes(4, "big") + b"\0\0"
        start = len(self.out)
        self._data(rec)
        self.out[start - 2 : start] = (len(self.out) - start).to_bytes(2, "big")
        self.ends.append(len(self.out))

    def add_raw(self, owner: bytes, head: bytes, data: bytes) -> None:
        """A record from elsewhere: ``head`` is type, class and TTL, ``data`` holds no compression pointers."""
        self.put_name(owner)
        self.out += head + len(data).to_bytes(2, "big") + data
        self.ends.append(len(self.out))

    def put_name(self, name: bytes) -> None:
        """A name, compressed where a suffix of it is known."""
        for at, rest in wire.suffixes_of(name):
            known = self._known.get(rest.lower())
            if known is not None:
                self.out += name[:at]
                self.out += (0xC000 | known).to_bytes(2, "big")
                self._learn(name, at)
                return
        self.out += name
        self._learn(name, len(name) - 1)

    def _learn(self, name: bytes, upto: int) -> None:
        """Note the suffixes of ``name`` that start before ``upto``; its bytes were written just now."""
        tail = len(name) if upto == len(name) - 1 else upto + 2
        start = self._base + len(self.out) - tail
        for at, rest in wire.suffixes_of(name):
            if at >= upto or start + at > 0x3FFF:
                return
            self._known.setdefault(rest.lower(), start + at)

    def _put_plain_name(self, name: bytes) -> None:
        """Uncompressed, with the case of the question in the part shared with it."""
        for at, rest in wire.suffixes_of(name):
            if self._name.lower().endswith(rest) and self._known.get(rest, 1 << 16) < self._base:
                shared = self._known[rest] - 12
                self.out += name[:at] + self._name[shared:]
                break
        else:
            self.out += name
        self._learn(name, len(name) - 1)

    def _data(self, rec: Rec) -> None:
        match rec.rtype:
            case 1:
                self.out += bytes(map(int, rec.data.split(".")))
            case 28:
                from ipaddress import IPv6Address

                self.out += IPv6Address(rec.data).packed
            case 33:
                priority, weight, port, target = rec.data.split(" ")
                self.out += b"".join(int(n).to_bytes(2, "big") for n in (priority, weight, port))
                self._put_plain_name(wire.encode_name(target))
            case 16:
                text = rec.data.encode()
                self.out += b"".join(
                    bytes((len(text[i : i + 255]),)) + text[i : i + 255] for i in range(0, len(text), 255)
                )
            case 65:
                self.out += wire.encode_service(rec.data)
            case 6:
                mname, rname, *numbers = rec.data.split(" ")
                self.put_name(wire.encode_name(mname))
                self.put_name(wire.encode_name(rname))
                self.out += b"".join(int(n).to_bytes(4, "big") for n in numbers)
            case _:
                self.put_name(wire.encode_name(rec.data))


def render_answer(names: Names, name: bytes, rtype: int, *, turn: int = 0) -> tuple[Tail, int] | None:
    """The tail for a question and how many rotations it has; None when an upstream must answer.

    ``name`` is the question's name as sent, ``turn`` picks the rotation.
    """
    key = name.lower()
    step = _resolve(names, key, rtype)
    if step is None:
        return None
    turning = [a for a in step.answers if a[1].rtype in (A, AAAA)]
    turns = min(max(len(turning), 1), MAX_TURNS)
    shift = turn % turns * len(turning) // turns
    writer = Writer(name)
    fixed = [a for a in step.answers if a[1].rtype not in (A, AAAA)]
    for owner, rec in (*fixed, *turning[shift:], *turning[:shift]):
        writer.add(owner, rec)
    authority = _add_soa(names, writer, step.negative_zone)
    glue = _add_glue(names, writer, fixed)
    linked = bool(authority or glue or fixed) or step.negative_zone is not None
    counts = (len(step.answers), authority, glue)
    return Tail(AA | RA | step.rcode, counts, bytes(writer.out), tuple(writer.ends), linked, step.upstream), turns


def _resolve(names: Names, key: bytes, rtype: int) -> _Step | None:
    chain: list[tuple[bytes, Rec]] = []
    while True:
        zone = names.zone_of(key)
        records = names.find(key) if zone is not None else ()
        if zone is None or (not records and not names.exists(key) and names.falls_through(zone)):
            return _Step(tuple(chain), 0, upstream=key) if chain else None
        if not records:
            return _Step(tuple(chain), 0 if names.exists(key) else NXDOMAIN, negative_zone=zone)
        wanted = [(key, r) for r in records if r.rtype == rtype]
        alias = next((r for r in records if r.rtype == CNAME), None)
        if wanted or alias is None or rtype not in CHASED:
            return _Step((*chain, *wanted), 0, negative_zone=None if wanted else zone)
        full = len(chain) >= MAX_CHASE
        chain.append((key, alias))
        target = wire.encode_name(alias.data)
        if full or any(owner == target for owner, _ in chain):
            return _Step(tuple(chain), SERVFAIL)
        key = target


def _add_soa(names: Names, writer: Writer, zone: bytes | None) -> int:
    if zone is None:
        return 0
    soas = [r for r in names.find(zone) if r.rtype == SOA]
    for rec in soas[:1]:
        writer.add(zone, rec)
    return len(soas[:1])


def _add_glue(names: Names, writer: Writer, answers: list[tuple[bytes, Rec]]) -> int:
    """A and AAAA of SRV targets and name servers, each host once."""
    hosts = dict.fromkeys(r.data.rpartition(" ")[2] for _, r in answers if r.rtype in (SRV, NS))
    count = 0
    for host in hosts:
        owner = wire.encode_name(host)
        for rec in names.find(owner):
            if rec.rtype in (A, AAAA):
                writer.add(owner, rec)
                count += 1
    return count


def fit_reply(
    query: Query, tail: Tail, limit: int, *, ede: tuple[int, str] | None = None, options: bytes = b""
) -> bytes:
    """The whole reply in at most ``limit`` bytes: cut at a record boundary where necessary (rule 5)."""
    opt = wire.opt_record(query, ede=ede, more=options)
    room = limit - 12 - len(query.question) - len(opt)
    answers, authority, additional = tail.counts
    flags, body = tail.flags, tail.body
    if len(body) > room:
        kept = sum(end <= room for end in tail.ends)
        body = body[: tail.ends[kept - 1]] if kept else b""
        if kept < answers + authority:
            flags |= TC
        answers, authority, additional = _shares(kept, tail.counts)
    return wire.message(query, flags, (answers, authority, additional + bool(opt)), body + opt)


def _shares(kept: int, counts: tuple[int, int, int]) -> tuple[int, int, int]:
    answers = min(kept, counts[0])
    authority = min(kept - answers, counts[1])
    return answers, authority, kept - answers - authority
