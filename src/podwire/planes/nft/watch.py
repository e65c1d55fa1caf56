"""Reading denied packets and new connections of every node in the event loop, and telling watchers.

Rules:

1. A node's log is opened when a policy first isolates a pod there; a node made anew gets a new socket.
2. New connections are read only while a watcher asked for them.
3. The loop is never flooded: after :data:`BURST` messages a socket rests for a moment, and what the kernel's buffer
   does not hold meanwhile is lost to the log, not to policy. Losses are counted.
4. Watchers connect to ``<run dir>/flows.sock`` (mode 0600), send one JSON line (:class:`Ask`), and get JSON lines.
"""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from podwire.base import PodwireError, differences
from podwire.plan import EventFact, PlaneFact, PolicyPlan, Report, ServiceCount, node_netns
from podwire.planes.nft.cut import Judged
from podwire.planes.nft.flows import FlowCount, FlowLog, FlowRecord, replay
from podwire.planes.nft.hits import HitCounts, read_hits
from podwire.planes.nft.netns import identify_netns
from podwire.planes.nft.nflog import open_log, open_new_connections, parse_log, parse_new_connections
from podwire.planes.nft.tables import NftPlan

BURST = 256
REST_SECONDS = 0.05
WAITING = 1024
ASK_SECONDS = 5

_log = logging.getLogger(__name__)
Identity = tuple[int, int]


class Ask(msgspec.Struct, frozen=True):
    """What a watcher wants: records (``denied``: no allowed ones; ``follow``: also those to come), ``counts`` by rule,
    ``facts``: what each node's kernel has confirmed and refused, or ``services``: what each counted for Services."""

    what: str = "records"
    denied: bool = False
    follow: bool = True


class NodeFacts(msgspec.Struct, frozen=True):
    """The newest fact about one node."""

    node: str
    fact: PlaneFact


class NodeCounts(msgspec.Struct, frozen=True):
    """What one node counted for each Service port."""

    node: str
    counts: tuple[ServiceCount, ...]


class Ear(msgspec.Struct):
    """An open socket and the namespace it belongs to."""

    connection: socket.socket
    identity: Identity


class Watcher(msgspec.Struct, eq=False):
    """Somebody who follows."""

    ask: Ask
    waiting: asyncio.Queue[FlowRecord]


def flows_socket(run_dir: Path) -> Path:
    """Where watchers connect."""
    return run_dir / "flows.sock"


