"""One container through all its runs: start, probes, restarts, and the fact that says where it is.

Rules:

1. The fact is the only output; whoever reads it never asks the run.
2. Restarts follow the policy of the pod, with back-off (:mod:`podwire.node.backoff`); a liveness or startup probe
   that fails ends the run, and the policy decides.
3. Without a readiness probe a container is ready when it runs (a stand-in: when it listens) and has started.
4. On a stand-in no command of a probe is run, since the image's programs are not there: it passes, and an event says
   so. gRPC probes only check that the port accepts a connection, and an event says so.

Source: kubernetes ``pkg/kubelet/kuberuntime``, ``pkg/kubelet/prober``.
"""

import asyncio
import os
from contextlib import suppress

import msgspec

from podwire.base import PodwireError
from podwire.node.backoff import Backoff
from podwire.node.context import PodContext
from podwire.node.launch import ProgramMissing
from podwire.node.probing import ProbeKind, ProbeState, Verdict
from podwire.node.work import ProcessRun, Run, StandInRun, make_run
from podwire.plan import ContainerFact
from podwire.plan.node import Container, ExecCheck, GrpcCheck, Probe, StandInWork

_START_FAILED_CODE = 128


class ContainerRunner:
    """Runs one container until it has ended for good."""

    def __init__(self, context: PodContext, container: Container, *, policy: str, waiting: str) -> None:
        """``policy`` is the restart policy; ``waiting`` the reason shown until the first start."""
        self.container = container
        self.run: Run | None = None
        self.fact = ContainerFact(container.name, "waiting", reason=waiting)
        self._context = context
        self._policy = policy
        self._backoff = Backoff()
        self._stopping = asyncio.Event()
        self._replaced = False
        self._ended: ContainerFact | None = None
        self.started = asyncio.Event()

    def _set(self, **changes: object) -> None:
        self.fact = msgspec.structs.replace(self.fact, **changes)
        self._context.changed()

    async def main(self) -> bool:
        """Run it, again and again as the policy says; returns whether the last run ended well."""
        number = 0
        if not self._stopping.is_set():
            self._announce()
        while not self._stopping.is_set():
            began = self._context.now()
            code = await self._run_once(number)
            if self._stopping.is_set() or not self._restarts(code):
                return code == 0
            self._remember_end()
            await self._wait_to_restart(self._context.now() - began)
            number += 1
            self._set(restarts=number)
        return False

    def _announce(self) -> None:
        what, why = self.container.image or "no image", self.container.work.reason
        self._context.event("Normal", "Pulled", f"Container image {what!r}: {why}", source="podwire")

    def _restarts(self, code: int) -> bool:
        if self._replaced:
            self._replaced = False
            return True
        return self._policy == "Always" or (self._policy == "OnFailure" and code != 0)

    async def _run_once(self, number: int) -> int:
        """One run, from start to end; returns its exit code."""
        logs = self._context.services.logs
        log = logs.open_run(self._context.unit.uid, self.container.name, number)
        run = make_run(self._context, self.container, log)
        try:
            await run.start()
        except PodwireError as error:
            log.close()
            return self._note_start_failure(error, number)
        self.run = run
        if self._stopping.is_set():
            await run.stop(0)
        self._note_started(number)
        probes = asyncio.create_task(self._probe(run))
        try:
            code = await asyncio.shield(run.exited)
        finally:
            probes.cancel()
            with suppress(asyncio.CancelledError):
                await probes
            self.run = None
            log.close()
        self._note_ended(code)
        return code

    def _note_started(self, number: int) -> None:
        name = self.container.name
        self._context.event("Normal", "Created", f"Created container: {name}")
        self._context.event("Normal", "Started", f"Started container {name}")
        started = self.container.startup is None
        self._set(
            state="running",
            reason="",
            message="",
            started=started,
            ready=started and self.container.readiness is None,
            started_at=self._context.now(),
            finished_at=0.0,
            exit_code=0,
            container_id=self._context.container_id(name, number),
        )
        if started:
            self.started.set()

    def _note_start_failure(self, error: PodwireError, number: int) -> int:
        now = self._context.now()
        missing = isinstance(error, ProgramMissing)
        self._context.event("Warning", "Failed", f"Error: {error}")
        self._set(container_id=self._context.container_id(self.container.name, number), started_at=now)
        self._note_end("StartError" if missing else "ContainerCannotRun", _START_FAILED_CODE, str(error))
        if self._restarts_forever():
            self._set(state="waiting", reason="RunContainerError", message=str(error))
        return _START_FAILED_CODE

    def _restarts_forever(self) -> bool:
        return self._policy in {"Always", "OnFailure"} and not self._stopping.is_set()

    def _note_ended(self, code: int) -> None:
        self._note_end("Completed" if code == 0 else "Error", code, "")

    def _note_end(self, reason: str, code: int, message: str) -> None:
        now = self._context.now()
        self._set(
            state="terminated",
            ready=False,
            started=False,
            reason=reason,
            message=message,
            exit_code=code,
            finished_at=now,
        )
        self._ended = self.fact

    def _remember_end(self) -> None:
        """The last state is that of the run before: there is one only once another run is decided on."""
        ended = self._ended
        if ended is not None:
            self._set(
                last_exit_code=ended.exit_code,
                last_reason=ended.reason,
                last_started_at=ended.started_at,
                last_finished_at=ended.finished_at,
            )

    async def _wait_to_restart(self, ran_seconds: float) -> None:
        delay = self._backoff.next_seconds(ran_seconds)
        if not delay:
            return
        name, unit = self.container.name, self._context.unit
        text = f"back-off {delay:g}s restarting failed container={name} pod={unit.pod.name}_{unit.pod.namespace}"
        if self.fact.reason != "RunContainerError":
            self._set(state="waiting", reason="CrashLoopBackOff", message=text)
        self._context.event("Warning", "BackOff", f"Back-off restarting failed container {name} in pod {unit.pod.name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._stopping.wait()

    async def stop(self, grace_seconds: float) -> None:
        """End the run and do not start another; :meth:`main` returns soon after."""
        self._stopping.set()
        await self._end_run(grace_seconds, "Stopping container " + self.container.name)

    async def _end_run(self, grace_seconds: float, why: str) -> None:
        run = self.run
        if run is not None and not run.exited.done():
            self._context.event("Normal", "Killing", why)
            await run.stop(grace_seconds)

    async def update(self, container: Container) -> None:
        """A new description: other ports are taken over at once, another image starts a new run.

        Other arguments or environment count from the next run on, as with a kubelet.
        """
        before, self.container = self.container, container
        run = self.run
        if isinstance(run, StandInRun) and isinstance(container.work, StandInWork):
            for text in await run.set_ports(container.work.ports):
                self._context.event_once("Warning", "PortUnavailable", text)
        if before.image != container.image or type(before.work) is not type(container.work):
            self._replaced = True
            await self._end_run(self._context.unit.grace_seconds, f"Container {container.name} definition changed")

    # Probes

    async def _probe(self, run: Run) -> None:
        """All probes of one run: startup alone first, then readiness and liveness."""
        container = self.container
        if container.startup is not None:
            await self._watch(container.startup, "startup", run)
            self._set(started=True, ready=container.readiness is None)
            self.started.set()
        async with asyncio.TaskGroup() as group:
            if container.readiness is not None:
                group.create_task(self._watch(container.readiness, "readiness", run))
            if container.liveness is not None:
                group.create_task(self._watch(container.liveness, "liveness", run))

    async def _watch(self, probe: Probe, kind: ProbeKind, run: Run) -> None:
        """Check again and again; returns when a startup probe has passed or the run was ended by us."""
        loop = asyncio.get_running_loop()
        state = ProbeState(probe, kind, loop.time())
        await asyncio.sleep(state.first_delay_seconds)
        said = ""
        while not run.exited.done():
            why = await self._check(probe, run)
            if why and why != said and state.counts(False, loop.time()):
                self._context.event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {why}")
                said = why
            verdict = state.observe(not why, loop.time())
            if await self._act_on(verdict, kind):
                return
            said = said if why else ""
            await asyncio.sleep(state.next_delay_seconds())

    async def _act_on(self, verdict: Verdict, kind: ProbeKind) -> bool:
        """Do what a verdict means; whether the probe's work is done."""
        if verdict is Verdict.SAME:
            return False
        if kind == "readiness":
            self._set(ready=verdict is Verdict.PASSED)
            return False
        if verdict is Verdict.PASSED:
            return kind == "startup"
        why = f"Container {self.container.name} failed {kind} probe, will be restarted"
        ending = asyncio.create_task(self._end_run(self._context.unit.grace_seconds, why))
        await asyncio.shield(ending)
        return True

    async def _check(self, probe: Probe, run: Run) -> str:
        if isinstance(probe.check, ExecCheck) and isinstance(run, StandInRun):
            text = f"{self.container.name}: the probe's command is not run on a stand-in; it counts as passed"
            self._context.event_once("Warning", "ProbeNotRun", text)
            return ""
        if isinstance(probe.check, GrpcCheck):
            text = f"{self.container.name}: gRPC health checks are not spoken yet; the port is checked by connecting"
            self._context.event_once("Warning", "ProbeReduced", text)
        context = self._context
        return await context.services.checker.check(
            probe, space=context.node_netns, address=context.address, run_command=self._run_command
        )

    async def _run_command(self, argv: tuple[str, ...], timeout_seconds: float) -> str:
        """Run a probe's command in the container; empty when it exits 0."""
        run = self.run
        if not isinstance(run, ProcessRun) or run.program is None:
            return "the container is not running"
        request = msgspec.structs.replace(self._context.request(self.container, argv), join=run.program)
        streams = tuple(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC) for _ in range(3))
        program = await self._context.services.launcher.start(request, (streams[0], streams[1], streams[2]))
        try:
            code = await program.wait()
        finally:
            program.kill()
        return "" if code == 0 else f"command {argv[0]!r} exited with code {code}"
