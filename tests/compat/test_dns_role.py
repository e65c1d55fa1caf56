"""``podwire dns-server`` as a process of its own: for a folder of manifests, and for a cluster by list and watch."""

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.compat.test_dns_clients import run
from tests.compat.test_dns_secure import free_port

from podwire.apiserver.server import ApiServer, ApiSettings
from podwire.cluster.adapter import apply_objects

pytestmark = pytest.mark.compat

Z = "cluster.local"
DEADLINE_SECONDS = 60
COMMAND = (sys.executable, "-m", "podwire", "dns-server")


class Role:
    """The process, where it listens, and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, http: int) -> None:
        self.process, self.port, self.http = process, port, http
        self.lines: list[str] = []
        self.said = asyncio.Condition()

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self.said:
                self.lines.append(line.decode())
                self.said.notify_all()

    async def log(self, pattern: str, *, after: int = 0) -> int:
        """The place behind the first line that fits."""

        def found() -> int | None:
            return next((n for n, line in enumerate(self.lines) if n >= after and re.search(pattern, line)), None)

        async with self.said:
            await self.said.wait_for(lambda: found() is not None)
            return (found() or 0) + 1

    async def dig(self, *words: str) -> list[str]:
        text = await run("dig", "@127.0.0.1", "-p", str(self.port), "+short", "+tries=2", "+time=5", *words)
        return sorted(text.split("\n")[:-1])

    async def dig_until(self, wanted: list[str], *words: str) -> None:
        while await self.dig(*words) != wanted:
            pass  # each attempt is a question to a server that is busy with the change


@asynccontextmanager
async def role(*words: str) -> AsyncIterator[Role]:
    port, http = free_port(), free_port()
    places = ("--listen", f"127.0.0.1:{port}", "--health", f"127.0.0.1:{http}", "--ready", "", "--metrics", "")
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *places, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    made = Role(process, port, http)
    reading = asyncio.create_task(made.read())
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            yield made
        finally:
            if process.returncode is None:
                process.terminate()
            code = await process.wait()
            await reading
        assert code == 0, "".join(made.lines)


def service(name: str, address: str) -> dict[str, Any]:
    spec = {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}


def write(path: Path, *objects: dict[str, Any]) -> None:
    path.write_text("\n---\n".join(map(json.dumps, objects)))


NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
COREFILE = f". {{\n kubernetes {Z} {{\n ttl 7\n }}\n hosts {{\n 192.0.2.7 legacy.example.com\n fallthrough\n }}\n}}\n"


def test_a_folder_is_served_and_followed(tmp_path: Path) -> None:
    asyncio.run(check_folder(tmp_path))


async def check_folder(folder: Path) -> None:
    manifests = folder / "k8s"
    manifests.mkdir()
    write(manifests / "shop.yaml", NAMESPACE, service("api", "10.96.0.20"))
    corefile = folder / "Corefile"
    corefile.write_text(COREFILE)
    async with role("-f", str(manifests), "--corefile", str(corefile), "--workers", "2") as server:
        place = await server.log("names of .* objects")
        await server.log("names of .* objects", after=place)
        assert await server.dig(f"api.shop.svc.{Z}") == ["10.96.0.20"]
        assert await server.dig(f"_http._tcp.api.shop.svc.{Z}", "SRV") == [f"0 100 80 api.shop.svc.{Z}."]
        assert await server.dig("legacy.example.com") == ["192.0.2.7"]
        health = await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{server.http}/health", None, 5)
        assert health.read() == b"OK"
        write(manifests / "more.yaml", service("new", "10.96.0.30"))
        await server.dig_until(["10.96.0.30"], f"new.shop.svc.{Z}")
        (manifests / "more.yaml").write_text("kind: [")
        await server.log("more.yaml")
        assert await server.dig(f"api.shop.svc.{Z}") == ["10.96.0.20"], "the rest goes on"
        server.process.send_signal(signal.SIGHUP)
        place = await server.log("starting again with open sockets")
        assert await server.dig(f"api.shop.svc.{Z}") == ["10.96.0.20"]


async def start_api(folder: Path) -> tuple[ApiServer, Path]:
    api = ApiServer(ApiSettings(directory=folder, addresses=("127.0.0.1",), service_cidrs=("10.96.0.0/12",)))
    await api.start()
    kubeconfig = folder / "kubeconfig"
    api.kubeconfig.write(kubeconfig)
    return api, kubeconfig


def test_a_cluster_is_served_and_followed(tmp_path: Path) -> None:
    asyncio.run(check_cluster(tmp_path))


async def check_cluster(folder: Path) -> None:
    api, kubeconfig = await start_api(folder)
    try:
        dns = {"ports": [{"port": 53, "protocol": "UDP"}], "clusterIP": "10.96.0.10"}
        system = {"name": "kube-dns", "namespace": "kube-system"}
        kube_dns = {"apiVersion": "v1", "kind": "Service", "metadata": system, "spec": dns}
        assert not await apply_objects(api, [NAMESPACE, kube_dns, service("api", "10.96.0.20")])
        async with role("--kubeconfig", str(kubeconfig)) as server:
            await server.log("names of .* objects")
            assert await server.dig(f"api.shop.svc.{Z}") == ["10.96.0.20"]
            assert await server.dig(Z, "NS") == [f"kube-dns.kube-system.svc.{Z}."]
            assert not await apply_objects(api, [service("new", "10.96.0.30")])
            await server.dig_until(["10.96.0.30"], f"new.shop.svc.{Z}")
            await api.delete("Service", "shop", "new")
            await server.dig_until([], f"new.shop.svc.{Z}")
            await check_config(api, server)
            await check_verified_pods(api, server)
            await check_killed_worker(server)
    finally:
        await api.stop()


def config(text: str) -> dict[str, Any]:
    meta = {"name": "coredns", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text}}


async def check_config(api: ApiServer, server: Role) -> None:
    """The cluster's Corefile counts, and one that cannot be used changes nothing."""
    assert not await apply_objects(api, [config(COREFILE)])
    await server.dig_until(["192.0.2.7"], "legacy.example.com")
    assert not await apply_objects(api, [config(". {\n nonsense\n}\n")])
    await server.log("PW1209 .*'nonsense' is not a plugin")
    assert await server.dig("legacy.example.com") == ["192.0.2.7"]


