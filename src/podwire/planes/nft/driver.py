"""The nft driver: every node's Services and policy in the kernel, and the facts about it.

Rules:

1. ``apply`` renders in a worker thread, then brings all nodes up to date side by side; the event loop never blocks.
2. A node whose namespace does not exist yet is not an error: its latest tables are tried again in the background.
3. A fact ``nft/<node>`` says what is in force there: digests by pod uid and by Service port key. It is reported only
   when it differs from the last one, and never before the kernel has confirmed.
4. What the kernel refuses is reported with its words; everything else goes on.
5. What somebody else changes is loaded anew (P22), at most once in :data:`REPAIR_EVERY_SECONDS`, and said in an Event
   on the Node.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from podwire.base import Edition, PodwireError, differences
from podwire.plan import (
    NAMES_UNIT,
    EventFact,
    PlaneFact,
    PolicyPlan,
    PolicyPod,
    Report,
    ServiceCount,
    ServicePort,
    digest,
    node_netns,
)
from podwire.planes.nft.agent import NodeAgent, Outcome
from podwire.planes.nft.counters import ServiceCounters
from podwire.planes.nft.cut import Judge, is_stricter_possible, relabel_flows
from podwire.planes.nft.flows import format_counts
from podwire.planes.nft.guard import Guard
from podwire.planes.nft.nftlib import Session, load_library, open_session
from podwire.planes.nft.render import Renderer
from podwire.planes.nft.tables import NftPlan, NodeTables
from podwire.planes.nft.watch import Watch

_log = logging.getLogger(__name__)
_RETRY_FIRST_SECONDS = 0.01
_RETRY_LAST_SECONDS = 0.5
REPAIR_EVERY_SECONDS = 1.0


COMPONENT = "podwire-nft"

Mode = Literal["cut", "keep"]


class NftDriver:
    """Executes :class:`NftPlan` in the kernel of this machine (a :class:`podwire.plan.Driver`)."""

    def __init__(self, report: Report, *, cluster: str, run_dir: Path | None = None, established: Mode = "cut") -> None:
        """Nothing is loaded or opened before the first apply. ``run_dir``: where watchers of flows connect.
        ``established``: what happens to connections that a changed policy forbids."""
        self._report = report
        self._cluster = cluster
        self._renderer = Renderer()
        self._digests = Digests()
        self._agents: dict[str, NodeAgent] = {}
        self._tables: dict[str, NodeTables] = {}
        self._reported: dict[str, PlaneFact] = {}
        self._retries: dict[str, asyncio.Task[None]] = {}
        self._open: Callable[[str], Session] | None = None
        self._turn = asyncio.Lock()
        self._established = established
        self._judged: PolicyPlan | None = None
        self._plan: NftPlan | None = None
        self._counters: dict[str, ServiceCounters] = {}
        self._reading = asyncio.Lock()
        self._guards: dict[str, Guard] = {}
        self._repairs: dict[str, asyncio.Task[None]] = {}
        self._watch = Watch(
            report, cluster=cluster, run_dir=run_dir, facts=lambda: self._reported, count=self._count_all
        )

    async def apply(self, plan: NftPlan) -> None:
        """Make every node's kernel equal to ``plan``.

        Raises :class:`podwire.base.EnvironmentUnfit` without nftables or privilege, and
        :class:`podwire.base.PodwireError` when a kernel refuses the tables as such.
        """
        async with self._turn:
            tables, applied = await asyncio.to_thread(self._prepare, plan)
            await self._drop_nodes(self._agents.keys() - tables.keys())
            self._tables, self._plan = tables, plan
            await self._watch.load(plan)  # before the kernel decides by it: the first denial resolves too
            for name in tables:
                if name not in self._agents:
                    self._agents[name] = NodeAgent(node_netns(self._cluster, name), self._session)
            errors = await asyncio.gather(*(self._sync(name, applied) for name in tables), return_exceptions=True)
            for error in errors:
                if error is not None:
                    raise error
            await self._watch.open_ears()
            await self._judge_established(plan)

    async def _judge_established(self, plan: NftPlan) -> None:
        """N19. The rules are in force, so nothing forbidden begins while what began before is judged."""
        before, self._judged = self._judged, plan.policy
        if self._established == "keep" or before is None or before is plan.policy:
            return
        if not await asyncio.to_thread(is_stricter_possible, before, plan.policy):
            return
        try:
            await asyncio.gather(*(self._judge_node(name, plan) for name in self._tables))
        except BaseException:
            self._judged = before  # not all were judged: the next apply goes over them again
            raise

    async def _judge_node(self, name: str, plan: NftPlan) -> None:
        judge = Judge(plan.policy, node=name, addresses=plan.services.nodes[name].addresses)
        try:
            judged = await asyncio.to_thread(relabel_flows, self._agents[name].netns, judge)
        except PodwireError as error:
            if self._agents[name].is_attached:
                raise PodwireError(f"a forbidden connection may go on: {error}") from error
            return
        self._watch.take_cut(name, judged)

    async def count_services(self, node: str) -> tuple[ServiceCount, ...]:
        """What ``node`` counted (:class:`podwire.plan.CountServices`); nothing of a node that is not there."""
        plan, tables = self._plan, self._tables.get(node)
        if plan is None or tables is None or not self._agents[node].is_attached:
            return ()
        counters = self._counters.setdefault(node, ServiceCounters(self._agents[node].netns))
        numbers = self._renderer.list_numbers
        async with self._reading:
            return await asyncio.to_thread(counters.read, plan.services, numbers, tables.families)

    async def _count_all(self) -> dict[str, tuple[ServiceCount, ...]]:
        return {node: await self.count_services(node) for node in sorted(self._tables)}

    async def metrics(self, node: str) -> str:
        """What policies decided on a node, as Prometheus text; empty when its kernel does not say."""
        try:
            found = await self._watch.counts()
        except PodwireError as error:
            _log.warning("%s", error)
            return ""
        return format_counts(count for count in found if count.node == node)

    async def close(self, *, leave: bool = False) -> None:
        """Remove our tables from every node that still exists; or ``leave`` them to whoever comes next."""
        async with self._turn:
            await self._watch.close()
            await self._drop_nodes(self._agents.keys() | set(), leave=leave)
            self._tables, self._plan = {}, None
            self._renderer = Renderer()

    def _prepare(self, plan: NftPlan) -> tuple[dict[str, NodeTables], Edition[str, str]]:
        return self._renderer.render(plan), self._digests.update(plan)

    def _session(self, netns: str) -> Session:
        if self._open is None:
            library = load_library()
            self._open = lambda name: open_session(library, name)
        return self._open(netns)

    async def _sync(self, name: str, applied: Edition[str, str]) -> None:
        try:
            outcome = await asyncio.to_thread(self._agents[name].sync, self._tables[name])
        except PodwireError as error:
            self._put(name, PlaneFact(ready=False, message=str(error)))
            raise
        self._tell(name, outcome, applied)
        self._listen(name)
        if outcome.absent and name not in self._retries:
            self._retries[name] = asyncio.create_task(self._retry(name), name=f"nft-retry-{name}")

    async def _retry(self, name: str) -> None:
        """Wait for the node's namespace; each attempt uses the latest tables."""
        pause = _RETRY_FIRST_SECONDS
        try:
            while name in self._agents:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _RETRY_LAST_SECONDS)
                async with self._turn:
                    if name not in self._tables:
                        return
                    outcome = await asyncio.to_thread(self._agents[name].sync, self._tables[name])
                    self._tell(name, outcome, self._digests.known)
                    self._listen(name)
                    await self._watch.open_ears()
                if not outcome.absent:
                    return
        except PodwireError as error:
            self._put(name, PlaneFact(ready=False, message=str(error)))
        finally:
            self._retries.pop(name, None)

    def _listen(self, name: str) -> None:
        """Hear of what others do to the node's nftables."""
        guard, known = self._agents[name].guard, self._guards.get(name)
        if guard is not known:
            self._forget_guard(name)
            if guard is not None:
                self._guards[name] = guard
                asyncio.get_running_loop().add_reader(guard, self._disturbed, name)
        if guard is not None and guard.disturbed:
            self._disturbed(name)

    def _forget_guard(self, name: str) -> None:
        guard = self._guards.pop(name, None)
        if guard is not None:
            asyncio.get_running_loop().remove_reader(guard)
            guard.close()

    def _disturbed(self, name: str) -> None:
        if name not in self._repairs:
            asyncio.get_running_loop().remove_reader(self._guards[name])
            self._repairs[name] = asyncio.create_task(self._repair(name), name=f"nft-repair-{name}")

    async def _repair(self, name: str) -> None:
        """Repair, then rest: two who fight over a table do not fill the machine."""
        rest = 0.0
        try:
            async with self._turn:
                agent, tables = self._agents.get(name), self._tables.get(name)
                done = await asyncio.to_thread(agent.repair, tables) if agent and tables else None
                if done is not None:
                    outcome, words = done
                    rest = REPAIR_EVERY_SECONDS
                    self._tell(name, outcome, self._digests.known)
                    self._say(name, f"{words}: loaded anew")
        except (PodwireError, OSError) as error:  # the namespace may go meanwhile
            self._put(name, PlaneFact(ready=False, message=str(error)))
        await asyncio.sleep(rest)
        del self._repairs[name]
        if name in self._guards:
            asyncio.get_running_loop().add_reader(self._guards[name], self._disturbed, name)

    def _say(self, name: str, words: str) -> None:
        event = EventFact("Node", "", name, name, "Warning", "NetworkRulesRestored", words, COMPONENT, time.time())
        self._report(event.uid, event)

    def _tell(self, name: str, outcome: Outcome, applied: Edition[str, str]) -> None:
        if outcome.absent:
            self._put(name, PlaneFact(ready=False, message="waiting for the node's network namespace"))
            return
        rejected = {_fact_key(unit): words for (_, unit), words in outcome.rejected.items()}
        if rejected:
            names = {NAMES_UNIT} if any(table == "policy" for table, _ in outcome.rejected) else set[str]()
            applied = applied.revise(dict.fromkeys(rejected.keys() | names))
        self._put(name, PlaneFact(ready=True, applied=applied, rejected=rejected, message=outcome.message))

    def _put(self, name: str, fact: PlaneFact) -> None:
        if self._reported.get(name) != fact:
            self._reported[name] = fact
            self._report(f"nft/{name}", fact)

    async def _drop_nodes(self, names: set[str], *, leave: bool = False) -> None:
        for name in sorted(names):
            retry = self._retries.pop(name, None)
            if retry is not None:
                retry.cancel()
            repair = self._repairs.pop(name, None)
            if repair is not None:
                repair.cancel()
            self._forget_guard(name)
            agent = self._agents.pop(name)
            self._counters.pop(name, None)
            self._reported.pop(name, None)
            await asyncio.to_thread(agent.close, leave=leave)


