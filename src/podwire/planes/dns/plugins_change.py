"""Plugins that change questions or answers: rewrite, dns64, minimal, loadbalance, nsid, bufsize.

Sources: coredns:plugin/{rewrite,dns64,minimal,loadbalance,nsid,bufsize}; RFC 6147, RFC 5001.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv6Network, ip_address, ip_network
from typing import Any

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Next, Outcome, Request, then
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.wire import Query

NSID = 3
_NAME_AT = {m.NS: 0, m.CNAME: 0, m.PTR: 0, m.MX: 2, m.SRV: 6}


def text_of(name: bytes) -> str:
    """A name with its final dot, as rules see it."""
    return wire.decode_name(name).rstrip(".") + "."


class Rule:
    """One rewrite rule; patterns are compiled once."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        """As in ``podwire.plan.dnsconfig.RewriteRule``."""
        self.field: str = options["field"]
        self.kind: str = options["kind"]
        self.old: str = options["old"]
        self.new: str = options["new"]
        self.goes_on = options["then"] == "continue"
        self.auto: bool = options["auto"]
        self.answers = [(what, re.compile(old), new) for what, old, new in options["answers"]]
        self._pattern = re.compile(self.old) if self.kind == "regex" else None

    def matches(self, name: str) -> str | None:
        """What the name becomes; None when the rule is not for it."""
        lower, old, new = name.lower(), self.old, self.new
        match self.kind:
            case "exact" if lower.rstrip(".") == old.rstrip("."):
                return new.rstrip(".") + "."
            case "prefix" if lower.startswith(old):
                return new + name[len(old) :]
            case "suffix" if lower.rstrip(".").endswith(old.rstrip(".")):
                kept = name.rstrip(".")
                return kept[: len(kept) - len(old.rstrip("."))] + new.rstrip(".") + "."
            case "substring" if old in lower:
                return lower.replace(old, new)
            case "regex" if self._pattern is not None:
                found = self._pattern.search(lower)
                return expand(new, found) if found else None
        return None


def expand(template: str, found: "re.Match[str]") -> str:
    """``{1}`` is the first group."""
    return re.sub(r"\{(\d+)\}", lambda g: (found[int(g[1])] or "") if int(g[1]) <= (found.re.groups) else "", template)


class Rewrite:
    """Rules in order; the first that fits ends, unless it says ``continue``."""

    name = "rewrite"

    def __init__(self, rules: list[Mapping[str, Any]]) -> None:
        """Rules as in the configuration."""
        self._rules = [Rule(rule) for rule in rules]

    def serve(self, request: Request, following: Next) -> Outcome:
        """Ask with the changed question; the answer carries the client's own question again."""
        changes: list[Callable[[Query, Message], None]] = []
        query = request.query
        for rule in self._rules:
            made = self._apply(rule, query, changes)
            if made is None:
                continue
            query = made
            if not rule.goes_on:
                break
        if not changes and query is request.query:
            return following(request)
        inner = request
        if query is not request.query:
            inner = request.other(query)
            inner.depth = request.depth
        return then(following(inner), lambda found: _undo(found, inner.query, changes))

    def _apply(self, rule: Rule, query: Query, changes: list[Callable[[Query, Message], None]]) -> Query | None:
        """The question after the rule (None: the rule is not for it); ``changes`` are for the answer."""
        if rule.field == "type":
            if m.TYPE_NAMES.get(query.rtype) != rule.old or rule.new not in m.TYPES:
                return None
            return query.replaced(query.name + m.TYPES[rule.new].to_bytes(2, "big") + query.question[-2:])
        text = text_of(query.name)
        new = rule.matches(text)
        if new is None:
            return None
        match rule.field:
            case "name":
                return _rename(rule, query, new, changes)
            case "ttl":
                changes.append(lambda q, found: _set_ttls(q, found, rule.new))
            case "rcode":
                changes.append(lambda q, found: _set_rcode(q, found, rule.new))
        return query


def _rename(rule: Rule, query: Query, new: str, changes: list[Callable[[Query, Message], None]]) -> Query | None:
    try:
        name = wire.encode_name(new)
    except ValueError:
        return None
    before = query.name
    if rule.auto:
        changes.append(lambda q, found: _restore(q, found, name.lower(), before))
    for what, pattern, replacement in rule.answers:
        changes.append(lambda q, found, w=what, p=pattern, r=replacement: _rename_answers(q, found, w, p, r))  # type: ignore[misc]
    # Clients accept only answers to the question they asked.
    changes.append(lambda q, found: _own(q, found, name.lower(), before))
    return query.replaced(name + query.question[-4:])


def _undo(found: Message, query: Query, changes: list[Callable[[Query, Message], None]]) -> Message:
    if found.drop:
        return found
    try:
        found.open(query)
    except wire.Malformed:
        return m.failure("the upstream's answer does not parse", code=wire.EDE_NETWORK)
    for change in reversed(changes):
        change(query, found)
    return found


def _map(found: Message, change: Callable[[Rr], Rr]) -> None:
    answer, authority, additional = (tuple(map(change, section)) for section in found.sections)
    found.sections = (answer, authority, additional)


def _own(_: Query, found: Message, name: bytes, before: bytes) -> None:
    _map(found, lambda r: r._replace(owner=before) if r.owner.lower() == name else r)


def _restore(_: Query, found: Message, name: bytes, before: bytes) -> None:
    """The rewritten name becomes the asked one, as owner and inside data."""

    def change(record: Rr) -> Rr:
        at = _NAME_AT.get(record.rtype)
        if at is not None and record.data[at:].lower() == name:
            record = record._replace(data=record.data[:at] + before)
        return record._replace(owner=before) if record.owner.lower() == name else record

    _map(found, change)


def _rename_answers(_: Query, found: Message, what: str, pattern: "re.Pattern[str]", replacement: str) -> None:
    def rename(name: bytes) -> bytes:
        match = pattern.search(text_of(name).lower())
        try:
            return wire.encode_name(expand(replacement, match)) if match else name
        except ValueError:
            return name

    def change(record: Rr) -> Rr:
        at = _NAME_AT.get(record.rtype)
        if what == "value" and at is not None:
            return record._replace(data=record.data[:at] + rename(record.data[at:]))
        return record if what == "value" else record._replace(owner=rename(record.owner))

    _map(found, change)


def _set_ttls(_: Query, found: Message, text: str) -> None:
    low, dash, high = text.partition("-")
    least = int(low or 0)
    most = int(high or 0x7FFFFFFF) if dash else least
    _map(found, lambda r: r._replace(ttl=min(max(r.ttl, least), most)))


def _set_rcode(_: Query, found: Message, text: str) -> None:
    found.rcode = m.RCODES[text.upper()]
    found.flags &= ~15


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

    def __init__(self, prefer: list[str]) -> None:
        """Networks whose addresses go first."""
        self._prefer = [ip_network(text) for text in prefer]
        self._turn = 0

    def serve(self, request: Request, following: Next) -> Outcome:
        """Turn the answer."""
        return then(following(request), lambda found: self._rotate(request.query, found))

    def _rotate(self, query: Query, found: Message) -> Message:
        if query.rtype not in (m.A, m.AAAA, m.MX, m.SRV) or found.rcode or found.drop:
            return found
        found.rotate = True
        if found.tails and not self._prefer:
            return found
        try:
            answer, authority, additional = found.open(query)
        except wire.Malformed:
            return found
        self._turn += 1
        found.sections = (self._turned(answer), authority, additional)
        return found

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


__all__ = ["Bufsize", "Dns64", "LoadBalance", "Minimal", "Nsid", "Rewrite"]
