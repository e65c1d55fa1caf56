"""Revisions of a StatefulSet or DaemonSet as ControllerRevisions, for ``kubectl rollout history`` and ``undo``.

Rules:

1. A revision is named after its template's content, so a template that comes back is the same revision: it gets the
   highest number instead of a second object.
2. ``data`` is the strategic merge patch that puts the template back, as Kubernetes writes it.
3. Beyond ``revisionHistoryLimit`` the oldest revisions go that no pod has and that are neither current nor next.

Source: kubernetes ``pkg/controller/history``, ``pkg/controller/statefulset/stateful_set_control.go`` (truncateHistory).
"""

from collections.abc import Iterable
from functools import partial

import msgspec

from podwire.base import FieldPath, Origin, Ref
from podwire.compile.context import Context
from podwire.compile.roster import roster_of
from podwire.compile.statuses import owner_reference, to_json
from podwire.compile.workloads_pods import removal_key
from podwire.kube import ControllerRevision, DaemonSet, PodTemplateSpec, StatefulSet
from podwire.plan import Create, Merge, Remove, Write

REVISION_LABEL = "controller-revision-hash"
DEFAULT_LIMIT = 10
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Owner = StatefulSet | DaemonSet


def revisions_of(context: Context, owner: Owner) -> tuple[ControllerRevision, ...]:
    """The revisions of one owner, by number."""
    found = [c for c in roster_of(context).others_of(owner) if isinstance(c, ControllerRevision)]
    return tuple(sorted(found, key=lambda r: (r.revision, r.metadata.name)))


def compile_history(context: Context, owner: Owner, digest: str, live: Iterable[str]) -> dict[str, Write]:
    """The writes that make ``digest`` the newest revision and drop what is beyond the limit.

    ``live``: names of revisions that are in use.
    """
    known = revisions_of(context, owner)
    name = f"{owner.metadata.name}-{digest}"
    number = max((r.revision for r in known), default=0)
    found = next((r for r in known if r.metadata.name == name), None)
    writes: dict[str, Write] = {}
    if found is None:
        key = f"create/ControllerRevision/{owner.metadata.namespace}/{name}"
        writes[key] = context.memo.unit(f"write/{key}", (owner, number), partial(_create, owner, digest, number + 1))
    elif found.revision < number:
        key = f"revision/ControllerRevision/{found.key}"
        writes[key] = context.memo.unit(f"write/{key}", (found, number), partial(_renumber, owner, found, number + 1))
    in_use = {name, *live}
    limit = DEFAULT_LIMIT if owner.spec.revision_history_limit is None else owner.spec.revision_history_limit
    unused = [r for r in known if r.metadata.name not in in_use]
    for surplus in unused[: max(0, len(unused) - limit)]:
        key = removal_key("ControllerRevision", surplus.metadata.namespace, surplus.metadata.name)
        writes[key] = context.memo.unit(f"write/{key}", (surplus,), partial(_remove, owner, surplus))
    return writes


def template_of(context: Context, owner: Owner, name: str) -> PodTemplateSpec | None:
    """The template a revision holds; None when there is no such revision."""
    found = next((r for r in revisions_of(context, owner) if r.metadata.name == name), None)
    if found is None:
        return None
    written = ((found.data or {}).get("spec") or {}).get("template") or {}
    try:
        return msgspec.convert({k: v for k, v in written.items() if k != "$patch"}, PodTemplateSpec)
    except msgspec.ValidationError:
        return None


def _create(owner: Owner, digest: str, number: int) -> Create:
    meta = owner.metadata
    name = f"{meta.name}-{digest}"
    annotations = {k: v for k, v in meta.annotations.items() if k != _LAST_APPLIED}
    body = {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": {**owner.spec.template.metadata.labels, REVISION_LABEL: digest},
            "annotations": annotations,
            "ownerReferences": [owner_reference(owner)],
        },
        "data": {"spec": {"template": {**to_json(owner.spec.template), "$patch": "replace"}}},
        "revision": number,
    }
    origin = Origin(owner.ref, FieldPath("spec.template"))
    return Create(origin, Ref("ControllerRevision", meta.namespace, name), "apps/v1", body)


def _renumber(owner: Owner, found: ControllerRevision, number: int) -> Merge:
    origin = Origin(owner.ref, FieldPath("spec.template"))
    based_on = found.metadata.resource_version
    return Merge(origin, found.ref, "apps/v1", {"revision": number}, based_on=based_on)


def _remove(owner: Owner, surplus: ControllerRevision) -> Remove:
    origin = Origin(owner.ref, FieldPath("spec.revisionHistoryLimit"))
    return Remove(origin, surplus.ref, "apps/v1", surplus.metadata.uid)
