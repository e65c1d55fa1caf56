"""StatefulSet to pods with stable names.

Rules:

1. OrderedReady makes one step at a time and waits for every lower ordinal to be available; Parallel does not wait.
2. An update replaces ``maxUnavailable`` pods at a time (default 1), highest ordinal first, down to ``partition``.
3. Below the partition a missing pod is made again from the ControllerRevision of the current revision; when that was
   deleted the new template is used, with a finding (PW6021).

Source: kubernetes ``pkg/controller/statefulset/stateful_set_control.go``.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.context import Context
from podwire.compile.names import content_of, suffix_of
from podwire.compile.statuses import merge_status
from podwire.compile.workloads_history import REVISION_LABEL, compile_history, template_of
from podwire.compile.workloads_pods import available_at, create_pod, removal_key
from podwire.compile.workloads_rollout import resolve_share
from podwire.kube import Pod, PodSpec, PodTemplateSpec, StatefulSet
from podwire.kube.pods import Volume
from podwire.plan import Remove, Write

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"-(\d+)\Z")


class _Work(msgspec.Struct, frozen=True):
    """One StatefulSet and what it has: pods by ordinal, revisions, time."""

    value: StatefulSet
    pods: dict[int, Pod]
    update: str
    current: str
    now: float
    old_template: PodTemplateSpec | None = None

    @property
    def ordinals(self) -> range:
        spec = self.value.spec
        start = spec.ordinals.start if spec.ordinals else 0
        return range(start, start + (1 if spec.replicas is None else spec.replicas))

    @property
    def ordered(self) -> bool:
        return self.value.spec.pod_management_policy != "Parallel"

    @property
    def partition(self) -> int:
        rolling = self.value.spec.update_strategy.rolling_update
        return rolling.partition or 0 if rolling else 0

    @property
    def max_unavailable(self) -> int:
        """How many pods may be missing while the template changes, at least one."""
        rolling = self.value.spec.update_strategy.rolling_update
        written = rolling.max_unavailable if rolling else None
        return max(1, resolve_share(1 if written is None else written, len(self.ordinals), up=False))

    def is_healthy(self, pod: Pod) -> bool:
        since = self.available_since(pod)
        return since is not None and since <= self.now and pod.metadata.deletion_timestamp is None

    def available_since(self, pod: Pod) -> float | None:
        return available_at(pod, self.value.spec.min_ready_seconds)


def compile_stateful_set(
    context: Context, value: StatefulSet, pods: tuple[Pod, ...]
) -> tuple[dict[str, Write], tuple[Finding, ...], float | None]:
    """Writes, findings, and when a pod becomes available by time alone."""
    if value.metadata.deletion_timestamp is not None:
        return {}, (), None
    update = context.memo.unit(f"revision/{value.key}", (value,), partial(revision_name, value))
    by_ordinal = {number: pod for pod in pods if (number := ordinal_of(value, pod)) is not None}
    current = value.status.current_revision or update
    template = template_of(context, value, current) if current != update else None
    work = _Work(value, by_ordinal, update, current, context.snapshot.now, template)
    live = (current, *(_revision(pod) for pod in pods))
    writes = compile_history(context, value, update.removeprefix(f"{value.metadata.name}-"), live)
    findings: list[Finding] = []
    for key, make, inputs in _steps(work, findings):
        writes[key] = context.memo.unit(f"write/{key}", inputs, make)
    key = f"status/StatefulSet/{value.key}"
    counts = _counts(work)
    patch = context.memo.unit(f"write/{key}", (value, *counts), partial(_status, work, counts))
    if patch is not None:
        writes[key] = patch
    waits = [since for pod in pods if (since := work.available_since(pod)) is not None and since > work.now]
    return writes, tuple(findings), min(waits, default=None)


def revision_name(value: StatefulSet) -> str:
    """``web-6d4b75c9f``: a function of the template's content."""
    return f"{value.metadata.name}-{suffix_of(content_of(value.spec.template), length=10)}"


def ordinal_of(value: StatefulSet, pod: Pod) -> int | None:
    """The ordinal in a pod's name, None when the name is not the set's."""
    found = _ORDINAL.search(pod.metadata.name)
    if found is None or pod.metadata.name[: found.start()] != value.metadata.name:
        return None
    return int(found.group(1))


_Step = tuple[str, Callable[[], Write], tuple[object, ...]]


