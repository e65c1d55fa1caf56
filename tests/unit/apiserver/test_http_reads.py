"""The HTTP side over a real connection: paths, lists, watches, discovery, refusals."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from podwire.apiserver import ApiServer, ApiSettings
from podwire.apiserver.http import broadcast

Json = dict[str, Any]
TOKEN = "secret-of-the-test"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
CMS = "/api/v1/namespaces/default/configmaps"


class Client:
    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self.server = server
        self._session = session

    def request(self, method: str, path: str, **more: Any) -> Any:
        return self._session.request(method, f"https://127.0.0.1:{self.server.port}{path}", **more)

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.request(method, path, **more) as response:
            return response.status, await response.json(content_type=None)

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        return await self.ask("GET", path, **more)

    async def config(self, name: str, **labels: str) -> Json:
        meta = {"name": name, "labels": labels}
        return await self.server.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})

    @asynccontextmanager
    async def watch(self, path: str, **more: Any) -> AsyncIterator["Stream"]:
        async with asyncio.timeout(20), self.request("GET", path, **more) as response:
            assert response.status == 200, await response.text()
            yield Stream(response)


class Stream:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> Any:
        line = await self._response.content.readline()
        return json.loads(line) if line else None

    async def short(self) -> tuple[str, str]:
        event = await self.next()
        return event["type"], event["object"]["metadata"].get("name", "")


def serve(body: Callable[[Client], Awaitable[None]]) -> None:
    async def main() -> None:
        server = ApiServer(ApiSettings(token=TOKEN))
        await server.start()
        context = ssl.create_default_context(cadata=server.kubeconfig.ca.decode())
        headers = {"Authorization": f"Bearer {TOKEN}"}
        connector = aiohttp.TCPConnector(ssl=context)
        try:
            async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
                await body(Client(server, session))
        finally:
            await server.stop()

    asyncio.run(main())


def test_refusals_are_statuses() -> None:
    async def body(client: Client) -> None:
        cases: list[tuple[str, str, dict[str, Any], int]] = [
            ("GET", "/api/v1/nothing", {}, 404),
            ("GET", "/apis/none.example.com/v1/things", {}, 404),
            ("GET", f"{CMS}/none", {}, 404),
            ("GET", CMS, {"headers": {"Authorization": "Bearer wrong"}}, 401),
            ("PUT", CMS, {"json": {}}, 405),
            ("OPTIONS", CMS, {}, 405),
            ("GET", CMS, {"headers": {"Accept": "application/vnd.kubernetes.protobuf"}}, 406),
            ("POST", CMS, {"data": b"k8s\0", "headers": {"Content-Type": "application/vnd.kubernetes.protobuf"}}, 415),
            ("POST", CMS, {"data": b"x" * (3 * 1024 * 1024 + 1)}, 413),
            ("POST", CMS, {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400),
            ("POST", CMS, {"data": b"[]", "headers": {"Content-Type": "application/json"}}, 400),
            ("POST", CMS, {"data": b"[" * 5000, "headers": {"Content-Type": "application/json"}}, 400),
            ("POST", CMS, {"json": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}}, 400),
            ("POST", CMS, {"json": {"metadata": "text"}}, 400),
            ("POST", f"{CMS}?dryRun=Some", {"json": {}}, 422),
            ("GET", f"{CMS}?limit=many", {}, 400),
            ("GET", f"{CMS}?labelSelector=a%20in", {}, 400),
            ("GET", f"{CMS}?resourceVersion=abc", {}, 400),
            ("GET", f"{CMS}?resourceVersion=99999", {}, 504),
            ("GET", f"{CMS}?resourceVersionMatch=Exact", {}, 422),
            ("GET", f"{CMS}?resourceVersionMatch=Exact&resourceVersion=0", {}, 422),
            ("GET", f"{CMS}?sendInitialEvents=true", {}, 422),
            ("GET", f"{CMS}?watch=1&sendInitialEvents=true", {}, 422),
            ("GET", f"{CMS}?watch=1&resourceVersionMatch=NotOlderThan", {}, 422),
            ("GET", f"{CMS}?continue=abc", {}, 400),
            ("PATCH", f"{CMS}/x", {"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
            ("DELETE", f"{CMS}/x?propagationPolicy=Maybe", {}, 422),
            ("GET", f"{CMS}/x/log", {}, 404),
        ]
        for method, path, more, code in cases:
            got, status = await client.ask(method, path, **more)
            assert (got, status["kind"], status["code"]) == (code, "Status", code), (method, path, status)
            assert status["message"] and status["status"] == "Failure"

    serve(body)


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    async def body(client: Client) -> None:
        headers = {"Content-Type": "application/yaml"}
        text = "metadata: {name: y}\ndata: {day: 2020-01-01, answer: yes, off: 'off'}\n"
        code, made = await client.ask("POST", CMS, data=text, headers=headers)
        assert code == 201 and made["data"] == {"day": "2020-01-01", "answer": "yes", "off": "off"}
        bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(
            f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        )
        assert (await client.ask("POST", CMS, data=bomb, headers=headers))[0] == 400

    serve(body)


def test_fields_named_twice() -> None:
    async def body(client: Client) -> None:
        text = b'{"metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'
        headers = {"Content-Type": "application/json"}
        code, status = await client.ask("POST", f"{CMS}?fieldValidation=Strict", data=text, headers=headers)
        assert code == 400 and 'duplicate field "data.a"' in status["message"]
        async with client.request("POST", CMS, data=text, headers=headers) as response:
            assert response.status == 201
            assert response.headers["Warning"] == '299 - "duplicate field \\"data.a\\""'

    serve(body)


def test_a_warning_may_name_any_field() -> None:
    async def body(client: Client) -> None:
        value = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"w"},"a\\u0000\\r\\nX: y":1}'
        headers = {"Content-Type": "application/json"}
        async with client.request("POST", CMS, data=value, headers=headers) as response:
            assert response.status == 201
            assert response.headers["Warning"] == '299 - "unknown field \\"a   X: y\\""'

    serve(body)


def test_discovery_has_etags_and_both_forms() -> None:
    async def body(client: Client) -> None:
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        async with client.request("GET", "/apis", headers={"Accept": accept}) as response:
            assert response.headers["Content-Type"].endswith("as=APIGroupDiscoveryList")
            assert response.headers["Vary"] == "Accept"
            etag, found = response.headers["ETag"], await response.json(content_type=None)
        assert "networking.k8s.io" in [item["metadata"]["name"] for item in found["items"]]
        async with client.request("GET", "/apis", headers={"Accept": accept, "If-None-Match": etag}) as response:
            assert response.status == 304
        assert (await client.get("/apis/"))[1]["kind"] == "APIGroupList"
        rows = (await client.get("/api/v1/"))[1]["resources"]
        eviction = next(row for row in rows if row["name"] == "pods/eviction")
        assert (eviction["group"], eviction["version"], eviction["kind"]) == ("policy", "v1", "Eviction")
        index = (await client.get("/openapi/v3"))[1]["paths"]
        link = index["apis/apps/v1"]["serverRelativeURL"]
        async with client.request("GET", link) as response:
            assert "immutable" in response.headers["Cache-Control"]
        async with client.request("GET", "/openapi/v3/apis/apps/v1?hash=old", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (301, link)

    serve(body)


def test_pages_are_of_one_revision() -> None:
    async def body(client: Client) -> None:
        for name in "abcde":
            await client.config(name)
        _, first = await client.get(f"{CMS}?limit=2&labelSelector=")
        assert first["metadata"]["remainingItemCount"] == 4
        await client.config("aa")
        await client.server.delete("ConfigMap", "default", "d")
        found = [item["metadata"]["name"] for item in first["items"]]
        token = first["metadata"]["continue"]
        while token:
            _, page = await client.get(f"{CMS}?limit=2&continue={token}")
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            found += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue", "")
        assert found == ["a", "b", "c", "d", "e", "kube-root-ca.crt"]
        rv = first["metadata"]["resourceVersion"]
        _, exact = await client.get(f"{CMS}?resourceVersion={rv}&resourceVersionMatch=Exact")
        assert len(exact["items"]) == 6

    serve(body)


def test_an_old_continue_token_gets_410_and_a_way_on() -> None:
    async def body(client: Client) -> None:
        for name in "abc":
            await client.config(name)
        _, first = await client.get(f"{CMS}?limit=1")
        client.server.store.history._max_bytes = 1
        await client.config("d")
        token = first["metadata"]["continue"]
        code, status = await client.get(f"{CMS}?limit=1&continue={token}")
        assert (code, status["reason"]) == (410, "Expired")
        code, page = await client.get(f"{CMS}?limit=10&continue={status['metadata']['continue']}")
        assert code == 200 and [i["metadata"]["name"] for i in page["items"]] == ["b", "c", "d", "kube-root-ca.crt"]
        code, status = await client.get(f"{CMS}?watch=1&resourceVersion={first['metadata']['resourceVersion']}")
        assert (code, status["reason"]) == (410, "Expired")

    serve(body)


def test_tables_and_metadata() -> None:
    async def body(client: Client) -> None:
        await client.config("a")
        _, table = await client.get(CMS, headers=TABLE)
        assert table["kind"] == "Table" and table["columnDefinitions"][0]["format"] == "name"
        assert table["rows"][0]["cells"][:2] == ["a", 0]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
        _, whole = await client.get(f"{CMS}?includeObject=Object", headers=TABLE)
        assert whole["rows"][0]["object"]["kind"] == "ConfigMap"
        _, one = await client.get(f"{CMS}/a", headers=TABLE)
        assert len(one["rows"]) == 1
        partial = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}
        _, metas = await client.get(CMS, headers=partial)
        assert metas["kind"] == "PartialObjectMetadataList" and metas["items"][0]["metadata"]["name"] == "a"

    serve(body)


def test_watch_from_a_revision_and_selectors() -> None:
    async def body(client: Client) -> None:
        made = await client.config("a", tier="x")
        rv = made["metadata"]["resourceVersion"]
        await client.server.merge("ConfigMap", "default", "a", {"metadata": {"labels": {"tier": "y"}}})
        path = f"{CMS}?watch=1&resourceVersion={rv}"
        async with (
            client.watch(f"{path}&labelSelector=tier=y") as entering,
            client.watch(f"{path}&labelSelector=tier=x") as leaving,
            client.watch(path) as plain,
        ):
            assert await entering.short() == ("ADDED", "a")
            gone = await leaving.next()
            assert gone["type"] == "DELETED" and int(gone["object"]["metadata"]["resourceVersion"]) == int(rv) + 1
            assert await plain.short() == ("MODIFIED", "a")
            last = await client.server.delete("ConfigMap", "default", "a")
            event = await plain.next()
            assert event["type"] == "DELETED"
            assert event["object"]["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]
            assert await entering.short() == ("DELETED", "a")

    serve(body)


def test_watch_without_revision_begins_with_what_is_there() -> None:
    async def body(client: Client) -> None:
        await client.config("a")
        async with client.watch(f"{CMS}?watch=true&fieldSelector=metadata.name=a&timeoutSeconds=1") as stream:
            assert await stream.short() == ("ADDED", "a")
            assert await stream.next() is None

    serve(body)


def test_watch_list() -> None:
    async def body(client: Client) -> None:
        await client.config("a")
        query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        async with client.watch(f"{CMS}?{query}") as stream:
            assert await stream.short() == ("ADDED", "a")
            assert await stream.short() == ("ADDED", "kube-root-ca.crt")
            mark = await stream.next()
            assert mark["type"] == "BOOKMARK" and mark["object"]["kind"] == "ConfigMap"
            assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            assert mark["object"]["metadata"]["resourceVersion"] == str(client.server.store.rv)
            await client.config("b")
            assert await stream.short() == ("ADDED", "b")

    serve(body)


def test_bookmarks_come_before_the_deadline() -> None:
    async def body(client: Client) -> None:
        rv = client.server.store.rv
        path = f"{CMS}?watch=1&resourceVersion={rv}&timeoutSeconds=1&allowWatchBookmarks=true"
        async with client.watch(path) as stream:
            await client.server.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}})
            mark = await stream.next()
            assert mark["type"] == "BOOKMARK"
            assert mark["object"]["metadata"]["resourceVersion"] == str(client.server.store.rv)

    serve(body)


def test_a_watched_table_has_columns_once() -> None:
    async def body(client: Client) -> None:
        await client.config("a")
        async with client.watch(f"{CMS}?watch=1", headers=TABLE) as stream:
            first, second = await stream.next(), await stream.next()
        assert first["object"]["columnDefinitions"] and not second["object"]["columnDefinitions"]
        assert first["object"]["rows"][0]["cells"][0] == "a"

    serve(body)


def test_watchers_of_the_same_see_the_same_bytes_in_order() -> None:
    async def body(client: Client) -> None:
        async with (
            client.watch(f"{CMS}?watch=1&labelSelector=a=1") as one,
            client.watch(f"{CMS}?watch=1&labelSelector=a=1") as two,
            client.watch(f"{CMS}?watch=1", headers=TABLE) as three,
        ):
            assert len(client.server.store._listeners["ConfigMap"]) == 2
            names = [f"c{number}" for number in range(50)]
            await asyncio.gather(*(client.config(name, a="1") for name in names))
            for stream in (one, two):
                assert [await stream.short() for _ in names] == [("ADDED", name) for name in names]
            shown = [await three.next() for _ in range(51)]
            assert [bool(event["object"]["columnDefinitions"]) for event in shown] == [True] + [False] * 50
        async with asyncio.timeout(20):
            while client.server.store._listeners["ConfigMap"]:
                await client.get("/version")

    serve(body)


def test_a_watcher_that_does_not_read_is_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr(broadcast, "MAX_BEHIND_BYTES", 1_000_000)

    async def body(client: Client) -> None:
        text = "x" * 500_000
        async with client.request("GET", f"{CMS}?watch=1&resourceVersion={client.server.store.rv}") as response:
            for number in range(60):
                meta = {"name": f"big{number}"}
                await client.server.create(
                    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"t": text}}
                )
            async with asyncio.timeout(20):
                while client.server.store._listeners["ConfigMap"]:
                    await client.config(f"tick{client.server.store.rv}")
            response.close()

    serve(body)


def test_delete_collection_and_eviction() -> None:
    async def body(client: Client) -> None:
        for name in "abc":
            await client.config(name, go="yes" if name != "b" else "no")
        code, gone = await client.ask("DELETE", f"{CMS}?labelSelector=go=yes")
        assert code == 200 and [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
        assert client.server.get("ConfigMap", "default", "b") is not None
        code, status = await client.ask("DELETE", f"{CMS}/b")
        assert (code, status["status"], status["details"]["name"]) == (200, "Success", "b")
        spec = {"containers": [{"name": "a", "image": "a"}]}
        await client.server.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        code, status = await client.ask("POST", "/api/v1/namespaces/default/pods/p/eviction", json=eviction)
        assert (code, status["status"]) == (201, "Success")
        assert client.server.get("Pod", "default", "p") is None

    serve(body)


def test_the_engine_sees_everything_in_order() -> None:
    async def body(client: Client) -> None:
        server = client.server
        objects, rv = server.list_all()
        feed = server.subscribe()
        assert max(int(value["metadata"]["resourceVersion"]) for value in objects) <= rv
        await asyncio.gather(*(client.config(f"n{number}") for number in range(20)))
        await server.delete("ConfigMap", "default", "n0")
        seen: list[tuple[str, Json]] = []
        while len(seen) < 21:
            seen += await feed.next()
        revisions = [int(value["metadata"]["resourceVersion"]) for _, value in seen]
        assert revisions == list(range(rv + 1, rv + 22))
        assert seen[-1][0] == "DELETED"
        feed.close()
        assert await feed.next() == []

    serve(body)
