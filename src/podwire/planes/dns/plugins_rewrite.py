"""The plugin rewrite: questions change on their way in, answers on their way out.

Source: coredns:plugin/rewrite.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from podwire.planes.dns import edns, wire
from podwire.planes.dns import message as m
from podwire.planes.dns.chain import Next, Outcome, Request, refuse, then
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.wire import Query

CLASSES = {"IN": 1, "CH": 3, "HS": 4}
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
        self.code: str = options.get("code", "")
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

    def __init__(self, rules: list[Mapping[str, Any]], whole: Next = refuse) -> None:
        """Rules as in the configuration; ``whole`` is the server, which is asked for rewritten aliases."""
        self._rules = [Rule(rule) for rule in rules]
        self._whole = whole

    def serve(self, request: Request, following: Next) -> Outcome:
        """Ask with the changed question; the answer carries the client's own question again."""
        changes: list[Change] = []
        aliases: list[Rule] = []
        query, packet = request.query, request.packet
        for rule in self._rules:
            if rule.field == "cname":
                aliases.append(rule)
                continue
            made = _change_options(rule, request, packet) if rule.field == "edns0" else None
            if made is not None:
                packet = made
            changed = self._apply(rule, query, changes) if rule.field != "edns0" else None
            if changed is None and made is None:
                continue
            query = changed or query
            if not rule.goes_on:
                break
        if not changes and not aliases and query is request.query and packet == request.packet:
            return following(request)
        inner = request.other(query)
        inner.depth = request.depth
        if packet != request.packet:
            inner.packet = packet[:12] + query.question + packet[12 + len(request.query.question) :]
        outcome = then(following(inner), lambda found: _undo(found, inner.query, changes))
        return then(outcome, lambda found: self._follow(request, found, aliases)) if aliases else outcome

    def _follow(self, request: Request, found: Message, rules: list[Rule]) -> Outcome:
        """An alias whose target a rule renames: the new target's records instead of those behind the old one."""
        query = request.query
        answer = found.open(query)[0]
        alias = next((r for r in answer if r.rtype == m.CNAME), None)
        target = alias and next((t for rule in rules if (t := rule.matches(text_of(alias.data)))), None)
        if alias is None or target is None:
            return found
        try:
            name = wire.encode_name(target)
        except ValueError:
            return found
        inner = request.other(query.replaced(name + query.question[-4:]))

        def join(other: Message) -> Message:
            found.sections = ((alias._replace(data=name), *other.open(inner.query)[0]), (), ())
            return found

        return then(self._whole(inner), join)

    def _apply(self, rule: Rule, query: Query, changes: list["Change"]) -> Query | None:
        """The question after the rule (None: the rule is not for it); ``changes`` are for the answer."""
        if rule.field == "type":
            if m.TYPE_NAMES.get(query.rtype) != rule.old or rule.new not in m.TYPES:
                return None
            return query.replaced(query.name + m.TYPES[rule.new].to_bytes(2, "big") + query.question[-2:])
        if rule.field == "class":
            if CLASSES.get(rule.old) != query.rclass:
                return None
            return query.replaced(query.question[:-2] + CLASSES[rule.new].to_bytes(2, "big"))
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
                changes.append(lambda q, found: _set_rcode(q, found, rule))
        return query


Change = Callable[[Query, Message], None]


def _change_options(rule: Rule, request: Request, packet: bytes) -> bytes | None:
    """The packet with another EDNS option; None when the rule changes nothing."""
    packet = packet or wire.build_request(request.query)
    code = {"nsid": edns.NSID, "subnet": edns.SUBNET}.get(rule.old) or int(rule.code)
    data: bytes | None = None
    if rule.kind != "unset":
        data = _option_data(rule, request)
    made = edns.change_option(packet, code, data, how=rule.kind)
    return None if made == packet else made


def _option_data(rule: Rule, request: Request) -> bytes:
    if rule.old == "nsid":
        return b""
    if rule.old == "subnet":
        v4_bits, v6_bits = map(int, rule.new.split())
        return edns.subnet_data(request.client or "0.0.0.0", v4_bits, v6_bits)  # noqa: S104  (no client: a test)
    if rule.new.startswith("0x"):
        return bytes.fromhex(rule.new[2:])
    from ipaddress import ip_address

    variables: Mapping[str, Callable[[], bytes]] = {
        "{qname}": lambda: text_of(request.query.name).encode(),
        "{qtype}": lambda: request.query.rtype.to_bytes(2, "big"),
        "{client_ip}": lambda: ip_address(request.client).packed,
        "{client_port}": lambda: request.port.to_bytes(2, "big"),
        "{protocol}": lambda: b"tcp" if request.tcp else b"udp",
        "{server_ip}": lambda: ip_address(request.server).packed,
        "{server_port}": lambda: request.server_port.to_bytes(2, "big"),
    }
    made = variables.get(rule.new)
    try:
        return made() if made is not None else rule.new.encode()
    except ValueError:  # an address that is not known
        return b""


def _rename(rule: Rule, query: Query, new: str, changes: list[Change]) -> Query | None:
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


def _undo(found: Message, query: Query, changes: list[Change]) -> Message:
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


def _set_rcode(_: Query, found: Message, rule: Rule) -> None:
    if m.RCODE_NAMES.get(found.rcode) == rule.code:
        found.rcode = m.RCODES[rule.new]
        found.flags &= ~15
