"""Ends and status of all pods as writes, followed by what changed.

Rules:

1. A pod is looked at again when it, what is observed of it, its node, its unit or its problems changed, and while it is
   being deleted: then time alone may end it.
2. A pod that is being deleted goes for good when nothing of it is left: the runtime says so, it never had a node, or
   its node does not exist.
3. If the runtime says nothing, the object goes a little after its grace period: nothing can be running here.
"""

from collections.abc import Mapping

import msgspec

from podwire.base import Edition, FieldPath, Origin
from podwire.compile.containers import Problem
from podwire.compile.context import Context
from podwire.compile.nodes_pods import CompiledPod
from podwire.compile.nodes_units import known_units
from podwire.compile.status_pods import Observed, compile_pod_status
from podwire.compile.statuses import parse_time
from podwire.compile.touched import Results, Seen
from podwire.kube import Node, Pod
from podwire.plan import PodFact, Remove, Write
from podwire.plan import node as plan
from podwire.snapshot import Snapshot

SLACK_SECONDS = 5
NEVER = float("inf")


class Keyed(msgspec.Struct, frozen=True):
    """A write and its key."""

    key: str
    write: Write


class PodWrites:
    """Lives in a memo."""

    def __init__(self) -> None:
        """No pod known."""
        self.ends_at: dict[str, float] = {}
        """When pods that are being deleted end by time alone (seconds since the epoch, :data:`NEVER`)."""
        self._table: Results[Keyed] = Results()
        self._facts: Seen[PodFact] = Seen()
        self._nodes: Seen[Node] = Seen()
        self._units: Seen[plan.Pod] = Seen()
        self._compiled: Seen[CompiledPod] = Seen()

    @property
    def writes(self) -> Edition[str, Keyed]:
        """What is to be written, by pod key."""
        return self._table.results

    def update(self, context: Context, planes: tuple[str, ...]) -> None:
        """Follow the snapshot. ``planes``: which of podwire's own planes are ready."""
        snapshot, pods = context.snapshot, context.snapshot.all(Pod)
        units = context.nodes.pods if context.nodes else {}
        compiled = known_units(context).compiled
        touched = snapshot.keys_of(self._facts.advance(snapshot.facts.pods))
        touched |= {p.key for n in self._nodes.advance(snapshot.nodes) for p in snapshot.pods_by_node.get(n, ())}
        touched |= self._units.advance(units) | self._compiled.advance(compiled) | self.ends_at.keys()

        def make(key: str) -> Keyed | None:
            self.ends_at.pop(key, None)
            pod = pods.get(key)
            if pod is None:
                return None
            if pod.metadata.deletion_timestamp is not None and self._ends(snapshot, pod):
                return self._table.unit(key, (pod.metadata.uid,), lambda: Keyed(f"end/Pod/{key}", _final(pod)))
            if not pod.spec.node_name:
                return None
            seen = _observe(snapshot, pod, units=units, compiled=compiled, planes=planes)
            return None if seen is None else self._status(pod, seen, snapshot.now)

        self._table.update((pods,), (planes, snapshot.settings), make, also=touched)

    def _status(self, pod: Pod, seen: Observed, now: float) -> Keyed | None:
        """Kept while nothing it is made of changes: it holds times."""

        def make() -> Keyed | None:
            patch = compile_pod_status(seen, now)
            return None if patch is None else Keyed(f"status/Pod/{pod.key}", patch)

        return self._table.unit(pod.key, msgspec.structs.astuple(seen), make)

    def _ends(self, snapshot: Snapshot, pod: Pod) -> bool:
        """Rules 2 and 3; a pod that is still waited for is noted with the time when it is not any more."""
        until = _end_of(snapshot, pod)
        if until > snapshot.now:
            self.ends_at[pod.key] = until
        return until <= snapshot.now


def _end_of(snapshot: Snapshot, pod: Pod) -> float:
    if pod.metadata.finalizers:
        return NEVER
    if pod.spec.node_name not in snapshot.nodes:
        return 0
    fact = snapshot.facts.pods.get(pod.metadata.uid)
    if fact is not None:
        return 0 if fact.gone else NEVER
    return 0 if pod.is_finished else parse_time(pod.metadata.deletion_timestamp) + SLACK_SECONDS


def _final(pod: Pod) -> Write:
    origin = Origin(pod.ref, FieldPath("metadata.deletionTimestamp"))
    return Remove(origin, pod.ref, "v1", pod.metadata.uid, grace_seconds=0)


def _observe(
    snapshot: Snapshot,
    pod: Pod,
    *,
    units: Mapping[str, plan.Pod],
    compiled: Mapping[str, CompiledPod],
    planes: tuple[str, ...],
) -> Observed | None:
    """What the status is made of; None while there is nothing to say."""
    fact, unit = snapshot.facts.pods.get(pod.metadata.uid), units.get(pod.key)
    problems: tuple[Problem, ...] = ()
    # Why the containers cannot start matters only while they are held.
    if unit is not None and not (unit.run and len(unit.ephemeral_containers) == len(pod.spec.ephemeral_containers)):
        problems = compiled[pod.key].problems
    forgets = snapshot.settings.planes and unit is not None and not unit.attached
    if fact is None and not problems and not forgets:
        return None
    return Observed(pod, fact, snapshot.nodes.get(pod.spec.node_name), problems, planes, forgets)
