"""The DNS server as a role: for a real cluster (read-only, by list and watch) or for a folder of manifests.

Rules:

1. The way is that of an embedded cluster: objects, snapshot, ``compile_zone``, the driver, workers. Nothing else of the
   cluster is compiled, and nothing is written.
2. A real cluster is read with least rights: Namespaces, Services, EndpointSlices, the ConfigMap and the Deployment
   ``kube-system/coredns``; Nodes only for ``--dns topology``, Pods only while the Corefile says ``pods verified``. No
   Secrets: certificates for ``tls`` come from files beside ``--corefile``.
3. A folder is brought up on simulated nodes as every question with ``-f`` does, so names of Services and of pods of
   workloads resolve to the addresses that these have there. It is read again when a file in it changed.
4. A worker that dies is started again with the sockets it had. Workers end when this process does.
5. While the API server is silent the workers are told nothing, not even that we live: their answers say that they may
   be old (EDE 3), and ``/ready`` says so too.
"""

import asyncio
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from podwire.base import EnvironmentUnfit, Finding, PodwireError
from podwire.client.kubeconfig import Access
from podwire.cluster import worlds
from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.kube import Service
from podwire.plan import ZonePlan
from podwire.planes.dns.driver import DnsDriver, dns_argv
from podwire.snapshot import Owned, Settings, SnapshotBuilder

Json = dict[str, Any]
POLL_SECONDS = 0.5
SETTLE_SECONDS = 0.02
SILENT_SECONDS = 180.0
RESTART_SECONDS = (0.0, 0.2, 1.0, 5.0)
STEADY_SECONDS = 10.0
MAX_FILE = 1 << 20
COREFILE = ("ConfigMap", "kube-system/coredns")
Say = Callable[[str], None]


class RoleOptions(msgspec.Struct, frozen=True):
    """How to serve. Addresses are ``HOST:PORT``, several with commas; empty ones of HTTP are not served."""

    listen: str = "0.0.0.0:53,[::]:53"
    health: str = "[::]:8080"
    ready: str = "[::]:8181"
    metrics: str = "[::]:9153"
    workers: int = 1
    corefile: Path | None = None
    settings: Settings = Settings()


Apply = Callable[[ZonePlan], Awaitable[None]]


async def serve_dns(
    options: RoleOptions, *, access: Access | None = None, paths: Sequence[Path] = (), say: Say = print
) -> int:
    """Serve until SIGTERM or SIGINT; 0. Raises :class:`PodwireError` for ports, files, a cluster that are not there."""
    check_ports(options)
    if options.corefile is not None:
        read_corefile(options.corefile)
    try:
        await _serve(options, access=access, paths=paths, say=say)
    except* PodwireError as group:
        raise next(_leaves(group)) from group
    return 0


def _leaves(group: BaseExceptionGroup[PodwireError]) -> Iterator[PodwireError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _serve(options: RoleOptions, *, access: Access | None, paths: Sequence[Path], say: Say) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="podwire-dns-")))
        driver = DnsDriver(lambda key, fact: None, run_dir=folder)
        await driver.start()
        stack.push_async_callback(driver.close)
        workers = Workers(options, folder, say)
        loop.add_signal_handler(signal.SIGHUP, workers.hand_over)
        async with asyncio.TaskGroup() as group:
            if access is not None:
                feeding = group.create_task(feed_cluster(access, options, driver, say))
            else:
                feeding = group.create_task(feed_folder(paths, options, driver.apply, say))
            serving = group.create_task(workers.run())
            await stop.wait()
            feeding.cancel()
            await workers.stop()
            serving.cancel()


def check_ports(options: RoleOptions) -> None:
    """Whether the ports are free and allowed. Raises :class:`EnvironmentUnfit` with what to write instead."""
    places = [
        ("--listen", text, kind)
        for text in options.listen.split(",")
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    ]
    http = (("--health", options.health), ("--ready", options.ready), ("--metrics", options.metrics))
    places += [(name, text, socket.SOCK_STREAM) for name, text in http if text]
    for name, text, kind in places:
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            raise EnvironmentUnfit(f"{name} {text}: write HOST:PORT or [V6]:PORT")
        _check_port(name, host.strip("[]"), int(port), kind)


