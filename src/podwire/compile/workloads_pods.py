"""What the workload controllers share: counting pods, ranking them for deletion, making them from a template.

Source: kubernetes ``pkg/controller/controller_utils.go`` (ActivePodsWithRanks, GetPodFromTemplate),
``pkg/api/v1/pod/util.go`` (IsPodAvailable).
"""

from collections.abc import Iterable, Mapping

import msgspec

from podwire.base import FieldPath, Origin, Ref
from podwire.compile.statuses import find_condition, owner_reference, parse_time, to_json
from podwire.kube import KubeObject, LabelSelector, Pod, PodTemplateSpec
from podwire.plan import Create, Json

_PHASE_RANK: Mapping[str, int] = {"": 0, "Pending": 0, "Unknown": 1, "Running": 2}


class PodCounts(msgspec.Struct, frozen=True):
    """How far the pods of one owner are. ``wake_at``: when the next ready pod becomes available by time alone."""

    replicas: int = 0
    labeled: int = 0
    ready: int = 0
    available: int = 0
    wake_at: float | None = None


def is_active(pod: Pod) -> bool:
    """Neither finished nor being deleted: counts towards replicas."""
    return not pod.is_finished and pod.metadata.deletion_timestamp is None


def available_at(pod: Pod, min_ready_seconds: int) -> float | None:
    """When the pod is or becomes available; None while it is not ready."""
    ready = find_condition(pod.status.conditions, "Ready")
    if ready is None or ready.status != "True":
        return None
    return parse_time(ready.last_transition_time) + min_ready_seconds if min_ready_seconds else 0.0


def count_pods(
    pods: Iterable[Pod], *, now: float, min_ready_seconds: int, template_labels: Mapping[str, str]
) -> PodCounts:
    """Counts over active pods."""
    replicas = labeled = ready = available = 0
    wakes: list[float] = []
    for pod in pods:
        if not is_active(pod):
            continue
        replicas += 1
        labeled += template_labels.items() <= pod.metadata.labels.items()
        since = available_at(pod, min_ready_seconds)
        if since is None:
            continue
        ready += 1
        available += since <= now
        if since > now:
            wakes.append(since)
    return PodCounts(replicas, labeled, ready, available, min(wakes, default=None))


def deletion_order(pods: Iterable[Pod], *, now: float, min_ready_seconds: int = 0) -> list[Pod]:
    """Pods in the order Kubernetes deletes surplus ones: unassigned, pending, not ready, lower deletion cost, on the
    more crowded node, ready for less time, more restarts, newest; then by name."""
    listed = list(pods)
    crowd: dict[str, int] = {}
    for pod in listed:
        crowd[pod.spec.node_name] = crowd.get(pod.spec.node_name, 0) + 1

    def rank(pod: Pod) -> tuple[object, ...]:
        ready = find_condition(pod.status.conditions, "Ready")
        is_ready = ready is not None and ready.status == "True"
        since = parse_time(ready.last_transition_time) if ready is not None and is_ready else 0.0
        restarts = max((s.restart_count for s in pod.status.container_statuses), default=0)
        return (
            bool(pod.spec.node_name),
            _PHASE_RANK.get(pod.status.phase, 2),
            is_ready,
            _deletion_cost(pod),
            -crowd[pod.spec.node_name],
            -since,
            -restarts,
            -parse_time(pod.metadata.creation_timestamp),
            pod.metadata.name,
        )

    return sorted(listed, key=rank)


def _deletion_cost(pod: Pod) -> int:
    try:
        return int(pod.metadata.annotations.get("controller.kubernetes.io/pod-deletion-cost", "0"))
    except ValueError:
        return 0


def create_pod(owner: KubeObject, template: PodTemplateSpec, name: str, *, labels: Mapping[str, str]) -> Create:
    """A pod of ``template`` named ``name``, owned by ``owner``; ``labels`` are added to the template's."""
    namespace = owner.metadata.namespace
    metadata: Json = {
        "name": name,
        "namespace": namespace,
        "labels": {**template.metadata.labels, **labels},
        "ownerReferences": [owner_reference(owner)],
    }
    if template.metadata.annotations:
        metadata["annotations"] = dict(template.metadata.annotations)
    if template.metadata.finalizers:
        metadata["finalizers"] = list(template.metadata.finalizers)
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": to_json(template.spec)}
    return Create(Origin(owner.ref, FieldPath("spec.template")), Ref("Pod", namespace, name), "v1", body)


def selector_json(selector: LabelSelector) -> Json:
    """The selector with its operators spelled out (a typed object leaves out defaults, and ``In`` is one)."""
    found: Json = {}
    if selector.match_labels:
        found["matchLabels"] = dict(selector.match_labels)
    if selector.match_expressions:
        found["matchExpressions"] = [
            {"key": e.key, "operator": e.operator, **({"values": list(e.values)} if e.values else {})}
            for e in selector.match_expressions
        ]
    return found


def removal_key(kind: str, namespace: str, name: str) -> str:
    """The key of a deletion in the write plan."""
    return f"remove/{kind}/{namespace}/{name}"
