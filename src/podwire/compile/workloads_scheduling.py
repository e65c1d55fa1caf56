"""Which node an unbound pod goes to.

Rules:

1. A node fits when it is schedulable, its NoSchedule and NoExecute taints are tolerated, it is not reported as not
   ready, ``nodeSelector``, required node affinity, required pod (anti-)affinity and hard spread constraints hold, and
   it has room (``allocatable.pods``).
2. Of those: fewest pods of the same owner, then fewest pods, then name.
3. Pods are placed oldest first, and each sees those before it, so one compile places a whole Deployment evenly.
4. Preferred terms do not move a pod: they are reported (PW6010), never silently dropped. CPU and memory are not
   counted: stand-ins use none.

Source: kubernetes ``pkg/scheduler/framework/plugins`` (messages of the plugins are kept word for word).
"""

from collections.abc import Iterator
from functools import partial

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.affinity import Place, Placement, misfit
from podwire.compile.context import Context, Piece
from podwire.compile.events import compile_event
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
from podwire.kube import Pod
from podwire.plan import Bind, Write

SCHEDULER = "default-scheduler"


def compile_scheduling(context: Context) -> Piece:
    """Bindings, the PodScheduled condition of pods that fit nowhere, and their events."""
    snapshot = context.snapshot
    waiting = [pod for pod in snapshot.all(Pod).values() if _is_waiting(pod)]
    if not waiting:
        return Piece()
    placement = Placement(snapshot, tuple(Place.of(node) for node in snapshot.nodes.values()))
    writes: dict[str, Write] = {}
    findings: list[Finding] = []
    for pod in sorted(waiting, key=lambda p: (parse_time(p.metadata.creation_timestamp), p.key)):
        if pod.spec.scheduling_gates:
            continue
        findings.extend(context.memo.unit(f"soft/{pod.key}", (pod,), partial(_soft_terms, pod)))
        reasons: dict[str, int] = {}
        chosen = _choose(pod, placement, reasons)
        if chosen is None:
            writes.update(_unschedulable(context, pod, _message(reasons, len(placement.places))))
            continue
        placement.add(pod, chosen)
        key = f"bind/Pod/{pod.key}"
        writes[key] = context.memo.unit(f"write/{key}", (pod.metadata.uid, chosen), partial(_bind, pod, chosen))
    return Piece(writes=writes, findings=tuple(findings))


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
    fitting = []
    for place in placement.places:
        reason = misfit(pod, place, placement)
        if reason is None:
            fitting.append(place.name)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    return min(fitting, key=lambda name: placement.load(pod, name), default=None)


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


def _soft_terms(pod: Pod) -> tuple[Finding, ...]:
    """What the pod prefers and podwire does not weigh."""
    affinity = pod.spec.affinity or {}
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    found = [
        FieldPath(f"spec.affinity.{kind}.{preferred}")
        for kind in ("nodeAffinity", "podAffinity", "podAntiAffinity")
        if (affinity.get(kind) or {}).get(preferred)
    ]
    message = "preferred affinity is not weighed; pods spread evenly over the nodes that fit"
    fix = "use the required form when the place matters"
    return tuple(Finding("PW6010", "warning", pod.ref, path, message, fix) for path in found)