def _fact_key(unit: str) -> str:
    return unit.removeprefix("pod/")


class Digests:
    """Digests of all units of a plan; computed only for units that changed."""

    def __init__(self) -> None:
        """No plan yet."""
        self.known: Edition[str, str] = Edition()
        self._ports: Mapping[str, ServicePort] = {}
        self._pods: Mapping[str, PolicyPod] = {}

    def update(self, plan: NftPlan) -> Edition[str, str]:
        """Digest by pod uid and by Service port key, and the revision of the names; the same object as before when
        nothing changed."""
        ports, pods = plan.services.ports, plan.policy.pods
        changes: dict[str, str | None] = {}
        for key in differences(self._ports, ports):
            changes[key] = digest(ports[key]) if key in ports else None
        moved = differences(self._pods, pods)
        changes.update((self._pods[key].uid, None) for key in moved & self._pods.keys())
        # A pod without an address is nothing to a kernel: nothing of it can be in force.
        changes.update((pods[key].uid, digest(pods[key])) for key in moved & pods.keys() if pods[key].addresses)
        self._ports, self._pods = ports, pods
        if plan.policy.names_revision:
            changes[NAMES_UNIT] = str(plan.policy.names_revision)
        self.known = self.known.revise({k: kept if (kept := self.known.get(k)) == v else v for k, v in changes.items()})
        return self.known
