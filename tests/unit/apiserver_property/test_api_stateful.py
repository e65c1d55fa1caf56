"""Random verbs from several clients, with watchers over HTTPS: what Kubernetes promises about revisions and events.

The model is the log of acknowledged writes. From it follows, exactly, what every list and every watch must say.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiohttp
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from podwire.apiserver import ApiServer, ApiSettings
from podwire.apiserver.status import StatusError

Json = dict[str, Any]
Key = tuple[str, str]
T = TypeVar("T")

NAMESPACES = st.sampled_from(("default", "kube-public"))
NAMES = st.sampled_from(("a", "b", "c", "d"))
COLORS = st.sampled_from(("red", "blue"))
SELECTORS = st.sampled_from(("", "color=red", "color!=red", "color in (blue)"))
WAIT_SECONDS = 30.0
TOKEN = "property"
PATH = "/api/v1/configmaps"


class Write:
    """One acknowledged write of the model's log."""

    def __init__(self, type_: str, key: Key, rv: int, color: str, before: str | None) -> None:
        self.type, self.key, self.rv, self.color, self.before = type_, key, rv, color, before


def matches(selector: str, color: str | None) -> bool:
    if color is None:
        return False
    return {"": True, "color=red": color == "red", "color!=red": color != "red"}.get(selector, color == "blue")


class Watch:
    """One watch connection; ``selector`` and ``namespace`` may be empty."""

    def __init__(self, answer: aiohttp.ClientResponse, *, since: int, selector: str, namespace: str) -> None:
        self.answer, self.since, self.selector, self.namespace = answer, since, selector, namespace
        self.events: list[tuple[str, Key, int]] = []

    async def read_until(self, rv: int) -> None:
        while not self.events or self.events[-1][2] < rv:
            event = json.loads(await self.answer.content.readline())
            meta = event["object"]["metadata"]
            if event["type"] != "BOOKMARK" and meta["name"] in ("a", "b", "c", "d"):
                self.events.append((event["type"], (meta["namespace"], meta["name"]), int(meta["resourceVersion"])))

    def expected(self, log: list[Write]) -> list[tuple[str, Key, int]]:
        found = []
        for write in log:
            if write.rv <= self.since or (self.namespace and write.key[0] != self.namespace):
                continue
            now = write.type != "DELETED" and matches(self.selector, write.color)
            before = matches(self.selector, write.before)
            if now or before:
                found.append(("MODIFIED" if now and before else "ADDED" if now else "DELETED", write.key, write.rv))
        return found


