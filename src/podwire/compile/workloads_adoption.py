"""Owners found and lost: orphans a controller's selector matches, dependents it does not match any more.

Rules:

1. A pod or ReplicaSet without a controller, that a selector matches and that is not being deleted, gets that owner; the
   first in key order, when there are several.
2. A dependent whose labels no longer match loses the owner and stays: that is how people take a pod out to look at it.
3. Jobs do not adopt: a pod they did not make has no finalizer to count it by.

Source: kubernetes ``pkg/controller/controller_ref_manager.go``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from podwire.base import FieldPath, Origin
from podwire.compile.context import Context
from podwire.compile.roster import roster_of
from podwire.compile.statuses import api_version_of, owner_reference, to_json
from podwire.compile.workloads_statefulsets import ordinal_of
from podwire.kube import DaemonSet, Deployment, Pod, ReplicaSet, StatefulSet, selects
from podwire.plan import Merge, Write

Owner = ReplicaSet | StatefulSet | DaemonSet | Deployment
Dependent = Pod | ReplicaSet


def compile_adoption(context: Context) -> dict[str, Write]:
    """Owner references to add and to remove."""
    snapshot, roster = context.snapshot, roster_of(context)
    pods = _orphans(roster.loose)
    sets = _orphans(snapshot.all(ReplicaSet).values())
    writes: dict[str, Write] = {}
    owners: tuple[Owner, ...] = (
        *snapshot.all(ReplicaSet).values(),
        *snapshot.all(StatefulSet).values(),
        *snapshot.all(DaemonSet).values(),
        *snapshot.all(Deployment).values(),
    )
    for owner in owners:
        orphans = sets if isinstance(owner, Deployment) else pods
        if owner.metadata.deletion_timestamp is not None:
            continue
        for orphan in orphans.get(owner.metadata.namespace, ()):
            if _fits(owner, orphan):
                writes.setdefault(f"owner/{orphan.ref.kind}/{orphan.key}", _adopt(context, owner, orphan))
        writes.update(_released(context, owner))
    return writes


def _orphans(values: Iterable[Dependent]) -> Mapping[str, Sequence[Dependent]]:
    found: dict[str, list[Dependent]] = {}
    for value in values:
        meta = value.metadata
        if meta.deletion_timestamp is None and not any(o.controller for o in meta.owner_references):
            found.setdefault(meta.namespace, []).append(value)
    return found


def _fits(owner: Owner, orphan: Dependent) -> bool:
    """An empty selector adopts nothing; a StatefulSet only pods of its names; nothing that has ended."""
    selector = owner.spec.selector
    if not (selector.match_labels or selector.match_expressions) or not selects(selector, orphan.metadata.labels):
        return False
    if isinstance(orphan, Pod) and orphan.is_finished:
        return False
    return not isinstance(owner, StatefulSet) or (isinstance(orphan, Pod) and ordinal_of(owner, orphan) is not None)


def _adopt(context: Context, owner: Owner, orphan: Dependent) -> Write:
    owners = [*(to_json(o) for o in orphan.metadata.owner_references), owner_reference(owner)]
    return _write(context, owner, orphan, owners=owners)


def _released(context: Context, owner: Owner) -> Iterator[tuple[str, Write]]:
    roster = roster_of(context)
    mine: tuple[Dependent, ...] = roster.pods_of(owner)
    if isinstance(owner, Deployment):
        mine = tuple(c for c in roster.others_of(owner) if isinstance(c, ReplicaSet))
    for value in context.memo.unit(
        f"strangers/{owner.kind}/{owner.key}", (owner, mine), partial(_strangers, owner, mine)
    ):
        kept = [to_json(o) for o in value.metadata.owner_references if o.uid != owner.metadata.uid]
        yield f"owner/{value.kind}/{value.key}", _write(context, owner, value, owners=kept)


def _strangers(owner: Owner, mine: tuple[Dependent, ...]) -> tuple[Dependent, ...]:
    return tuple(
        value
        for value in mine
        if value.metadata.deletion_timestamp is None and not selects(owner.spec.selector, value.metadata.labels)
    )


def _write(context: Context, owner: Owner, value: Dependent, *, owners: list[dict[str, object]]) -> Write:
    patch = {"metadata": {"ownerReferences": owners or None}}
    origin = Origin(owner.ref, FieldPath("spec.selector"))
    based_on, version = value.metadata.resource_version, api_version_of(value.ref)
    make = partial(Merge, origin, value.ref, version, patch, "", based_on)
    return context.memo.unit(f"write/owner/{value.kind}/{value.key}", (owner, value), make)
