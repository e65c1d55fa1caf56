"""One container through all its runs: start, probes, restarts, and the fact that says where it is.

Rules:

1. The fact is the only output; whoever reads it never asks the run.
2. Restarts follow the container's rules, its policy, else the pod's, with back-off (:mod:`podwire.node.backoff`); a
   liveness or startup probe that fails ends the run, and the policy decides.
3. Without a readiness probe a container is ready when it runs (a stand-in: when it listens) and has started.
4. On a stand-in no command of a probe or hook is run, since the image's programs are not there: it passes, and an
   event says so.
5. A container runs for others once its hook after start has passed; a hook that fails ends the run. The hook before
   stop takes its time from the grace period, of which two seconds are always left.

Source: kubernetes ``pkg/kubelet/kuberuntime``, ``pkg/kubelet/prober``.
"""

import asyncio
import os
from contextlib import suppress

import msgspec

from podwire.base import PodwireError
from podwire.node.backoff import Backoff
from podwire.node.context import PodContext
from podwire.node.hooks import run_hook
from podwire.node.lastwords import ensure_message_file, read_message, tail_message
from podwire.node.launch import Program, ProgramMissing
from podwire.node.logs import RunLog
from podwire.node.probing import ProbeKind, ProbeState, Verdict
from podwire.node.work import ProcessRun, Run, StandInRun, make_run
from podwire.plan import ContainerFact
from podwire.plan.node import Container, ExecCheck, Hook, Probe, ProcessWork, StandInWork

_START_FAILED_CODE = 128
_LEAST_GRACE_SECONDS = 2.0


class ContainerRunner:
    """Runs one container until it has ended for good."""

    def __init__(
        self, context: PodContext, container: Container, *, policy: str, waiting: str, is_init: bool = False
    ) -> None:
        """``policy`` is the pod's restart policy; ``waiting`` the reason shown until the first start."""
        self.container = container
        self.is_init = is_init
        self.done = False
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
        try:
            return await self._run_again_and_again()
        finally:
            self.done = True

    async def _run_again_and_again(self) -> bool:
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

    @property
    def policy(self) -> str:
        """The restart policy in force."""
        return self.container.restart_policy or self._policy

    def _restarts(self, code: int) -> bool:
        if self._replaced:
            self._replaced = False
            return True
        if any((code in rule.codes) == rule.among for rule in self.container.restart_rules):
            return True
        return self.policy == "Always" or (self.policy == "OnFailure" and code != 0)

    async def _run_once(self, number: int) -> int:
        """One run, from start to end; returns its exit code."""
        logs, context = self._context.services.logs, self._context
        log = logs.open_run(context.unit.uid, self.container.name, number)
        words = ""
        if self.container.message_path and isinstance(self.container.work, ProcessWork):
            folder = context.services.message_folder(context.unit.uid)
            words = ensure_message_file(folder, self.container.name, number)
        try:
            beside = await self._neighbour() if isinstance(self.container.work, ProcessWork) else None
            run = make_run(context, self.container, log, words=words, beside=beside)
            await run.start()
        except PodwireError as error:
            log.close()
            return self._note_start_failure(error, number)
        self.run = run
        if self._stopping.is_set():
            await run.stop(0)
        probes = asyncio.create_task(self._live(run, number))
        try:
            code = await asyncio.shield(run.exited)
        finally:
            probes.cancel()
            with suppress(asyncio.CancelledError):
                await probes
            self.run = None
            log.close()
        await self._note_ended(code, log, words)
        return code

    async def _neighbour(self) -> Program | None:
        """The program whose processes this container shares: its target's, or those of the pod. Raises
        :class:`PodwireError`."""
        target = self.container.target
        if target:
            found = self._context.find_run(target)
            if found is None:
                raise PodwireError(f"unable to find target container {target!r}")
            if isinstance(found, ProcessRun):
                return found.program
            text = f"{self.container.name}: container {target} is a stand-in and has no processes to share"
            self._context.event_once("Warning", "NoProcessesToShare", text)
        return await self._context.first_process() if self._context.unit.share_processes else None

    async def _live(self, run: Run, number: int) -> None:
        """Beside a run: the hook after its start, then the probes."""
        self._context.event("Normal", "Created", f"Created container: {self.container.name}")
        self._context.event("Normal", "Started", f"Started container {self.container.name}")
        hook = self.container.post_start
        why = await run_hook(hook, run, self._context, self._run_command) if hook else ""
        if run.exited.done():
            return
        if why:
            self._context.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {why}")
            self._set(container_id=self._context.container_id(self.container.name, number))
            ending = asyncio.create_task(self._end_run(self._context.unit.grace_seconds, "FailedPostStartHook"))
            await asyncio.shield(ending)
            return
        self._note_started(number)
        await self._probe(run)

    def _note_started(self, number: int) -> None:
        name = self.container.name
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
        return self.policy in {"Always", "OnFailure"} and not self._stopping.is_set()

    async def _note_ended(self, code: int, log: RunLog, words: str) -> None:
        message = read_message(words) if words else ""
        if not message and code and self.container.message_from_logs:
            message = await tail_message(log)
        self._note_end("Completed" if code == 0 else "Error", code, message)

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
        if run is None or run.exited.done():
            return
        self._context.event("Normal", "Killing", why)
        hook = self.container.pre_stop
        if hook is not None and grace_seconds > 0:
            grace_seconds = await self._prepare_stop(hook, run, grace_seconds)
        await run.stop(grace_seconds)

    async def _prepare_stop(self, hook: Hook, run: Run, grace_seconds: float) -> float:
        """The hook before stop; what is left of the grace period."""
        began, why = self._context.now(), f"no end within {grace_seconds:g}s"
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                why = await run_hook(hook, run, self._context, self._run_command)
        if why and not run.exited.done():
            self._context.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {why}")
        return max(_LEAST_GRACE_SECONDS, grace_seconds - (self._context.now() - began))

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
            if await self._act_on(verdict, kind, probe):
                return
            said = said if why else ""
            await asyncio.sleep(state.next_delay_seconds())

    async def _act_on(self, verdict: Verdict, kind: ProbeKind, probe: Probe) -> bool:
        """Do what a verdict means; whether the probe's work is done."""
        if verdict is Verdict.SAME:
            return False
        if kind == "readiness":
            self._set(ready=verdict is Verdict.PASSED)
            return False
        if verdict is Verdict.PASSED:
            return kind == "startup"
        why = f"Container {self.container.name} failed {kind} probe, will be restarted"
        grace = self._context.unit.grace_seconds if probe.grace_seconds is None else probe.grace_seconds
        ending = asyncio.create_task(self._end_run(grace, why))
        await asyncio.shield(ending)
        return True

    async def _check(self, probe: Probe, run: Run) -> str:
        if isinstance(probe.check, ExecCheck) and isinstance(run, StandInRun):
            text = f"{self.container.name}: the probe's command is not run on a stand-in; it counts as passed"
            self._context.event_once("Warning", "ProbeNotRun", text)
            return ""
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
