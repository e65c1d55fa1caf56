"""The asyncio clients, unchanged: ``kubernetes.aio`` (official) and ``kubernetes_asyncio``; one test for both."""

import asyncio
import gc
import importlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("client-asyncio")]
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with podwire_with_pods() as running:
        yield kubeconfig_of(running)


class Library:
    """One of the two packages, which share their layout."""

    def __init__(self, name: str, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        parts = ("client", "config", "watch", "stream", "dynamic", "leaderelection")
        self.client, self.config, self.watch, self.stream, self.dynamic, self.election = (
            importlib.import_module(f"{name}.{part}") for part in parts
        )
        self.elections = importlib.import_module(f"{name}.leaderelection.leaderelection")
        self.settings = importlib.import_module(f"{name}.leaderelection.electionconfig")
        self.lease = importlib.import_module(f"{name}.leaderelection.resourcelock.leaselock")

    @asynccontextmanager
    async def api(self) -> AsyncIterator[Any]:
        await self.config.load_kube_config(self.kubeconfig)
        async with self.client.ApiClient() as connection:
            yield self.client.CoreV1Api(connection)

    def run(self, test: Callable[[Any], Awaitable[None]]) -> None:
        async def whole() -> None:
            async with asyncio.timeout(WAIT_SECONDS), self.api() as api:
                await test(api)

        asyncio.run(whole())
        gc.collect()  # what the packages leave open complains here, not in a test that parses (CPython gh-106905)

    def config_map(self, **data: str) -> Any:
        name = f"a-{uuid.uuid4().hex[:8]}"
        meta = self.client.V1ObjectMeta(name=name, labels={"by": name})
        return self.client.V1ConfigMap(metadata=meta, data=data)


@pytest.fixture(params=["kubernetes.aio", "kubernetes_asyncio"])
def library(request: pytest.FixtureRequest, kubeconfig: str) -> Library:
    return Library(request.param, kubeconfig)


def test_create_patch_list_delete(library: Library) -> None:
    async def walk(api: Any) -> None:
        made = await api.create_namespaced_config_map("default", library.config_map(a="1"))
        name = made.metadata.name
        for media, body in (
            ("application/json-patch+json", [{"op": "replace", "path": "/data/a", "value": "2"}]),
            ("application/merge-patch+json", {"data": {"b": "3"}}),
            ("application/strategic-merge-patch+json", {"data": {"c": "4"}}),
        ):
            await api.patch_namespaced_config_map(name, "default", body, _content_type=media)
        found = await api.list_namespaced_config_map("default", label_selector=f"by={name}")
        assert [item.data for item in found.items] == [{"a": "2", "b": "3", "c": "4"}]
        with pytest.raises(library.client.ApiException) as stale:
            await api.replace_namespaced_config_map(name, "default", made)
        assert stale.value.status == 409
        await api.delete_namespaced_config_map(name, "default")

    library.run(walk)


def test_watch(library: Library) -> None:
    async def walk(api: Any) -> None:
        body = library.config_map(a="1")
        name = body.metadata.name
        seen = []
        await api.create_namespaced_config_map("default", body)
        events = library.watch.Watch().stream(
            api.list_namespaced_config_map, "default", label_selector=f"by={name}", timeout_seconds=30
        )
        async for event in events:
            seen.append((event["type"], event["object"].data["a"]))
            if event["type"] == "ADDED":
                await api.patch_namespaced_config_map(name, "default", {"data": {"a": "2"}})
            elif event["type"] == "MODIFIED":
                await api.delete_namespaced_config_map(name, "default")
            else:
                break
        assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]

    library.run(walk)


def test_exec(library: Library) -> None:
    async def walk(_: Any) -> None:
        async with library.stream.WsApiClient() as connection:
            api = library.client.CoreV1Api(connection)
            said = await api.connect_get_namespaced_pod_exec(
                "box", "default", command=["echo", "hello"], stderr=True, stdin=False, stdout=True, tty=False
            )
            assert said == "hello\n"

    library.run(walk)


def test_exec_with_input(kubeconfig: str) -> None:
    """Only ``kubernetes_asyncio`` hands out the socket (``_preload_content``)."""
    library = Library("kubernetes_asyncio", kubeconfig)

    async def walk(_: Any) -> None:
        async with library.stream.WsApiClient() as connection:
            api = library.client.CoreV1Api(connection)
            waiting = await api.connect_get_namespaced_pod_exec(
                "box", "default", command=["head", "-n", "1"], stderr=True, stdin=True, stdout=True, tty=False,
                _preload_content=False,
            )  # fmt: skip
            async with waiting as socket:
                await socket.send_bytes(b"\0typed\n")
                messages = [message.data async for message in socket]
            assert b"".join(data[1:] for data in messages if data[:1] == b"\1") == b"typed\n"

    library.run(walk)


def test_log(library: Library) -> None:
    async def walk(api: Any) -> None:
        assert await api.read_namespaced_pod_log("box", "default") == "hello from box\n"
        lines = library.watch.Watch().stream(api.read_namespaced_pod_log, "box", "default", follow=True)
        async for line in lines:
            assert line.strip() == "hello from box"
            break

    library.run(walk)


def test_the_dynamic_client(library: Library) -> None:
    async def walk(api: Any) -> None:
        maps = await (await library.dynamic.DynamicClient(api.api_client)).resources.get(
            api_version="v1", kind="ConfigMap"
        )
        name = f"a-{uuid.uuid4().hex[:8]}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
        await maps.server_side_apply(body=body, namespace="default", field_manager="me")
        assert (await maps.get(name=name, namespace="default")).data.a == "1"
        await maps.delete(name=name, namespace="default")

    library.run(walk)


async def first_of(led: "asyncio.Queue[str]", running: Iterable["asyncio.Task[None]"]) -> str:
    """Who leads; what a candidate raises is raised here."""
    leader = asyncio.ensure_future(led.get())
    done, _ = await asyncio.wait([leader, *running], return_when=asyncio.FIRST_COMPLETED)
    for task in done - {leader}:
        task.result()
    return await leader


def test_leader_election(kubeconfig: str) -> None:
    """Two candidates; the one that leads is stopped, the other follows.

    The elector of ``kubernetes.aio`` 37.0.2 refuses its own arguments (``pretty=True``) before it sends a request.
    """
    library = Library("kubernetes_asyncio", kubeconfig)

    async def walk(api: Any) -> None:
        name = f"a-{uuid.uuid4().hex[:8]}"
        led: asyncio.Queue[str] = asyncio.Queue()

        def run(identity: str) -> "asyncio.Task[None]":
            async def lead() -> None:
                await led.put(identity)

            async def stop() -> None:
                return None

            lock = library.lease.LeaseLock(name, "default", identity, api.api_client)
            settings = library.settings.Config(
                lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=lead, onstopped_leading=stop
            )
            return asyncio.ensure_future(library.elections.LeaderElection(settings).run())

        running = {identity: run(identity) for identity in ("one", "two")}
        first = await first_of(led, running.values())
        running[first].cancel()
        second = await led.get()
        running[second].cancel()
        assert {first, second} == {"one", "two"}
        await asyncio.gather(*running.values(), return_exceptions=True)

    library.run(walk)
