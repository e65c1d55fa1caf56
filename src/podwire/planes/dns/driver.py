"""Keeps the DNS workers' tables equal to the zone plan.

Rules:

1. Workers connect to ``run_dir/dns.sock`` (mode 0600), one per replica of ``kube-system/coredns``. A new connection
   gets the upstream sockets and the whole zone, later ones the units that changed.
2. A plan is in force when a worker has acknowledged its revision; with several workers the slowest counts.
3. A worker that does not take what it is sent is disconnected at :data:`MAX_BACKLOG`; it connects again and gets
   everything anew.
4. Upstream sockets are made here, in the host's network namespace: a socket keeps the namespace it was made in
   (``docs/lab/2026-11-24-dns-worker.md``).
5. Workers tell the addresses of names that policies name. They become a fact at once; the answer is released when the
   plan says that every kernel has them (``learned.py``, ``hold.py``).
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from podwire.base import PodwireError, differences
from podwire.plan import PlaneFact, Report, ZonePlan
from podwire.plan.dnsconfig import CONFIG_FACT, DnsConfig, Forward, show_config
from podwire.planes.dns import frames
from podwire.planes.dns.keeper import Keeper
from podwire.planes.dns.learned import Learned

PLANE, NAMES = "dns", "dns/names"
SOCKET_NAME, LEARNED_NAME = "dns.sock", "learned.json"
UDP_SOCKETS = 4
TCP_SOCKETS = 4
MAX_BACKLOG = 256 << 20
KEPT_REVISIONS = 1024
BEAT_SECONDS = 5.0
_START = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from podwire.planes.dns.worker import main; sys.exit(main(sys.argv[1:]))"
)


def dns_argv(run_dir: Path) -> tuple[str, ...]:
    """The command of the ``podwire/dns`` image. Isolated from site packages: the worker needs none (33 ms, 4 MB)."""
    root = Path(__file__).resolve().parents[3]
    control = ("--control", str(run_dir / SOCKET_NAME), "--libraries", _libraries())
    return (sys.executable, "-I", "-S", "-c", _START, str(root), *control)


def _libraries() -> str:
    """Where HTTP/2 is installed: the worker looks there when DNS over HTTPS needs it."""
    found = find_spec("h2")
    return str(Path(found.origin).parents[1]) if found is not None and found.origin else ""


class _Worker:
    """One connection: frames waiting to be sent, and the last revision the worker acknowledged."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.queue: deque[tuple[bytes, list[socket.socket]]] = deque()
        self.backlog = 0
        self.wake = asyncio.Event()
        self.revision = 0
        self.rejected: dict[str, str] = {}

    def put(self, frame: bytes, sockets: list[socket.socket] | None = None) -> None:
        """Queue a frame; ``sockets`` travel with it and are closed here afterwards."""
        self.queue.append((frame, sockets or []))
        self.backlog += len(frame)
        self.wake.set()


