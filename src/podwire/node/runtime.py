"""The driver of ``NodePlan``: real namespaces, links, processes and stand-ins.

Rules:

1. :meth:`NodeRuntime.apply` returns when nodes, sandboxes and routes are as the plan says and their facts are
   reported; containers start and end in the background and report themselves.
2. Wires change in one worker thread, in order; a cancelled ``apply`` lets the step under way end, and the next one
   continues from there.
3. The first ``apply`` removes what a dead runtime of the same cluster left; two runtimes of one cluster cannot run.
4. A pod that is changed at its roots (another uid, node, or network) is another pod.
5. One pod or node that fails is a fact, not an exception.
6. While containers of other runtimes are attached, the wires outlive the process: :meth:`NodeRuntime.close` leaves the
   nodes, and the first ``apply`` of the next process goes on with them. Only pods of its own are gone.
"""

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from podwire.base import PodwireError
from podwire.node import cleanup, netns, sockets
from podwire.node.attacher import Attacher
from podwire.node.attachments import Attachments
from podwire.node.certificate import StandInTls
from podwire.node.checks import Checker
from podwire.node.context import Services
from podwire.node.fabric import Fabric, is_same_node, remove_everything
from podwire.node.ipam import Ipam
from podwire.node.launch import Launcher
from podwire.node.logs import LogStore
from podwire.node.pod import PodRunner
from podwire.node.streams import AttachSession, ExecSession, open_session
from podwire.node.usage import Meter, Running, Usage, add_up
from podwire.node.volumes import TokenSource, VolumeStore
from podwire.node.wires import Record
from podwire.node.work import ProcessRun
from podwire.plan import Fact, NodeFact, NodePlan, PodFact, Report
from podwire.plan.node import Node, Pod

_SANDBOXES_AT_ONCE: Final = 50
R = TypeVar("R")


