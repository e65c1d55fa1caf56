"""Watches: initial state, history, live events, bookmarks (reference/api-server.md section 6).

Rules:

1. An object that begins to match a selector is ADDED, one that ceases is DELETED.
2. Frames are made once per change and shape and shared by all watchers of that shape.
3. A watcher that does not read is cut: its feed overflows, or a write does not finish in time. Nobody waits for it.
4. A bookmark carries a revision such that everything up to it was sent.
5. With ``sendInitialEvents`` the present state comes as ADDED, then a bookmark annotated
   ``k8s.io/initial-events-end``, then live events (KEP-3157).
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.chance import Chance
from podwire.apiserver.history import Change, EventType, Feed, Item
from podwire.apiserver.http.answer import JSON, encode, partial, presented, table
from podwire.apiserver.http.ask import Shape, Target, flag, number, options_invalid, revision
from podwire.apiserver.http.read import Chosen, choose
from podwire.apiserver.store import Store
from podwire.kube.registry import Kind

Json = dict[str, Any]

BOOKMARK_SECONDS = 60.0
MAX_WAITING = 10_000
WRITE_SECONDS = 30.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Order:
    """What a watcher asked for."""

    def __init__(self, target: Target, query: Mapping[str, str], shape: Shape, chance: Chance) -> None:
        """Raises 400 and 422."""
        self.target = target
        self.shape: Shape = shape
        self.include = query.get("includeObject", "")
        self.chosen = choose(target, query)
        self.bookmarks = flag(query, "allowWatchBookmarks")
        self.initial = _wants_initial(query)
        self.since = revision(query)
        asked = number(query, "timeoutSeconds")
        # 30 to 60 minutes, spread so that clients do not come back all at once (apiserver's minRequestTimeout).
        self.seconds = float(asked if asked else 1800 + chance.pick(1800))


def _wants_initial(query: Mapping[str, str]) -> bool | None:
    match = query.get("resourceVersionMatch", "")
    if "sendInitialEvents" not in query:
        if match:
            why = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            raise options_invalid("resourceVersionMatch", why)
        return None
    if match != "NotOlderThan":
        why = (
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            if not match
            else f'Unsupported value: "{match}": supported values: "NotOlderThan"'
        )
        raise options_invalid("resourceVersionMatch", why)
    return flag(query, "sendInitialEvents")


class Watcher:
    """One watch connection."""

    def __init__(self, store: Store, order: Order) -> None:
        """Nothing is read yet."""
        self._store = store
        self._order = order
        self._kind: Kind = order.target.kind
        self._first_row = True

    async def serve(self, request: BaseRequest) -> StreamResponse:
        """Send until the deadline, the client's end, or a cut. Raises 410 and 504 before the first byte."""
        feed, backlog, start = self._begin()
        try:
            response = StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            try:
                await self._send(response, backlog)
                await self._live(response, feed, start)
            except (TimeoutError, ConnectionError):
                if request.transport is not None:
                    request.transport.abort()
            return response
        finally:
            self._store.unfollow(feed)

    def _begin(self) -> tuple[Feed, bytes, int]:
        """The feed, what must be sent before it, and the revision up to which that reaches; one turn of the loop."""
        order, store = self._order, self._store
        frames: list[bytes] = []
        fresh = not order.since
        if order.initial is not True and not fresh:
            assert order.since is not None
            store.check(order.since)
            frames.extend(self._frames(store.history.after(order.since, frozenset((self._kind.stored,)))))
        else:
            if order.since and order.since > store.rv:
                store.check(order.since)
            if order.initial is not False:
                frames.extend(self._present())
            if order.initial and order.bookmarks:
                frames.append(self._bookmark(store.rv, _INITIAL_END))
        feed = store.follow(frozenset((self._kind.stored,)), limit=MAX_WAITING)
        return feed, b"".join(frames), store.rv

    def _present(self) -> Iterator[bytes]:
        chosen, prefix = self._order.chosen, self._order.target.namespace + "/"
        for key, item in self._store.items(self._kind.stored):
            if (prefix == "/" or key.startswith(prefix)) and (chosen is None or chosen(item.value)):
                yield self._encode("ADDED", presented(self._order.target, item))

    async def _live(self, response: StreamResponse, feed: Feed, start: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._order.seconds
        sent = start
        bookmark_at = loop.time() + BOOKMARK_SECONDS
        while not feed.closed:
            changes = await _next(feed, min(deadline, bookmark_at))
            if changes:
                sent = changes[-1].item.rv
                await self._send(response, b"".join(self._frames(changes)))
            over = loop.time() >= deadline
            if over or loop.time() >= bookmark_at:
                # Nothing of this kind waits, so the whole store's revision has been seen.
                sent = max(sent, self._store.rv) if not feed.waiting else sent
                if self._order.bookmarks:
                    await self._send(response, self._bookmark(sent, None))
                bookmark_at = loop.time() + BOOKMARK_SECONDS
            if over:
                break
        if feed.cut:
            raise ConnectionError("the watcher does not keep up")
        await response.write_eof()

    async def _send(self, response: StreamResponse, data: bytes) -> None:
        if data:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)

    def _frames(self, changes: Any) -> Iterator[bytes]:
        for change in changes:
            type_ = _seen_as(change, self._order.chosen)
            if type_ is None:
                continue
            item = presented(self._order.target, change.item)
            if self._order.shape == "plain" and item is change.item:
                yield change.frame(type_)
            else:
                yield self._encode(type_, item)

    def _encode(self, type_: EventType, item: Item) -> bytes:
        if self._order.shape == "plain":
            return b'{"type":"%b","object":%b}\n' % (type_.encode(), item.data)
        if self._order.shape == "partial":
            return encode({"type": type_, "object": partial(item.value)}) + b"\n"
        meta = {"resourceVersion": str(item.rv)}
        columns, self._first_row = self._first_row, False
        found = table(self._order.target, [item.value], meta, include=self._order.include, columns=columns)
        return encode({"type": type_, "object": found}) + b"\n"

    def _bookmark(self, rv: int, annotations: Json | None) -> bytes:
        meta: Json = {"resourceVersion": str(rv), "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        found: Json = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": meta}
        if self._order.shape == "partial":
            found = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        elif self._order.shape == "table":
            found = table(self._order.target, [], {"resourceVersion": str(rv)}, include="", columns=self._first_row)
            self._first_row = False
            row: Json = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": meta}
            found["rows"] = [{"cells": [], "object": row}]
        return encode({"type": "BOOKMARK", "object": found}) + b"\n"


def _seen_as(change: Change, chosen: Chosen | None) -> EventType | None:
    """Rule 1."""
    if chosen is None:
        return change.type
    now = change.type != "DELETED" and chosen(change.item.value)
    before = change.previous is not None and chosen(change.previous.value)
    if now:
        return "MODIFIED" if before else "ADDED"
    return "DELETED" if before else None


async def _next(feed: Feed, deadline: float) -> list[Change]:
    try:
        async with asyncio.timeout_at(deadline):
            return await feed.next()
    except TimeoutError:
        return []
