"""A server without sockets, and definitions for it."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from podwire.apiserver.allocate import Allocator
from podwire.apiserver.chance import FixedChance
from podwire.apiserver.custom import Definitions
from podwire.apiserver.objects import Objects
from podwire.apiserver.reaper import Deleted, DeleteOptions
from podwire.apiserver.store import Store
from podwire.apiserver.verbs import Outcome, Verbs, WriteOptions
from podwire.kube.registry import Kind

Json = dict[str, Any]


class Custom:
    """Verbs over a store in memory that serves definitions."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._run(self._start)

    def _run(self, work: Callable[[], Any]) -> Any:
        """In the loop: a store notes the running one with the first write of a turn."""

        async def inside() -> Any:
            return work()

        return self._loop.run_until_complete(inside())

    def _start(self) -> None:
        self.chance = FixedChance()
        self.store = Store.open(None)
        self.verbs = Verbs(Objects(self.store, Allocator(("10.96.0.0/12",), self.chance.pick)), self.chance)
        self.kinds = self.verbs.objects.kinds
        Definitions(self.verbs.objects, self.verbs.reaper, self.chance.now)
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}
        self.verbs.create(self.kind(space), "", space, WriteOptions())

    def kind(self, value: Json) -> Kind:
        found = self.kinds.of(value["apiVersion"], value["kind"])
        assert found is not None, "not served"
        return found

    def made(self, value: Json, **options: Any) -> Outcome:
        kind = self.kind(value)
        namespace = "default" if kind.namespaced else ""
        made: Outcome = self._run(lambda: self.verbs.create(kind, namespace, value, WriteOptions(**options)))
        return made

    def create(self, value: Json, **options: Any) -> Json:
        return self.made(value, **options).value

    def patch(self, value: Json, patch: Any, media: str = "merge-patch+json", **options: Any) -> Json:
        kind, name = self.kind(value), value["metadata"]["name"]
        subresource = options.pop("subresource", "")
        work = partial(
            self.verbs.patch,
            kind,
            f"default/{name}" if kind.namespaced else name,
            content_type=f"application/{media}",
            body=msgspec.json.encode(patch),
            options=WriteOptions(**options),
            subresource=subresource,
        )
        outcome: Outcome = self._run(work)
        return outcome.value

    def apply(self, value: Json, manager: str, **options: Any) -> Json:
        return self.patch(value, value, "apply-patch+yaml", manager=manager, **options)

    def delete(self, value: Json) -> Deleted:
        kind, name = self.kind(value), value["metadata"]["name"]
        key = f"default/{name}" if kind.namespaced else name
        deleted: Deleted = self._run(lambda: self.verbs.delete(kind, key, DeleteOptions()))
        return deleted


@pytest.fixture
def custom() -> Iterator[Custom]:
    loop = asyncio.new_event_loop()
    try:
        made = Custom(loop)
        yield made
        loop.run_until_complete(made.store.close())
    finally:
        loop.close()


def version(schema: Json, name: str = "v1", **more: Any) -> Json:
    """A served version; the first is stored."""
    return {"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, **more}


def definition(schema: Json | None = None, *, versions: list[Json] | None = None, **spec: Any) -> Json:
    """widgets.example.com."""
    names = {"plural": "widgets", "kind": "Widget"} | spec.pop("names", {})
    group = spec.pop("group", "example.com")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names['plural']}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": names,
            "versions": versions or [version(schema or root({}))],
            **spec,
        },
    }


def root(spec: Json, **more: Any) -> Json:
    """A root schema with these properties of ``spec``."""
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": spec, **more}}}


def widget(name: str = "one", api_version: str = "example.com/v1", **spec: Any) -> Json:
    """An object of the definition."""
    return {"apiVersion": api_version, "kind": "Widget", "metadata": {"name": name}, "spec": spec}


class Kit:
    """Builders, as a fixture: test folders are no packages."""

    definition = staticmethod(definition)
    version = staticmethod(version)
    root = staticmethod(root)
    widget = staticmethod(widget)


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    """The builders."""
    return Kit