def _check_port(name: str, host: str, port: int, kind: socket.SocketKind) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except OSError as error:
        if host == "::" and error.errno in (97, 99):  # EAFNOSUPPORT, EADDRNOTAVAIL: no IPv6 here
            return
        hint = {
            13: f"use a port above 1023: {name} 127.0.0.1:{port + 1000}",
            98: f"use another port: {name} {host}:PORT",
        }
        fix = hint.get(error.errno or 0, "use an address of this machine")
        raise EnvironmentUnfit(f"cannot listen on {host}:{port}: {error.strerror}; {fix}") from error


class Workers:
    """The worker processes: started, started again, ended."""

    def __init__(self, options: RoleOptions, folder: Path, say: Say) -> None:
        """Nothing runs yet."""
        self._options, self._say = options, say
        self._argv = dns_argv(folder)
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = False

    async def run(self) -> None:
        """Keep all of them alive."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._options.workers):
                group.create_task(self._keep(number))

    def hand_over(self) -> None:
        """Start each again without losing a question."""
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End them: after their lameduck time, or after ten seconds in any case."""
        self._stopping = True
        for process in self._processes.values():
            if process.returncode is None:
                process.terminate()
        try:
            async with asyncio.timeout(10):
                await asyncio.gather(*(process.wait() for process in self._processes.values()))
        except TimeoutError:
            for process in self._processes.values():
                if process.returncode is None:
                    process.kill()

    async def _keep(self, number: int) -> None:
        failures = 0
        while not self._stopping:
            started = time.monotonic()
            process = await asyncio.create_subprocess_exec(*self._argv, *self._words(number))
            self._processes[number] = process
            code = await process.wait()
            if self._stopping:
                return
            failures = 0 if time.monotonic() - started > STEADY_SECONDS else failures + 1
            self._say(f"worker {number} ended with {code}; starting it again")
            await asyncio.sleep(RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1] if failures else 0)

    def _words(self, number: int) -> list[str]:
        """Several workers share the port; the first one has the ports of HTTP."""
        options = self._options
        words = ["--listen", options.listen, "--number", str(number), "--parent", "1", "--anywhere", "1"]
        if options.workers > 1:
            words += ["--share", "1"]
        for name in ("health", "ready", "metrics"):
            words += [f"--{name}", getattr(options, name) if number == 0 else ""]
        return words


class Feed:
    """Objects in, zone plans out."""

    def __init__(self, options: RoleOptions, say: Say) -> None:
        """No objects yet."""
        owned = Owned(**dict.fromkeys(Owned.__struct_fields__, False))
        self.builder = SnapshotBuilder(msgspec.structs.replace(options.settings, owned=owned, planes=False))
        self._own = read_corefile(options.corefile) if options.corefile is not None else None
        if self._own is not None:
            self.builder.put(self._own)
        self._memo = Memo()
        self._say = say
        self._said: set[str] = set()

    def put(self, kind: str, key: str, value: Json | None) -> None:
        """One object, or that it is gone. With a Corefile of our own the cluster's does not count."""
        if self._own is not None and (kind, key) == COREFILE:
            return
        if value is None:
            self.builder.remove(kind, key)
        else:
            self.builder.put(value)

    def zone(self) -> ZonePlan:
        """The zone now; what is wrong is said once."""
        snapshot = self.builder.snapshot(time.time())
        service = snapshot.get(Service, "kube-system", "kube-dns")
        address = service.spec.cluster_ip if service is not None else ""
        settings = self.builder.settings
        if address not in ("", "None", settings.dns_address):
            self.builder.settings = msgspec.structs.replace(settings, dns_address=address)
            snapshot = self.builder.snapshot(time.time())
        piece = compile_zone(Context(snapshot, self._memo))
        self._memo.sweep()
        assert piece.zone is not None, "compile_zone always makes one"
        say_findings((*piece.findings, *self.builder.findings()), self._said, self._say)
        return piece.zone


