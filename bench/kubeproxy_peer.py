"""The real kube-proxy (``PEER_KUBE_PROXY=path``, nftables mode) in a network namespace, over the same objects.

It lists from podwire's API server, through a relay that listens inside the namespace. What it took is read from its own
metrics, so listing and decoding the objects is not counted, as it is not for podwire.
"""

import asyncio
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.services_rig import endpoint_slice, many, node
from podwire.apiserver import ApiServer, ApiSettings
from podwire.cluster.adapter import apply_objects
from podwire.testing.probes import open_sockets

METRICS_PORT = 10249
WAIT_SECONDS = 900
LAST = "kubeproxy_sync_proxy_rules_last_timestamp_seconds"
FULL = "kubeproxy_sync_full_proxy_rules_duration_seconds_sum"
FLAGS = (
    "--proxy-mode=nftables",
    "--hostname-override=node-1",
    "--cluster-cidr=10.244.0.0/16",
    "--conntrack-max-per-core=0",
    "--conntrack-tcp-timeout-established=0s",
    "--conntrack-tcp-timeout-close-wait=0s",
    "--iptables-min-sync-period=1ms",
)


class Peer:
    """kube-proxy after its first sync, which took ``sync_seconds``."""

    def __init__(self, api: ApiServer, netns: str, sync_seconds: float) -> None:
        self._api, self._netns, self.sync_seconds = api, netns, sync_seconds

    async def change(self, index: int, last: int) -> float:
        """Seconds from the write of one EndpointSlice to the end of the sync that carried it to the kernel."""
        started = time.time()
        await self._api.update(endpoint_slice(index, last=last))
        return await _metric_beyond(self._netns, LAST, started) - started


def peer_binary() -> str | None:
    """The program, when one is named."""
    return os.environ.get("PEER_KUBE_PROXY") or None


@asynccontextmanager
async def kube_proxy(binary: str, services: int) -> AsyncIterator[Peer]:
    """Running, with its rules in the kernel of a namespace of its own."""
    netns = f"/run/netns/b{os.getpid()}-peer"
    with tempfile.TemporaryDirectory() as folder:
        api = ApiServer(ApiSettings(directory=Path(folder)))
        await api.start()
        kubeconfig = Path(folder) / "kubeconfig"
        api.kubeconfig.write(kubeconfig)
        refused = await apply_objects(api, [node(), *many(services)])
        assert not refused, refused[0]
        try:
            with _namespace(Path(netns).name):
                async with _relayed(netns, _port_of(kubeconfig)), _running(binary, netns, kubeconfig):
                    await _metric_beyond(netns, LAST, 0)
                    yield Peer(api, netns, await _metric_beyond(netns, FULL, 0))
        finally:
            await api.stop()


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@asynccontextmanager
async def _running(binary: str, netns: str, kubeconfig: Path) -> AsyncIterator[None]:
    argv = ("ip", "netns", "exec", Path(netns).name, binary, f"--kubeconfig={kubeconfig}", *FLAGS)
    with (kubeconfig.parent / "kube-proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


@asynccontextmanager
async def _relayed(netns: str, port: int) -> AsyncIterator[None]:
    """``127.0.0.1:port`` of the namespace is the same port of the host."""
    (listener,) = open_sockets(netns, [("TCP", "127.0.0.1")])
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(serve, sock=listener)
    try:
        yield
    finally:
        server.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(1 << 20):
            writer.write(part)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _port_of(kubeconfig: Path) -> int:
    found = re.search(r"https://127\.0\.0\.1:(\d+)", kubeconfig.read_text())
    assert found
    return int(found[1])


async def _metric_beyond(netns: str, name: str, bound: float) -> float:
    """The IPv4 value of a metric as soon as it is larger."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (value := await asyncio.to_thread(_metric, netns, name)) <= bound:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)
    return value


def _metric(netns: str, name: str) -> float:
    (opened,) = open_sockets(netns, [("TCP", "127.0.0.1")])
    with opened:
        opened.settimeout(30)
        try:
            opened.connect(("127.0.0.1", METRICS_PORT))
        except ConnectionRefusedError:
            return 0
        opened.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b""
        while part := opened.recv(1 << 16):
            text += part
    found = re.search(rf'^{name}(?:\{{ip_family="IPv4"\}})? ([0-9.e+-]+)$', text.decode(), re.MULTILINE)
    return float(found[1]) if found else 0
