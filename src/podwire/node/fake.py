"""The same driver without packets: addresses and readiness as if everything had gone well, at once.

Used offline and by tests of the rooms above. It keeps the promises of the real one: facts by uid and node name, only
on change; containers start when ``run`` is true; a terminating or missing pod ends as ``gone``. Stream calls raise.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from podwire.base import PodwireError, stable_hash
from podwire.node.ipam import Ipam
from podwire.plan import ContainerFact, EventFact, NodeFact, NodePlan, PodFact, Report
from podwire.plan.node import Container, Node, Pod

if TYPE_CHECKING:
    from podwire.node.streams import ExecSession


class FakeNodeRuntime:
    """Reports what :class:`podwire.node.NodeRuntime` would, immediately."""

    def __init__(self, report: Report, *, state_dir: Path | None = None) -> None:
        """``state_dir`` is taken for the likeness and not used."""
        del state_dir
        self._report = report
        self._nodes: dict[str, Node] = {}
        self._ipam: dict[str, Ipam] = {}
        self._cut: set[str] = set()
        self._units: dict[str, Pod] = {}
        self._facts: dict[str, PodFact] = {}

    async def apply(self, plan: NodePlan) -> None:
        """Report the state the plan asks for."""
        self._apply_nodes(plan)
        wanted = {pod.uid: pod for pod in plan.pods.values()}
        for uid in [uid for uid in self._facts if uid not in wanted or wanted[uid].terminating]:
            self._remove(uid)
        for uid, pod in wanted.items():
            if not pod.terminating:
                self._apply_pod(pod)
            elif uid not in self._units:
                self._report(uid, PodFact(uid=uid, node=pod.node, gone=True))

    async def close(self) -> None:
        """Forget everything."""
        self._nodes.clear()
        self._ipam.clear()
        self._units.clear()
        self._facts.clear()

    def _apply_nodes(self, plan: NodePlan) -> None:
        for name in [name for name in self._nodes if name not in plan.nodes]:
            for uid in [uid for uid, unit in self._units.items() if unit.node == name]:
                self._remove(uid)
            del self._nodes[name], self._ipam[name]
            self._report(name, NodeFact(ready=False, message="the node was removed"))
        for name, node in plan.nodes.items():
            if name not in self._nodes:
                self._nodes[name], self._ipam[name] = node, Ipam(node.pod_cidrs)
                self._report(name, NodeFact(ready=True))
            if node.cut is not self._nodes[name].cut or (node.cut and name not in self._cut):
                self._nodes[name] = node
                self._report(name, NodeFact(ready=not node.cut, silent_since=1.0 if node.cut else 0.0))
            (self._cut.add if node.cut else self._cut.discard)(name)

    def _remove(self, uid: str) -> None:
        fact, unit = self._facts.pop(uid), self._units.pop(uid)
        if fact.addresses and not unit.host_network and unit.node in self._ipam:
            self._ipam[unit.node].release(fact.addresses)
        self._report(uid, msgspec.structs.replace(fact, gone=True))

    def _apply_pod(self, pod: Pod) -> None:
        before = self._facts.get(pod.uid)
        self._units[pod.uid] = pod
        fact = self._decide_fact(pod, before)
        if fact == before:
            return
        if pod.run and not (before and any(c.state == "running" for c in before.containers)):
            for container in pod.containers:
                self._announce(pod, container)
        self._facts[pod.uid] = fact
        self._report(pod.uid, fact)

    def _decide_fact(self, pod: Pod, before: PodFact | None) -> PodFact:
        node = self._nodes.get(pod.node)
        if node is None:
            return PodFact(pod.uid, pod.node, message=f"Failed to create pod sandbox: node {pod.node} has no namespace")
        try:
            addresses = before.addresses if before and before.addresses else self._allocate(pod, node)
        except PodwireError as error:
            return PodFact(pod.uid, pod.node, message=f"Failed to create pod sandbox: {error}")
        began = 1.0
        return PodFact(
            uid=pod.uid,
            node=pod.node,
            addresses=addresses,
            containers=tuple(_running(pod, c) if pod.run else _waiting(c) for c in pod.containers),
            ephemeral_containers=tuple(_running(pod, c) if pod.run else _waiting(c) for c in pod.ephemeral_containers),
            init_containers=tuple(_completed(pod, c) if pod.run else _waiting(c) for c in pod.init_containers),
            started_at=began,
        )

    def _allocate(self, pod: Pod, node: Node) -> tuple[str, ...]:
        return node.addresses if pod.host_network else self._ipam[pod.node].allocate(pod.addresses)

    def _announce(self, pod: Pod, container: Container) -> None:
        ref = pod.pod
        text = f"Container image {container.image!r}: {container.work.reason}"
        event = EventFact("Pod", ref.namespace, ref.name, pod.uid, "Normal", "Pulled", text, "podwire", 1.0)
        self._report(pod.uid, event)

    def logs(
        self, uid: str, container: str, *, follow: bool, previous: bool
    ) -> AsyncIterator[tuple[float, str, bytes]]:
        """Raises :class:`PodwireError`: nothing prints."""
        raise PodwireError("simulated pods print nothing")

    async def exec(self, uid: str, container: str, argv: tuple[str, ...], *, stdin: bool, tty: bool) -> "ExecSession":
        """Raises :class:`PodwireError`: nothing runs."""
        raise PodwireError("simulated pods run nothing")

    async def attach(self, uid: str, container: str, *, stdin: bool, tty: bool) -> "ExecSession":
        """Raises :class:`PodwireError`: nothing runs."""
        raise PodwireError("simulated pods run nothing")

    async def connect(self, uid: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Raises :class:`PodwireError`: there is no network."""
        raise PodwireError("simulated pods have no network")


def _waiting(container: Container) -> ContainerFact:
    return ContainerFact(container.name, "waiting", reason="ContainerCreating")


def _identify(pod: Pod, container: Container) -> str:
    return f"podwire://{stable_hash(f'{pod.uid}/{container.name}/0', size_bytes=16)}"


def _running(pod: Pod, container: Container) -> ContainerFact:
    ident = _identify(pod, container)
    return ContainerFact(container.name, "running", ready=True, started=True, started_at=1.0, container_id=ident)


def _completed(pod: Pod, container: Container) -> ContainerFact:
    ident = _identify(pod, container)
    return ContainerFact(
        container.name,
        "terminated",
        ready=True,
        reason="Completed",
        started_at=1.0,
        finished_at=1.0,
        container_id=ident,
    )
