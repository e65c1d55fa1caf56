"""One pod: init containers in order, sidecars beside them, then its containers, until it is removed.

Rules:

1. Containers start only once ``run`` was true; that gate never closes again.
2. The fact is reported when it differs from the last one, at most once per turn of the event loop.
3. Stopping is idempotent, bounded by the grace period, and leaves no program behind. Sidecars (init containers that
   always restart) begin in order, each once the one before has started, and end last, in reverse order.
4. An ephemeral container runs once, beside the others; nothing waits for it, and it ends with them.
5. A pod whose volumes cannot be had waits and tries again. One that is active longer than its deadline fails.
"""

import asyncio
from contextlib import suppress
from typing import Final

from podwire.base import PodwireError
from podwire.node.container import ContainerRunner
from podwire.node.context import PodContext, Services
from podwire.node.work import Run
from podwire.plan import EventFact, PodFact, Report
from podwire.plan.node import Container, HostVolume, Pod

_FIRST_RETRY_SECONDS: Final = 0.5
_LAST_RETRY_SECONDS: Final = 10.0
_LEAST_GRACE_SECONDS: Final = 2.0


def _is_sidecar(runner: ContainerRunner) -> bool:
    return runner.policy == "Always" and runner.is_init


class PodRunner:
    """Runs one pod. Made when its sandbox is up."""

    def __init__(
        self, cluster: str, unit: Pod, addresses: tuple[str, ...], *, services: Services, report: Report
    ) -> None:
        """``report`` takes facts and events under the pod's uid."""
        self.addresses = addresses
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._last: PodFact | None = None
        self._pending = False
        self._gate = asyncio.Event()
        self._stop_task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._endings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._failed = ("", "")
        self.context = PodContext(
            cluster, unit, addresses, services=services, emit=self._emit, changed=self._schedule_report
        )
        self._started_at = self.context.now()
        first = "PodInitializing" if unit.init_containers else "ContainerCreating"
        init_policy = "Never" if unit.restart_policy == "Never" else "OnFailure"
        self.init = [self._runner(c, init_policy, "PodInitializing", is_init=True) for c in unit.init_containers]
        self.main = [self._runner(c, unit.restart_policy, first) for c in unit.containers]
        self.ephemeral: list[ContainerRunner] = []
        self._visits: set[asyncio.Task[None]] = set()
        self.context.find_run = self._find_run
        self.publish()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._complain)
        self.update(unit)

    def _runner(self, container: Container, policy: str, waiting: str, *, is_init: bool = False) -> ContainerRunner:
        return ContainerRunner(self.context, container, policy=policy, waiting=waiting, is_init=is_init)

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
        for runner in (*self.main, *self.init, *self.ephemeral):
            if not name or runner.container.name == name:
                return runner
        raise PodwireError(f"container {name} not found in pod {self.unit.pod.key}")

    def _find_run(self, name: str) -> Run | None:
        return next((r.run for r in (*self.main, *self.init) if r.container.name == name), None)

    async def _run(self) -> None:
        await self._gate.wait()
        deadline = self.unit.deadline_seconds
        if deadline is not None and not self.stopping:
            left = max(0.0, self._started_at + deadline - self.context.now())
            self._timer = self._loop.call_later(left, self._exceed_deadline)
        if self.unit.volumes:
            await self._wait_for_volumes()
        async with asyncio.TaskGroup() as beside:
            if await self._initialize(beside):
                async with asyncio.TaskGroup() as group:
                    for runner in self.main:
                        group.create_task(runner.main())
            if not self.stopping:
                await asyncio.gather(*(runner.stop(self.unit.grace_seconds) for runner in self.ephemeral))
                await self._stop_sidecars(self.unit.grace_seconds)

    async def _initialize(self, beside: asyncio.TaskGroup) -> bool:
        """Init containers, one after the other; whether all went well. Sidecars go on in ``beside``."""
        for runner in self.init:
            if self.stopping:
                return False
            if not _is_sidecar(runner):
                if not await runner.main():
                    return False
                continue
            task = beside.create_task(runner.main())
            started = asyncio.create_task(runner.started.wait())
            await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
            started.cancel()
        return not self.stopping

    async def _wait_for_volumes(self) -> None:
        """Rule 4, for the volumes of the machine."""
        delay = _FIRST_RETRY_SECONDS
        while not self._ending.is_set():
            try:
                for volume in self.unit.volumes:
                    if isinstance(volume, HostVolume):
                        self.context.services.store.ensure(self.unit, volume)
                return
            except (PodwireError, OSError) as error:
                text = f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                self.context.event_once("Warning", "FailedMount", text)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._ending.wait()
            delay = min(delay * 2, _LAST_RETRY_SECONDS)

    def _exceed_deadline(self) -> None:
        """End the containers for good; the pod itself stays until somebody deletes it."""
        if all(r.done for r in self.main):
            return
        self._failed = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
        self.context.event("Normal", *self._failed)
        ending = asyncio.create_task(self._end_containers(self.unit.grace_seconds))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _end_containers(self, grace_seconds: float) -> None:
        """Containers first, sidecars after them with what is left of the time."""
        self._ending.set()
        began = self._loop.time()
        first = [r for r in (*self.init, *self.main, *self.ephemeral) if not _is_sidecar(r)]
        await asyncio.gather(*(runner.stop(grace_seconds) for runner in first))
        left = grace_seconds - (self._loop.time() - began)
        await self._stop_sidecars(max(left, _LEAST_GRACE_SECONDS) if grace_seconds > 0 else 0)

    async def _stop_sidecars(self, grace_seconds: float) -> None:
        for runner in reversed(self.init):
            if _is_sidecar(runner):
                await runner.stop(grace_seconds)

    def _complain(self, task: "asyncio.Task[None]") -> None:
        """An exception here is a bug of ours: the loop's handler hears of it at once, not when memory is freed."""
        if not task.cancelled() and task.exception() is not None:
            text = f"pod {self.unit.pod.key} stopped running"
            self._loop.call_exception_handler({"message": text, "exception": task.exception(), "task": task})

    def update(self, unit: Pod) -> list["asyncio.Task[None]"]:
        """Take a newer unit; returns what runs in the background because of it."""
        before, self.context.unit = self.context.unit, unit
        if unit.volumes and unit.volumes != before.volumes:
            self.context.services.store.update(unit, before)
        if unit.run:
            self._gate.set()
        changed = []
        by_name = {c.name: c for c in (*unit.init_containers, *unit.containers)}
        for runner in (*self.init, *self.main):
            container = by_name.get(runner.container.name)
            if container is not None and container != runner.container:
                changed.append(asyncio.create_task(runner.update(container)))
        self._admit_visitors(unit)
        return changed

    def _admit_visitors(self, unit: Pod) -> None:
        """Rule 4: those not seen yet."""
        known = {runner.container.name for runner in self.ephemeral}
        for container in unit.ephemeral_containers:
            if container.name not in known:
                runner = self._runner(container, "Never", "ContainerCreating")
                self.ephemeral.append(runner)
                visit = asyncio.create_task(self._visit(runner))
                self._visits.add(visit)
                visit.add_done_callback(self._visits.discard)
                self._schedule_report()

    async def _visit(self, runner: ContainerRunner) -> None:
        await self._gate.wait()
        await runner.main()

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
            addresses=self.addresses,
            containers=tuple(r.fact for r in self.main),
            init_containers=tuple(r.fact for r in self.init),
            ephemeral_containers=tuple(r.fact for r in self.ephemeral),
            started_at=self._started_at,
            reason=self._failed[0],
            message=self._failed[1],
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
        if self._timer is not None:
            self._timer.cancel()
        await self._end_containers(grace_seconds)
        self._gate.set()
        done, _ = await asyncio.wait([self._task, *self._endings, *self._visits], timeout=10)
        if self.context.first is not None:
            self.context.first.kill()
        if self._task not in done:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self.publish()

    async def kill(self) -> None:
        """End all containers now, whatever :meth:`stop` is waiting for."""
        for runner in (*self.init, *self.main, *self.ephemeral):
            await runner.stop(0)
        await self.stop(0)
