"""Watches: initial state, history, live events, bookmarks (reference/api-server.md section 6).

Rules:

1. An object that begins to match a selector is ADDED, one that ceases is DELETED.
2. Live events come from a channel that all watchers of the same view share (``broadcast``).
3. A watcher that does not read is cut: too much is unsent, or a minute passes without progress. Nobody waits for it.
4. A bookmark carries a revision such that everything up to it was sent.
5. With ``sendInitialEvents`` the present state comes as ADDED, then a bookmark annotated
   ``k8s.io/initial-events-end``, then live events (KEP-3157).
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import HttpVersion11
from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.chance import Chance
from podwire.apiserver.http.answer import JSON, encode, presented, table
from podwire.apiserver.http.ask import Shape, Target, flag, number, options_invalid, revision
from podwire.apiserver.http.broadcast import Broadcasts, Seat, View, chunk_of
from podwire.apiserver.http.read import choose
from podwire.apiserver.status import bad_request
from podwire.apiserver.store import Store
from podwire.kube.registry import Kind

Json = dict[str, Any]

BOOKMARK_SECONDS = 60.0
WRITE_SECONDS = 30.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Order:
    """What a watcher asked for."""

    def __init__(self, target: Target, query: Mapping[str, str], shape: Shape, chance: Chance) -> None:
        """Raises 400 and 422."""
        self.target = target
        include = query.get("includeObject", "")
        self.view = View(target, choose(target, query), shape, include)
        selectors = (query.get("labelSelector", ""), query.get("fieldSelector", ""))
        # The meaning is part of it: another version of a definition sees other things.
        place = (target.kind.api_version, target.kind.stored, id(target.meaning), target.namespace, target.name)
        self.key = (place, selectors, shape, include)
        """Watchers with the same key see the same."""
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

    def __init__(self, store: Store, order: Order, broadcasts: Broadcasts) -> None:
        """Nothing is read yet."""
        self._store = store
        self._order = order
        self._broadcasts = broadcasts
        self._kind: Kind = order.target.kind
        self._seat = Seat(columns=order.view.shape == "table")

    async def serve(self, request: BaseRequest) -> StreamResponse:
        """Send until the deadline, the client's end, or a cut. Raises 410 and 504 before the first byte."""
        order, seat = self._order, self._seat
        if request.version < HttpVersion11:
            raise bad_request("a watch needs HTTP/1.1: it is sent in chunks")
        backlog = self._begin()
        self._broadcasts.join(order.key, seat, lambda: order.view)
        try:
            response = StreamResponse(headers={"Content-Type": JSON, "Cache-Control": "no-cache, private"})
            response.enable_chunked_encoding()
            await response.prepare(request)
            try:
                await self._send(response, backlog)
                await self._live(request)
            except (TimeoutError, ConnectionError):
                if request.transport is not None:
                    request.transport.abort()
            else:
                await response.write_eof()
            return response
        finally:
            self._broadcasts.leave(order.key, seat)

    def _begin(self) -> bytes:
        """What comes before live events; the caller joins the channel in the same turn of the loop."""
        order, store = self._order, self._store
        frames: list[bytes] = []
        if order.initial is not True and order.since:
            store.check(order.since)
            past = store.history.after(order.since, frozenset((self._kind.stored,)))
            frames.extend(order.view.frames(past, columns=self._seat.columns))
            self._seat.columns = self._seat.columns and not frames
        else:
            if order.since and order.since > store.rv:
                store.check(order.since)
            if order.initial is not False:
                frames.extend(self._present())
            if order.initial and order.bookmarks:
                frames.append(self._bookmark(_INITIAL_END))
        return b"".join(frames)

    def _present(self) -> Iterator[bytes]:
        view, prefix = self._order.view, self._order.target.namespace + "/"
        for key, item in self._store.items(self._kind.stored):
            if (prefix == "/" or key.startswith(prefix)) and (view.chosen is None or view.chosen(item.value)):
                yield view.frame("ADDED", presented(view.target, item), columns=self._seat.columns)
                self._seat.columns = False

    async def _live(self, request: BaseRequest) -> None:
        """Live events come through the channel; here are the bookmarks, the deadline and the slow."""
        loop, seat = asyncio.get_running_loop(), self._seat
        transport = request.transport
        if transport is None:
            raise ConnectionError("the client is gone")
        seat.take(transport)
        deadline = loop.time() + self._order.seconds
        behind = 0
        while not seat.over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(deadline, loop.time() + BOOKMARK_SECONDS)):
                    await seat.over.wait()
            if seat.over.is_set():
                break
            if behind and seat.behind_bytes >= behind:
                raise ConnectionError("the watcher does not read")
            behind = seat.behind_bytes
            if self._order.bookmarks:
                # Every change up to the store's revision was pushed before.
                seat.push(chunk_of(self._bookmark(None)))
            if loop.time() >= deadline:
                break
        if seat.cut:
            raise ConnectionError("the watcher does not keep up")

    async def _send(self, response: StreamResponse, data: bytes) -> None:
        if data:
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(data)

    def _bookmark(self, annotations: Json | None) -> bytes:
        rv, shape = str(self._store.rv), self._order.view.shape
        meta: Json = {"resourceVersion": rv, "creationTimestamp": None}
        if annotations:
            meta["annotations"] = annotations
        found: Json = {"kind": self._kind.name, "apiVersion": self._kind.api_version, "metadata": meta}
        if shape == "partial":
            found = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        elif shape == "table":
            columns, self._seat.columns = self._seat.columns, False
            row = found
            found = table(self._order.target, [], {"resourceVersion": rv}, include="", columns=columns)
            found["rows"] = [{"cells": [], "object": row}]
        return encode({"type": "BOOKMARK", "object": found}) + b"\n"
