"""DNS servers under measurement: podwire's worker, and CoreDNS (``PEER_COREDNS=path``) over the same objects, one at a
time on the first core; whoever asks is on the second.

CoreDNS gets its objects from podwire's own API server in this process, so both see the same Services.
"""

import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.plan import PlaneFact, ZonePlan
from podwire.planes.dns.driver import DnsDriver, dns_argv
from podwire.snapshot import Settings, SnapshotBuilder

Json = dict[str, Any]
SERVER_CORE, CLIENT_CORE = 0, 1
NAMESPACES = 20
DOMAIN = "cluster.local"


def objects(services: int, endpoints: int) -> Iterator[Json]:
    """Namespaces, ClusterIP Services with a named port, every tenth headless, and their EndpointSlices."""
    for number in range(NAMESPACES):
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"ns-{number}"}}
    for number in range(services):
        yield service(number)
        yield endpoint_slice(number, endpoints)


def service(number: int) -> Json:
    """Service ``s<number>``."""
    headless = number % 10 == 0
    address = "None" if headless else f"10.{100 + number // 65536}.{number // 256 % 256}.{number % 256}"
    spec: Json = {"clusterIP": address, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}
    if not headless:
        spec["clusterIPs"] = [address]
    return {"apiVersion": "v1", "kind": "Service", "metadata": _meta(f"s{number}", number), "spec": spec}


def endpoint_slice(number: int, endpoints: int, *, shift: int = 0) -> Json:
    """Its ready endpoints; ``shift`` moves them to other addresses."""
    first = number * endpoints
    addresses = [
        f"172.{16 + (first + i) // 65536 % 16}.{(first + i) // 256 % 256}.{(first + i) % 256}" for i in range(endpoints)
    ]
    if shift:
        addresses[0] = f"192.168.{shift // 256 % 256}.{shift % 256}"
    meta = _meta(f"s{number}-x", number) | {"labels": {"kubernetes.io/service-name": f"s{number}"}}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": meta,
        "addressType": "IPv4",
        "endpoints": [{"addresses": [a], "conditions": {"ready": True}} for a in addresses],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }


def _meta(name: str, number: int) -> Json:
    return {"name": name, "namespace": f"ns-{number % NAMESPACES}", "uid": name, "resourceVersion": str(number + 1)}


class World:
    """Objects, and the zone compiled from them."""

    def __init__(self, services: int, endpoints: int) -> None:
        self.builder = SnapshotBuilder(Settings(planes=False))
        self._memo = Memo()
        for value in objects(services, endpoints):
            self.builder.put(value)

    def zone(self) -> ZonePlan:
        """The zone now."""
        piece = compile_zone(Context(self.builder.snapshot(time.time()), self._memo))
        self._memo.sweep()
        assert piece.zone is not None
        return piece.zone


class Server:
    """A running server: where it listens, its process, and how the zone is changed."""

    def __init__(self, name: str, port: int, pid: int) -> None:
        self.name, self.port, self.pid = name, port, pid
        self.used = 0.0
        self.apply: Callable[[ZonePlan], Awaitable[None]] | None = None

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self) -> int:
        """Proportional set size."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024


@asynccontextmanager
async def podwire_server(
    plan: ZonePlan, *, core: int = SERVER_CORE, port: int = 0, more: tuple[str, ...] = ()
) -> AsyncIterator[Server]:
    """The worker with this zone loaded, on the first core."""
    loaded = asyncio.Event()
    facts: list[PlaneFact] = []

    def report(_key: str, fact: Any) -> None:
        facts.append(fact)
        if fact.ready:
            loaded.set()

    with tempfile.TemporaryDirectory() as folder:
        driver = DnsDriver(report, run_dir=Path(folder))
        await driver.start()
        await driver.apply(plan)
        http = [word for name in ("--health", "--ready", "--metrics") for word in (name, "127.0.0.1:0")]
        argv = (*dns_argv(Path(folder)), "--listen", f"127.0.0.1:{port}", *http, *more)
        process = await asyncio.create_subprocess_exec(*_pinned(argv, core), stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        port = 0
        while not port:
            found = re.search(rb"serving.*:(\d+)", await process.stdout.readline())
            port = int(found[1]) if found else 0
        drain = asyncio.create_task(_drain(process.stdout))
        async with asyncio.timeout(120):
            await loaded.wait()
        server = Server("podwire", port, process.pid)
        server.apply = driver.apply
        try:
            yield server
        finally:
            process.kill()
            await process.wait()
            drain.cancel()
            await driver.close()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass


def _pinned(argv: tuple[str, ...], core: int) -> tuple[str, ...]:
    return ("taskset", "-c", str(core), *argv) if shutil.which("taskset") else argv


@asynccontextmanager
async def coredns_server(
    path: str, services: int, endpoints: int, *, more: str = "", domain: str = DOMAIN
) -> AsyncIterator[Server]:
    """CoreDNS with kubeadm's options over the same objects in podwire's API server, on the first core; ``more`` are
    lines of its Corefile."""
    from podwire.apiserver.server import ApiServer, ApiSettings
    from podwire.cluster.adapter import apply_objects

    with tempfile.TemporaryDirectory() as folder:
        api = ApiServer(ApiSettings(directory=Path(folder), addresses=("127.0.0.1",), service_cidrs=("10.96.0.0/12",)))
        await api.start()
        kubeconfig = Path(folder) / "kubeconfig"
        api.kubeconfig.write(kubeconfig)
        refused = await apply_objects(api, [_bare(value) for value in objects(services, endpoints)])
        assert not refused, refused[0]
        port = _free_port()
        corefile = Path(folder) / "Corefile"
        block = f"kubernetes {domain} in-addr.arpa {{\n kubeconfig {kubeconfig}\n ttl 30\n}}"
        corefile.write_text(f".:{port} {{\n bind 127.0.0.1\n {block}\n loadbalance\n {more}\n}}\n")
        argv = _pinned((path, "-conf", str(corefile)), SERVER_CORE)
        process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, "GOMAXPROCS": "1"})
        try:
            server = Server("coredns", port, process.pid)
            await _answers(server, name_of(services - 1).removesuffix(DOMAIN) + domain)
            yield server
        finally:
            process.kill()
            await process.wait()
            await api.stop()


def _bare(value: Json) -> Json:
    meta = {k: v for k, v in value["metadata"].items() if k not in ("uid", "resourceVersion")}
    if value["kind"] == "Service" and value["spec"]["clusterIP"] != "None":
        spec = {k: v for k, v in value["spec"].items() if not k.startswith("clusterIP")}
        return {**value, "metadata": meta, "spec": spec}
    return {**value, "metadata": meta}


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answers(server: Server, name: str) -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(120):
        while True:
            reply = await loop.run_in_executor(None, ask, server.port, name)
            if len(reply) > 12 and reply[3] & 15 == 0 and reply[7]:
                return


def ask(port: int, name: str) -> bytes:
    """One question of type A; empty after a second without a reply."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        sock.sendto(question(name, 1, 7), ("127.0.0.1", port))
        try:
            return sock.recv(4096)
        except TimeoutError:
            return b""