class NodeRuntime:
    """Runs the nodes and pods of one cluster. Use from one event loop."""

    def __init__(self, report: Report, *, state_dir: Path, tokens: TokenSource | None = None) -> None:
        """``state_dir`` (made 0700) holds logs, volumes and the fork server's mount point; ``tokens`` issues the
        ServiceAccount tokens of projected volumes. Nothing happens before ``apply``."""
        self._report = report
        self._state_dir = state_dir
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="podwire-wires")
        self._lock = asyncio.Lock()
        self._services = Services(
            state_dir=state_dir,
            logs=LogStore(state_dir / "logs"),
            launcher=Launcher(state_dir),
            checker=Checker(),
            tls=StandInTls(state_dir),
            store=VolumeStore(state_dir, tokens),
        )
        self._meter = Meter(self._running_containers, time.time)
        self._claim: socket.socket | None = None
        self._fabric: Fabric | None = None
        self._applied: NodePlan | None = None
        self._nodes: dict[str, Node] = {}
        self._ipam: dict[str, Ipam] = {}
        self._pods: dict[str, PodRunner] = {}
        self._units: dict[str, Pod] = {}
        self._refused: dict[str, Pod] = {}
        self._gone: set[str] = set()
        self._attachments = Attachments(self._report_fact, state_dir)
        self._attacher = Attacher(
            self._attachments,
            lock=self._lock,
            fabric=lambda: None if self._closed else self._fabric,
            ipam=self._ipam,
            runs=lambda place: any(unit.pod.key == place for unit in self._units.values()),
            in_thread=self._run_in_thread,
        )
        self._background: set[asyncio.Task[None]] = set()
        self._steps: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def outlives(self) -> bool:
        """Rule 6: whether the wires are to stay when this process ends."""
        return bool(self._attachments)

    # Driver

    async def apply(self, plan: NodePlan) -> None:
        """Make the machine equal to ``plan``.

        Raises :class:`podwire.base.EnvironmentUnfit` when this machine cannot hold namespaces at all, and
        :class:`PodwireError` when another process runs this cluster.
        """
        step = asyncio.create_task(self._apply_locked(plan))
        self._steps.add(step)
        step.add_done_callback(self._steps.discard)
        await asyncio.shield(step)

    async def _apply_locked(self, plan: NodePlan) -> None:
        async with self._lock:
            if self._closed or plan is self._applied:
                return
            fabric = await self._ensure_fabric(plan)
            self._retire_pods(plan)
            await self._apply_nodes(fabric, plan)
            await self._apply_pods(fabric, plan)
            await self._run_in_thread(fabric.set_host_routes, tuple(plan.routes.values()))
            self._applied = plan
            await self._attacher.follow(fabric, plan)

    async def close(self) -> None:
        """Kill all containers and remove every namespace, link and route of the cluster (but see rule 6)."""
        self._closed = True
        async with self._lock:
            await asyncio.gather(*(pod.kill() for pod in self._pods.values()))
            background = list(self._background)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._services.launcher.close()
            for uid in list(self._pods):
                self._services.logs.remove(uid)
                self._services.store.rest(uid)
            self._pods.clear()
            self._units.clear()
            if self._fabric is not None:
                await self._run_in_thread(self._fabric.rest if self.outlives else self._fabric.close)
                self._fabric = None
            self._attachments.close()
            self._release_claim()
        self._thread.shutdown(wait=True)

    def _release_claim(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            claim.close()

    def _spawn(self, coroutine: Coroutine[object, object, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def _run_in_thread(self, function: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    async def _ensure_fabric(self, plan: NodePlan) -> Fabric:
        if self._fabric is not None:
            if _shape(plan) != _shape(self._fabric.plan):
                raise PodwireError("a running cluster keeps its name, node subnets, network and MTU; start it anew")
            return self._fabric
        netns.check_privilege()
        self._claim = cleanup.hold(plan.cluster)
        fabric = Fabric(plan)
        try:
            _raise_file_limit()
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._attachments.open()
            await self._run_in_thread(_prepare, fabric, self._attachments.wires())
            self._services.forget_stale({pod.uid for pod in plan.pods.values()})
        except BaseException:
            self._release_claim()
            raise
        self._fabric = fabric
        return fabric

    # Nodes

    async def _apply_nodes(self, fabric: Fabric, plan: NodePlan) -> None:
        gone = [name for name, node in self._nodes.items() if not is_same_node(node, plan.nodes.get(name))]
        fresh = [node for name, node in plan.nodes.items() if name not in self._nodes or name in gone]
        for name in gone:
            await self._drop_node(fabric, name)
        for node in fresh:
            await self._add_node(fabric, node)
        if gone or fresh:
            await self._run_in_thread(fabric.set_node_routes)
        for name, node in plan.nodes.items():
            known = self._nodes.get(name)
            if known is not None and (known.cut is not node.cut or (node.cut and node in fresh)):
                await self._set_link(fabric, node)

    async def _set_link(self, fabric: Fabric, node: Node) -> None:
        """Cut a node off, or take it back. Its pods go on, and nobody hears of them."""
        try:
            await self._run_in_thread(partial(fabric.set_link, node.name, up=not node.cut))
        except (PodwireError, OSError) as error:
            self._report(node.name, NodeFact(ready=not node.cut, message=str(error)))
            return
        self._nodes[node.name] = node
        since = time.time() if node.cut else 0.0
        message = "the node's link is cut" if node.cut else ""
        self._report(node.name, NodeFact(ready=not node.cut, message=message, silent_since=since))

    async def _drop_node(self, fabric: Fabric, name: str) -> None:
        for uid in [uid for uid, unit in self._units.items() if unit.node == name]:
            await self._pods[uid].kill()
            await self._finish_removal(uid)
        await self._run_in_thread(fabric.remove_node, name)
        del self._nodes[name]
        del self._ipam[name]
        self._report(name, NodeFact(ready=False, message="the node was removed"))

    async def _add_node(self, fabric: Fabric, node: Node) -> None:
        try:
            ipam = Ipam(node.pod_cidrs)
            await self._run_in_thread(fabric.add_node, node)
            for attachment in self._attachments.on(node.name):
                ipam.allocate(attachment.addresses)
        except (PodwireError, OSError, ValueError) as error:
            self._report(node.name, NodeFact(ready=False, message=str(error)))
            return
        self._nodes[node.name], self._ipam[node.name] = node, ipam
        self._retry_refused(node.name)
        self._report(node.name, NodeFact(ready=True))

    # Pods

    def _retire_pods(self, plan: NodePlan) -> None:
        """Begin to stop what the plan has no more, or wants stopped."""
        wanted = {pod.uid: pod for pod in plan.pods.values()}
        for uid, runner in self._pods.items():
            pod = wanted.get(uid)
            if runner.stopping:
                # Once terminating, the API forgets a pod before its end only when somebody forced it.
                if runner.unit.terminating and (pod is None or pod.grace_seconds == 0):
                    self._spawn(runner.kill())
            elif pod is None or pod.terminating or pod.node != runner.unit.node:
                runner.context.unit = pod or runner.unit
                self._spawn(self._remove(uid, runner.unit.grace_seconds))
        for uid in [uid for uid in self._refused if uid not in wanted]:
            del self._refused[uid]
        self._gone &= set(wanted)

    async def _remove(self, uid: str, grace_seconds: float) -> None:
        await self._pods[uid].stop(grace_seconds)
        async with self._lock:
            await self._finish_removal(uid)
            if self._fabric is not None and self._applied is not None and not self._closed:
                await self._apply_pods(self._fabric, self._applied)

    async def _finish_removal(self, uid: str) -> None:
        runner = self._pods.pop(uid, None)
        if runner is None or self._fabric is None:
            return
        unit, trouble = self._units.pop(uid), ""
        if not unit.host_network:
            try:
                await self._run_in_thread(self._fabric.remove_pod, unit)
            except (PodwireError, OSError) as error:  # the next start removes it
                trouble = str(error)
            if unit.node in self._ipam:
                self._ipam[unit.node].release(runner.addresses)
        self._services.forget(uid)
        self._retry_refused(unit.node)
        self._gone.add(uid)
        self._report(uid, msgspec.structs.replace(runner.last_fact, gone=True, message=trouble))

    async def _apply_pods(self, fabric: Fabric, plan: NodePlan) -> None:
        """What is new gets a sandbox; a pod whose name an ending pod still has waits for that one's end."""
        fresh: list[Pod] = []
        names = {unit.pod for unit in self._units.values()}
        for pod in plan.pods.values():
            if pod.attached:
                continue
            runner = self._pods.get(pod.uid)
            if runner is not None:
                self._update_pod(runner, pod)
            elif pod.terminating:
                self._report_never_ran(pod)
            elif pod.pod not in names and self._refused.get(pod.uid) != pod:
                fresh.append(pod)
        for start in range(0, len(fresh), _SANDBOXES_AT_ONCE):
            await self._add_pods(fabric, fresh[start : start + _SANDBOXES_AT_ONCE])

    def _report_never_ran(self, pod: Pod) -> None:
        """A pod that is to end and is not here; said once."""
        if pod.uid not in self._gone:
            self._gone.add(pod.uid)
            self._report(pod.uid, PodFact(uid=pod.uid, node=pod.node, gone=True))

    def _update_pod(self, runner: PodRunner, pod: Pod) -> None:
        if runner.unit is pod or runner.stopping:
            return
        for task in runner.update(pod):
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def _add_pods(self, fabric: Fabric, pods: list[Pod]) -> None:
        """Sandboxes of some pods: wires in the thread, then a runner each, which reports the address."""
        addresses: list[tuple[Pod, tuple[str, ...]]] = []
        for pod in pods:
            try:
                addresses.append((pod, self._allocate(pod)))
            except PodwireError as error:
                self._refuse(pod, str(error))
        failures = await self._run_in_thread(_wire_pods, fabric, addresses)
        for pod, given in addresses:
            if pod.uid in failures:
                self._refuse(pod, failures[pod.uid])
                if not pod.host_network:
                    self._ipam[pod.node].release(given)
                continue
            self._refused.pop(pod.uid, None)
            self._units[pod.uid] = pod
            self._pods[pod.uid] = PodRunner(
                fabric.cluster, pod, given, services=self._services, report=self._report_fact
            )

    def _allocate(self, pod: Pod) -> tuple[str, ...]:
        node = self._nodes.get(pod.node)
        if node is None:
            raise PodwireError(f"node {pod.node} has no namespace")
        return node.addresses if pod.host_network else self._ipam[pod.node].allocate(pod.addresses)

    def _refuse(self, pod: Pod, why: str) -> None:
        """Report a sandbox that cannot be made. It is tried again when its unit changes, or anything on its node."""
        self._refused[pod.uid] = pod
        self._report(pod.uid, PodFact(uid=pod.uid, node=pod.node, message=f"Failed to create pod sandbox: {why}"))

    def _retry_refused(self, node: str) -> None:
        self._refused = {uid: pod for uid, pod in self._refused.items() if pod.node != node}

    def _report_fact(self, key: str, fact: Fact) -> None:
        if not self._closed:
            self._report(key, fact)

    @property
    def attacher(self) -> Attacher:
        """What CNI asks of this runtime."""
        return self._attacher

    # Usage

    def _running_containers(self) -> dict[tuple[str, str], Running]:
        found: dict[tuple[str, str], Running] = {}
        for uid, pod in self._pods.items():
            for runner in (*pod.main, *pod.init, *pod.ephemeral):
                run = runner.run
                if run is not None:
                    program = run.program if isinstance(run, ProcessRun) else None
                    pid = program.pid if program is not None else 0
                    found[uid, runner.container.name] = Running(pid, runner.fact.started_at)
        return found

    def pod_usage(self, uid: str) -> dict[str, Usage]:
        """What the running containers of a pod use, by name."""
        return {name: used for (owner, name), used in self._meter.usage().items() if owner == uid}

    def node_usage(self, name: str) -> Usage | None:
        """What the pods of a node use together; None when nothing runs there."""
        here = {uid for uid, unit in self._units.items() if unit.node == name}
        return add_up([used for (uid, _), used in self._meter.usage().items() if uid in here])

    # Streams

    def _find(self, uid: str) -> PodRunner:
        runner = self._pods.get(uid)
        if runner is None:
            raise PodwireError(f"pod {uid} is not running on this machine")
        return runner

    def logs(
        self, uid: str, container: str, *, follow: bool, previous: bool
    ) -> AsyncIterator[tuple[float, str, bytes]]:
        """Lines of a container (the first one when empty). Raises :class:`PodwireError` when there is no such run."""
        name = self._find(uid).find(container).container.name
        return self._services.logs.read(uid, name, follow=follow, previous=previous)

    async def exec(self, uid: str, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> ExecSession:
        """Run a program in a container; in a stand-in: one of this machine's, in the pod's network and names.

        Raises :class:`PodwireError` when the container does not run or the program does not exist.
        """
        runner = self._find(uid)
        target = runner.find(container)
        run = target.run
        if run is None:
            raise PodwireError(f'container "{target.container.name}" is not running')
        request = runner.context.request(target.container, tuple(argv), tty=tty)
        if isinstance(run, ProcessRun):
            request = msgspec.structs.replace(request, join=run.program)
        return await open_session(self._services.launcher, request, stdin=stdin)

    async def attach(self, uid: str, container: str, *, stdin: bool, tty: bool) -> ExecSession:
        """The output of a running container from now on, and with ``stdin`` its input.

        Raises :class:`PodwireError` when it does not run, or has no open stdin. ``tty`` is as the container has it.
        """
        target = self._find(uid).find(container)
        if target.run is None:
            raise PodwireError(f'container "{target.container.name}" is not running')
        source = target.run.stdin if stdin and isinstance(target.run, ProcessRun) else None
        if stdin and source is None:
            raise PodwireError(f'container "{target.container.name}" does not have its stdin open')
        return AttachSession(self._services.logs.current(uid, target.container.name), target.run.exited, source)

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TCP connection inside the pod's network, as port-forward needs it. Raises :class:`PodwireError`."""
        runner = self._find(uid)
        connection = await sockets.connect_local(runner.context.netns, runner.addresses, port)
        return await asyncio.open_connection(sock=connection)


def _shape(plan: NodePlan) -> tuple[object, ...]:
    """What cannot change while a cluster runs."""
    return plan.cluster, plan.fabrics, plan.network, plan.mtu


def _prepare(fabric: Fabric, record: Record | None) -> None:
    netns.ensure_mount_point()
    if record is None or not fabric.adopt(record):
        remove_everything(fabric.cluster)
        fabric.open()


def _wire_pods(fabric: Fabric, pods: Iterable[tuple[Pod, tuple[str, ...]]]) -> dict[str, str]:
    """Make the sandboxes; returns why by uid for those that failed."""
    failures = {}
    for pod, addresses in pods:
        if pod.host_network:
            continue
        try:
            fabric.add_pod(pod, addresses)
        except (PodwireError, OSError) as error:
            failures[pod.uid] = str(error)
            with suppress(PodwireError, OSError):
                fabric.remove_pod(pod)
    return failures


def _raise_file_limit() -> None:
    """A pod holds a few sockets; the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft != hard else soft, hard))
