"""An API server without sockets, clock or chance."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from podwire.apiserver.allocate import Allocator
from podwire.apiserver.chance import FixedChance
from podwire.apiserver.objects import Objects
from podwire.apiserver.reaper import Deleted, DeleteOptions
from podwire.apiserver.store import Store
from podwire.apiserver.verbs import Outcome, Verbs, WriteOptions
from podwire.kube.registry import KINDS

Json = dict[str, Any]


class Bench:
    """Verbs over a store in memory, with short words for tests."""

    def __init__(self, *service_cidrs: str) -> None:
        self.chance = FixedChance()
        self.store = Store.open(None)
        self.verbs = Verbs(
            Objects(self.store, Allocator(service_cidrs or ("10.96.0.0/12",), self.chance.pick)), self.chance
        )
        self.namespace("default")

    def namespace(self, name: str) -> Json:
        return self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def create(self, value: Json, **options: Any) -> Json:
        return self.made(value, **options).value

    def made(self, value: Json, **options: Any) -> Outcome:
        kind = KINDS[value["kind"]]
        namespace = value["metadata"].get("namespace", "default") if kind.namespaced else ""
        return self.verbs.create(kind, namespace, value, WriteOptions(**options))

    def update(self, value: Json, subresource: str = "", **options: Any) -> Json:
        kind, meta = KINDS[value["kind"]], value["metadata"]
        namespace = meta.get("namespace", "default") if kind.namespaced else ""
        how = WriteOptions(**options)
        return self.verbs.update(kind, namespace, value, how, name=meta["name"], subresource=subresource).value

    def delete(self, kind: str, key: str, **options: Any) -> Deleted:
        return self.verbs.delete(KINDS[kind], key, DeleteOptions(**options))

    def get(self, kind: str, key: str) -> Json | None:
        return self.store.head(kind, key)


def pod(name: str, **meta: Any) -> Json:
    """A minimal pod."""
    spec = {"containers": [{"name": "a", "image": "example.com/a:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", **meta}, "spec": spec}


def service(name: str, **spec: Any) -> Json:
    """A Service with port 80."""
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}], **spec}}


class Kit:
    """What tests of this folder use."""

    pod = staticmethod(pod)
    service = staticmethod(service)

    @staticmethod
    def run(body: Callable[[Bench], Awaitable[None]], *service_cidrs: str) -> None:
        """Run ``body`` in a loop with a fresh bench."""

        async def main() -> None:
            await body(Bench(*service_cidrs))

        asyncio.run(main())


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    """The kit."""
    return Kit
