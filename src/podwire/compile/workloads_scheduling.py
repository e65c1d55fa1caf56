"""Which node an unbound pod goes to.

Rules:

1. A node fits when it is schedulable, its NoSchedule and NoExecute taints are tolerated, it is not reported as not
   ready, ``nodeSelector``, required node affinity, required pod (anti-)affinity and hard spread constraints hold, and
   it has room: pods, CPU, memory and every other resource asked for.
2. Of those: the highest preference (``scheduling_fit``), then fewest pods of the same owner, then fewest pods, then
   name.
3. Pods are placed by priority, then oldest first, and each sees those before it, so one compile places a whole
   Deployment evenly.
4. A pod that fits nowhere may push out pods of lower priority (:mod:`podwire.compile.workloads_preemption`).

Source: kubernetes ``pkg/scheduler`` (messages of the plugins are kept word for word).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType

from podwire.base import FieldPath, Origin
from podwire.compile.affinity import Place, Placement
from podwire.compile.context import Context, Piece
from podwire.compile.events import compile_event
from podwire.compile.roster import roster_of
from podwire.compile.scheduling_fit import Fit
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
from podwire.compile.workloads_preemption import compile_removals, preempt
from podwire.kube import Pod, PriorityClass
from podwire.plan import Bind, Write

SCHEDULER = "default-scheduler"
SYSTEM_PRIORITIES: Mapping[str, int] = MappingProxyType(
    {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
)


def compile_scheduling(context: Context) -> Piece:
    """Bindings, the PodScheduled condition of pods that fit nowhere, and their events."""
    snapshot = context.snapshot
    waiting = [pod for pod in roster_of(context).on_node("") if _is_waiting(pod)]
    if not waiting:
        return Piece()
    placement = Placement(snapshot, tuple(Place.of(node) for node in snapshot.nodes.values()))
    writes: dict[str, Write] = {}
    order = sorted(waiting, key=lambda p: (-priority_of(context, p), parse_time(p.metadata.creation_timestamp), p.key))
    for pod in order:
        if pod.spec.scheduling_gates:
            writes.update(_gated(context, pod))
            continue
        misfits: dict[str, str] = {}
        chosen = _choose(pod, placement, misfits)
        if chosen is None:
            outcome = preempt(context, pod, placement, misfits, partial(priority_of, context))
            writes.update(compile_removals(context, pod, outcome.victims))
            writes.update(_unschedulable(context, pod, _message(misfits) + outcome.said, outcome.node))
            if outcome.node:
                placement.add(pod, outcome.node)
            continue
        placement.add(pod, chosen)
        key = f"bind/Pod/{pod.key}"
        writes[key] = context.memo.unit(f"write/{key}", (pod.metadata.uid, chosen), partial(_bind, pod, chosen))
    return Piece(writes=writes)


def priority_of(context: Context, pod: Pod) -> int:
    """The pod's priority: written, of its class, or of the default class."""
    if pod.spec.priority is not None:
        return pod.spec.priority
    name = pod.spec.priority_class_name
    if name in SYSTEM_PRIORITIES:
        return SYSTEM_PRIORITIES[name]
    classes = context.snapshot.all(PriorityClass)
    found = classes.get(name) if name else next((c for c in classes.values() if c.global_default), None)
    return found.value if found else 0


def _gated(context: Context, pod: Pod) -> Iterator[tuple[str, Write]]:
    message = "Scheduling is blocked due to non-empty scheduling gates"
    wanted = condition("PodScheduled", False, reason="SchedulingGated", message=message)
    key = f"schedule/Pod/{pod.key}"
    now = context.snapshot.now

    def make() -> Write | None:
        return merge_status(pod, {"conditions": merge_conditions(pod.status.conditions, [wanted], now)})

    patch = context.memo.unit(f"write/{key}", (pod, message), make)
    if patch is not None:
        yield key, patch


def _is_waiting(pod: Pod) -> bool:
    spec = pod.spec
    return (
        not spec.node_name
        and not pod.is_finished
        and pod.metadata.deletion_timestamp is None
        and spec.scheduler_name in ("", SCHEDULER)
    )


def _bind(pod: Pod, node: str) -> Write:
    return Bind(Origin(pod.ref, FieldPath("spec.nodeName")), pod.ref, pod.metadata.uid, node)


def _choose(pod: Pod, placement: Placement, misfits: dict[str, str]) -> str | None:
    fit, fitting = Fit(pod, placement), []
    for place in placement.places:
        reason = fit.misfit(place)
        if reason is None:
            fitting.append(place)
        else:
            misfits[place.name] = reason
    best = fit.best(fitting)
    return best.name if best else None


def _message(misfits: dict[str, str]) -> str:
    """kube-scheduler's words: ``0/2 nodes are available: 2 node(s) didn't match ...``."""
    if not misfits:
        return "no nodes available to schedule pods"
    reasons = list(misfits.values())
    parts = ", ".join(sorted(f"{reasons.count(reason)} {reason}" for reason in set(reasons)))
    return f"0/{len(misfits)} nodes are available: {parts}."


def _unschedulable(context: Context, pod: Pod, message: str, nominated: str) -> Iterator[tuple[str, Write]]:
    now = context.snapshot.now
    wanted = condition("PodScheduled", False, reason="Unschedulable", message=message)

    def make() -> Write | None:
        shown = merge_conditions(pod.status.conditions, [wanted], now)
        return merge_status(pod, {"conditions": shown, "nominated_node_name": nominated})

    key = f"schedule/Pod/{pod.key}"
    patch = context.memo.unit(f"write/{key}", (pod, message, nominated), make)
    if patch is not None:
        yield key, patch
    event = compile_event(context, pod, reason="FailedScheduling", message=message, component=SCHEDULER)
    if event is not None:
        yield event
