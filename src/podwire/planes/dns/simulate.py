"""The DNS server without sockets, for explanations: what each plugin did with a question is written down.

It is the server itself (``machine.py``, ``table.py``, the plugins) with one more link around each plugin, so an
explanation says what the worker does. Upstreams are not asked: what they say is unknown.
"""

import json
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from podwire.plan import ZonePlan
from podwire.planes.dns import frames, wire
from podwire.planes.dns import message as m
from podwire.planes.dns.chain import Arrival, Ask, Next, Outcome, Plugin, Request
from podwire.planes.dns.control import read_meta
from podwire.planes.dns.machine import Forward, Responder
from podwire.planes.dns.message import Message, Rr
from podwire.planes.dns.table import Table

QUIET = frozenset(("errors", "log", "cache", "loop", "nsid", "bufsize", "kubernetes", "forward", "loadbalance"))
"""Plugins that are no news: they watch, or they are who answers anyway."""


class Said(NamedTuple):
    """What the server says: ``answers`` are ``TYPE data``, ``trail`` what plugins did on the way, ``upstream`` that the
    end is an upstream's business, ``asked`` the name that the cluster's zone was asked for in the end."""

    rcode: str
    answers: tuple[str, ...]
    trail: tuple[str, ...]
    plugins: tuple[str, ...]
    upstream: bool
    asked: str


class Simulation:
    """One zone plan, ready for many questions."""

    def __init__(self, plan: ZonePlan) -> None:
        """Load the plan as a worker would. Raises :class:`ValueError` for what a worker refuses."""
        self._trail: list[tuple[str, str]] = []
        self._asked = ""
        self._responder = Responder(watch=self._watch)
        table = Table(read_meta(json.loads(msgspec.json.encode(frames.meta_of(plan, None))), None))
        for key, unit in plan.units.items():
            table.put(key, [(r.name, r.type, r.ttl, r.data) for r in unit.records], unit.exists)
        self._responder.load(table)

    def ask(self, name: str, rtype: str, client: str) -> Said:
        """The answer to a client's question, as over UDP."""
        self._trail, self._asked = [], name
        try:
            question = wire.encode_name(name)
        except ValueError:
            return Said("FORMERR", (), ("not a DNS name",), (), False, name)
        head = b"\0\1\1\0\0\1\0\0\0\0\0\1"
        opt = b"\0\0\x29\x10\0\0\0\0\0\0\0"
        packet = head + question + m.TYPES[rtype].to_bytes(2, "big") + b"\0\1" + opt
        reply = self._responder.reply(packet, Arrival(client, 40_000, now=1.0, server=""))
        self._responder.forget()
        trail, plugins = tuple(text for _, text in self._trail), tuple(name for name, _ in self._trail)
        if isinstance(reply, Forward):
            return Said("?", (), trail, plugins, True, self._asked)
        if not isinstance(reply, bytes):
            return Said("no answer", (), trail, plugins, False, self._asked)
        answers = tuple(text for record in m.read_sections(reply)[0] if (text := show_record(record)))
        rcode = m.RCODE_NAMES.get(reply[3] & 15, str(reply[3] & 15))
        return Said(rcode, answers, trail, plugins, False, self._asked)

    def _watch(self, kind: str, plugin: Plugin) -> Plugin:
        return _Watched(kind, plugin, self._note)

    def _note(self, kind: str, text: str, asked: str) -> None:
        if kind == "kubernetes":
            self._asked = asked
        if kind not in QUIET:
            self._trail.append((kind, text))


class _Watched:
    """Writes down what a plugin does."""

    def __init__(self, kind: str, plugin: Plugin, note: Callable[[str, str, str], None]) -> None:
        self.kind, self.plugin, self._note = kind, plugin, note

    def serve(self, request: Request, following: Next) -> Outcome:
        """As the plugin does."""
        passed: list[tuple[bytes, int]] = []
        later: list[Outcome] = []
        place = len(passed)

        def next_one(other: Request) -> Outcome:
            if (other.key, other.query.rtype) != (request.key, request.query.rtype):
                self._say(f"asks {_shown(other)}", other)
            passed.append((other.key, other.query.rtype))
            later.append(following(other))
            return later[-1]

        outcome = self.plugin.serve(request, next_one)
        if len(passed) == place:
            self._say(_describe(outcome), request)
        elif isinstance(outcome, Message) and outcome is not later[-1]:
            self._say("changes the answer", request)
        return outcome

    def _say(self, text: str, request: Request) -> None:
        self._note(self.kind, f"{self.kind} {text}", wire.decode_name(request.key).rstrip("."))


def _shown(request: Request) -> str:
    return (
        f"{wire.decode_name(request.query.name)} {m.TYPE_NAMES.get(request.query.rtype, request.query.rtype)} instead"
    )


def _describe(outcome: Outcome) -> str:
    if isinstance(outcome, Ask):
        return "asks upstreams"
    if outcome.drop:
        return "drops the question"
    why = f": {outcome.ede[1]}" if outcome.ede is not None else ""
    return f"answers {m.RCODE_NAMES.get(outcome.rcode, outcome.rcode)}{why}"


def show_record(record: Rr) -> str:
    """``A 10.96.0.1``; empty for types that look-ups do not show."""
    name = m.TYPE_NAMES.get(record.rtype, "")
    if record.rtype in (m.A, m.AAAA):
        from ipaddress import ip_address

        return f"{name} {ip_address(record.data)}"
    if record.rtype in (m.CNAME, m.PTR, m.NS):
        return f"{name} {wire.decode_name(record.data).rstrip('.')}"
    return ""


__all__ = ["Said", "Simulation", "show_record"]
