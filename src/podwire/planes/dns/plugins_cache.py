"""The plugin cache: answers of upstreams, bounded, by name, type, class, DO and CD.

Rules:

1. Answers of our own table pass: they are always current.
2. An answer is kept for its smallest TTL (negative ones: RFC 2308 section 5), within the bounds of the Corefile, and
   goes out with what is left of it. TTL 0 is not kept at all.
3. SERVFAIL is kept for ``servfail`` at most. Truncated answers, and other failures, are not kept.
4. An expired answer lives on for ``stale_seconds``: it is given when upstreams fail (with EDE 3, TTL 30, RFC 8767), or
   at once with ``serve_stale ... immediate``, while it is asked for anew.
5. With ``verify TIMEOUT`` a client waits that long for the upstream, then gets the expired answer; the upstream's is
   kept when it comes. For ``FAILURE_RECHECK`` after a failed attempt the expired answer is given at once.
6. ``prefer_positive``: a failure or a denial does not take the place of an answer that may still be served stale.
7. A popular answer near its end is asked for again before it ends (``prefetch``).
8. When a half is full the entry that was stored first goes.

Source: coredns:plugin/cache.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Ask, Next, Outcome, Request, then
from podwire.planes.dns.message import Message, Rr, Sections

EDE_STALE, EDE_STALE_NX = 3, 19
CD = 0x10

DEFAULTS = {"stale_verify_seconds": 0, "stale_ttl": 30, "stale_recheck_seconds": 0, "prefer_positive": False}
Key = tuple[bytes, int, int, bool, bool]


class _Entry:
    __slots__ = ("ede", "failed", "flags", "hits", "rcode", "refreshing", "seconds", "sections", "since", "stored")

    def __init__(self, rcode: int, flags: int, sections: Sections, seconds: float, now: float) -> None:
        self.rcode, self.flags, self.sections, self.seconds, self.stored = rcode, flags, sections, seconds, now
        self.hits, self.since, self.refreshing = 0, now, False
        self.ede: tuple[int, str] | None = None
        self.failed = float("-inf")


class Counts(NamedTuple):
    """What happened, for metrics."""

    hits: dict[str, int]
    misses: int
    served_stale: int
    prefetch: int
    evictions: dict[str, int]
    sizes: dict[str, int]


class Cache:
    """See the module's rules. ``spawn`` executes an :class:`Ask` whose answer nobody waits for."""

    name = "cache"

    def __init__(self, options: dict[str, Any], zones: tuple[bytes, ...], spawn: Callable[[Ask], None]) -> None:
        """Options as in ``podwire.plan.dnsconfig.Cache``."""
        self._options = DEFAULTS | options
        self._zones = zones
        self._spawn = spawn
        self._halves: dict[str, dict[Key, _Entry]] = {"success": {}, "denial": {}}
        disabled = {half: options[f"{half}_disabled"] for half in self._halves}
        self._disabled = {half: tuple(map(wire.encode_name, zones)) for half, zones in disabled.items()}
        self.hits = {"success": 0, "denial": 0}
        self.evictions = {"success": 0, "denial": 0}
        self.misses = self.served_stale = self.prefetched = 0

    @property
    def counts(self) -> Counts:
        """Everything so far."""
        sizes = {half: len(entries) for half, entries in self._halves.items()}
        return Counts(self.hits, self.misses, self.served_stale, self.prefetched, self.evictions, sizes)

    def serve(self, request: Request, following: Next) -> Outcome:
        """From memory, else from what follows."""
        if m.zone_of(self._zones, request.key) is None:
            return following(request)
        query = request.query
        key = (query.key, query.rtype, query.rclass, query.dnssec_ok, bool(query.flags & CD))
        half, entry = self._find(key)
        if entry is not None:
            age = request.now - entry.stored
            if age < entry.seconds:
                self.hits[half] += 1
                self._maybe_prefetch(key, entry, request, following)
                return self._reply(entry, request.now)
            if age >= entry.seconds + self._options["stale_seconds"]:
                del self._halves[half][key]
                entry = None
        if entry is not None and entry.rcode != wire.SERVFAIL:
            if request.now - entry.failed < self._options["stale_recheck_seconds"]:
                return self._stale(entry)
            if self._options["stale_refresh"] == "immediate":
                self._refresh(key, entry, request, following)
                return self._stale(entry)
        stale = entry
        outcome = then(following(request), lambda found: self._take(key, request, found, stale))
        patience = self._options["stale_verify_seconds"]
        if isinstance(outcome, Ask) and stale is not None and patience and stale.rcode != wire.SERVFAIL:
            return outcome._replace(patience=patience, impatient=lambda: self._stale(stale))
        return outcome

    def _find(self, key: Key) -> tuple[str, _Entry | None]:
        for half, entries in self._halves.items():
            entry = entries.get(key)
            if entry is not None:
                return half, entry
        return "success", None

    def _take(self, key: Key, request: Request, found: Message, stale: _Entry | None) -> Message:
        """Keep what came back, or fall back on what was kept."""
        if found.tails or found.drop or found.flags & wire.TC:
            return found
        self.misses += 1
        if found.rcode == wire.SERVFAIL and stale is not None and stale.rcode != wire.SERVFAIL:
            stale.failed = request.now
            return self._stale(stale)
        try:
            sections = found.open(request.query) if found.raw is None else m.read_sections(found.raw)
        except wire.Malformed:
            return found
        half, seconds = self._lifetime(found, sections, key[0])
        if half == "denial" and self._options["prefer_positive"] and stale is not None and stale.sections[0]:
            return self._stale(stale)
        if seconds <= 0:
            return found
        entry = _Entry(found.rcode, found.flags & ~wire.AA, sections, seconds, request.now)
        entry.ede = found.ede
        self._store(half, key, entry)
        if self._options["keepttl"] or found.rcode == wire.SERVFAIL:
            return found
        # The first answer shows the TTL that later ones count down from.
        found.change(request.query, _aged(sections, int(seconds)))
        return found

    def _lifetime(self, found: Message, sections: Sections, name: bytes) -> tuple[str, float]:
        """Which half, and for how long; 0 for not at all."""
        options = self._options
        if found.rcode == wire.SERVFAIL:
            return "denial", options["servfail_seconds"]
        if found.rcode not in (0, wire.NXDOMAIN):
            return "denial", 0
        positive = found.rcode == 0 and bool(sections[0])
        half = "success" if positive else "denial"
        if any(m.name_below(zone, name) for zone in self._disabled[half]):
            return half, 0
        ttls = [r.ttl for r in sections[0]]
        negative = None if positive else m.soa_ttl(sections)
        if not positive and negative is None:
            return half, 0
        ttl = min([*ttls, *([negative] if negative is not None else [])])
        if ttl == 0:
            return half, 0
        return half, float(min(max(ttl, options[f"{half}_min"]), options[f"{half}_ttl"]))

    def _store(self, half: str, key: Key, entry: _Entry) -> None:
        for other in self._halves.values():
            other.pop(key, None)
        entries = self._halves[half]
        if len(entries) >= max(1, self._options[half]):
            del entries[next(iter(entries))]
            self.evictions[half] += 1
        entries[key] = entry

    def _reply(self, entry: _Entry, now: float) -> Message:
        left = max(1, int(entry.seconds - (now - entry.stored)))
        sections = entry.sections if self._options["keepttl"] else _aged(entry.sections, left)
        made = Message(entry.rcode, sections, flags=entry.flags | wire.RA, source=self.name)
        made.ede = entry.ede
        return made

    def _stale(self, entry: _Entry) -> Message:
        self.served_stale += 1
        made = Message(
            entry.rcode,
            _aged(entry.sections, self._options["stale_ttl"]),
            flags=entry.flags | wire.RA,
            source=self.name,
        )
        code = EDE_STALE_NX if entry.rcode == wire.NXDOMAIN else EDE_STALE
        made.ede = (code, "upstreams did not answer; this answer has expired")
        return made

    def _maybe_prefetch(self, key: Key, entry: _Entry, request: Request, following: Next) -> None:
        options = self._options
        if not options["prefetch"]:
            return
        if request.now - entry.since > options["prefetch_seconds"]:
            entry.hits, entry.since = 0, request.now
        entry.hits += 1
        left = entry.seconds - (request.now - entry.stored)
        if entry.hits >= options["prefetch"] and left <= entry.seconds * options["prefetch_percent"] / 100:
            self.prefetched += 1
            self._refresh(key, entry, request, following)

    def _refresh(self, key: Key, entry: _Entry, request: Request, following: Next) -> None:
        if entry.refreshing:
            return
        entry.refreshing = True
        inner = request.other(request.query)

        def keep(found: Message) -> Message:
            entry.refreshing = False
            if found.rcode == wire.SERVFAIL:
                entry.failed = inner.now
            if found.rcode != wire.SERVFAIL:
                self._take(key, inner, found, None)
            return found

        outcome = then(following(inner), keep)
        if isinstance(outcome, Ask):
            self._spawn(outcome)


def _aged(sections: Sections, ttl: int) -> Sections:
    def age(record: Rr) -> Rr:
        return record._replace(ttl=ttl)

    answer, authority, additional = (tuple(map(age, section)) for section in sections)
    return answer, authority, additional
