"""Nodes whose link is cut: what the rest of the cluster believes of them, and when.

Rules:

1. A node with the annotation ``podwire.dev/link: cut`` has no link: no packet leaves or reaches it. Nobody is told; its
   pods go on.
2. After ``settings.node_grace_seconds`` without a sign of life its conditions become Unknown, it is tainted
   ``node.kubernetes.io/unreachable``, and its pods are not Ready: so they leave the endpoints of Services.
3. Pods are deleted when their toleration of that taint is over (:mod:`podwire.compile.workloads_evictions`), and stay
   Terminating, for nobody on the node hears of it, until it is back or they are deleted by force.
4. When the link is back, so is the node: Ready, without the taints; its pods are Ready by what they are.

Source: kubernetes ``pkg/controller/nodelifecycle/node_lifecycle_controller.go``.
"""

from collections.abc import Iterator
from functools import partial

from podwire.base import FieldPath, Origin
from podwire.compile.context import Context
from podwire.compile.statuses import find_condition, format_time, merge_conditions, merge_status, to_json
from podwire.kube import Node
from podwire.kube.core import Taint
from podwire.kube.meta import Condition
from podwire.plan import Merge, NodeFact, Write

LINK, CUT = "podwire.dev/link", "cut"
UNREACHABLE = "node.kubernetes.io/unreachable"
SILENT = "Kubelet stopped posting node status."


def is_cut(node: Node) -> bool:
    """Rule 1."""
    return node.metadata.annotations.get(LINK) == CUT


def is_lost(node: Node | None) -> bool:
    """Whether the cluster believes that the node cannot be reached."""
    ready = find_condition(node.status.conditions, "Ready") if node is not None else None
    return ready is not None and ready.status == "Unknown"


def compile_silence(context: Context, node: Node, fact: NodeFact, wakes: list[float]) -> Iterator[tuple[str, Write]]:
    """The status of a node that says nothing (rule 2); before its time a wish to be asked again."""
    due = fact.silent_since + context.snapshot.settings.node_grace_seconds
    if context.snapshot.now < due:
        wakes.append(due)
        return
    key = f"status/Node/{node.metadata.name}"
    patch = context.memo.unit(f"write/{key}", (node, fact), partial(_unknown, node, context.snapshot.now))
    if patch is not None:
        yield key, patch


def _unknown(node: Node, now: float) -> Merge | None:
    kinds = dict.fromkeys(("Ready", *(c.type for c in node.status.conditions if c.type != "NetworkUnavailable")))
    wanted = [Condition(type=kind, status="Unknown", reason="NodeStatusUnknown", message=SILENT) for kind in kinds]
    return merge_status(node, {"conditions": merge_conditions(node.status.conditions, wanted, now)})


def compile_taints(context: Context, node: Node) -> Iterator[tuple[str, Write]]:
    """The taints of a node that is lost, or is not any more."""
    mine = tuple(t for t in node.spec.taints if t.key == UNREACHABLE)
    if is_lost(node) == bool(mine):
        return
    key = f"taint/Node/{node.metadata.name}"
    yield key, context.memo.unit(f"write/{key}", (node,), partial(_retaint, node, context.snapshot.now))


def _retaint(node: Node, now: float) -> Write:
    taints = [t for t in node.spec.taints if t.key != UNREACHABLE]
    if is_lost(node):
        taints.append(Taint(key=UNREACHABLE, effect="NoSchedule", time_added=format_time(now)))
        taints.append(Taint(key=UNREACHABLE, effect="NoExecute", time_added=format_time(now)))
    patch = {"spec": {"taints": [to_json(taint) for taint in taints] or None}}
    origin = Origin(node.ref, FieldPath("spec.taints"))
    return Merge(origin, node.ref, "v1", patch, based_on=node.metadata.resource_version)