def _steps(work: _Work, findings: list[Finding]) -> Iterator[_Step]:
    """The writes of this step, each with what it depends on."""
    for ordinal in work.ordinals:
        pod = work.pods.get(ordinal)
        if pod is None:
            yield _creation(work, ordinal, findings)
        elif pod.is_finished and pod.metadata.deletion_timestamp is None:
            yield _removal(work, pod, "spec.template")
        if work.ordered and (pod is None or not work.is_healthy(pod)):
            return
    condemned = sorted((n for n in work.pods if n not in work.ordinals), reverse=True)
    for ordinal in condemned:
        if work.pods[ordinal].metadata.deletion_timestamp is None:
            yield _removal(work, work.pods[ordinal], "spec.replicas")
        if work.ordered:
            return
    yield from _updates(work)


def _updates(work: _Work) -> Iterator[_Step]:
    if work.value.spec.update_strategy.type == "OnDelete":
        return
    budget = work.max_unavailable
    for ordinal in reversed(work.ordinals):
        pod = work.pods.get(ordinal)
        if ordinal < work.partition or budget <= 0:
            return
        if pod is not None and _revision(pod) != work.update and pod.metadata.deletion_timestamp is None:
            yield _removal(work, pod, "spec.template")
            budget -= 1
        elif pod is None or not work.is_healthy(pod):
            budget -= 1


def _revision(pod: Pod) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _removal(work: _Work, pod: Pod, path: str) -> _Step:
    meta = pod.metadata
    origin = Origin(work.value.ref, FieldPath(path))
    key = removal_key("Pod", meta.namespace, meta.name)
    return key, partial(Remove, origin, pod.ref, "v1", meta.uid), (meta.uid, path)


def _creation(work: _Work, ordinal: int, findings: list[Finding]) -> _Step:
    value = work.value
    name = f"{value.metadata.name}-{ordinal}"
    template, revision = value.spec.template, work.update
    if ordinal < work.partition and work.current != work.update:
        if work.old_template is not None:
            template, revision = work.old_template, work.current
        else:
            findings.append(_no_revision(value, name))
    spec = _with_identity(value, template.spec, name)
    labels = {REVISION_LABEL: revision, NAME_LABEL: name, INDEX_LABEL: str(ordinal)}
    made = msgspec.structs.replace(template, spec=spec)
    make = partial(create_pod, value, made, name, labels=labels)
    return f"create/Pod/{value.metadata.namespace}/{name}", make, (value, revision, work.old_template is None)


def _with_identity(value: StatefulSet, spec: PodSpec, name: str) -> PodSpec:
    claims = {c.get("metadata", {}).get("name", "") for c in value.spec.volume_claim_templates}
    volumes = tuple(v for v in spec.volumes if v.name not in claims) + tuple(
        Volume(name=claim, persistent_volume_claim={"claimName": f"{claim}-{name}"}) for claim in sorted(claims)
    )
    return msgspec.structs.replace(spec, hostname=name, subdomain=value.spec.service_name, volumes=volumes)


def _no_revision(value: StatefulSet, name: str) -> Finding:
    return Finding(
        "PW6021",
        "warning",
        value.ref,
        FieldPath("spec.updateStrategy.rollingUpdate.partition"),
        f"the ControllerRevision of the earlier revision is gone: {name} is made from the new template",
        "lower the partition, or put the old template back",
    )


def _counts(work: _Work) -> tuple[int, ...]:
    """``(replicas, ready, available, current, updated)``."""
    pods = list(work.pods.values())
    ready = [p for p in pods if p.is_ready and not p.is_finished]
    available = [p for p in ready if (since := work.available_since(p)) is not None and since <= work.now]
    staying = [p for p in pods if p.metadata.deletion_timestamp is None and not p.is_finished]
    current = sum(_revision(p) == work.current for p in staying)
    updated = sum(_revision(p) == work.update for p in staying)
    return len(pods), len(ready), len(available), current, updated


def _status(work: _Work, counts: tuple[int, ...]) -> Write | None:
    replicas, ready, available, current, updated = counts
    revision = work.current
    complete = updated == replicas == ready == len(work.ordinals)
    if complete and work.value.spec.update_strategy.type != "OnDelete":
        revision, current = work.update, updated
    return merge_status(
        work.value,
        {
            "observed_generation": work.value.metadata.generation,
            "replicas": replicas,
            "ready_replicas": ready,
            "available_replicas": available,
            "current_replicas": current,
            "updated_replicas": updated,
            "current_revision": revision,
            "update_revision": work.update,
        },
    )