class DnsDriver:
    """Executes zone plans. ``report`` gets the plane fact ``dns``."""

    def __init__(self, report: Report, *, run_dir: Path) -> None:
        """``run_dir`` must exist when :meth:`start` is called."""
        self._report = report
        self._path = run_dir / SOCKET_NAME
        self._plan: ZonePlan | None = None
        self._numbers: dict[str, int] = {}
        self._total = 0
        self._revision = 0
        self._digests: dict[int, dict[str, str]] = {}
        self._workers: dict[_Worker, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._shown: tuple[DnsConfig | None, str] = (None, "")
        self._keeper = Keeper(str(self._path))
        self.beats = True
        """False: say nothing, because nobody keeps us current; workers notice and say so in their answers."""
        self._learned = Learned()
        self._store = run_dir / LEARNED_NAME
        self._waiting: list[tuple[int, _Worker, int]] = []

    async def start(self) -> None:
        """Listen for workers. Raises :class:`PodwireError` when the socket cannot be made."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        old = os.umask(0o177)
        try:
            listener.bind(str(self._path))
            listener.listen(16)
            self._keeper.start()
        except OSError as error:
            listener.close()
            raise PodwireError(f"cannot listen for DNS workers on {self._path}: {error}") from error
        finally:
            os.umask(old)
        self._listener = listener
        self._recall()
        self._spawn(self._accept(listener))

    async def apply(self, plan: ZonePlan) -> None:
        """Send what changed to every worker; the fact follows when they acknowledge."""
        old = self._plan
        if old is plan:
            return
        self._release(plan.released)
        changed = differences(old.units if old is not None else {}, plan.units)
        put = {key: plan.units[key] for key in sorted(changed & plan.units.keys())}
        remove = tuple(sorted(changed - plan.units.keys()))
        if old is not None and not put and not remove and frames.meta_of(old, None) == frames.meta_of(plan, None):
            self._plan = plan
            return
        for key in changed:
            self._total -= self._numbers.pop(key, 0)
        self._numbers.update((key, frames.number_of(unit)) for key, unit in put.items())
        self._total += sum(self._numbers[key] for key in put)
        self._plan = plan
        self._revision += 1
        told = {"zone": frames.digest_zone(plan, self._total), "serial": str(plan.serial)}
        self._digests[self._revision] = {**told, CONFIG_FACT: self._show(plan.config)}
        self._digests.pop(self._revision - KEPT_REVISIONS, None)
        self._broadcast(old, plan, put, remove)

    def _show(self, config: DnsConfig) -> str:
        """The configuration as text; made once for each."""
        if self._shown[0] is not config:
            self._shown = (config, show_config(config))
        return self._shown[1]

    async def close(self) -> None:
        """Disconnect every worker and remove the socket; idempotent."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in list(self._workers):
            self._drop(worker)
        self._keeper.close()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)

    @property
    def workers(self) -> int:
        """Connected workers."""
        return len(self._workers)

    def _broadcast(self, old: ZonePlan | None, plan: ZonePlan, put: Any, remove: tuple[str, ...]) -> None:
        if not self._workers:
            return
        if old is None:
            messages = list(frames.encode_full(plan, self._revision))
        else:
            messages = list(frames.encode_delta(old, plan, put, remove, self._revision))
        families_changed = old is not None and _families(old) != _families(plan)
        for worker in list(self._workers):
            if families_changed:
                self._hand_over(worker, _families(plan) - _families(old) if old else set())
            for message in messages:
                worker.put(message)
            if worker.backlog > MAX_BACKLOG:
                self._drop(worker)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            worker = _Worker(sock)
            self._workers[worker] = None
            self._hand_over(worker, {socket.AF_INET} | (_families(self._plan) if self._plan else set()))
            if self._plan is not None:
                for frame in frames.encode_full(self._plan, self._revision):
                    worker.put(frame)
            self._spawn(self._serve(worker))

    async def _serve(self, worker: _Worker) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(worker))
                group.create_task(self._read(worker))
        except* (OSError, ValueError):
            pass  # the worker went away or speaks nonsense: it is dropped, and connects again
        finally:
            self._drop(worker)
            self._tell()

    async def _write(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while worker.queue:
                frame, sockets = worker.queue.popleft()
                worker.backlog -= len(frame)
                if sockets:
                    sent = await _send_descriptors(worker.sock, frame, sockets)
                    frame = frame[sent:]
                await loop.sock_sendall(worker.sock, frame)
            worker.wake.clear()
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await worker.wake.wait()
            except TimeoutError:
                if self.beats:
                    worker.put(frames.encode_beat())

    async def _read(self, worker: _Worker) -> None:
        loop = asyncio.get_running_loop()
        received = b""
        while True:
            data = await loop.sock_recv(worker.sock, 65_536)
            if not data:
                raise ConnectionResetError("the worker closed the connection")
            received += data
            while len(received) >= 4 and len(received) >= 4 + int.from_bytes(received[:4], "big"):
                size = int.from_bytes(received[:4], "big")
                frame, received = received[4 : 4 + size], received[4 + size :]
                self._take(worker, json.loads(frame))
            if len(received) > 1 << 20:
                raise ValueError("a worker sent too much")

    def _take(self, worker: _Worker, frame: dict[str, Any]) -> None:
        if "want" in frame:
            self._hand_over(worker, _families(self._plan) if self._plan else {socket.AF_INET}, udp=0)
        if "loaded" in frame:
            worker.revision = int(frame["loaded"])
            worker.rejected = {str(k): str(v) for k, v in frame.get("failed", {}).items()}
            self._tell()
        if "learned" in frame:
            self._learn(worker, frame)

    def _learn(self, worker: _Worker, frame: dict[str, Any]) -> None:
        before = self._learned.revision
        addresses = [(str(address), int(ttl)) for address, ttl in frame["addresses"]]
        revision = self._learned.take(str(frame["name"]), addresses, time.time())
        self._waiting.append((revision, worker, int(frame["learned"])))
        if revision != before:
            self._report(NAMES, self._learned.fact())
            with suppress(OSError):  # only a restart would miss it
                self._store.write_bytes(self._learned.dump())
        self._release(self._plan.released if self._plan else 0)

    def _release(self, revision: int) -> None:
        due = [one for one in self._waiting if one[0] <= revision]
        if due:
            self._waiting = [one for one in self._waiting if one[0] > revision]
        for _, worker, number in due:
            if worker in self._workers:
                worker.put(frames.encode_release(number))

    def _recall(self) -> None:
        with suppress(OSError):
            self._learned.load(self._store.read_bytes(), time.time())
        if self._learned.revision:
            self._report(NAMES, self._learned.fact())

    def _tell(self) -> None:
        confirmed = [w for w in self._workers if w.revision]
        if not confirmed:
            self._report(PLANE, PlaneFact(ready=False, message="no DNS worker has a table"))
            return
        slowest = min(w.revision for w in confirmed)
        for revision in [r for r in self._digests if r < slowest]:
            del self._digests[revision]
        known = self._digests.get(slowest)
        if known is None:
            return
        rejected = {key: why for worker in confirmed for key, why in worker.rejected.items()}
        self._report(PLANE, PlaneFact(ready=True, applied=known, rejected=rejected))

    def _hand_over(self, worker: _Worker, families: set[int], *, udp: int = UDP_SOCKETS) -> None:
        kinds = [socket.SOCK_DGRAM] * udp + [socket.SOCK_STREAM] * TCP_SOCKETS
        made: list[socket.socket] = []
        for family in sorted(families):
            for kind in kinds:
                try:
                    made.append(socket.socket(family, kind | socket.SOCK_CLOEXEC))
                except OSError:
                    break  # this machine does not speak that family; upstreams of the other one still work
        if made:
            worker.put(frames.encode_sockets(len(made)), made)

    def _drop(self, worker: _Worker) -> None:
        self._workers.pop(worker, None)
        self._waiting = [one for one in self._waiting if one[1] is not worker]
        worker.sock.close()
        for _, sockets in worker.queue:
            for sock in sockets:
                sock.close()
        worker.queue.clear()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _send_descriptors(sock: socket.socket, frame: bytes, sockets: list[socket.socket]) -> int:
    """Send (the beginning of) a frame with descriptors; they are ours no longer."""
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                return socket.send_fds(sock, [frame], [s.fileno() for s in sockets])
            except BlockingIOError:
                writable = loop.create_future()
                loop.add_writer(sock, writable.set_result, None)
                try:
                    await writable
                finally:
                    loop.remove_writer(sock)
    finally:
        for made in sockets:
            made.close()


def _families(plan: ZonePlan) -> set[int]:
    """Address families of everybody who is asked."""
    pools = (p.upstreams for block in plan.config.blocks for p in block.plugins if isinstance(p, Forward))
    texts = {u for pool in (plan.upstreams, *pools) for u in pool}
    return {_family(text) for text in texts} or {socket.AF_INET}


def _family(upstream: str) -> int:
    """``10.0.0.53:53``, ``fd00::53``, ``[fd00::53]:53``, ``tls://[fd00::53]:853%name``."""
    place = upstream.rpartition("://")[2].partition("/")[0].partition("%")[0]
    return socket.AF_INET6 if place.count(":") > 1 else socket.AF_INET
