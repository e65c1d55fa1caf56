"""A cluster's objects by list and watch, read-only, for roles that attach to it.

Rules:

1. A kind is listed, then watched from that revision with bookmarks. The first :meth:`changes` has everything.
2. A watch that ends goes on from the last revision it saw. When that is too old (410) the kind is listed again, and
   what is gone since then is reported as gone.
3. A watch that says nothing for :data:`SILENT_SECONDS`, not even a bookmark, is taken for dead and begun anew.
   :attr:`WatchSource.heard` is when the one that is silent for the longest last said something.
4. Kinds that may be missing (``optional``) are left out with a word when they are forbidden or not there.
5. Nothing is ever written.

Source: kubernetes.io/docs/reference/using-api/api-concepts (efficient detection of changes, watch bookmarks).
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import aiohttp
import msgspec

from podwire.base import PodwireError
from podwire.client.rest import RestClient, Unreachable
from podwire.client.source import ApiError, Change
from podwire.kube import KINDS
from podwire.plan import Write

SILENT_SECONDS = 150.0
"""API servers send a bookmark about every minute."""
WATCH_SECONDS = 300
RETRY_SECONDS = (0.2, 1.0, 5.0, 10.0)
GONE, FORBIDDEN, NOT_FOUND = 410, 403, 404
LARGEST_EVENT = 4 << 20


class Watched(msgspec.Struct, frozen=True):
    """What to read: a kind, in one namespace or all, by field selector or all."""

    kind: str
    namespace: str = ""
    fields: str = ""
    optional: bool = False

    @property
    def path(self) -> str:
        """Where the API has it."""
        kind = KINDS[self.kind]
        root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        inside = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{inside}/{kind.plural}"


class WatchSource:
    """A :class:`podwire.client.Source` over an open :class:`RestClient`."""

    def __init__(
        self, client: RestClient, wanted: Sequence[Watched], *, clock: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        """Nothing is read before :meth:`changes`. ``say`` gets what a person should know, in words."""
        self._client = client
        self._wanted = tuple(wanted)
        self._clock, self._say = clock, say
        self._news: asyncio.Queue[Change] = asyncio.Queue(maxsize=10_000)
        self._tasks: list[asyncio.Task[None]] = []
        self._known: dict[Watched, dict[str, str]] = {}
        self._heard: dict[Watched, float] = {}
        self._started = False

    @property
    def heard(self) -> float:
        """When the most silent watch last said something."""
        return min(self._heard.values(), default=self._clock())

    async def changes(self) -> tuple[Change, ...]:
        """Everything there is first, then what changed."""
        if not self._started:
            self._started = True
            return tuple([change for wanted in self._wanted for change in await self.add(wanted)])
        found = [await self._news.get()]
        while not self._news.empty():
            found.append(self._news.get_nowait())
        return tuple(found)

    async def add(self, wanted: Watched) -> tuple[Change, ...]:
        """Read one more kind from now on; its objects."""
        try:
            found, revision = await self._list(wanted)
        except ApiError as error:
            if not wanted.optional or error.code not in (FORBIDDEN, NOT_FOUND):
                raise
            self._say(f"{wanted.kind} is not read: {error}")
            return ()
        self._heard[wanted] = self._clock()
        self._tasks.append(asyncio.get_running_loop().create_task(self._follow(wanted, revision)))
        return tuple(found)

    async def write(self, write: Write) -> None:
        """Never."""
        raise PodwireError(f"this role only reads, it does not write {write.ref}")

    async def close(self) -> None:
        """Stop watching; idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _list(self, wanted: Watched) -> tuple[list[Change], str]:
        """What is there, and what is gone since the last time; the revision."""
        kind = KINDS[wanted.kind]
        items: list[dict[str, Any]] = []
        token = revision = ""
        while True:
            params = {"limit": "500", **({"fieldSelector": wanted.fields} if wanted.fields else {})}
            page = await self._client.get(wanted.path, params | ({"continue": token} if token else {}))
            meta = page.get("metadata", {})
            items.extend({**i, "kind": kind.name, "apiVersion": kind.api_version} for i in page.get("items") or ())
            token, revision = meta.get("continue", ""), str(meta.get("resourceVersion", ""))
            if not token:
                break
        before = self._known.get(wanted, {})
        now = {_key(item): str(item["metadata"].get("resourceVersion", "")) for item in items}
        self._known[wanted] = now
        gone = [Change(kind.name, key, None) for key in before if key not in now]
        changed = [item for item in items if before.get(_key(item)) != now[_key(item)] or not before]
        return [*gone, *(Change(kind.name, _key(item), item) for item in changed)], revision

    async def _follow(self, wanted: Watched, revision: str) -> None:
        failures = 0
        while True:
            try:
                revision = await self._watch(wanted, revision)
                failures = 0
                continue
            except ApiError as error:
                self._say(f"watch of {wanted.kind}: {error}; listing again")
            except (Unreachable, aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                self._say(f"watch of {wanted.kind}: {error or type(error).__name__}; trying again")
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1
            try:
                found, revision = await self._list(wanted)
            except PodwireError:
                continue
            self._heard[wanted] = self._clock()
            for change in found:
                await self._news.put(change)

    async def _watch(self, wanted: Watched, revision: str) -> str:
        """Until the server ends the watch; the last revision. Raises :class:`ApiError`, also for 410."""
        params = {
            "watch": "true", "resourceVersion": revision, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS), **({"fieldSelector": wanted.fields} if wanted.fields else {}),
        }  # fmt: skip
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENT_SECONDS)
        url = self._client.url(wanted.path)
        async with self._client.session.get(url, params=params, timeout=timeout) as response:
            if response.status != 200:
                raise ApiError({"code": response.status, "message": await response.text()})
            rest = b""
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > LARGEST_EVENT:
                    raise ValueError("an event has no end")
                self._heard[wanted] = self._clock()
                for line in lines:
                    revision = await self._take(wanted, json.loads(line)) or revision
        return revision

    async def _take(self, wanted: Watched, event: dict[str, Any]) -> str:
        value = event["object"]
        if event["type"] == "ERROR":
            raise ApiError(value)
        revision = str(value["metadata"].get("resourceVersion", ""))
        if event["type"] != "BOOKMARK":
            kind = KINDS[wanted.kind]
            key, gone = _key(value), event["type"] == "DELETED"
            known = self._known[wanted]
            if gone:
                known.pop(key, None)
            else:
                known[key] = revision
            whole = None if gone else {**value, "kind": kind.name, "apiVersion": kind.api_version}
            await self._news.put(Change(kind.name, key, whole))
        return revision


def _key(value: dict[str, Any]) -> str:
    meta = value["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])
