"""What becomes of a StatefulSet's claims (``persistentVolumeClaimRetentionPolicy``).

Rules:

1. ``whenDeleted: Delete`` makes the set an owner of its claims, so that they are collected with it; ``Retain`` takes
   that owner away again.
2. ``whenScaled: Delete`` deletes the claims of an ordinal beyond the set's size, when its pod is gone.

Source: KEP-1847; kubernetes ``pkg/controller/statefulset/stateful_pod_control.go``.
"""

import re
from collections.abc import Iterable, Iterator
from functools import partial

from podwire.base import FieldPath, Origin
from podwire.compile.context import Context
from podwire.compile.statuses import owner_reference, to_json
from podwire.compile.workloads_pods import removal_key
from podwire.kube import PersistentVolumeClaim, Pod, StatefulSet
from podwire.plan import Merge, Remove, Write

_PATH = FieldPath("spec.persistentVolumeClaimRetentionPolicy")


def compile_retention(context: Context) -> Iterator[tuple[str, Write]]:
    """Owner references and deletions of claims."""
    claims = context.snapshot.all(PersistentVolumeClaim)
    if not claims:
        return
    for value in context.snapshot.all(StatefulSet).values():
        if not value.spec.volume_claim_templates or value.metadata.deletion_timestamp is not None:
            continue
        for claim, ordinal in _claims_of(value, claims.values()):
            if claim.metadata.deletion_timestamp is None:
                yield from _decide(context, value, claim, ordinal=ordinal)


def _claims_of(
    value: StatefulSet, claims: Iterable[PersistentVolumeClaim]
) -> Iterator[tuple[PersistentVolumeClaim, int]]:
    names = "|".join(re.escape(str(t.get("metadata", {}).get("name", ""))) for t in value.spec.volume_claim_templates)
    pattern = re.compile(rf"(?:{names})-{re.escape(value.metadata.name)}-(\d+)\Z")
    for claim in claims:
        found = pattern.match(claim.metadata.name)
        if found and claim.metadata.namespace == value.metadata.namespace:
            yield claim, int(found.group(1))


def _decide(
    context: Context, value: StatefulSet, claim: PersistentVolumeClaim, *, ordinal: int
) -> Iterator[tuple[str, Write]]:
    policy = value.spec.persistent_volume_claim_retention_policy or {}
    start = value.spec.ordinals.start if value.spec.ordinals else 0
    size = 1 if value.spec.replicas is None else value.spec.replicas
    pod = context.snapshot.get(Pod, value.metadata.namespace, f"{value.metadata.name}-{ordinal}")
    beyond = not start <= ordinal < start + size
    if policy.get("whenScaled") == "Delete" and beyond and pod is None:
        key = removal_key("PersistentVolumeClaim", claim.metadata.namespace, claim.metadata.name)
        make = partial(Remove, Origin(value.ref, _PATH), claim.ref, "v1", claim.metadata.uid)
        yield key, context.memo.unit(f"write/{key}", (claim.metadata.uid,), make)
        return
    owned = any(o.uid == value.metadata.uid for o in claim.metadata.owner_references)
    wanted = policy.get("whenDeleted") == "Delete"
    if owned != wanted:
        key = f"owner/PersistentVolumeClaim/{claim.key}"
        yield key, context.memo.unit(f"write/{key}", (value, claim), partial(_own, value, claim, wanted=wanted))


def _own(value: StatefulSet, claim: PersistentVolumeClaim, *, wanted: bool) -> Merge:
    others = [to_json(o) for o in claim.metadata.owner_references if o.uid != value.metadata.uid]
    mine = {k: v for k, v in owner_reference(value).items() if k != "controller"}
    owners = [*others, mine] if wanted else others
    patch = {"metadata": {"ownerReferences": owners or None}}
    return Merge(Origin(value.ref, _PATH), claim.ref, "v1", patch, based_on=claim.metadata.resource_version)