def say_findings(findings: Sequence[Finding], said: set[str], say: Say) -> None:
    """Each finding once while it stands."""
    texts = {str(finding): finding for finding in findings}
    for text in texts.keys() - said:
        say(text)
    said.clear()
    said.update(texts)


async def feed_cluster(access: Access, options: RoleOptions, driver: DnsDriver, say: Say) -> None:
    """Follow a real cluster until cancelled."""
    from podwire.client.rest import RestClient
    from podwire.client.watch import Watched, WatchSource

    own = {"namespace": "kube-system", "fields": "metadata.name=coredns", "optional": True}
    wanted = [Watched(kind) for kind in ("Namespace", "Service", "EndpointSlice")]
    wanted += [Watched("Node")] if options.settings.dns.topology else []
    wanted += [Watched(kind, **own) for kind in ("ConfigMap", "Deployment")]  # type: ignore[arg-type]
    feed = Feed(options, say)
    async with RestClient(access) as client:
        source = WatchSource(client, wanted, clock=time.monotonic, say=say)
        watching = asyncio.get_running_loop().create_task(_watch_silence(source, driver))
        pods = False
        try:
            while True:
                for change in await source.changes():
                    feed.put(change.kind, change.key, change.value)
                plan = feed.zone()
                kubernetes = plan.config.kubernetes()
                if kubernetes is not None and kubernetes.pods == "verified" and not pods:
                    pods = True
                    for change in await source.add(Watched("Pod", optional=True)):
                        feed.put(change.kind, change.key, change.value)
                    plan = feed.zone()
                await driver.apply(plan)
                await asyncio.sleep(SETTLE_SECONDS)
        finally:
            watching.cancel()
            await source.close()


async def _watch_silence(source: Any, driver: DnsDriver) -> None:
    """Tell the workers nothing while nobody tells us anything (rule 5)."""
    while True:
        driver.beats = time.monotonic() - source.heard < SILENT_SECONDS
        await asyncio.sleep(1)


async def feed_folder(paths: Sequence[Path], options: RoleOptions, apply: Apply, say: Say) -> None:
    """Follow files of manifests until cancelled. What cannot be used keeps what was there before."""
    own = read_corefile(options.corefile) if options.corefile is not None else None
    said: set[str] = set()
    async for _ in changes_of(paths):
        objects, problems = worlds.read_paths(paths)
        if own is not None:
            objects = [v for v in objects if (v.get("kind"), worlds.key_of(v)) != COREFILE] + [own]
        settings = options.settings
        state, refused = await worlds.offline_world(objects, upstreams=settings.upstreams, dns=settings.dns)
        mine = [f for f in state.plans.findings if f.code.startswith("PW12")]
        say_findings((*problems, *refused, *mine), said, say)
        await apply(state.plans.zone)


async def changes_of(paths: Sequence[Path]) -> AsyncIterator[None]:
    """Once at the start, and whenever a file came, went or changed."""
    last: object = None
    while True:
        now = [(str(f), s.st_mtime_ns, s.st_size) for p in paths for f in worlds.files_of(p) if (s := _stat(f))]
        if now != last:
            last = now
            yield
        await asyncio.sleep(POLL_SECONDS)


def _stat(path: Path) -> Any:
    try:
        return path.stat()
    except OSError:
        return None


def read_corefile(path: Path) -> Json:
    """The ConfigMap that a Corefile on disk stands for; files beside it are its other keys. Raises
    :class:`EnvironmentUnfit`."""
    try:
        data = {"Corefile": path.read_text()}
        for file in sorted(path.parent.iterdir()):
            if file != path and file.is_file() and file.stat().st_size <= MAX_FILE:
                try:
                    data[file.name] = file.read_text()
                except UnicodeDecodeError:
                    continue
    except OSError as error:
        raise EnvironmentUnfit(f"--corefile {path}: {error.strerror}") from error
    meta = {"name": "coredns", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


def print_line(text: str) -> None:
    """A line of log beside those of the workers."""
    sys.stdout.write(f"[INFO] podwire DNS: {text}\n")
    sys.stdout.flush()
