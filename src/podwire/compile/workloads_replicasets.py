"""ReplicaSet to pods: as many as asked for, surplus ones deleted in Kubernetes' order.

Rules:

1. The n-th missing pod takes the n-th free name of the set's name sequence, so a repeated compile creates the same.
2. Which surplus pods go is decided once per set of pods: a pod that turns ready while a delete is under way does not
   change the choice.
3. Finished pods do not count and stay, as in Kubernetes.

Source: kubernetes ``pkg/controller/replicaset``.
"""

from collections.abc import Iterator
from functools import partial

from podwire.base import FieldPath, Origin
from podwire.compile.context import Context
from podwire.compile.names import child_name
from podwire.compile.statuses import merge_status
from podwire.compile.workloads_pods import (
    PodCounts,
    count_pods,
    create_pod,
    deletion_order,
    is_active,
    removal_key,
)
from podwire.kube import Pod, ReplicaSet
from podwire.plan import Remove, Write

HASH_LABEL = "pod-template-hash"


def wanted_replicas(value: ReplicaSet) -> int:
    """``spec.replicas``, default 1."""
    return 1 if value.spec.replicas is None else value.spec.replicas


def count_replica_set(value: ReplicaSet, pods: tuple[Pod, ...], now: float) -> PodCounts:
    """Counts over the pods of one ReplicaSet."""
    spec = value.spec
    labels = spec.template.metadata.labels
    return count_pods(pods, now=now, min_ready_seconds=spec.min_ready_seconds, template_labels=labels)


def compile_replica_set(
    context: Context, value: ReplicaSet, pods: tuple[Pod, ...], counts: PodCounts
) -> dict[str, Write]:
    """Creates, deletes and the status of one ReplicaSet."""
    if value.metadata.deletion_timestamp is not None:
        return {}
    writes: dict[str, Write] = dict(_scale(context, value, pods)) if counts.replicas != wanted_replicas(value) else {}
    key = f"status/ReplicaSet/{value.key}"
    status = _status(value, counts)
    patch = context.memo.unit(f"write/{key}", (value, *status.values()), partial(merge_status, value, status))
    if patch is not None:
        writes[key] = patch
    return writes


def _status(value: ReplicaSet, counts: PodCounts) -> dict[str, int]:
    return {
        "replicas": counts.replicas,
        "fully_labeled_replicas": counts.labeled,
        "ready_replicas": counts.ready,
        "available_replicas": counts.available,
        "observed_generation": value.metadata.generation,
    }


def _scale(context: Context, value: ReplicaSet, pods: tuple[Pod, ...]) -> Iterator[tuple[str, Write]]:
    active = [pod for pod in pods if is_active(pod)]
    difference = wanted_replicas(value) - len(active)
    if difference > 0:
        yield from _missing(context, value, difference)
    elif difference < 0:
        uids = tuple(sorted(pod.metadata.uid for pod in active))
        choose = partial(deletion_order, active, now=context.snapshot.now)
        order = context.memo.unit(f"surplus/{value.key}", (value.metadata.uid, uids), lambda: tuple(choose()))
        for pod in order[:-difference]:
            meta = pod.metadata
            key = removal_key("Pod", meta.namespace, meta.name)
            origin = Origin(value.ref, FieldPath("spec.replicas"))
            make = partial(Remove, origin, pod.ref, "v1", meta.uid)
            yield key, context.memo.unit(f"write/{key}", (meta.uid,), make)


def _missing(context: Context, value: ReplicaSet, count: int) -> Iterator[tuple[str, Write]]:
    taken = context.snapshot.all(Pod)
    namespace, number = value.metadata.namespace, 0
    hash_label = value.metadata.labels.get(HASH_LABEL)
    labels = {HASH_LABEL: hash_label} if hash_label else {}
    while count:
        name = child_name(value.metadata.name, f"{value.metadata.uid}/{number}")
        number += 1
        if f"{namespace}/{name}" not in taken:
            key = f"create/Pod/{namespace}/{name}"
            make = partial(create_pod, value, value.spec.template, name, labels=labels)
            yield key, context.memo.unit(f"write/{key}", (value,), make)
            count -= 1
