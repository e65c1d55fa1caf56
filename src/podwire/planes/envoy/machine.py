"""The delta xDS protocol as a sans-IO state machine: what Envoy asked for, has, and should be sent next.

One :class:`Machine` serves one Envoy. A *resource* (``cluster``, ``endpoint``, ``secret``, ``listener``, ``route``)
consists of *parts*: byte fragments keyed by plan unit, concatenated in key order into the protobuf message (repeated
fields of one message may come in pieces). Part ``""`` is the frame: what belongs to no unit.

Rules:

1. At most one response of a type is in flight; what changes meanwhile is sent after its answer, merged.
2. Make before break: routes go out when every cluster and its endpoints are confirmed; clusters go away only when
   no route or listener change is outstanding.
3. A cluster finishes warming only on endpoints that arrive after it: they are sent again after every sent cluster.
4. A refused response is halved until one part is to blame. That content of that part is not sent again; the last
   accepted content of the part stays in force, everything else goes through.
5. Every subscription is answered, names that do not exist with ``removed``. Equal content is never sent twice on a
   stream without having been asked for.
6. Secrets go one by one, and a refused one is followed by its last accepted form: Envoy keeps a secret it refused,
   confirms it when it comes again, and builds new listeners from it (docs/lab/2026-11-24-envoy-refused-secrets.md).
7. On reconnect, what Envoy says it has (``initial_resource_versions``) is not sent again.

Source: Envoy xDS protocol documentation ("Incremental xDS", "Eventual consistency considerations").
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Literal

import msgspec

Type = Literal["cluster", "endpoint", "secret", "listener", "route"]
TYPES: tuple[Type, ...] = ("cluster", "endpoint", "secret", "listener", "route")
Parts = Mapping[str, bytes]
Wanted = Mapping[Type, Mapping[str, Parts]]

FRAME = ""
WHOLE = "*"
"""Asks :meth:`Machine.has` about a resource instead of a part."""
_UNKNOWN: Parts = {"?": b""}


class Request(msgspec.Struct, frozen=True):
    """One DeltaDiscoveryRequest. ``error`` is Envoy's text when the response ``nonce`` was refused."""

    type: Type
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = {}
    nonce: str = ""
    error: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """One resource of a response."""

    name: str
    version: str
    body: bytes


class Response(msgspec.Struct, frozen=True):
    """One DeltaDiscoveryResponse."""

    type: Type
    resources: tuple[Sent, ...]
    removed: tuple[str, ...]
    nonce: str


class _Flight(msgspec.Struct, frozen=True):
    """A response that is not answered yet. ``suspects`` are the parts to blame if it is refused."""

    nonce: str
    sent: Mapping[str, Parts]
    removed: tuple[str, ...]
    suspects: tuple[tuple[str, str], ...]
    resubscribed: frozenset[str]


class _Channel:
    """One type on one stream: what Envoy asked for and confirmed."""

    def __init__(self) -> None:
        self.open = False
        self.wildcard = False
        self.subscribed: set[str] = set()
        self.held: dict[str, str] = {}
        self.good: dict[str, Parts] = {}
        self.dirty: set[str] = set()
        self.forced: set[str] = set()
        self.missing: set[str] = set()
        self.gone: set[str] = set()
        self.owes_answer = False
        self.flight: _Flight | None = None
        self.limit: int | None = None


