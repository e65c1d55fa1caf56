"""Carries out the write plan through any source.

Rules:

1. :meth:`ApiDriver.apply` returns at once; writes run as tasks, at most :data:`PARALLEL` at a time, and never two of
   one key. The loop must not wait for the API: what a write changes comes back as a change of an object.
2. A write that succeeded is not repeated while the plan still asks for the same; the change has not come back yet. If
   it still asks after :data:`PATIENCE_SECONDS`, somebody undid it, and it is carried out again.
3. A conflict or a missing object means the decision is outdated: the next compile decides anew. Everything else is
   retried with growing pauses and reported in the plane's fact (``rejected``).
"""

import asyncio
import logging

from podwire.base import PodwireError
from podwire.client import ApiError, Source
from podwire.plan import PlaneFact, Report, Write, WritePlan

PARALLEL = 64
PATIENCE_SECONDS = 2.0
RETRY_SECONDS = (0.2, 1.0, 5.0, 30.0)
OUTDATED = frozenset({404, 409})

_log = logging.getLogger(__name__)


class ApiDriver:
    """The driver of :class:`WritePlan`."""

    def __init__(self, source: Source, report: Report) -> None:
        """``report`` gets the fact ``api`` when what is rejected changes."""
        self._source = source
        self._report = report
        self._plan = WritePlan({})
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._done: dict[str, tuple[Write, float]] = {}
        self._failed: dict[str, tuple[Write, int]] = {}
        self._rejected: dict[str, str] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._slots = asyncio.Semaphore(PARALLEL)

    async def apply(self, plan: WritePlan) -> None:
        """Start what the plan asks for and is not already under way or just done."""
        self._plan = plan
        for forgotten in [key for key in self._done if key not in plan.writes]:
            del self._done[forgotten]
        for forgotten in [key for key in self._failed if key not in plan.writes]:
            del self._failed[forgotten]
            self._set_rejected(forgotten, "")
        for key, write in plan.writes.items():
            self._consider(key, write)

    async def close(self) -> None:
        """Stop; what is under way is cancelled."""
        for timer in self._timers:
            timer.cancel()
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _consider(self, key: str, write: Write, *, retry: bool = False) -> None:
        if key in self._tasks:
            return
        loop = asyncio.get_running_loop()
        done = self._done.get(key)
        if done is not None and done[0] == write and loop.time() < done[1] + PATIENCE_SECONDS:
            self._later(done[1] + PATIENCE_SECONDS - loop.time(), key)
            return
        failed = self._failed.get(key)
        if failed is not None and failed[0] == write and not retry:
            return
        task = loop.create_task(self._carry_out(key, write), name=f"write {key}")
        self._tasks[key] = task
        task.add_done_callback(lambda _: self._finished(key, write))

    def _finished(self, key: str, write: Write) -> None:
        self._tasks.pop(key, None)
        wanted = self._plan.writes.get(key)
        if wanted is not None and wanted != write:
            self._consider(key, wanted)

    async def _carry_out(self, key: str, write: Write) -> None:
        async with self._slots:
            try:
                await self._source.write(write)
            except PodwireError as error:
                self._note_failure(key, write, error)
            else:
                self._failed.pop(key, None)
                self._set_rejected(key, "")
                self._done[key] = (write, asyncio.get_running_loop().time())

    def _note_failure(self, key: str, write: Write, error: PodwireError) -> None:
        if isinstance(error, ApiError) and error.code in OUTDATED:
            _log.debug("%s: outdated: %s", key, error)
            self._later(PATIENCE_SECONDS, key)
            return
        attempts = self._failed[key][1] + 1 if key in self._failed else 1
        self._failed[key] = (write, attempts)
        self._set_rejected(key, str(error))
        _log.warning("write %s failed: %s", key, error)
        self._later(RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1], key, retry=True)

    def _set_rejected(self, key: str, message: str) -> None:
        if self._rejected.get(key, "") == message:
            return
        if message:
            self._rejected[key] = message
        else:
            del self._rejected[key]
        self._report("api", PlaneFact(ready=True, rejected=dict(sorted(self._rejected.items()))))

    def _later(self, seconds: float, key: str, *, retry: bool = False) -> None:
        """Look at ``key`` again after a pause, if the plan still asks for it then."""

        def look_again() -> None:
            self._timers.discard(timer)
            write = self._plan.writes.get(key)
            if write is not None:
                self._consider(key, write, retry=retry)

        timer = asyncio.get_running_loop().call_later(max(seconds, 0.001), look_again)
        self._timers.add(timer)
