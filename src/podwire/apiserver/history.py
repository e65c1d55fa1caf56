"""What happened: changes, the ring that watches replay, and feeds to those who follow.

Rules:

1. A change is published once, after it is durable, in order of its revision.
2. Its JSON is encoded once; the frames made from it are shared between watchers.
3. The ring keeps bytes only, for at least 75 s where its byte limit allows; a revision before it is *too old*.
4. A feed that overflows is cut, never waited for. The engine's own feed has no limit.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec

Json = dict[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED"]

MAX_AGE_SECONDS = 300.0
MAX_BYTES = 24 * 1024 * 1024


class Item:
    """A stored object: its value (never mutated), its JSON and its revision."""

    __slots__ = ("data", "rv", "value")

    def __init__(self, value: Json, data: bytes, rv: int) -> None:
        """``data`` is the encoded ``value``."""
        self.value = value
        self.data = data
        self.rv = rv


class Change:
    """One event. For DELETED the item is the last state with the new revision."""

    __slots__ = ("frames", "item", "key", "kind", "previous", "type")

    def __init__(self, type_: EventType, kind: str, key: str, *, item: Item, previous: Item | None) -> None:
        """``previous`` is the state before, None for ADDED."""
        self.type: EventType = type_
        self.kind = kind
        self.key = key
        self.item = item
        self.previous = previous
        self.frames: dict[str, bytes] = {}

    def frame(self, type_: EventType) -> bytes:
        """The watch line of this change, seen as ``type_`` by a watcher with a selector."""
        found = self.frames.get(type_)
        if found is None:
            found = self.frames[type_] = b'{"type":"%b","object":%b}\n' % (type_.encode(), self.item.data)
        return found


class _Past:
    __slots__ = ("at", "data", "key", "kind", "previous", "rv", "type")

    def __init__(self, change: Change, at: float) -> None:
        self.type = change.type
        self.kind = change.kind
        self.key = change.key
        self.rv = change.item.rv
        self.data = change.item.data
        self.previous = change.previous.data if change.previous else None
        self.at = at

    def revive(self) -> Change:
        return Change(
            self.type,
            self.kind,
            self.key,
            item=_item(self.data),
            previous=_item(self.previous) if self.previous else None,
        )


def _item(data: bytes) -> Item:
    value = msgspec.json.decode(data)
    return Item(value, data, int(value["metadata"]["resourceVersion"]))


class History:
    """The ring."""

    def __init__(self, start: int, *, max_bytes: int = MAX_BYTES, max_age_seconds: float = MAX_AGE_SECONDS) -> None:
        """Nothing before revision ``start`` is known."""
        self.oldest = start
        self._ring: deque[_Past] = deque()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds

    def add(self, change: Change, now_seconds: float) -> None:
        """Append, and let go of what is too old or too much."""
        self._ring.append(_Past(change, now_seconds))
        self._bytes += len(change.item.data)
        limit = now_seconds - self._max_age_seconds
        while self._ring and (self._bytes > self._max_bytes or self._ring[0].at < limit):
            gone = self._ring.popleft()
            self._bytes -= len(gone.data)
            self.oldest = gone.rv

    def after(self, rv: int, kinds: frozenset[str] | None) -> Iterator[Change]:
        """Changes of ``kinds`` after ``rv``, oldest first. The caller checked ``rv >= oldest``."""
        for past in self._tail(rv):
            if kinds is None or past.kind in kinds:
                yield past.revive()

    def rewind(self, items: dict[str, Item], kind: str, rv: int) -> None:
        """Turn ``items`` (the present of ``kind``) into what they were at ``rv``."""
        for past in reversed(self._tail(rv)):
            if past.kind != kind:
                continue
            if past.previous is None:
                items.pop(past.key, None)
            else:
                items[past.key] = _item(past.previous)

    def _tail(self, rv: int) -> list[_Past]:
        tail = []
        for past in reversed(self._ring):
            if past.rv <= rv:
                break
            tail.append(past)
        tail.reverse()
        return tail


class Listener(Protocol):
    """Who is told of changes of a kind at once, in the turn that publishes them."""

    def changed(self, changes: list[Change]) -> None:
        """What was committed, in order; never waits and never raises."""
        ...

    def ended(self) -> None:
        """The store closes."""
        ...


class Feed:
    """Changes for one follower, in order."""

    def __init__(self, kinds: frozenset[str] | None, *, limit: int | None = None) -> None:
        """Follow ``kinds`` (None: all); cut when more than ``limit`` changes wait."""
        self.kinds = kinds
        self.closed = False
        self.cut = False
        self._limit = limit
        self._waiting: deque[Change] = deque()
        self._wake = asyncio.Event()

    def push(self, change: Change) -> None:
        """Called by the store."""
        if self.closed or (self.kinds is not None and change.kind not in self.kinds):
            return
        if self._limit is not None and len(self._waiting) >= self._limit:
            self.cut = True
            self.close()
            return
        self._waiting.append(change)
        self._wake.set()

    def close(self) -> None:
        """End: what waits is dropped, ``next`` returns an empty list."""
        self.closed = True
        self._waiting.clear()
        self._wake.set()

    @property
    def waiting(self) -> int:
        """How many changes wait."""
        return len(self._waiting)

    async def next(self) -> list[Change]:
        """At least one change; an empty list when the feed was closed or cut."""
        while not self._waiting and not self.closed:
            self._wake.clear()
            await self._wake.wait()
        return self.take()

    def take(self) -> list[Change]:
        """What waits right now."""
        found = list(self._waiting)
        self._waiting.clear()
        return found
