"""Job to pods: as many as may run, until enough succeeded or too many failed.

Rules:

1. Every pod carries a finalizer until it is counted: ended pods are noted in ``uncountedTerminatedPods``, then lose the
   finalizer, then move into the counters. So each counts once, whatever is deleted in between.
2. A pod that is taken away on purpose (suspend, lower parallelism, enough successes) loses the finalizer first and is
   not counted. So does a pod whose Job is gone.
3. After failures the next pod waits 10 s, 20 s, 40 s ..., at most 10 minutes; a success starts again.
4. Before a Job is Complete or Failed it is SuccessCriteriaMet or FailureTarget, until its last pod is gone.
5. ``successPolicy``, ``backoffLimitPerIndex`` and ``maxFailedIndexes`` are not acted on: a finding (PW6026).

Source: kubernetes ``pkg/controller/job`` (job_controller.go, indexed_job_utils.go, backoff_utils.go).
"""

from collections.abc import Iterator
from functools import partial

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.context import Context
from podwire.compile.names import child_name
from podwire.compile.roster import roster_of
from podwire.compile.statuses import parse_time
from podwire.compile.workloads_job_status import (
    FINALIZER,
    JobView,
    compile_job_status,
    decide_end,
    ended_condition,
    finished_at,
    index_of,
    view_job,
)
from podwire.compile.workloads_pods import create_pod, removal_key
from podwire.kube import Job, Pod
from podwire.plan import Create, Json, Merge, Remove, Write

INDEX = "batch.kubernetes.io/job-completion-index"
CONTROLLER = "kubernetes.io/job-controller"
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 10.0, 600.0

Result = tuple[dict[str, Write], tuple[Finding, ...], float | None]


def compile_job(context: Context, value: Job, pods: tuple[Pod, ...]) -> Result:
    """Writes, findings, and when the answer changes by time alone."""
    spec = value.spec
    if spec.managed_by not in (None, CONTROLLER):
        return {}, (), None
    if value.metadata.deletion_timestamp is not None:
        return dict(_release_all(context, value, pods)), (), None
    ended = ended_condition(value)
    if ended is not None:
        return _expire(context, value, pods, parse_time(ended.last_transition_time))
    view = view_job(value, pods, context.snapshot.now)
    end = decide_end(value, view)
    wakes: list[float] = []
    if spec.active_deadline_seconds is not None and value.status.start_time and not spec.suspend:
        wakes.append(parse_time(value.status.start_time) + spec.active_deadline_seconds)
    writes: dict[str, Write] = {}
    writes.update(_count(context, value, view))
    if end is not None or spec.suspend:
        writes.update(_stop(context, value, view, counted=end is not None and not end.good))
    else:
        writes.update(_run(context, value, view, wakes))
    writes.update(compile_job_status(context, value, view, end))
    now = context.snapshot.now
    return writes, _unsupported(value), min((w for w in wakes if w > now), default=None)


def _count(context: Context, value: Job, view: JobView) -> Iterator[tuple[str, Write]]:
    """Release the pods that are noted (rule 1)."""
    for pod in view.noted:
        if FINALIZER in pod.metadata.finalizers:
            yield _release(context, value, pod)


def _release(context: Context, value: Job, pod: Pod) -> tuple[str, Write]:
    key = f"finalizer/Pod/{pod.key}"

    def make() -> Write:
        kept = [f for f in pod.metadata.finalizers if f != FINALIZER]
        patch = {"metadata": {"finalizers": kept or None}}
        return Merge(Origin(value.ref), pod.ref, "v1", patch, based_on=pod.metadata.resource_version)

    return key, context.memo.unit(f"write/{key}", (pod,), make)


def _release_all(context: Context, value: Job, pods: tuple[Pod, ...]) -> Iterator[tuple[str, Write]]:
    yield from (_release(context, value, pod) for pod in pods if FINALIZER in pod.metadata.finalizers)


def release_orphans(context: Context) -> Iterator[tuple[str, Write]]:
    """Pods whose Job was deleted lose its finalizer."""
    jobs = {job.metadata.uid for job in context.snapshot.all(Job).values()}
    for pod in roster_of(context).tracked:
        owners = [o for o in pod.metadata.owner_references if o.controller and o.kind == "Job" and o.uid in jobs]
        if not owners:
            key = f"finalizer/Pod/{pod.key}"
            kept = [f for f in pod.metadata.finalizers if f != FINALIZER]
            patch = {"metadata": {"finalizers": kept or None}}
            make = partial(Merge, Origin(pod.ref), pod.ref, "v1", patch, "", pod.metadata.resource_version)
            yield key, context.memo.unit(f"write/{key}", (pod,), make)


def _expire(context: Context, value: Job, pods: tuple[Pod, ...], ended_at: float) -> Result:
    """After the end: no finalizer stays, and the time to live passes."""
    writes = dict(_release_all(context, value, pods))
    seconds = value.spec.ttl_seconds_after_finished
    if seconds is None:
        return writes, (), None
    if ended_at + seconds > context.snapshot.now:
        return writes, (), ended_at + seconds
    key = removal_key("Job", value.metadata.namespace, value.metadata.name)
    origin = Origin(value.ref, FieldPath("spec.ttlSecondsAfterFinished"))
    writes[key] = context.memo.unit(
        f"write/{key}", (value.metadata.uid,), partial(Remove, origin, value.ref, "batch/v1", value.metadata.uid)
    )
    return writes, (), None


def _stop(context: Context, value: Job, view: JobView, *, counted: bool) -> Iterator[tuple[str, Write]]:
    """Take away every pod that runs; ``counted`` ones keep the finalizer and count as failed."""
    for pod in view.active:
        if not counted and FINALIZER in pod.metadata.finalizers:
            yield _release(context, value, pod)
        else:
            yield _remove(context, value, pod)


