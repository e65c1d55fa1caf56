"""One pod: init containers in order, then its containers, until it is removed.

Rules:

1. Containers start only once ``run`` was true; that gate never closes again.
2. The fact is reported when it differs from the last one, at most once per turn of the event loop.
3. Stopping is idempotent, bounded by the grace period, and leaves no program behind.
"""

import asyncio
from contextlib import suppress

from podwire.base import PodwireError
from podwire.node.container import ContainerRunner
from podwire.node.context import PodContext, Services
from podwire.plan import EventFact, PodFact, Report
from podwire.plan.node import Container, Pod


class PodRunner:
    """Runs one pod. Made when its sandbox is up."""

    def __init__(self, cluster: str, unit: Pod, address: str, *, services: Services, report: Report) -> None:
        """``report`` takes facts and events under the pod's uid."""
        self.address = address
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._last: PodFact | None = None
        self._pending = False
        self._gate = asyncio.Event()
        self._stop_task: asyncio.Task[None] | None = None
        self.context = PodContext(
            cluster, unit, address, services=services, emit=self._emit, changed=self._schedule_report
        )
        self._started_at = self.context.now()
        first = "PodInitializing" if unit.init_containers else "ContainerCreating"
        init_policy = "Never" if unit.restart_policy == "Never" else "OnFailure"
        self.init = [self._runner(c, init_policy, "PodInitializing") for c in unit.init_containers]
        self.main = [self._runner(c, unit.restart_policy, first) for c in unit.containers]
        self.publish()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._complain)
        self.update(unit)

    def _runner(self, container: Container, policy: str, waiting: str) -> ContainerRunner:
        return ContainerRunner(self.context, container, policy=policy, waiting=waiting)

    @property
    def unit(self) -> Pod:
        """The newest unit."""
        return self.context.unit

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop."""
        return self._stop_task is not None

    @property
    def last_fact(self) -> PodFact:
        """What was reported last."""
        assert self._last is not None
        return self._last

    def find(self, name: str) -> ContainerRunner:
        """A container by name; the first one for an empty name. Raises :class:`PodwireError`."""
        for runner in (*self.main, *self.init):
            if not name or runner.container.name == name:
                return runner
        raise PodwireError(f"container {name} not found in pod {self.unit.pod.key}")

    async def _run(self) -> None:
        await self._gate.wait()
        for runner in self.init:
            if self.stopping or not await runner.main():
                return
        if self.stopping:
            return
        async with asyncio.TaskGroup() as group:
            for runner in self.main:
                group.create_task(runner.main())

    def _complain(self, task: "asyncio.Task[None]") -> None:
        """An exception here is a bug of ours: the loop's handler hears of it at once, not when memory is freed."""
        if not task.cancelled() and task.exception() is not None:
            text = f"pod {self.unit.pod.key} stopped running"
            self._loop.call_exception_handler({"message": text, "exception": task.exception(), "task": task})

    def update(self, unit: Pod) -> list["asyncio.Task[None]"]:
        """Take a newer unit; returns what runs in the background because of it."""
        self.context.unit = unit
        if unit.run:
            self._gate.set()
        changed = []
        by_name = {c.name: c for c in (*unit.init_containers, *unit.containers)}
        for runner in (*self.init, *self.main):
            container = by_name.get(runner.container.name)
            if container is not None and container != runner.container:
                changed.append(asyncio.create_task(runner.update(container)))
        return changed

    def _emit(self, event: EventFact) -> None:
        self._report(self.unit.uid, event)

    def _schedule_report(self) -> None:
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self.publish)

    def publish(self) -> None:
        """Report the fact if it is another one than before."""
        self._pending = False
        fact = PodFact(
            uid=self.unit.uid,
            node=self.unit.node,
            addresses=(self.address,),
            containers=tuple(r.fact for r in self.main),
            init_containers=tuple(r.fact for r in self.init),
            started_at=self._started_at,
        )
        if fact != self._last:
            self._last = fact
            self._report(self.unit.uid, fact)

    def stop(self, grace_seconds: float) -> "asyncio.Task[None]":
        """End all containers; the task is done when none is left. Later calls return the same task."""
        if self._stop_task is None:
            self._stop_task = asyncio.create_task(self._stop(grace_seconds))
        return self._stop_task

    async def _stop(self, grace_seconds: float) -> None:
        runners = [*self.init, *self.main]
        await asyncio.gather(*(runner.stop(grace_seconds) for runner in runners))
        self._gate.set()
        done, _ = await asyncio.wait([self._task], timeout=10)
        if not done:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self.publish()

    async def kill(self) -> None:
        """End all containers now, whatever :meth:`stop` is waiting for."""
        for runner in (*self.init, *self.main):
            await runner.stop(0)
        await self.stop(0)
