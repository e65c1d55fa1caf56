"""Deployment to ReplicaSets.

Rules:

1. The new ReplicaSet is the oldest one whose template equals the Deployment's apart from its hash label; so a rollback
   finds the old set again.
2. All changes of one ReplicaSet in one step (size, revision, remembered sizes) are one write.
3. While the Deployment's own revision annotation is being written its status waits, so that the two do not conflict.

Source: kubernetes ``pkg/controller/deployment``.
"""

from collections.abc import Mapping
from functools import partial

from podwire.base import FieldPath, Origin, Ref
from podwire.compile.context import Context
from podwire.compile.names import content_of, suffix_of
from podwire.compile.statuses import owner_reference, parse_time, to_json
from podwire.compile.workloads_deployment_status import Rollout, compile_deployment_status
from podwire.compile.workloads_pods import PodCounts, removal_key, selector_json
from podwire.compile.workloads_replicasets import HASH_LABEL
from podwire.compile.workloads_replicasets import wanted_replicas as size_of
from podwire.compile.workloads_rollout import (
    Share,
    decide_new_size,
    decide_recreate,
    decide_rolling,
    decide_scale,
    is_scaling,
    resolve_bounds,
    wanted_replicas,
)
from podwire.kube import Deployment, PodTemplateSpec, ReplicaSet
from podwire.plan import Create, Json, Merge, Remove, Write

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HISTORY = "deployment.kubernetes.io/revision-history"
_OWN = frozenset({REVISION, DESIRED, MAXIMUM, HISTORY, "kubectl.kubernetes.io/last-applied-configuration"})

Counted = tuple[tuple[ReplicaSet, PodCounts], ...]


def compile_deployment(context: Context, value: Deployment, sets: Counted) -> tuple[dict[str, Write], float | None]:
    """The writes of one Deployment and when its answer changes by time alone."""
    if value.metadata.deletion_timestamp is not None:
        return {}, None
    ordered = sorted(sets, key=lambda item: _age(item[0]))
    new = next((item for item in ordered if _same_template(item[0].spec.template, value.spec.template)), None)
    old = [item for item in ordered if item is not new]
    shares = {rs.metadata.name: _share(rs, counts) for rs, counts in ordered}
    sizes = _decide_sizes(value, new and shares[new[0].metadata.name], [shares[rs.metadata.name] for rs, _ in old])
    writes: dict[str, Write] = {}
    revision = _next_revision(new, old)
    if new is None and _may_create(value, old):
        key, create = _creation(context, value, old, revision)
        writes[key] = create
    for rs, _ in ordered:
        patch = _patch(value, rs, sizes, revision if new and rs is new[0] else None)
        if patch:
            key = f"scale/ReplicaSet/{rs.key}"
            make = partial(_merge, value, rs, patch)
            writes[key] = context.memo.unit(f"write/{key}", (value, rs, *sorted(sizes.items())), make)
    wake_at = None
    if new is not None and value.metadata.annotations.get(REVISION) != revision:
        key = f"revision/Deployment/{value.key}"
        writes[key] = context.memo.unit(f"write/{key}", (value, revision), partial(_annotate, value, revision))
    else:
        rollout = Rollout(new and new[0], tuple(c for _, c in sets), new[1] if new else PodCounts())
        status, wake_at = compile_deployment_status(context, value, rollout)
        writes.update(status)
    writes.update(_expired(context, value, new, old))
    return writes, wake_at


def _decide_sizes(value: Deployment, new: Share | None, old: list[Share]) -> Mapping[str, int]:
    wanted = wanted_replicas(value)
    surge, unavailable = resolve_bounds(value)
    rolling = value.spec.strategy.type != "Recreate"
    shares = [*old, new] if new else old
    if value.spec.paused or is_scaling(wanted, shares):
        return decide_scale(wanted, surge, new, shares, rolling=rolling)
    if not rolling:
        return decide_recreate(wanted, new, old)
    return decide_rolling(wanted, (surge, unavailable), new, old) if new else {}


def _may_create(value: Deployment, old: list[tuple[ReplicaSet, PodCounts]]) -> bool:
    """Recreate waits for the old pods; a paused Deployment starts nothing."""
    if value.spec.paused:
        return False
    waits = value.spec.strategy.type == "Recreate"
    return not (waits and any(size_of(rs) or counts.replicas for rs, counts in old))


def _same_template(a: PodTemplateSpec, b: PodTemplateSpec) -> bool:
    return a.spec == b.spec and _essence(a) == _essence(b)


def _essence(template: PodTemplateSpec) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    labels = {k: v for k, v in template.metadata.labels.items() if k != HASH_LABEL}
    return labels, template.metadata.annotations, template.metadata.finalizers


def template_hash(template: PodTemplateSpec) -> str:
    """``pod-template-hash``: a function of the template's content, up to 10 characters."""
    return suffix_of(content_of(template), length=10)


def _creation(
    context: Context, value: Deployment, old: list[tuple[ReplicaSet, PodCounts]], revision: str
) -> tuple[str, Create]:
    digest = context.memo.unit(f"template/{value.key}", (value,), partial(template_hash, value.spec.template))
    others = sum(size_of(rs) for rs, _ in old)
    rolling = value.spec.strategy.type != "Recreate"
    size = decide_new_size(wanted_replicas(value), resolve_bounds(value)[0], 0, others, rolling=rolling)
    key = f"create/ReplicaSet/{value.key}-{digest}"
    make = partial(_new_set, value, digest, size, revision)
    return key, context.memo.unit(f"write/{key}", (value, size, revision), make)


