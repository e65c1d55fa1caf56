"""One loop over one source.

Rules:

1. Level-triggered: the loop looks at everything that is there, compiles, and hands every driver the newest plan. A
   driver that is still busy gets only the newest one after it is done.
2. A lone change is compiled at once. Bursts are folded: a change that comes soon after a compile waits until that
   compile is as long ago as it took, at most :data:`SETTLE_MAX_SECONDS`, so that compiling is paid for at most half of
   the time.
3. A driver that fails as a whole is retried with growing pauses; the others go on. What cannot work on this machine at
   all (not retryable) ends the engine.
4. A bug, in the compiler or in a driver, is logged with its traceback and counted in :attr:`Engine.bugs`, never
   hidden; the last plans stay in force, so one object that we misunderstand does not take everybody's network down.
5. Time enters here only, by ``clock``; the compiler gets it as a value and says when to wake.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from podwire.base import PodwireError
from podwire.client import Source
from podwire.compile import Compiler
from podwire.engine.garbage import without_collections
from podwire.plan import Driver, Fact, Plans
from podwire.snapshot import Settings, Snapshot, SnapshotBuilder

SETTLE_MAX_SECONDS = 0.05
RETRY_SECONDS = (0.1, 0.5, 2.0, 10.0)

_log = logging.getLogger(__name__)


class Slot(msgspec.Struct, frozen=True):
    """A driver and the part of the plans it executes. The part is compared by identity of what ``select`` returns."""

    name: str
    select: Callable[[Plans], Any]
    driver: Driver[Any]


class State:
    """The newest instant: what ``status`` and ``trace`` read."""

    def __init__(self, snapshot: Snapshot, plans: Plans) -> None:
        """Both from one compile."""
        self.snapshot = snapshot
        self.plans = plans


class _Runner:
    """Feeds one driver the newest plan."""

    def __init__(self, slot: Slot, note_bug: Callable[[str], None]) -> None:
        self.slot = slot
        self._note_bug = note_bug
        self.failure = ""
        self._wanted: Any = None
        self._changed = asyncio.Event()

    def offer(self, plans: Plans) -> None:
        wanted = self.slot.select(plans)
        if wanted is not self._wanted:
            self._wanted = wanted
            self._changed.set()

    async def run(self) -> None:
        attempts = 0
        while True:
            await self._changed.wait()
            self._changed.clear()
            self.failure = await self._apply()
            if not self.failure:
                attempts = 0
                continue
            pause = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS) - 1)]
            asyncio.get_running_loop().call_later(pause, self._changed.set)
            attempts += 1

    async def _apply(self) -> str:
        """What went wrong, in words; empty when nothing did."""
        try:
            await self.slot.driver.apply(self._wanted)
        except PodwireError as error:
            if not error.retryable:
                raise
            _log.warning("%s: %s", self.slot.name, error)
            return str(error)
        except Exception as error:
            _log.exception("bug in driver %s", self.slot.name)
            self._note_bug(f"driver {self.slot.name}: {error!r}")
            return repr(error)
        return ""


class Engine:
    """Runs until cancelled."""

    def __init__(self, source: Source, *, settings: Settings, clock: Callable[[], float]) -> None:
        """Drivers are added before :meth:`run`, because they need :meth:`report`."""
        self._source = source
        self._clock = clock
        self._builder = SnapshotBuilder(settings)
        self._compiler = Compiler()
        self._runners: list[_Runner] = []
        self._dirty = asyncio.Event()
        self._published = asyncio.Condition()
        self._settled_at = 0.0
        self.state: State | None = None
        self.bugs: list[str] = []

    def add(self, slots: Sequence[Slot]) -> None:
        """Drivers to feed."""
        self._runners.extend(_Runner(slot, self.bugs.append) for slot in slots)

    def report(self, key: str, fact: Fact) -> None:
        """The :data:`podwire.plan.Report` of every driver."""
        if self._builder.observe(key, fact):
            self._dirty.set()

    async def run(self) -> None:
        """The loop. Raises the first bug or fatal failure as an exception group."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="watch")
            group.create_task(self._loop(), name="compile loop")
            for runner in self._runners:
                group.create_task(runner.run(), name=f"driver {runner.slot.name}")

    async def wait_until(self, predicate: Callable[[State], bool]) -> State:
        """The first published state that satisfies ``predicate``; bound it with :func:`asyncio.timeout`."""
        async with self._published:
            while self.state is None or not predicate(self.state):
                await self._published.wait()
            return self.state

    async def _watch(self) -> None:
        while True:
            for change in await self._source.changes():
                if change.value is None:
                    self._forget(change.kind, change.key)
                else:
                    self._builder.put(change.value)
            self._dirty.set()

    def _forget(self, kind: str, key: str) -> None:
        self._builder.remove(kind, key)

    async def _loop(self) -> None:
        wake_at: float | None = None
        while True:
            await self._wait_dirty(wake_at)
            await asyncio.sleep(max(0.0, self._settled_at - asyncio.get_running_loop().time()))
            self._dirty.clear()
            wake_at = await self._once()

    async def _wait_dirty(self, wake_at: float | None) -> None:
        pause = None if wake_at is None else max(0.001, wake_at - self._clock())
        try:
            async with asyncio.timeout(pause):
                await self._dirty.wait()
        except TimeoutError:
            return

    async def _once(self) -> float | None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        snapshot = self._builder.snapshot(self._clock())
        try:
            with without_collections():
                compiled = self._compiler.compile(snapshot)
        except Exception as error:
            _log.exception("bug in the compiler: the last plans stay in force")
            self.bugs.append(f"compiler: {error!r}")
            return None
        broken = self._builder.findings()
        plans = compiled.plans
        if broken:
            plans = msgspec.structs.replace(plans, findings=(*plans.findings, *broken))
        ended = loop.time()
        self._settled_at = ended + min(ended - started, SETTLE_MAX_SECONDS)
        self.state = State(snapshot, plans)
        for runner in self._runners:
            runner.offer(plans)
        async with self._published:
            self._published.notify_all()
        return compiled.wake_at
