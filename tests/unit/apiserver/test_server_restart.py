"""A server that stops and starts again on the same directory."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podwire.apiserver import ApiServer, ApiSettings, StatusError
from podwire.base import EnvironmentUnfit

Json = dict[str, Any]


def space(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config(name: str, namespace: str = "default") -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


async def started(directory: Path | None, **settings: Any) -> ApiServer:
    server = ApiServer(ApiSettings(directory=directory, **settings))
    await server.start()
    return server


def test_a_restart_keeps_objects_port_and_certificates(tmp_path: Path) -> None:
    async def main() -> None:
        first = await started(tmp_path / "api", addresses=("127.0.0.1", "10.89.0.1"), advertise="10.89.0.1")
        await first.create(config("kept"))
        port, ca, objects = first.port, first.kubeconfig.ca, len(first.list_all()[0])
        await first.stop()
        second = await started(tmp_path / "api", addresses=("127.0.0.1", "10.89.0.1"), advertise="10.89.0.1")
        try:
            assert (second.port, second.kubeconfig.ca) == (port, ca)
            assert second.get("ConfigMap", "default", "kept") and len(second.list_all()[0]) == objects
            found = second.get("EndpointSlice", "default", "kubernetes")
            assert found and found["endpoints"][0]["addresses"] == ["10.89.0.1"] and found["ports"][0]["port"] == port
            assert found["metadata"]["generation"] == 1
            with pytest.raises(EnvironmentUnfit):
                await started(tmp_path / "api")
        finally:
            await second.stop()

    asyncio.run(main())


def test_a_namespace_under_deletion_goes_on_after_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        first = await started(tmp_path / "api", addresses=(), namespace_delay_seconds=3600.0)
        await first.create(space("shop"))
        await first.create(config("c", "shop"))
        marked = await first.delete("Namespace", "", "shop")
        assert marked["status"]["phase"] == "Terminating" and first.get("ConfigMap", "shop", "c")
        await first.stop()
        second = await started(tmp_path / "api", addresses=(), namespace_delay_seconds=0.0)
        feed = second.subscribe(("Namespace",))
        try:
            async with asyncio.timeout(10):
                while second.get("Namespace", "", "shop"):
                    await feed.next()
        finally:
            await second.stop()

    asyncio.run(main())


def test_without_addresses_nothing_listens() -> None:
    async def main() -> None:
        server = await started(None, addresses=())
        try:
            await server.create(config("a"))
            with pytest.raises(StatusError, match="already exists"):
                await server.create(config("a"))
            assert server.port == 0
        finally:
            await server.stop()

    asyncio.run(main())