def _new_set(value: Deployment, digest: str, size: int, revision: str) -> Create:
    meta, name = value.metadata, f"{value.metadata.name[:242]}-{digest}"
    template = to_json(value.spec.template)
    labels = {**value.spec.template.metadata.labels, HASH_LABEL: digest}
    template["metadata"] = {**template.get("metadata", {}), "labels": labels}
    selector = selector_json(value.spec.selector)
    selector["matchLabels"] = {**selector.get("matchLabels", {}), HASH_LABEL: digest}
    spec: Json = {"replicas": size, "selector": selector, "template": template}
    if value.spec.min_ready_seconds:
        spec["minReadySeconds"] = value.spec.min_ready_seconds
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": labels,
            "annotations": {**_copied(value), **_remembered(value), REVISION: revision},
            "ownerReferences": [owner_reference(value)],
        },
        "spec": spec,
    }
    origin = Origin(value.ref, FieldPath("spec.template"))
    return Create(origin, Ref("ReplicaSet", meta.namespace, name), "apps/v1", body)


def _copied(value: Deployment) -> dict[str, str]:
    return {k: v for k, v in value.metadata.annotations.items() if k not in _OWN}


def _remembered(value: Deployment) -> dict[str, str]:
    wanted = wanted_replicas(value)
    return {DESIRED: str(wanted), MAXIMUM: str(wanted + resolve_bounds(value)[0])}


def _patch(value: Deployment, rs: ReplicaSet, sizes: Mapping[str, int], revision: str | None) -> Json:
    """What of one ReplicaSet must change: its size, the sizes it remembers, its revision, minReadySeconds."""
    have = rs.metadata.annotations
    name = rs.metadata.name
    annotations: dict[str, str] = {}
    if name in sizes or size_of(rs) > 0:
        annotations = _remembered(value)
    if revision is not None:
        annotations |= {**_copied(value), REVISION: revision}
        if have.get(REVISION) not in (None, revision):
            annotations[HISTORY] = ",".join(filter(None, (have.get(HISTORY), have[REVISION])))
    annotations = {k: v for k, v in annotations.items() if have.get(k) != v}
    spec: Json = {}
    if sizes.get(name, size_of(rs)) != size_of(rs):
        spec["replicas"] = sizes[name]
    if revision is not None and rs.spec.min_ready_seconds != value.spec.min_ready_seconds:
        spec["minReadySeconds"] = value.spec.min_ready_seconds
    return {
        **({"metadata": {"annotations": annotations}} if annotations else {}),
        **({"spec": spec} if spec else {}),
    }


def _merge(value: Deployment, rs: ReplicaSet, patch: Json) -> Merge:
    origin = Origin(value.ref, FieldPath("spec"))
    return Merge(origin, rs.ref, "apps/v1", patch, based_on=rs.metadata.resource_version)


def _annotate(value: Deployment, revision: str) -> Merge:
    patch = {"metadata": {"annotations": {REVISION: revision}}}
    return Merge(Origin(value.ref), value.ref, "apps/v1", patch, based_on=value.metadata.resource_version)


def _next_revision(new: tuple[ReplicaSet, PodCounts] | None, old: list[tuple[ReplicaSet, PodCounts]]) -> str:
    highest = max((_revision(rs) for rs, _ in old), default=0)
    return str(max(_revision(new[0]), highest + 1) if new else highest + 1)


def _revision(rs: ReplicaSet) -> int:
    try:
        return int(rs.metadata.annotations.get(REVISION, "0"))
    except ValueError:
        return 0


def _age(rs: ReplicaSet) -> tuple[float, str]:
    return parse_time(rs.metadata.creation_timestamp), rs.metadata.name


def _share(rs: ReplicaSet, counts: PodCounts) -> Share:
    size, have = size_of(rs), rs.metadata.annotations
    return Share(
        name=rs.metadata.name,
        replicas=size,
        # Pods about to be deleted must not be counted twice: no more than the set should have.
        available=min(counts.available, size),
        existing=counts.replicas,
        age=_age(rs),
        desired=int(have[DESIRED]) if have.get(DESIRED, "").isdigit() else None,
        maximum=int(have[MAXIMUM]) if have.get(MAXIMUM, "").isdigit() else None,
    )


def _expired(
    context: Context,
    value: Deployment,
    new: tuple[ReplicaSet, PodCounts] | None,
    old: list[tuple[ReplicaSet, PodCounts]],
) -> dict[str, Write]:
    """Empty old sets beyond revisionHistoryLimit, once the rollout is complete."""
    wanted = wanted_replicas(value)
    limit = 10 if value.spec.revision_history_limit is None else value.spec.revision_history_limit
    if new is None or size_of(new[0]) != wanted or new[1].available < wanted:
        return {}
    empty = [rs for rs, c in old if size_of(rs) == 0 and c.replicas == 0 and rs.metadata.deletion_timestamp is None]
    surplus = sorted(empty, key=_revision)[: max(0, len(old) - limit)]
    origin = Origin(value.ref, FieldPath("spec.revisionHistoryLimit"))
    found: dict[str, Write] = {}
    for rs in surplus:
        key = removal_key("ReplicaSet", rs.metadata.namespace, rs.metadata.name)
        make = partial(Remove, origin, rs.ref, "apps/v1", rs.metadata.uid)
        found[key] = context.memo.unit(f"write/{key}", (rs,), make)
    return found