class Machine:
    """The server side of one Envoy's delta ADS stream, and what survives the stream."""

    def __init__(self) -> None:
        """Not connected, nothing wanted: nothing is answered before the first :meth:`want`."""
        self.connected = False
        self._wanted: Wanted | None = None
        self._last: dict[Type, dict[str, Parts]] = {t: {} for t in TYPES}
        self._refused: dict[Type, dict[str, dict[str, tuple[bytes, str]]]] = {t: {} for t in TYPES}
        self._channels = {t: _Channel() for t in TYPES}
        self._nonce = 0

    # what should be

    def want(self, wanted: Wanted) -> None:
        """Replace the desired resources. Unchanged ones should be the same objects: the diff is by identity first."""
        before: Wanted = self._wanted or {}
        self._wanted = wanted
        for type_ in TYPES:
            old, new = before.get(type_, {}), wanted.get(type_, {})
            channel = self._channels[type_]
            if old is new:
                continue
            for name, parts in new.items():
                if old.get(name) is not parts:
                    channel.dirty.add(name)
                    self._pardon(type_, name, parts)
            for name in old.keys() - new.keys():
                channel.gone.add(name)
                self._refused[type_].pop(name, None)

    def retry(self) -> bool:
        """Try refused frames again (a port was taken); whether there were any."""
        found = False
        for type_, names in self._refused.items():
            for name in [n for n, parts in names.items() if FRAME in parts]:
                del names[name][FRAME]
                self._channels[type_].dirty.add(name)
                found = True
        return found

    def _pardon(self, type_: Type, name: str, parts: Parts) -> None:
        """A refusal holds for one content only."""
        refused = self._refused[type_].get(name)
        if refused:
            kept = {key: bad for key, bad in refused.items() if parts.get(key) == bad[0]}
            self._refused[type_][name] = kept

    # the stream

    def connect(self) -> None:
        """A new stream: Envoy has told nothing yet."""
        self._channels = {t: _Channel() for t in TYPES}
        self.connected = True

    def disconnect(self) -> None:
        """The stream ended."""
        self._channels = {t: _Channel() for t in TYPES}
        self.connected = False

    def receive(self, request: Request) -> None:
        """Take in one request: an answer to the response in flight, a subscription, or both."""
        channel = self._channels[request.type]
        if channel.flight is not None and request.nonce == channel.flight.nonce:
            flight, channel.flight = channel.flight, None
            if request.error is None:
                self._accept(request.type, flight)
            else:
                self._refuse(request.type, flight, request.error)
        if not channel.open:
            self._open(channel, request)
        for name in request.unsubscribe:
            channel.subscribed.discard(name)
            channel.good.pop(name, None)
        for name in request.subscribe:
            self._subscribe(channel, name)

    def _open(self, channel: _Channel, request: Request) -> None:
        """The first request of a type; a listener or cluster request without names is a wildcard."""
        channel.open = True
        channel.held = dict(request.initial_versions)
        if request.type in ("cluster", "listener") and not set(request.subscribe) - {"*"}:
            self._subscribe(channel, "*")

    @staticmethod
    def _subscribe(channel: _Channel, name: str) -> None:
        if name == "*":
            channel.wildcard = channel.owes_answer = True
        else:
            channel.subscribed.add(name)
            channel.forced.add(name)

    def _accept(self, type_: Type, flight: _Flight) -> None:
        channel, last = self._channels[type_], self._last[type_]
        for name, parts in flight.sent.items():
            channel.good[name] = last[name] = parts
        for name in flight.removed:
            channel.good.pop(name, None)
            if name not in (self._wanted or {}).get(type_, {}):
                last.pop(name, None)
        # What is wanted may have changed, even back, while the response was under way.
        channel.dirty.update(flight.sent, flight.removed)
        if channel.limit is not None:
            channel.limit *= 2
        if type_ == "cluster":
            endpoints = self._channels["endpoint"]
            endpoints.forced |= flight.resubscribed & endpoints.subscribed

    def _refuse(self, type_: Type, flight: _Flight, words: str) -> None:
        """Blame the only suspect, or try half of them."""
        channel = self._channels[type_]
        channel.dirty.update(flight.sent)
        if not flight.suspects:
            return
        channel.gone.update(flight.removed)
        if len(flight.suspects) > 1:
            channel.limit = max(1, len(flight.suspects) // 2)
            return
        name, key = flight.suspects[0]
        if type_ == "secret":
            channel.good[name] = _UNKNOWN
        self._refused[type_].setdefault(name, {})[key] = (flight.sent[name][key], words)
        if name in channel.subscribed and self._target(type_, name) is None:
            channel.missing.add(name)

    # what to send

    def poll(self) -> tuple[Response, ...]:
        """Responses to send now, in order. Empty until something is received or wanted."""
        if self._wanted is None or not self.connected:
            return ()
        made = []
        for type_ in TYPES:
            channel = self._channels[type_]
            if not channel.open or channel.flight is not None:
                continue
            self._recall(type_, channel)
            if type_ == "route" and not self._clusters_settled():
                continue
            response = self._build(type_, channel)
            if response is not None:
                made.append(response)
        return tuple(made)

    def _recall(self, type_: Type, channel: _Channel) -> None:
        """First poll after the first request: compare what Envoy holds with what it should; then all is dirty."""
        wanted = (self._wanted or {}).get(type_, {})
        for name, version in channel.held.items():
            target = self._target(type_, name)
            if target is not None and version_of(_body(target)) == version:
                channel.good[name] = target
                channel.forced.discard(name)
            else:
                channel.good[name] = _UNKNOWN
                channel.gone.add(name)
        if channel.held or channel.owes_answer:
            channel.dirty.update(wanted)
        channel.held = {}

    def _build(self, type_: Type, channel: _Channel) -> Response | None:
        sent: dict[str, Parts] = {}
        suspects: list[tuple[str, str]] = []
        for name, target in self._pending(type_, channel):
            limit = 1 if type_ == "secret" else channel.limit
            room = None if limit is None else limit - len(suspects)
            if room is not None and room <= 0:
                break
            parts, changed = _advance(channel.good.get(name, {}), target, room, name in channel.forced)
            if FRAME in target and FRAME not in parts:
                continue
            sent[name] = parts
            suspects.extend((name, key) for key in changed)
        removed = self._removals(type_, channel)
        if not sent and not removed and not channel.owes_answer:
            channel.limit = None
            return None
        channel.owes_answer = False
        channel.forced -= sent.keys()
        self._nonce += 1
        nonce = str(self._nonce)
        again = sent.keys() & self._channels["endpoint"].subscribed if type_ == "cluster" else ()
        channel.flight = _Flight(nonce, sent, removed, tuple(suspects), frozenset(again))
        bodies = ((name, _body(parts)) for name, parts in sent.items())
        return Response(type_, tuple(Sent(name, version_of(body), body) for name, body in bodies), removed, nonce)

    def _pending(self, type_: Type, channel: _Channel) -> Iterator[tuple[str, Parts]]:
        """Resources whose content Envoy should get, sorted; forgets those it already has."""
        for name in sorted(channel.dirty | channel.forced):
            target = self._target(type_, name)
            in_scope = channel.wildcard or name in channel.subscribed
            if target is None and name in channel.forced:
                channel.missing.add(name)
            if target is None or not in_scope or (target == channel.good.get(name) and name not in channel.forced):
                channel.dirty.discard(name)
                channel.forced.discard(name)
                continue
            yield name, target

    def _removals(self, type_: Type, channel: _Channel) -> tuple[str, ...]:
        """Names to take away: unknown subscriptions; for wildcard types, what is no longer wanted."""
        wanted = (self._wanted or {}).get(type_, {})
        removed = {name for name in channel.missing if name in channel.subscribed}
        channel.missing.clear()
        if not channel.wildcard:
            channel.gone.clear()
        elif type_ != "cluster" or (self._settled("route") and self._settled("listener")):
            removed |= {name for name in channel.gone if name not in wanted and name in channel.good}
            channel.gone.clear()
        return tuple(sorted(removed))

    def _target(self, type_: Type, name: str) -> Parts | None:
        """What Envoy should have: wanted parts, refused ones replaced by their last accepted content."""
        wanted = (self._wanted or {}).get(type_, {}).get(name)
        refused = self._refused[type_].get(name)
        if wanted is None or not refused:
            return wanted
        last = self._last[type_].get(name, {})
        target: dict[str, bytes] = {}
        for key, body in wanted.items():
            if key not in refused or refused[key][0] != body:
                target[key] = body
            elif key in last and last[key] != body:
                target[key] = last[key]
        return target if target and (FRAME in target or FRAME not in wanted) else None

    # what is

    def has(self, type_: Type, name: str, key: str) -> bool:
        """Whether Envoy confirmed the wanted content of a part on this stream; of :data:`WHOLE`, all that may be
        sent of the resource."""
        if key == WHOLE:
            target = self._target(type_, name)
            return target is not None and self._channels[type_].good.get(name) == target
        wanted = (self._wanted or {}).get(type_, {}).get(name, {}).get(key)
        return wanted is not None and self._channels[type_].good.get(name, {}).get(key) == wanted

    def refusal(self, type_: Type, name: str, key: str) -> str | None:
        """Envoy's words about the wanted content of a part, if it refused that."""
        found = self._refused[type_].get(name, {}).get(key)
        wanted = (self._wanted or {}).get(type_, {}).get(name, {}).get(key)
        return found[1] if found and found[0] == wanted else None

    def has_fallback(self, type_: Type, name: str) -> bool:
        """Whether some content of the resource may be sent at all."""
        return self._target(type_, name) is not None

    def _settled(self, type_: Type) -> bool:
        channel = self._channels[type_]
        if channel.flight is not None:
            return False
        return not any(True for _ in self._pending(type_, channel))

    def _clusters_settled(self) -> bool:
        if not (self._settled("cluster") and self._settled("endpoint")):
            return False
        known = (self._wanted or {}).get("endpoint", {}).keys()
        confirmed = self._channels["cluster"].good.keys() & known
        return confirmed <= self._channels["endpoint"].subscribed


def _advance(good: Parts, target: Parts, room: int | None, forced: bool) -> tuple[Parts, tuple[str, ...]]:
    """``good`` moved towards ``target`` by at most ``room`` changed parts, and which those are."""
    changed = [key for key, body in target.items() if good.get(key) != body]
    if not changed:
        return target, tuple(target) if forced else (next(iter(target)),)
    if room is None or len(changed) <= room:
        return target, tuple(changed)
    taken = changed[:room]
    merged = {key: target[key] if key in taken else good.get(key) for key in target}
    return {key: body for key, body in merged.items() if body is not None}, tuple(taken)


def _body(parts: Parts) -> bytes:
    return b"".join(parts[key] for key in sorted(parts))


def version_of(body: bytes) -> str:
    """The version of a resource: a digest of its content, so that it means the same after a restart."""
    return blake2b(body, digest_size=8).hexdigest()
