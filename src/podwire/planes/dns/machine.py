"""What to reply to one packet. Sans-IO: packets in; replies, requests to forward, or silence out.

Rules:

1. Order of judgement: silence, format, EDNS version, class, transfers, readiness, our zones, upstreams (section 6).
2. A whole reply is remembered by the packet it answers, the id apart, until the zone changes. The memory is bounded,
   and packets with EDNS options (cookies differ every time) stay out of it.
3. A remembered reply that rotates is a tuple of replies; the reader picks the next one.
4. Until a table is there every question is SERVFAIL with EDE 14, never NXDOMAIN.
5. Zone transfers and classes other than IN are REFUSED. ANY is an ordinary missing type.
6. When an upstream fails on the target of an alias, the alias stays in the answer, with an extended error.
"""

from typing import NamedTuple

from podwire.planes.dns import splice, wire
from podwire.planes.dns.render import Tail, fit_reply
from podwire.planes.dns.table import Table
from podwire.planes.dns.wire import Malformed, Query

REMEMBERED = 20_000
TCP_LIMIT = 65_535
NO_UPSTREAMS = (wire.EDE_NOT_AUTHORITATIVE, "not a name of this cluster, and no upstream resolver is configured")


class Forward(NamedTuple):
    """An upstream must be asked. ``request`` is a whole message whose id is to be replaced; ``tail`` holds the aliases
    found in the zone when the request is for the end of their chain."""

    query: Query
    request: bytes
    limit: int
    tail: Tail | None = None


Reply = bytes | tuple[bytes, ...] | Forward | None


class Responder:
    """Answers from ``table``; ``remembered`` is for the worker's inner loop (rule 2)."""

    def __init__(self) -> None:
        """Nothing loaded."""
        self.table: Table | None = None
        self.remembered: dict[bytes, bytes | tuple[bytes, ...]] = {}
        self._turn = 0

    def load(self, table: Table) -> None:
        """Answer from this table from now on; also to be called after ``table`` changed."""
        self.table = table
        self.remembered.clear()

    def pick(self, replies: tuple[bytes, ...]) -> bytes:
        """The next rotation."""
        self._turn += 1
        return replies[self._turn % len(replies)]

    def reply(self, packet: bytes, *, tcp: bool = False) -> bytes | Forward | None:
        """The reply to a packet, a request to forward, or None for silence."""
        try:
            query = wire.parse_query(packet)
        except Malformed as error:
            return wire.header_only(packet, error.rcode)
        if query is None:
            return None
        refusal = self._refuse(query)
        if refusal is not None or self.table is None:
            return refusal
        return self._answer(self.table, packet, query, TCP_LIMIT if tcp else wire.udp_limit(query))

    def _refuse(self, query: Query) -> bytes | None:
        if query.version:
            return wire.error_reply(query, wire.BADVERS)
        if query.rclass != wire.CLASS_IN or query.rtype in (wire.AXFR, wire.IXFR):
            return wire.error_reply(query, wire.REFUSED)
        if self.table is None:
            return wire.error_reply(query, wire.SERVFAIL, ede=(wire.EDE_NOT_READY, "the zone is not loaded yet"))
        return None

    def _answer(self, table: Table, packet: bytes, query: Query, limit: int) -> bytes | Forward:
        tails = table.lookup(query.name, query.rtype)
        if tails is None:
            if not table.meta.upstreams:
                return wire.error_reply(query, wire.REFUSED, ede=NO_UPSTREAMS)
            return Forward(query, packet, limit)
        if tails[0].chase is not None:
            if not table.meta.upstreams:
                return fit_reply(query, tails[0], limit, ede=NO_UPSTREAMS)
            return Forward(query, chase_request(query, tails[0].chase), limit, tails[0])
        replies = tuple(fit_reply(query, tail, limit) for tail in tails)
        if limit != TCP_LIMIT and not query.options:
            self._remember(packet, replies)
        return self.pick(replies)

    def _remember(self, packet: bytes, replies: tuple[bytes, ...]) -> None:
        if len(self.remembered) >= REMEMBERED:
            self.remembered.clear()
        rests = tuple(reply[2:] for reply in replies)
        self.remembered[packet[2:]] = rests if len(rests) > 1 else rests[0]


def chase_request(query: Query, target: bytes) -> bytes:
    """Our own question for the end of an alias chain: recursion, EDNS with our size, the client's DO."""
    flags = wire.RD.to_bytes(2, "big")
    edns = query._replace(edns=True)
    question = target + query.rtype.to_bytes(2, "big") + b"\0\1"
    return b"\0\0" + flags + b"\0\1\0\0\0\0\0\1" + question + wire.opt_record(edns)


def complete(forward: Forward, response: bytes) -> bytes:
    """The reply to the client from what an upstream said. An answer to the client's own question passes unchanged."""
    if forward.tail is None:
        return forward.query.ident + response[2:]
    try:
        tail = splice.append_response(forward.query, forward.tail, response)
    except Malformed:
        return fail(forward, "the upstream's answer does not parse")
    return fit_reply(forward.query, tail, forward.limit)


def fail(forward: Forward, why: str, *, rcode: int = wire.SERVFAIL) -> bytes:
    """The reply when no upstream answered."""
    ede = (wire.EDE_NO_REACHABLE, why)
    if forward.tail is not None:
        return fit_reply(forward.query, forward.tail, forward.limit, ede=ede)
    return wire.error_reply(forward.query, rcode, ede=ede)
