"""API servers under measurement: podwire's, and a real kube-apiserver with etcd when ``PEER_KUBE_APISERVER`` names one.

Each runs in processes of its own, with its data in a fresh directory, and takes one bearer token.
"""

import asyncio
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.api_client import TOKEN, Client

READY_SECONDS = 60.0


class Subject:
    """One server: its name, URL and processes."""

    def __init__(self, name: str, url: str, processes: list["subprocess.Popen[bytes]"]) -> None:
        self.name = name
        self.url = url
        self.processes = processes

    def memory_bytes(self) -> int:
        """Resident set of all its processes."""
        pages = sum(int(Path(f"/proc/{p.pid}/statm").read_text().split()[1]) for p in self.processes)
        return pages * os.sysconf("SC_PAGE_SIZE")

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far; unlike latencies it does not depend on what else runs."""
        ticks = 0
        for process in self.processes:
            words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def subjects() -> Iterator[list[Subject]]:
    """podwire first; the peer second when there is one."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-api-")))
        found = [stack.enter_context(_podwire(home / "podwire"))]
        if binary := os.environ.get("PEER_KUBE_APISERVER", ""):
            found.append(stack.enter_context(_kubernetes(binary, home / "peer")))
        yield found


@contextmanager
def _started(commands: list[list[str]], directory: Path) -> Iterator[list["subprocess.Popen[bytes]"]]:
    processes: list[subprocess.Popen[bytes]] = []
    with (directory / "log").open("wb") as log:
        try:
            processes.extend(subprocess.Popen(command, stdout=log, stderr=log) for command in commands)
            yield processes
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:  # kube-apiserver drains for up to a minute
                    process.kill()
                    process.wait()


@contextmanager
def _podwire(directory: Path) -> Iterator[Subject]:
    directory.mkdir()
    port = _free_port()
    with _started([[sys.executable, "-m", "bench.api_serve", str(directory), str(port)]], directory) as processes:
        url = f"https://127.0.0.1:{port}"
        _wait(url, processes, directory)
        yield Subject("podwire", url, processes)


@contextmanager
def _kubernetes(binary: str, directory: Path) -> Iterator[Subject]:
    directory.mkdir()
    etcd = shutil.which("etcd")
    assert etcd, "PEER_KUBE_APISERVER is set, but etcd is not on the path"
    port, client, peer = _free_port(), _free_port(), _free_port()
    key = directory / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    (directory / "tokens").write_text(f"{TOKEN},bench,bench,system:masters\n")
    store = [etcd, "--data-dir", str(directory / "etcd"), "--listen-client-urls", f"http://127.0.0.1:{client}"]
    store += ["--advertise-client-urls", f"http://127.0.0.1:{client}"]
    store += ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls"]
    store += [f"http://127.0.0.1:{peer}", "--initial-cluster", f"default=http://127.0.0.1:{peer}"]
    server = [binary, f"--etcd-servers=http://127.0.0.1:{client}", f"--secure-port={port}"]
    server += [f"--cert-dir={directory / 'certs'}", f"--token-auth-file={directory / 'tokens'}"]
    server += ["--service-cluster-ip-range=10.96.0.0/16", "--bind-address=127.0.0.1", "--authorization-mode=RBAC"]
    server += [f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"]
    server += ["--service-account-issuer=https://kubernetes.default.svc", "--advertise-address=127.0.0.1"]
    server += ["--allow-privileged=true", "--disable-admission-plugins=ServiceAccount"]
    with _started([store, server], directory) as processes:
        url = f"https://127.0.0.1:{port}"
        _wait(url, processes, directory)
        yield Subject("kube-apiserver", url, processes)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(url: str, processes: list["subprocess.Popen[bytes]"], directory: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"{url}/api/v1/namespaces/default", headers={"Authorization": f"Bearer {TOKEN}"})
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if any(process.poll() is not None for process in processes):
            break
        try:
            urllib.request.urlopen(request, context=context, timeout=2).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{url} did not come up:\n{(directory / 'log').read_text()[-2000:]}")


def config_map(name: str, namespace: str = "default") -> dict[str, Any]:
    """About half a kilobyte."""
    meta = {"name": name, "namespace": namespace, "labels": {"app": "bench"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"value": "x" * 400}}


async def fill(client: Client, count: int) -> None:
    """``count`` ConfigMaps in namespace default, 32 at a time."""
    names = iter(f"item-{number:06d}" for number in range(count))

    async def work() -> None:
        for name in names:
            await client.post("/api/v1/namespaces/default/configmaps", config_map(name))

    await asyncio.gather(*(work() for _ in range(32)))


def compare(name: str, results: dict[str, float], unit: str, *, more_is_better: bool) -> None:
    """The last line: podwire's value, the peer's, and how many times better podwire is (no peer: null)."""
    value, peer = results["podwire"], results.get("kube-apiserver")
    ratio = None
    if peer:
        ratio = round(value / peer if more_is_better else peer / value, 2)
    else:
        print("peer not run: set PEER_KUBE_APISERVER to a kube-apiserver and put etcd on the path", flush=True)
    line: dict[str, Any] = {"name": name, "value": round(value, 3), "unit": unit}
    line |= {"peer": "kube-apiserver + etcd" if peer else None}
    line |= {"peer_value": round(peer, 3) if peer else None, "ratio": ratio}
    print(json.dumps(line), flush=True)
