"""Plugins that change answers: dns64, minimal, loadbalance, nsid, bufsize. Those of rewrite: ``plugins_rewrite.py``.

Sources: coredns:plugin/{dns64,minimal,loadbalance,nsid,bufsize}; RFC 6147, RFC 5001.
"""

from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Next, Outcome, Request, then
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.wire import Query

NSID = 3
GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fill the interval evenly: draws by weight without chance."""


class Dns64:
    """AAAA records made from A records for names that have none."""

    name = "dns64"

    def __init__(self, prefix: str, *, translate_all: bool, allow_ipv4: bool) -> None:
        """``prefix`` as in RFC 6052."""
        network = ip_network(prefix)
        assert isinstance(network, IPv6Network)
        self._network = network
        self._all = translate_all
        self._allow_ipv4 = allow_ipv4

    def serve(self, request: Request, following: Next) -> Outcome:
        """AAAA questions of IPv6 clients only, unless IPv4 clients are allowed."""
        query = request.query
        client_v4 = ":" not in request.client
        if query.rtype != m.AAAA or (client_v4 and not self._allow_ipv4):
            return following(request)
        inner = request.other(query.replaced(query.name + b"\0\1" + query.question[-2:]))

        def look(found: Message) -> Outcome:
            if found.rcode not in (0, wire.SERVFAIL) or found.drop:
                return found
            answer = found.open(query)[0]
            if not self._all and any(r.rtype == m.AAAA for r in answer):
                return found
            return then(following(inner), lambda other: self._translate(inner.query, other, found))

        return then(following(request), look)

    def _translate(self, query: Query, other: Message, found: Message) -> Message:
        answer, _, _ = other.open(query)
        if other.rcode or not any(r.rtype == m.A for r in answer):
            return found
        made = tuple(r._replace(rtype=m.AAAA, data=self.embed(r.data)) if r.rtype == m.A else r for r in answer)
        return Message(0, (made, (), ()), flags=other.flags, source=self.name)

    def embed(self, address: bytes) -> bytes:
        """An IPv4 address in the prefix; bits 64 to 71 stay zero (RFC 6052 section 2.2)."""
        size = self._network.prefixlen // 8
        out = bytearray(self._network.network_address.packed[:size])
        for byte in address:
            if len(out) == 8 and size != 12:
                out.append(0)
            out.append(byte)
        return bytes(out.ljust(16, b"\0"))


class Minimal:
    """Positive answers without authority and additional records."""

    name = "minimal"

    def serve(self, request: Request, following: Next) -> Outcome:
        """Cut what is not asked for."""
        return then(following(request), lambda found: self._cut(request.query, found))

    def _cut(self, query: Query, found: Message) -> Message:
        if found.rcode or found.drop:
            return found
        answer, _, _ = found.open(query)
        if answer and not all(r.rtype == m.NS for r in answer):
            found.sections = (answer, (), ())
        return found


class LoadBalance:
    """Rotates addresses; answers of our own table have their rotations compiled."""

    name = "loadbalance"

    def __init__(self, prefer: list[str], weights: Any = ()) -> None:
        """Networks whose addresses go first, and weights of addresses by name."""
        self._prefer = [ip_network(text) for text in prefer]
        self._weights = {
            wire.encode_name(name): {ip_address(text).packed: weight for text, weight in pairs}
            for name, pairs in weights
        }
        self._turn = 0

    def serve(self, request: Request, following: Next) -> Outcome:
        """Turn the answer."""
        return then(following(request), lambda found: self._rotate(request.query, found))

    def _rotate(self, query: Query, found: Message) -> Message:
        if query.rtype not in (m.A, m.AAAA, m.MX, m.SRV) or found.rcode or found.drop or found.ordered:
            return found
        found.rotate = True
        if found.tails and not self._prefer and query.key not in self._weights:
            return found
        try:
            answer, authority, additional = found.open(query)
        except wire.Malformed:
            return found
        self._turn += 1
        weights = self._weights.get(query.key)
        turned = self._turned(answer) if weights is None else self._weighted(answer, weights)
        found.sections = (turned, authority, additional)
        return found

    def _weighted(self, answer: tuple[Rr, ...], weights: dict[bytes, int]) -> tuple[Rr, ...]:
        """One address first, drawn by weight; the others stay in order."""
        addresses = [r for r in answer if r.rtype in (m.A, m.AAAA)]
        point = self._turn * GOLDEN % 1 * sum(weights.get(r.data, 1) for r in addresses)
        for record in addresses:
            point -= weights.get(record.data, 1)
            if point < 0:
                others = [r for r in addresses if r is not record]
                return (*(r for r in answer if r.rtype not in (m.A, m.AAAA)), record, *others)
        return answer

    def _turned(self, answer: tuple[Rr, ...]) -> tuple[Rr, ...]:
        turning = [r for r in answer if r.rtype in (m.A, m.AAAA, m.MX)]
        fixed = [r for r in answer if r.rtype not in (m.A, m.AAAA, m.MX)]
        if turning:
            shift = self._turn % len(turning)
            turning = turning[shift:] + turning[:shift]
        if self._prefer:
            turning.sort(key=lambda r: not self._preferred(r))
        return (*fixed, *turning)

    def _preferred(self, record: Rr) -> bool:
        if record.rtype not in (m.A, m.AAAA):
            return False
        address = ip_address(record.data)
        return any(address.version == n.version and address in n for n in self._prefer)


class Nsid:
    """Says who answered to clients that ask (RFC 5001)."""

    name = "nsid"

    def __init__(self, data: str) -> None:
        """Sent as it is."""
        raw = data.encode()[:255]
        self._option = NSID.to_bytes(2, "big") + len(raw).to_bytes(2, "big") + raw

    def serve(self, request: Request, following: Next) -> Outcome:
        """Only when the question has the option."""
        if not request.query.options or not request.packet or not wire.has_option(request.packet, NSID):
            return following(request)

        def add(found: Message) -> Message:
            found.options += self._option
            return found

        return then(following(request), add)


class Bufsize:
    """Limits the size that clients advertise, and what upstreams are told."""

    name = "bufsize"

    def __init__(self, size: int) -> None:
        """In bytes."""
        self.size = size

    def serve(self, request: Request, following: Next) -> Outcome:
        """The reply's limit is the server block's (``Served.bufsize``)."""
        return following(request)
