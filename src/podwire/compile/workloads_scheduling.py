"""Which node an unbound pod goes to.

Rules:

1. A node fits when it is schedulable, its NoSchedule and NoExecute taints are tolerated, it is not reported as not
   ready, ``nodeSelector``, required node affinity, required pod (anti-)affinity and hard spread constraints hold, and
   it has room: pods, CPU, memory and every other resource asked for.
2. Of those: the highest preference (``scheduling_fit``), then fewest pods of the same owner, then fewest pods, then
   name.
3. Pods are placed by priority, then oldest first, and each sees those before it, so one compile places a whole
   Deployment evenly.
4. Nothing is preempted: a pod that would have to push out pods of lower priority waits, with a finding (PW6011).

Source: kubernetes ``pkg/scheduler`` (messages of the plugins are kept word for word).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from types import MappingProxyType

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.affinity import Place, Placement
from podwire.compile.context import Context, Piece
from podwire.compile.events import compile_event
from podwire.compile.roster import roster_of
from podwire.compile.scheduling_fit import Fit
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
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
    findings: list[Finding] = []
    order = sorted(waiting, key=lambda p: (-priority_of(context, p), parse_time(p.metadata.creation_timestamp), p.key))
    for pod in order:
        if pod.spec.scheduling_gates:
            writes.update(_gated(context, pod))
            continue
        reasons: dict[str, int] = {}
        chosen = _choose(pod, placement, reasons)
        if chosen is None:
            writes.update(_unschedulable(context, pod, _message(reasons, len(placement.places))))
            findings.extend(_preemption(context, pod, reasons))
            continue
        placement.add(pod, chosen)
        key = f"bind/Pod/{pod.key}"
        writes[key] = context.memo.unit(f"write/{key}", (pod.metadata.uid, chosen), partial(_bind, pod, chosen))
    return Piece(writes=writes, findings=tuple(findings))


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


def _preemption(context: Context, pod: Pod, reasons: dict[str, int]) -> Iterator[Finding]:
    """Rule 4."""
    crowded = any(reason.startswith("Insufficient") or reason == "Too many pods" for reason in reasons)
    mine = priority_of(context, pod)
    if not crowded or mine <= 0 or pod.spec.preemption_policy == "Never":
        return
    bound = (p for p in context.snapshot.all(Pod).values() if p.spec.node_name and not p.is_finished)
    if any(priority_of(context, other) < mine for other in bound):
        message = "pods of lower priority are not preempted; the pod waits until there is room"
        yield Finding("PW6011", "warning", pod.ref, FieldPath("spec.priorityClassName"), message, "make room by hand")


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


def _choose(pod: Pod, placement: Placement, reasons: dict[str, int]) -> str | None:
    fit, fitting = Fit(pod, placement), []
    for place in placement.places:
        reason = fit.misfit(place)
        if reason is None:
            fitting.append(place)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    best = fit.best(fitting)
    return best.name if best else None


def _message(reasons: dict[str, int], nodes: int) -> str:
    """kube-scheduler's words: ``0/2 nodes are available: 2 node(s) didn't match ...``."""
    if not nodes:
        return "no nodes available to schedule pods"
    parts = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{nodes} nodes are available: {parts}."


def _unschedulable(context: Context, pod: Pod, message: str) -> Iterator[tuple[str, Write]]:
    now = context.snapshot.now
    wanted = condition("PodScheduled", False, reason="Unschedulable", message=message)

    def make() -> Write | None:
        return merge_status(pod, {"conditions": merge_conditions(pod.status.conditions, [wanted], now)})

    key = f"schedule/Pod/{pod.key}"
    patch = context.memo.unit(f"write/{key}", (pod, message), make)
    if patch is not None:
        yield key, patch
    event = compile_event(context, pod, reason="FailedScheduling", message=message, component=SCHEDULER)
    if event is not None:
        yield event