def ask_until(port: int, name: str, wanted: bytes) -> None:
    """Ask again and again until the reply holds ``wanted``; gives up after a minute."""
    end = time.monotonic() + 60
    while wanted not in ask(port, name):
        if time.monotonic() > end:
            raise SystemExit(f"{name} did not change")


def name_of(number: int) -> str:
    """The name of a Service."""
    return f"s{number}.ns-{number % NAMESPACES}.svc.{DOMAIN}"


def question(name: str, rtype: int, ident: int) -> bytes:
    """A query as bytes."""
    labels = b"".join(bytes((len(part),)) + part.encode() for part in name.split("."))
    return ident.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0" + rtype.to_bytes(2, "big") + b"\0\1"


def mix(services: int, count: int = 20_000) -> list[tuple[str, str]]:
    """60 % A, 20 % AAAA, 11 % SRV, 9 % names that do not exist; the same sequence each time."""
    chance = random.Random(1)
    found = []
    for _ in range(count):
        name, dice = name_of(chance.randrange(services)), chance.random()
        if dice < 0.60:
            found.append((name, "A"))
        elif dice < 0.80:
            found.append((name, "AAAA"))
        elif dice < 0.91:
            found.append((f"_http._tcp.{name}", "SRV"))
        else:
            found.append((f"x{name}", "A"))
    return found


@contextmanager
def query_file(questions: list[tuple[str, str]]) -> Iterator[str]:
    """Questions in dnsperf's format."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name} {rtype}\n" for name, rtype in questions)
        file.flush()
        yield file.name


def dnsperf(
    server: Server, services: int, seconds: int, *, clients: int = 4, asked: list[tuple[str, str]] | None = None
) -> tuple[float, float]:
    """Queries per second and the share that was lost. Raises SystemExit without dnsperf."""
    program = shutil.which("dnsperf")
    if program is None:
        raise SystemExit("dnsperf is needed for queries per second: apt-get install dnsperf")
    with query_file(asked or mix(services)) as path:
        words = (
            program,
            "-s",
            "127.0.0.1",
            "-p",
            str(server.port),
            "-d",
            path,
            "-l",
            str(seconds),
            "-c",
            str(clients),
            "-q",
            "200",
        )
        # Every question once before: what is measured is a server that has run for a while, of either kind.
        once = (*words[: words.index("-l")], "-n", "1", *words[words.index("-l") + 2 :])
        subprocess.run(_pinned(once, CLIENT_CORE), capture_output=True, check=True)
        before = server.cpu_seconds()
        out = subprocess.run(_pinned(words, CLIENT_CORE), capture_output=True, text=True, check=True).stdout
    server.used = server.cpu_seconds() - before
    rate = re.search(r"Queries per second:\s+([\d.]+)", out)
    lost = re.search(r"Queries lost:\s+\d+ \(([\d.]+)%\)", out)
    assert rate and lost, out
    return float(rate[1]), float(lost[1])


def report(name: str, value: float, unit: str, peer: float | None) -> None:
    """The last line: JSON with the peer beside it."""
    ratio = None if not peer else round(value / peer, 3)
    line = {"name": name, "value": round(value, 3), "unit": unit, "peer": "coredns" if peer else None}
    print(json.dumps({**line, "peer_value": peer and round(peer, 3), "ratio": ratio}), flush=True)


async def measure(
    services: int, endpoints: int, what: Callable[[Server], Awaitable[float]]
) -> tuple[float, float | None]:
    """The same measurement of podwire, and of the peer when there is one."""
    async with podwire_server(World(services, endpoints).zone()) as server:
        value = await what(server)
    peer = os.environ.get("PEER_COREDNS")
    if not peer:
        return value, None
    async with coredns_server(peer, services, endpoints) as server:
        return value, await what(server)
