"""Pods that must leave: from tainted nodes, from nodes that are not ready or gone.

Rules:

1. A NoExecute taint sends away pods that do not tolerate it, at once, and those that tolerate it for a time when that
   is over, counted from ``timeAdded`` or from when the taint was first seen.
2. A node that is not ready counts as tainted ``not-ready`` (``unreachable`` when unknown) since its condition changed;
   a pod that says nothing about it stays 300 seconds, as Kubernetes' admission writes it.
3. A pod on a node that does not exist is deleted by force after 40 seconds.

Source: kubernetes ``pkg/controller/tainteviction``, ``pkg/controller/podgc``,
``plugin/pkg/admission/defaulttolerationseconds``.
"""

from functools import partial

import msgspec

from podwire.base import FieldPath, Origin
from podwire.compile.affinity import tolerates
from podwire.compile.context import Context
from podwire.compile.roster import roster_of
from podwire.compile.statuses import find_condition, parse_time
from podwire.compile.workloads_pods import removal_key
from podwire.kube import Node, Pod
from podwire.kube.core import Taint
from podwire.plan import Remove, Write

DEFAULT_SECONDS = 300.0
QUARANTINE_SECONDS = 40.0
_STATES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class _Since(msgspec.Struct, frozen=True):
    taint: Taint
    at: float


def compile_evictions(context: Context) -> tuple[dict[str, Write], float | None]:
    """The deletions that are due, and when the next one is."""
    snapshot = context.snapshot
    tainted = {name: found for name, node in snapshot.nodes.items() if (found := _taints(context, node))}
    writes: dict[str, Write] = {}
    wakes: list[float] = []
    roster = roster_of(context)
    leaving = (
        pod for name in roster.nodes if name in tainted or name not in snapshot.nodes for pod in roster.on_node(name)
    )
    for pod in leaving:
        gone = pod.spec.node_name not in snapshot.nodes
        if pod.metadata.deletion_timestamp is not None or (pod.is_finished and not gone):
            continue
        due = _due(pod, tainted[pod.spec.node_name]) if not gone else _lost(context, pod)
        if due is None:
            continue
        if due > snapshot.now:
            wakes.append(due)
            continue
        key = removal_key("Pod", pod.metadata.namespace, pod.metadata.name)
        make = partial(_remove, pod, force=gone)
        writes[key] = context.memo.unit(f"write/evict/{key}", (pod.metadata.uid, gone), make)
    return writes, min(wakes, default=None)


def _taints(context: Context, node: Node) -> tuple[_Since, ...]:
    found = []
    for taint in node.spec.taints:
        if taint.effect == "NoExecute":
            seen = _first_seen(context, f"taint/{node.metadata.uid}/{taint.key}/{taint.value}")
            found.append(_Since(taint, parse_time(taint.time_added) or seen))
    ready = find_condition(node.status.conditions, "Ready")
    if ready is not None and ready.status != "True":
        key = "node.kubernetes.io/unreachable" if ready.status == "Unknown" else "node.kubernetes.io/not-ready"
        found.append(_Since(Taint(key=key, effect="NoExecute"), parse_time(ready.last_transition_time)))
    return tuple(found)


def _first_seen(context: Context, key: str) -> float:
    """The time of the first compile that asked for ``key`` without a pause."""
    return context.memo.unit(f"first-seen/{key}", (), lambda: context.snapshot.now)


def _lost(context: Context, pod: Pod) -> float:
    return _first_seen(context, f"lost/{pod.metadata.uid}") + QUARANTINE_SECONDS


def _due(pod: Pod, taints: tuple[_Since, ...]) -> float | None:
    """When the pod must go; None when it may stay."""
    return min((due for since in taints if (due := _due_of(pod, since)) is not None), default=None)


def _due_of(pod: Pod, since: _Since) -> float | None:
    matching = [t for t in pod.spec.tolerations if tolerates(t, since.taint)]
    if not matching:
        return since.at + DEFAULT_SECONDS if since.taint.key in _STATES else since.at
    limits = [t.toleration_seconds for t in matching if t.toleration_seconds is not None]
    return since.at + max(0, min(limits)) if limits else None


def _remove(pod: Pod, *, force: bool) -> Write:
    origin = Origin(pod.ref, FieldPath("spec.nodeName"))
    return Remove(origin, pod.ref, "v1", pod.metadata.uid, grace_seconds=0 if force else None)
