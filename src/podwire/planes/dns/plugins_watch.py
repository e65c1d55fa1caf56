"""Plugins that watch or refuse: acl, errors, log, loop.

Sources: coredns:plugin/{acl,errors,log,loop}.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Ask, Next, Outcome, Request, then
from podwire.planes.dns.message import Message

Say = Callable[[str, str], None]
Clock = Callable[[], float]
EDE_BLOCKED, EDE_FILTERED = 15, 17
MAX_PATTERNS = 1000


class Acl:
    """Who may ask what below some zones: the first matching rule decides."""

    name = "acl"

    def __init__(self, zones: tuple[bytes, ...], rules: list[dict[str, Any]]) -> None:
        """Rules as in ``podwire.plan.dnsconfig.AclRule``."""
        self._zones = zones
        self._rules = [
            (r["action"], frozenset(m.TYPES[t] for t in r["types"]), tuple(map(ip_network, r["nets"]))) for r in rules
        ]

    def serve(self, request: Request, following: Next) -> Outcome:
        """block REFUSED, filter empty, drop silence."""
        if m.zone_of(self._zones, request.key) is None:
            return following(request)
        match self._decide(request):
            case "block":
                return m.failure("blocked by plugin acl", code=EDE_BLOCKED, rcode=wire.REFUSED, source=self.name)
            case "filter":
                made = Message(0, flags=wire.RA, source=self.name)
                made.ede = (EDE_FILTERED, "filtered by plugin acl")
                return made
            case "drop":
                made = Message(source=self.name)
                made.drop = True
                return made
        return then(following(request), forget)

    def _decide(self, request: Request) -> str:
        client = ip_address(request.client or "0.0.0.0")  # noqa: S104  (no client: a test)
        for action, types, nets in self._rules:
            if types and request.query.rtype not in types:
                continue
            if not nets or any(client.version == n.version and client in n for n in nets):
                return str(action)
        return "allow"


def forget(found: Message) -> Message:
    """The answer depends on more than the packet: it must not be remembered by packet."""
    found.memorable = False
    return found


class Errors:
    """One line for each answer that failed; repetitions within a time become one line with a count."""

    name = "errors"

    def __init__(self, consolidate: list[tuple[float, str]], say: Say, clock: Clock) -> None:
        """``consolidate`` are (seconds, pattern)."""
        self._rules = [(seconds, re.compile(pattern)) for seconds, pattern in consolidate]
        self._since: dict[int, tuple[float, int]] = {}
        self._say, self._clock = say, clock

    def serve(self, request: Request, following: Next) -> Outcome:
        """Look at what comes back."""
        return then(following(request), lambda found: self._look(request, found))

    def _look(self, request: Request, found: Message) -> Message:
        if found.rcode == wire.SERVFAIL:
            found.memorable = False
            name, rtype = wire.decode_name(request.query.name), m.TYPE_NAMES.get(request.query.rtype, "?")
            why = found.ede[1] if found.ede else "SERVFAIL"
            self._tell(f"plugin/errors: 2 {name.rstrip('.')}. {rtype}: {why}")
        return found

    def _tell(self, text: str) -> None:
        index = next((i for i, (_, p) in enumerate(self._rules) if p.search(text)), None)
        if index is None:
            self._say("ERROR", text)
            return
        seconds, pattern = self._rules[index]
        since, count = self._since.get(index, (self._clock(), 0))
        if self._clock() - since < seconds:
            self._since[index] = (since, count + 1)
            return
        self._since[index] = (self._clock(), 1)
        self._say("ERROR", f"plugin/errors: {count} errors like '{pattern.pattern}' occurred in last {seconds:g}s")


class Log:
    """One line for each question, in CoreDNS's common format or one of the user's."""

    name = "log"

    def __init__(self, options: dict[str, Any], zones: tuple[bytes, ...], say: Say, clock: Clock) -> None:
        """Options as in ``podwire.plan.dnsconfig.Log``."""
        self._zones = zones
        self._format = options["format"]
        self._classes = set(options["classes"])
        self._say, self._clock = say, clock

    def serve(self, request: Request, following: Next) -> Outcome:
        """Look at what comes back."""
        if m.zone_of(self._zones, request.key) is None:
            return following(request)
        return then(following(request), lambda found: self._look(request, found))

    def _look(self, request: Request, found: Message) -> Message:
        found.memorable = False
        if self._classes & {"all", class_of(request, found)}:
            self._say("INFO", self._line(request, found))
        return found

    def _line(self, request: Request, found: Message) -> str:
        query = request.query
        size = len(m.encode(query, found, 65_535))
        values = {
            "remote": request.client,
            "port": str(request.port),
            ">id": str(int.from_bytes(query.ident, "big")),
            "type": m.TYPE_NAMES.get(query.rtype, f"TYPE{query.rtype}"),
            "class": "IN" if query.rclass == 1 else "CH",
            "name": wire.decode_name(query.name).rstrip(".") + ".",
            "proto": "tcp" if request.tcp else "udp",
            "size": str(len(request.packet)),
            ">do": "true" if query.dnssec_ok else "false",
            ">bufsize": str(query.size),
            "rcode": m.RCODE_NAMES.get(found.rcode, str(found.rcode)),
            ">rflags": _flags(query, found),
            "rsize": str(size),
            "duration": f"{self._clock() - request.now:.9f}s",
        }
        form = self._format or (
            '{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}"'
            " {rcode} {>rflags} {rsize} {duration}"
        )
        return re.sub(r"\{(>?\w+)\}", lambda found: values.get(found[1], "-"), form)


def _flags(query: wire.Query, found: Message) -> str:
    bits = {"aa": wire.AA, "tc": wire.TC, "ra": wire.RA}
    names = ["qr", *(n for n, bit in bits.items() if found.flags & bit)]
    return ",".join([*names, "rd"] if query.flags & wire.RD else names)


def class_of(request: Request, found: Message) -> str:
    """success, denial or error, as CoreDNS's log classes."""
    if found.rcode == wire.NXDOMAIN:
        return "denial"
    if found.rcode:
        return "error"
    tails = found.tails
    empty = not (tails[0].counts[0] if tails else found.raw or found.sections[0])
    return "denial" if empty and not found.raw else "success"


class Loop:
    """Asks the upstreams for a name nobody knows; when that question arrives here, forwarding stops with a reason."""

    name = "loop"

    def __init__(self, token: bytes, say: Say) -> None:
        """``token`` is 16 random hexadecimal digits."""
        self.question = bytes((len(token),)) + token + b"\0" + m.HINFO.to_bytes(2, "big") + b"\0\1"
        self.looping = False
        self._say = say

    def serve(self, request: Request, following: Next) -> Outcome:
        """Everything behind this plugin goes to upstreams."""
        if request.key == self.question[:-4] and request.query.rtype == m.HINFO and request.packet:
            if not self.looping:
                self._say("ERROR", "plugin/loop: an upstream sends our questions back to us; forwarding stops")
            self.looping = True
        if self.looping:
            return m.failure("forwarding leads back to this server: correct the upstreams of plugin forward")
        return following(request)

    def probe(self, following: Next) -> Ask | None:
        """The question to send once."""
        query = wire.Query(b"\0\0", wire.RD, b"", b"", 0, 0, False, 0, 512, False, False).replaced(self.question)
        outcome = following(Request(query))
        return outcome if isinstance(outcome, Ask) else None
