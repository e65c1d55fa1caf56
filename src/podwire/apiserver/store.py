"""The authority: every object in memory, an append log behind it.

Rules:

1. Objects are plain JSON values and never mutated. One increasing integer is the resourceVersion of all kinds.
2. Writers see the *head*, which holds writes under way; readers and watchers see only what is committed. So nothing
   read can vanish, and nothing acknowledged can be lost by ``kill -9``.
3. All writes of one turn of the event loop are one transaction; turns that wait together share one commit.
4. When a commit fails, every write under way fails and the head returns to the committed state (``epoch`` grows, so
   that indexes over the head know to rebuild).

Not here: what a write means (``verbs``). One event loop owns a store.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from podwire.apiserver.history import Change, EventType, Feed, History, Item, Listener
from podwire.apiserver.journal import Batch, Journal, Row
from podwire.apiserver.status import internal, too_large, too_old

Json = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _Turn:
    """The writes of one turn of the loop, and who waits for them."""

    __slots__ = ("changes", "done", "error")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.done = asyncio.Event()
        self.error: BaseException | None = None


class Store:
    """Use :meth:`open`."""

    def __init__(self, journal: Journal | None) -> None:
        """Load what the journal holds."""
        self._journal = journal
        self._committed: dict[str, dict[str, Item]] = {}
        self._sorted: dict[str, list[str]] = {}
        self._feeds: set[Feed] = set()
        self._listeners: dict[str, set[Listener]] = {}
        self._changed: dict[str, int] = {}
        self._turn: _Turn | None = None
        self._turns: deque[_Turn] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.epoch = 0
        self.rv = 1
        if journal is not None:
            self._load(journal)
            journal.start(self._on_done)
        self.head_rv = self.rv
        self._head = {kind: dict(items) for kind, items in self._committed.items()}
        self.history = History(self.rv)

    @classmethod
    def open(cls, path: Path | None) -> "Store":
        """The store in the file ``path``, or one in memory only. Raises :class:`EnvironmentUnfit`."""
        return cls(None if path is None else Journal(path))

    def _load(self, journal: Journal) -> None:
        latest: dict[tuple[str, str], tuple[int, bytes]] = {}
        for rv, kind, key, data in journal.rows():
            if data is None:
                latest.pop((kind, key), None)
            else:
                latest[kind, key] = (rv, data)
        for (kind, key), (rv, data) in latest.items():
            self._committed.setdefault(kind, {})[key] = Item(_decode(data), data, rv)
        self.rv = max(journal.last, 1)

    async def close(self) -> None:
        """Commit what is under way, end every feed, release the file."""
        if self._turn is not None:
            self._dispatch()
        for turn in tuple(self._turns):
            await turn.done.wait()
        self.end_feeds()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.close)
            self._journal = None

    def end_feeds(self) -> None:
        """Close every feed: watchers say good-bye."""
        for feed in tuple(self._feeds):
            feed.close()
        self._feeds.clear()
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                listener.ended()

    # --- the head: for writers ---

    def head(self, kind: str, key: str) -> Json | None:
        """The newest value, writes under way included."""
        item = self._head.get(kind, {}).get(key)
        return item.value if item else None

    def heads(self, kind: str) -> Iterator[tuple[str, Json]]:
        """Every newest value of ``kind`` with its key, safe against writes during the iteration."""
        for key, item in list(self._head.get(kind, {}).items()):
            yield key, item.value

    def head_kinds(self) -> list[str]:
        """Every kind that has, or had, objects."""
        return sorted(self._head)

    def head_item(self, kind: str, key: str) -> Item | None:
        """As :meth:`head`, with bytes and revision."""
        return self._head.get(kind, {}).get(key)

    def put(self, kind: str, key: str, value: Json) -> Item:
        """Create or replace; the store sets ``metadata.resourceVersion``. Not durable before :meth:`settled`."""
        previous = self._head.get(kind, {}).get(key)
        item = self._stamp(value)
        self._head.setdefault(kind, {})[key] = item
        self._log(Change("MODIFIED" if previous else "ADDED", kind, key, item=item, previous=previous))
        return item

    def remove(self, kind: str, key: str) -> Item:
        """Delete; returns the last state with the new revision. Raises :class:`KeyError`."""
        previous = self._head[kind].pop(key)
        item = self._stamp(previous.value)
        self._log(Change("DELETED", kind, key, item=item, previous=previous))
        return item

    async def settled(self, rv: int) -> None:
        """Return when every write up to ``rv`` is durable and visible. Raises :class:`StatusError` when it failed."""
        for turn in (*self._turns, *((self._turn,) if self._turn else ())):
            if turn.changes[-1].item.rv >= rv:
                await turn.done.wait()
                if turn.error is not None:
                    raise internal(f"the object store failed: {turn.error}") from turn.error
                return

    def _stamp(self, value: Json) -> Item:
        self.head_rv += 1
        stamped = {**value, "metadata": {**value["metadata"], "resourceVersion": str(self.head_rv)}}
        return Item(stamped, _encode(stamped), self.head_rv)

    def _log(self, change: Change) -> None:
        if self._turn is None:
            self._turn = _Turn()
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._dispatch)
        self._turn.changes.append(change)

    def _dispatch(self) -> None:
        turn, self._turn = self._turn, None
        if turn is None:
            return
        self._turns.append(turn)
        if self._journal is None:
            self._finish([turn], None)
            return
        rows: list[Row] = [
            (c.item.rv, c.kind, c.key, None if c.type == "DELETED" else c.item.data) for c in turn.changes
        ]
        self._journal.append(Batch(self.epoch, rows, turn))

    def _on_done(self, batches: list[Batch], error: BaseException | None) -> None:
        assert self._loop is not None
        turns = [cast(_Turn, batch.token) for batch in batches]
        with suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, turns, error)

    def _finish(self, turns: list[_Turn], error: BaseException | None) -> None:
        if error is not None:
            if not turns[0].done.is_set():  # else it failed together with an earlier one
                self._fail(error)
            return
        now = asyncio.get_running_loop().time()
        fresh: dict[str, list[Change]] = {}
        for turn in turns:
            self._turns.popleft()
            for change in turn.changes:
                self._publish(change, now)
                fresh.setdefault(change.kind, []).append(change)
            turn.done.set()
        for kind, changes in fresh.items():
            for listener in tuple(self._listeners.get(kind, ())):
                listener.changed(changes)

    def _fail(self, error: BaseException) -> None:
        failed = [*self._turns, *((self._turn,) if self._turn else ())]
        self._turns.clear()
        self._turn = None
        self._head = {kind: dict(items) for kind, items in self._committed.items()}
        self.epoch += 1
        for turn in failed:
            turn.error = error
            turn.done.set()

    def _publish(self, change: Change, now: float) -> None:
        items = self._committed.setdefault(change.kind, {})
        if change.type == "DELETED":
            del items[change.key]
        else:
            items[change.key] = change.item
        if change.type != "MODIFIED":
            self._sorted.pop(change.kind, None)
        self.rv = self._changed[change.kind] = change.item.rv
        self.history.add(change, now)
        for feed in self._feeds:
            feed.push(change)

    # --- the committed state: for readers ---

    def get(self, kind: str, key: str) -> Item | None:
        """The committed object."""
        return self._committed.get(kind, {}).get(key)

    def items(self, kind: str) -> list[tuple[str, Item]]:
        """Every committed object of ``kind``, by key."""
        items = self._committed.get(kind, {})
        keys = self._sorted.get(kind)
        if keys is None:
            keys = self._sorted[kind] = sorted(items)
        return [(key, items[key]) for key in keys]

    def items_at(self, kind: str, rv: int) -> list[tuple[str, Item]]:
        """As :meth:`items`, at revision ``rv``. Raises a 410 or 504 :class:`StatusError`."""
        self.check(rv)
        if rv == self.rv:
            return self.items(kind)
        items = dict(self._committed.get(kind, {}))
        self.history.rewind(items, kind, rv)
        return sorted(items.items())

    def check(self, rv: int) -> None:
        """Raise unless changes after ``rv`` are known: 410 too old, 504 from the future."""
        if rv > self.rv:
            raise too_large(rv, self.rv)
        if rv < self.history.oldest:
            raise too_old(rv, self.history.oldest)

    def revision_of(self, kind: str) -> int:
        """When a kind changed last since the start; 0 when it did not."""
        return self._changed.get(kind, 0)

    def kinds(self) -> list[str]:
        """Kinds that have objects."""
        return sorted(kind for kind, items in self._committed.items() if items)

    def follow(self, kinds: frozenset[str] | None, *, limit: int | None = None) -> Feed:
        """A feed of everything after the present revision."""
        feed = Feed(kinds, limit=limit)
        self._feeds.add(feed)
        return feed

    def listen(self, kind: str, listener: Listener) -> None:
        """Tell ``listener`` of everything after the present revision, as soon as it is committed."""
        self._listeners.setdefault(kind, set()).add(listener)

    def unlisten(self, kind: str, listener: Listener) -> None:
        """End that."""
        self._listeners[kind].discard(listener)

    def unfollow(self, feed: Feed) -> None:
        """End a feed."""
        feed.close()
        self._feeds.discard(feed)


__all__ = ["Change", "EventType", "Feed", "Item", "Store"]