class ApiMachine(RuleBasedStateMachine):
    """See the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.objects: dict[Key, Json] = {}
        self.log: list[Write] = []
        self.stale: dict[Key, Json] = {}
        self.watches: list[Watch] = []
        self.server = ApiServer(ApiSettings(token=TOKEN))
        self.session = self.run(self._start())

    def run(self, work: Awaitable[T]) -> T:
        async def limited() -> T:
            async with asyncio.timeout(WAIT_SECONDS):
                return await work

        return self.loop.run_until_complete(limited())

    async def _start(self) -> aiohttp.ClientSession:
        await self.server.start()
        config = self.server.kubeconfig
        context = ssl.create_default_context(cadata=config.ca.decode())
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        return aiohttp.ClientSession(
            config.server, connector=connector, headers={"Authorization": f"Bearer {TOKEN}"}, read_bufsize=2**20
        )

    def teardown(self) -> None:
        try:
            self.watchers_saw_exactly_the_log()
        finally:
            for watch in self.watches:
                watch.answer.close()
            self.run(self.session.close())
            self.run(self.server.stop())
            self.loop.close()

    # --- what is written down ---

    def wrote(self, type_: str, key: Key, value: Json, color: str) -> None:
        rv = int(value["metadata"]["resourceVersion"])
        before = self.objects.get(key)
        if before is not None and before["metadata"]["resourceVersion"] == value["metadata"]["resourceVersion"]:
            return  # a write that changes nothing is none
        assert not self.log or rv > self.log[-1].rv, "resourceVersions grow"
        self.log.append(Write(type_, key, rv, color, color_of(before) if before else None))
        if before is not None:
            self.stale[key] = before
        if type_ == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = value

    def refused(self, work: Awaitable[Any], code: int) -> None:
        head = self.server.store.rv
        try:
            self.run(work)
        except StatusError as error:
            assert error.code == code, error
        else:
            raise AssertionError(f"this should have been refused with {code}")
        assert self.server.store.rv == head, "a refusal writes nothing"

    # --- verbs ---

    @rule(namespace=NAMESPACES, name=NAMES, color=COLORS)
    def create(self, namespace: str, name: str, color: str) -> None:
        body = config_map(namespace, name, color)
        if (namespace, name) in self.objects:
            self.refused(self.server.create(body), 409)
        else:
            self.wrote("ADDED", (namespace, name), self.run(self.server.create(body)), color)

    @rule(namespace=NAMESPACES, name=NAMES, color=COLORS, conditional=st.booleans())
    def update(self, namespace: str, name: str, color: str, conditional: bool) -> None:
        body = config_map(namespace, name, color, size=len(self.log))
        found = self.objects.get((namespace, name))
        if found is None:
            self.refused(self.server.update(body), 404)
            return
        if conditional:
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.wrote("MODIFIED", (namespace, name), self.run(self.server.update(body)), color)

    @rule(namespace=NAMESPACES, name=NAMES, color=COLORS)
    def patch(self, namespace: str, name: str, color: str) -> None:
        change = {"metadata": {"labels": {"color": color}}}
        work = self.server.merge("ConfigMap", namespace, name, change)
        if (namespace, name) in self.objects:
            self.wrote("MODIFIED", (namespace, name), self.run(work), color)
        else:
            self.refused(work, 404)

    @rule(namespace=NAMESPACES, name=NAMES)
    def delete(self, namespace: str, name: str) -> None:
        work = self.server.delete("ConfigMap", namespace, name)
        found = self.objects.get((namespace, name))
        if found is None:
            self.refused(work, 404)
        else:
            self.wrote("DELETED", (namespace, name), self.run(work), color_of(found))

    @rule(namespace=NAMESPACES, name=NAMES)
    def delete_another_than_meant(self, namespace: str, name: str) -> None:
        if (namespace, name) in self.objects:
            self.refused(self.server.delete("ConfigMap", namespace, name, uid="another"), 409)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def write_from_a_stale_copy(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.stale)))
        if key in self.objects:
            self.refused(self.server.update({**self.stale[key], "data": {"lost": "update"}}), 409)

    @precondition(lambda self: self.objects)
    @rule(data=st.data(), clients=st.integers(2, 5))
    def several_clients_change_the_same_copy(self, data: st.DataObject, clients: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.objects)))
        copy = self.objects[key]
        bodies = [{**copy, "data": {"by": f"{client}-{len(self.log)}"}} for client in range(clients)]

        async def race() -> list[Any]:
            return await asyncio.gather(*map(self.server.update, bodies), return_exceptions=True)

        results = self.run(race())
        won = [found for found in results if isinstance(found, dict)]
        assert len(won) == 1 and all(found.code == 409 for found in results if isinstance(found, StatusError))
        self.wrote("MODIFIED", key, won[0], color_of(copy))

    # --- lists and watches ---

    @rule(selector=SELECTORS, limit=st.sampled_from((0, 1, 3)))
    def list_in_pages(self, selector: str, limit: int) -> None:
        """Pages are of one revision, whatever is written between them."""
        expected = {key for key, value in self.objects.items() if matches(selector, color_of(value))}
        seen: set[Key] = set()
        query = {"labelSelector": selector, "limit": str(limit)}
        while True:
            page = self.run(self.get_json(query))
            for item in page["items"]:
                key = (item["metadata"]["namespace"], item["metadata"]["name"])
                assert key not in seen
                if key[1] in "abcd":
                    seen.add(key)
            if not page["metadata"].get("continue"):
                break
            query["continue"] = page["metadata"]["continue"]
            self.patch("default", "a", "red" if len(self.log) % 2 else "blue")
        assert seen == expected

    @rule(selector=SELECTORS, namespace=st.sampled_from(("", "default")))
    def watch_from_now(self, selector: str, namespace: str) -> None:
        self.run(self.watch(self.server.store.rv, selector, namespace))

    @precondition(lambda self: self.log)
    @rule(data=st.data(), selector=SELECTORS)
    def watch_from_then(self, data: st.DataObject, selector: str) -> None:
        self.run(self.watch(data.draw(st.sampled_from(self.log)).rv, selector, ""))

    async def get_json(self, query: dict[str, str]) -> Json:
        async with self.session.get(f"{PATH}?{urlencode(query)}") as answer:
            assert answer.status == 200
            found: Json = await answer.json()
            return found

    async def watch(self, since: int, selector: str, namespace: str) -> None:
        query = {"watch": "1", "resourceVersion": str(since), "labelSelector": selector, "timeoutSeconds": "300"}
        path = f"/api/v1/namespaces/{namespace}/configmaps" if namespace else PATH
        answer = await self.session.get(f"{path}?{urlencode(query)}")
        assert answer.status == 200
        self.watches.append(Watch(answer, since=since, selector=selector, namespace=namespace))

    @rule()
    def watchers_saw_exactly_the_log(self) -> None:
        """Nothing lost, doubled or out of order; and the events replayed over the list they began at give the list."""
        for watch in self.watches:
            expected = watch.expected(self.log)
            if expected:
                self.run(watch.read_until(expected[-1][2]))
            assert watch.events == expected
            replayed = {write.key for write in self.log if write.rv <= watch.since and self.alive(write, watch)}
            for type_, key, _ in watch.events:
                (replayed.discard if type_ == "DELETED" else replayed.add)(key)
            present = {key for key, value in self.objects.items() if matches(watch.selector, color_of(value))}
            assert replayed == {key for key in present if watch.namespace in ("", key[0])}

    def alive(self, write: Write, watch: Watch) -> bool:
        """Whether this write was the last before the watch, and left something the watch selects."""
        last = [other for other in self.log if other.key == write.key and other.rv <= watch.since][-1]
        if last is not write or write.type == "DELETED" or watch.namespace not in ("", write.key[0]):
            return False
        return matches(watch.selector, write.color)


def config_map(namespace: str, name: str, color: str, *, size: int = 0) -> Json:
    meta = {"name": name, "namespace": namespace, "labels": {"color": color}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"size": str(size)}}


def color_of(value: Json) -> str:
    return str(value["metadata"]["labels"]["color"])


ApiMachine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestApi = ApiMachine.TestCase
