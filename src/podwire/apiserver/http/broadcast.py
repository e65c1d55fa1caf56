"""Live events for many watchers: encoded once, written to each in the turn that publishes them.

Rules:

1. Watchers of the same collection, selectors and shape share a channel: one selection, one encoding, one chunk.
2. A chunk is written to the connection at once, not by a task that must be woken first; nobody waits for a slow client.
   Whoever has more than :data:`MAX_BEHIND_BYTES` unsent is cut, and reads from its last revision again (410 semantics).
3. A table's columns are in the first event a watcher gets, and in no later one.
4. Bytes go out as HTTP/1.1 chunks, beside aiohttp's writer: what that one was given before is on its way already.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator

from podwire.apiserver.history import Change, EventType, Item
from podwire.apiserver.http.answer import encode, partial, presented, table
from podwire.apiserver.http.ask import Shape, Target
from podwire.apiserver.http.read import Chosen
from podwire.apiserver.store import Store

MAX_BEHIND_BYTES = 8 * 1024 * 1024
MAX_WAITING = 10_000


class View:
    """What a watcher sees: which objects, and how."""

    def __init__(self, target: Target, chosen: Chosen | None, shape: Shape, include: str) -> None:
        """``include`` is the table's includeObject."""
        self.target = target
        self.chosen = chosen
        self.shape: Shape = shape
        self.include = include

    def frames(self, changes: Iterable[Change], *, columns: bool) -> Iterator[bytes]:
        """The watch lines of changes; ``columns``: the first of a table has them."""
        for change in changes:
            type_ = seen_as(change, self.chosen)
            if type_ is None:
                continue
            item = presented(self.target, change.item)
            if self.shape == "plain" and item is change.item:
                yield change.frame(type_)
            else:
                yield self.frame(type_, item, columns=columns)
                columns = False

    def frame(self, type_: EventType, item: Item, *, columns: bool) -> bytes:
        """One watch line."""
        if self.shape == "plain":
            return b'{"type":"%b","object":%b}\n' % (type_.encode(), item.data)
        if self.shape == "partial":
            return encode({"type": type_, "object": partial(item.value)}) + b"\n"
        meta = {"resourceVersion": str(item.rv)}
        found = table(self.target, [item.value], meta, include=self.include, columns=columns)
        return encode({"type": type_, "object": found}) + b"\n"


def seen_as(change: Change, chosen: Chosen | None) -> EventType | None:
    """An object that begins to match a selector is ADDED, one that ceases is DELETED; None: not seen."""
    if chosen is None:
        return change.type
    now = change.type != "DELETED" and chosen(change.item.value)
    before = change.previous is not None and chosen(change.previous.value)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


class Seat:
    """One watcher's place in a channel."""

    def __init__(self, *, columns: bool) -> None:
        """``columns``: its next event is its first, in a table."""
        self.columns = columns
        self.over = asyncio.Event()
        self.cut = False
        self._transport: asyncio.Transport | None = None
        self._waiting: list[bytes] = []

    def take(self, transport: asyncio.Transport) -> None:
        """Everything before the live events was written: what waited goes out, and from now on each at once."""
        self._transport = transport
        for data in self._waiting:
            transport.write(data)
        self._waiting.clear()

    def push(self, chunk: bytes) -> None:
        """Write, or keep until :meth:`take`."""
        transport = self._transport
        if transport is None:
            self._waiting.append(chunk)
            if len(self._waiting) > MAX_WAITING:
                self._stop()
        elif not transport.is_closing():
            transport.write(chunk)
            if transport.get_write_buffer_size() > MAX_BEHIND_BYTES:
                self._stop()

    @property
    def behind_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def _stop(self) -> None:
        self.cut = True
        self.over.set()


class Channel:
    """Watchers that see the same."""

    def __init__(self, view: View) -> None:
        """Nobody is in it."""
        self.view = view
        self.seats: set[Seat] = set()

    def changed(self, changes: list[Change]) -> None:
        """Send to everybody."""
        later = chunk_of(b"".join(self.view.frames(changes, columns=False)))
        if not later:
            return
        first = b""
        for seat in tuple(self.seats):
            if seat.over.is_set():
                continue
            if seat.columns:
                first = first or chunk_of(b"".join(self.view.frames(changes, columns=True)))
                seat.columns = False
                seat.push(first)
            else:
                seat.push(later)

    def ended(self) -> None:
        """The server stops."""
        for seat in self.seats:
            seat.over.set()


def chunk_of(data: bytes) -> bytes:
    """``data`` as a chunk of HTTP/1.1; nothing stays nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class Broadcasts:
    """The channels of a server."""

    def __init__(self, store: Store) -> None:
        """No channel yet."""
        self._store = store
        self._channels: dict[Hashable, Channel] = {}

    @property
    def watchers(self) -> int:
        """How many watch."""
        return sum(len(channel.seats) for channel in self._channels.values())

    def join(self, key: Hashable, seat: Seat, make: Callable[[], View]) -> None:
        """Every change after this moment goes to ``seat``; ``make`` makes the view of the first with that key."""
        channel = self._channels.get(key)
        if channel is None:
            channel = self._channels[key] = Channel(make())
            self._store.listen(channel.view.target.kind.stored, channel)
        channel.seats.add(seat)

    def leave(self, key: Hashable, seat: Seat) -> None:
        """End that."""
        channel = self._channels[key]
        channel.seats.discard(seat)
        if not channel.seats:
            del self._channels[key]
            self._store.unlisten(channel.view.target.kind.stored, channel)