class Watch:
    """All sockets and watchers of one driver. Used from the event loop's thread only."""

    def __init__(
        self,
        report: Report,
        *,
        cluster: str,
        run_dir: Path | None,
        facts: Callable[[], Mapping[str, PlaneFact]],
        count: Callable[[], Awaitable[Mapping[str, tuple[ServiceCount, ...]]]],
    ) -> None:
        """Nothing is opened before the first plan. ``facts``: the newest one of each node. ``count`` reads the
        counters of Services, by node."""
        self._facts = facts
        self._count = count
        self.log = FlowLog()
        self._hits = HitCounts()
        self.lost = 0
        self._report = report
        self._cluster = cluster
        self._run_dir = run_dir
        self._server: asyncio.Server | None = None
        self._watchers: set[Watcher] = set()
        self._ears: dict[tuple[str, str], Ear] = {}
        self._nodes: set[str] = set()
        self._wanted: set[str] = set()
        self._told: set[str] = set()
        self._turn = asyncio.Lock()
        self._answering: set[asyncio.Task[None]] = set()
        self._policy: PolicyPlan | None = None
        self._isolating: set[str] = set()

    async def load(self, plan: NftPlan) -> None:
        """Resolve by ``plan`` from here on, and read the logs of the nodes that isolate pods."""
        self.log.load(plan)
        self._nodes = set(plan.services.nodes)
        before, pods = self._policy.pods if self._policy is not None else {}, plan.policy.pods
        moved = (pods[key] for key in differences(before, pods) if key in pods)
        self._isolating |= {pod.node for pod in moved if pod.isolated}
        self._wanted = self._isolating & self._nodes
        self._policy = plan.policy
        if self._run_dir is not None and self._server is None:
            await self._serve(self._run_dir)
        await self.open_ears()

    async def open_ears(self) -> None:
        """Open what is wanted and can be opened, close what is not; called again when a node came."""
        async with self._turn:
            await self._open_ears()

    async def _open_ears(self) -> None:
        kinds = {("log", node) for node in self._wanted}
        if any(not watcher.ask.denied for watcher in self._watchers):
            kinds |= {("new", node) for node in self._nodes}
        for key in self._ears.keys() - kinds:
            self._drop(key)
        for key in sorted(kinds):
            await self._ensure_ear(*key)

    async def counts(self) -> tuple[FlowCount, ...]:
        """Packets by node and rule, as the kernels count them now; raises :class:`PodwireError`."""
        for node in sorted(self._wanted):
            self._hits.take(node, await asyncio.to_thread(read_hits, node_netns(self._cluster, node)))
        return self.log.counts(self._hits.by_node())

    async def close(self) -> None:
        """Close every socket; watchers see the end."""
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
        for key in list(self._ears):
            self._drop(key)
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._run_dir is not None:
            with suppress(OSError):
                flows_socket(self._run_dir).unlink()

    async def _ensure_ear(self, kind: str, node: str) -> None:
        netns = node_netns(self._cluster, node)
        identity, ear = identify_netns(netns), self._ears.get((kind, node))
        if ear is not None and ear.identity != identity:
            self._drop((kind, node))
            ear = None
        if ear is not None or identity is None:
            return
        opener = open_log if kind == "log" else open_new_connections
        try:
            connection = await asyncio.to_thread(opener, netns)
        except FileNotFoundError:
            return
        except (OSError, PodwireError) as error:
            self._complain(f"{kind}/{node}", f"{netns}: denied packets cannot be attributed: {error}")
            return
        self._ears[kind, node] = Ear(connection, identity)
        self._listen(kind, node, connection)

    def _complain(self, key: str, words: str) -> None:
        if key not in self._told:
            self._told.add(key)
            _log.warning("%s", words)

    def _listen(self, kind: str, node: str, connection: socket.socket) -> None:
        if self._is_open(kind, node, connection):
            asyncio.get_running_loop().add_reader(connection, self._read, kind, node, connection)

    def _is_open(self, kind: str, node: str, connection: socket.socket) -> bool:
        ear = self._ears.get((kind, node))
        return ear is not None and ear.connection is connection

    def _drop(self, key: tuple[str, str]) -> None:
        connection = self._ears.pop(key).connection
        asyncio.get_running_loop().remove_reader(connection)
        connection.close()

    def _read(self, kind: str, node: str, connection: socket.socket) -> None:
        take: Callable[[str, bytes], None] = self._take_log if kind == "log" else self._take_new
        for _ in range(BURST):
            try:
                data = connection.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            take(node, data)
        loop = asyncio.get_running_loop()
        loop.remove_reader(connection)
        loop.call_later(REST_SECONDS, self._listen, kind, node, connection)

    def _take_log(self, node: str, data: bytes) -> None:
        for logged in parse_log(data):
            record, event = self.log.deny(node, logged, time.time())
            self._tell(record)
            if event is not None:
                self._say(event)

    def take_cut(self, node: str, judged: Iterable[Judged]) -> None:
        """Record and tell what a changed policy cut."""
        for one in judged:
            record = self.log.cut(node, one, time.time())
            if record is not None:
                self._tell(record)

    def _take_new(self, node: str, data: bytes) -> None:
        for connection in parse_new_connections(data):
            for record in self.log.allow(node, connection, time.time()):
                self._tell(record)

    def _say(self, event: EventFact) -> None:
        self._report(event.uid, event)

    def _tell(self, record: FlowRecord) -> None:
        for watcher in self._watchers:
            if watcher.ask.denied and record.verdict == "allowed":
                continue
            if watcher.waiting.full():
                self.lost += 1
            else:
                watcher.waiting.put_nowait(record)

    async def _serve(self, run_dir: Path) -> None:
        path = flows_socket(run_dir)
        with suppress(FileNotFoundError):
            path.unlink()
        try:
            self._server = await asyncio.start_unix_server(self._answer, path)
        except OSError as error:
            self._run_dir = None
            _log.warning("podwire flows is not served: %s", error)
            return
        os.chmod(path, 0o600)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            ask = msgspec.json.decode(await asyncio.wait_for(reader.readline(), ASK_SECONDS), type=Ask)
            if ask.what == "counts":
                await _send(writer, await self.counts())
            elif ask.what == "facts":
                await _send(writer, (NodeFacts(node, fact) for node, fact in sorted(self._facts().items())))
            elif ask.what == "services":
                await _send(writer, (NodeCounts(*pair) for pair in (await self._count()).items()))
            elif not ask.follow:
                await _send(writer, replay(self.log, denied=ask.denied))
            else:
                await self._follow(ask, reader, writer)
        except (msgspec.DecodeError, TimeoutError, ConnectionError, ValueError):
            pass  # a watcher that asks nothing, asks wrongly or goes away
        except PodwireError as error:
            _log.warning("%s", error)
        except asyncio.CancelledError:
            pass  # the end: asyncio's own callback cannot take a cancelled task (3.11)
        finally:
            self._answering.discard(task)
            writer.close()

    async def _follow(self, ask: Ask, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        watcher = Watcher(ask, asyncio.Queue(WAITING))
        known = tuple(replay(self.log, denied=ask.denied))
        self._watchers.add(watcher)
        gone = asyncio.create_task(reader.read(1))
        sending = asyncio.create_task(self._send_all(watcher, known, writer))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sending.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)
            self._watchers.discard(watcher)
            await self.open_ears()

    async def _send_all(self, watcher: Watcher, known: Iterable[FlowRecord], writer: asyncio.StreamWriter) -> None:
        await self.open_ears()
        await _send(writer, known)
        writer.write(b"\n")  # an empty line: the past ends here, and every ear is open
        while True:
            await _send(writer, (await watcher.waiting.get(),))


async def _send(
    writer: asyncio.StreamWriter, values: Iterable[FlowRecord | FlowCount | NodeFacts | NodeCounts]
) -> None:
    writer.write(b"".join(msgspec.json.encode(value) + b"\n" for value in values))
    await writer.drain()