def _remove(context: Context, value: Job, pod: Pod) -> tuple[str, Write]:
    key = removal_key("Pod", pod.metadata.namespace, pod.metadata.name)
    make = partial(Remove, Origin(value.ref, FieldPath("spec")), pod.ref, "v1", pod.metadata.uid)
    return key, context.memo.unit(f"write/{key}", (pod.metadata.uid,), make)


def _run(context: Context, value: Job, view: JobView, wakes: list[float]) -> Iterator[tuple[str, Write]]:
    """Start what is missing, take away what is too much."""
    doomed = [pod for pod in view.active if FINALIZER not in pod.metadata.finalizers]
    for pod in doomed:
        yield _remove(context, value, pod)
    staying = [pod for pod in view.active if FINALIZER in pod.metadata.finalizers]
    doubles = _doubles(value, staying)
    for pod in doubles:
        yield _release(context, value, pod)
    staying = [pod for pod in staying if pod not in doubles]
    wanted = _wanted(value, view)
    for pod in sorted(staying, key=_keep_order)[max(0, wanted) :]:
        yield _release(context, value, pod)
    missing = wanted - len(staying) - len(doomed)
    if value.spec.pod_replacement_policy == "Failed":
        missing -= view.terminating
    if missing <= 0:
        return
    until = _back_off(view)
    if until > context.snapshot.now:
        wakes.append(until)
        return
    yield from _create(context, value, view, missing)


def _wanted(value: Job, view: JobView) -> int:
    parallelism = 1 if value.spec.parallelism is None else value.spec.parallelism
    if value.spec.completions is None:
        return len(view.active) if view.succeeded else parallelism
    return min(parallelism, max(0, value.spec.completions - view.succeeded))


def _doubles(value: Job, staying: list[Pod]) -> list[Pod]:
    """Pods of an index that has an older pod."""
    if value.spec.completion_mode != "Indexed":
        return []
    seen: set[int | None] = set()
    found = []
    for pod in sorted(staying, key=_keep_order):
        index = index_of(pod)
        if index in seen or index is None or index >= (value.spec.completions or 0):
            found.append(pod)
        seen.add(index)
    return found


def _keep_order(pod: Pod) -> tuple[bool, bool, float, str]:
    """Ready pods first, then bound ones, then older ones."""
    created = parse_time(pod.metadata.creation_timestamp)
    return not pod.is_ready, not pod.spec.node_name, created, pod.metadata.name


def _back_off(view: JobView) -> float:
    """When the next pod may start (rule 3)."""
    ended = sorted(((finished_at(p), p.status.phase != "Succeeded") for p in view.ended), reverse=True)
    failures = 0
    for _, failed in ended:
        if not failed:
            break
        failures += 1
    if not failures:
        return 0.0
    return ended[0][0] + min(LONGEST_BACKOFF_SECONDS, BACKOFF_SECONDS * float(2 ** min(failures - 1, 10)))


def _create(context: Context, value: Job, view: JobView, count: int) -> Iterator[tuple[str, Write]]:
    taken, number = context.snapshot.all(Pod), 0
    namespace, name = value.metadata.namespace, value.metadata.name
    indexed = value.spec.completion_mode == "Indexed"
    indexes = _free_indexes(value, view) if indexed else iter(range(count))
    for index in list(indexes)[:count]:
        base = f"{name}-{index}" if indexed else name
        while True:
            pod_name = child_name(base, f"{value.metadata.uid}/{index if indexed else ''}/{number}", limit=63)
            number += 1
            if f"{namespace}/{pod_name}" not in taken:
                break
        key = f"create/Pod/{namespace}/{pod_name}"
        make = partial(_new_pod, value, pod_name, index if indexed else None)
        yield key, context.memo.unit(f"write/{key}", (value.metadata.uid, value.metadata.generation), make)


def _free_indexes(value: Job, view: JobView) -> Iterator[int]:
    busy = {index_of(pod) for pod in view.active} | view.completed
    if value.spec.pod_replacement_policy == "Failed":
        busy |= {index_of(pod) for pod in view.ending}
    return (index for index in range(value.spec.completions or 0) if index not in busy)


def _new_pod(value: Job, name: str, index: int | None) -> Create:
    create = create_pod(value, value.spec.template, name, labels={} if index is None else {INDEX: str(index)})
    meta: Json = create.body["metadata"]
    meta["finalizers"] = [*meta.get("finalizers", ()), FINALIZER]
    if index is None:
        return create
    meta["annotations"] = {**meta.get("annotations", {}), INDEX: str(index)}
    spec: Json = create.body["spec"]
    spec["hostname"] = f"{value.metadata.name}-{index}"[:63]
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    for container in (*spec.get("containers", ()), *spec.get("initContainers", ())):
        known = [e for e in container.get("env", ()) if e.get("name") == "JOB_COMPLETION_INDEX"]
        if not known:
            container["env"] = [*container.get("env", ()), {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]
    return create


def _unsupported(value: Job) -> tuple[Finding, ...]:
    spec = value.spec
    written = {
        "successPolicy": spec.success_policy,
        "backoffLimitPerIndex": spec.backoff_limit_per_index,
        "maxFailedIndexes": spec.max_failed_indexes,
    }
    message, fix = "podwire's Job controller does not act on this field", "remove it, or do not rely on it"
    return tuple(
        Finding("PW6026", "warning", value.ref, FieldPath(f"spec.{name}"), message, fix)
        for name, found in written.items()
        if found is not None
    )