async def check_verified_pods(api: ApiServer, server: Role) -> None:
    """Pods are read only when the Corefile needs them."""
    spec = {"containers": [{"name": "c", "image": "x"}]}
    meta = {"name": "web", "namespace": "shop"}
    refused = await apply_objects(api, [{"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}])
    assert not refused, refused
    ip = {"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}], "phase": "Running"}
    await api.merge("Pod", "shop", "web", {"status": ip}, subresource="status")
    assert not await apply_objects(api, [config(f". {{\n kubernetes {Z} {{\n pods verified\n }}\n}}\n")])
    await server.dig_until(["10.244.0.9"], f"10-244-0-9.shop.pod.{Z}")
    assert await server.dig(f"10-244-0-8.shop.pod.{Z}") == []


async def check_killed_worker(server: Role) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    place = len(server.lines)
    os.kill(int(children[0]), signal.SIGKILL)
    await server.log("starting it again", after=place)
    assert await server.dig(f"api.shop.svc.{Z}") == ["10.96.0.20"]


def test_what_cannot_be_served_is_said() -> None:
    asyncio.run(check_refusals())


async def check_refusals() -> None:
    for words, wanted in (
        ((), "say what to serve"),
        (("-f", "/nowhere", "--listen", "127.0.0.1:x"), "write HOST:PORT"),
        (("-f", "/nowhere", "--listen", "192.0.2.1:5353"), "use an address of this machine"),
        (("-f", "/nowhere", "--workers", "0"), "at least 1"),
        (("-f", "/nowhere", "--listen", "127.0.0.1:0", "--corefile", "/nowhere/C"), "No such file"),
    ):
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--health", "", "--ready", "", "--metrics", "", *words, stderr=asyncio.subprocess.PIPE
        )
        _, error = await process.communicate()
        assert process.returncode == 2 and wanted in error.decode(), error.decode()
