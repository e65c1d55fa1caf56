"""Claims to volumes: claims of StatefulSets are made, claims are bound, volumes say whose they are.

Rules:

1. A claim takes a volume that is there for it (class, modes, size, or by name), else one is made: a folder of the
   cluster. A claim for the class ``""``, or with a selector, waits for a volume made by hand.
2. A class that does not exist gets a folder as well, and a finding (PW6025): manifests name classes of their clouds.
3. A volume made here goes with its claim when its policy is Delete. Its folder stays until the cluster is deleted.

Source: kubernetes ``pkg/controller/volume/persistentvolume``, ``pkg/controller/statefulset`` (claims).
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.base import FieldPath, Finding, Origin
from podwire.compile.context import Context
from podwire.compile.statuses import merge_status
from podwire.kube import PersistentVolume, PersistentVolumeClaim, Pod, StatefulSet, StorageClass
from podwire.kube.meta import LabelSelector, selects
from podwire.kube.quantity import parse_quantity
from podwire.plan import Create, Json, Merge, Remove, Write

DRIVER = "podwire.dev/folder"
DEFAULT_CLASS = "standard"


def compile_claims(context: Context) -> tuple[dict[str, Write], list[Finding]]:
    """Writes by key, and findings about claims."""
    snapshot = context.snapshot
    writes: dict[str, Write] = {}
    findings: list[Finding] = []
    for stateful in snapshot.all(StatefulSet).values():
        if stateful.spec.volume_claim_templates:
            writes.update(_missing_claims(context, stateful))
    claims, volumes = snapshot.all(PersistentVolumeClaim), snapshot.all(PersistentVolume)
    free = [v for v in volumes.values() if v.spec.claim_ref is None and v.metadata.deletion_timestamp is None]
    for claim in claims.values():
        if claim.metadata.deletion_timestamp is not None:
            continue
        volume = volumes.get(claim.spec.volume_name) if claim.spec.volume_name else _reserved(claim, volumes.values())
        if volume is None and not claim.spec.volume_name:
            volume = _choose(claim, free)
            if volume is not None:
                free.remove(volume)
        findings.extend(_unknown_class(context, claim))
        for write in _bind(context, claim, volume):
            writes[f"claim/{write.ref}"] = write
    for volume in volumes.values():
        made = _volume_write(volume, claims)
        if made is not None:
            writes.setdefault(f"volume/{volume.metadata.name}", made)
    return writes, findings


def _missing_claims(context: Context, stateful: StatefulSet) -> Iterator[tuple[str, Write]]:
    """Claims are named TEMPLATE-POD and outlive the pod."""
    snapshot = context.snapshot
    for pod in snapshot.pods_of(stateful):
        for template in stateful.spec.volume_claim_templates:
            meta = template.get("metadata") or {}
            name, namespace = f"{meta.get('name', '')}-{pod.metadata.name}", pod.metadata.namespace
            if pod.metadata.deletion_timestamp is None and (
                snapshot.get(PersistentVolumeClaim, namespace, name) is None
            ):
                yield f"claim/new/{namespace}/{name}", _claim_of(stateful, pod, template, name)


def _claim_of(stateful: StatefulSet, pod: Pod, template: Json, name: str) -> Create:
    meta = template.get("metadata") or {}
    selector = stateful.spec.selector.match_labels if stateful.spec.selector else {}
    labels = dict(meta.get("labels") or {}) | dict(selector)
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": pod.metadata.namespace, "labels": labels},
        "spec": template.get("spec") or {},
    }
    ref = msgspec.structs.replace(pod.ref, kind="PersistentVolumeClaim", name=name)
    return Create(Origin(stateful.ref, FieldPath("spec.volumeClaimTemplates")), ref, "v1", body)


def _unknown_class(context: Context, claim: PersistentVolumeClaim) -> Iterator[Finding]:
    name = claim.spec.storage_class_name
    if name and name != DEFAULT_CLASS and context.snapshot.get(StorageClass, "", name) is None:
        message = f"there is no StorageClass {name}; the claim gets a folder of the cluster"
        yield Finding("PW6025", "info", claim.ref, FieldPath("spec.storageClassName"), message, "create the class")


def _reserved(claim: PersistentVolumeClaim, volumes: Iterable[PersistentVolume]) -> PersistentVolume | None:
    """A volume whose claimRef names this claim already."""
    for volume in volumes:
        ref = volume.spec.claim_ref or {}
        if (ref.get("namespace"), ref.get("name")) == (claim.metadata.namespace, claim.metadata.name) and (
            ref.get("uid") in (None, "", claim.metadata.uid)
        ):
            return volume
    return None


def _choose(claim: PersistentVolumeClaim, free: list[PersistentVolume]) -> PersistentVolume | None:
    """The smallest free volume that fits, oldest name first."""
    spec = claim.spec
    wanted = _size(spec.resources.requests.get("storage", 0))
    fitting = [
        v
        for v in free
        if v.spec.storage_class_name == (DEFAULT_CLASS if spec.storage_class_name is None else spec.storage_class_name)
        and _selected(spec.selector, v)
        and set(spec.access_modes) <= set(v.spec.access_modes)
        and _size(v.spec.capacity.get("storage", 0)) >= wanted
    ]
    return min(fitting, key=lambda v: (_size(v.spec.capacity.get("storage", 0)), v.metadata.name), default=None)


def _selected(selector: Json | None, volume: PersistentVolume) -> bool:
    if selector is None:
        return True
    try:
        return selects(msgspec.convert(selector, LabelSelector), volume.metadata.labels)
    except msgspec.ValidationError:
        return False


def _size(value: str | int | float) -> float:
    try:
        return float(parse_quantity(value))
    except ValueError:
        return 0.0


def _bind(context: Context, claim: PersistentVolumeClaim, volume: PersistentVolume | None) -> Iterator[Write]:
    """The next step of one claim."""
    origin = Origin(claim.ref)
    if volume is None:
        if not claim.spec.volume_name and claim.spec.storage_class_name != "" and claim.spec.selector is None:
            body = _volume_of(context, claim)
            ref = msgspec.structs.replace(
                claim.ref, kind="PersistentVolume", namespace="", name=body["metadata"]["name"]
            )
            yield Create(origin, ref, "v1", body)
        return
    if (volume.spec.claim_ref or {}).get("uid") != claim.metadata.uid:
        yield Merge(origin, volume.ref, "v1", {"spec": {"claimRef": _claim_ref(claim)}})
        return
    if not claim.spec.volume_name:
        annotations = {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
        spec: Json = {"volumeName": volume.metadata.name}
        if claim.spec.storage_class_name is None:
            spec["storageClassName"] = volume.spec.storage_class_name
        yield Merge(origin, claim.ref, "v1", {"metadata": {"annotations": annotations}, "spec": spec})
        return
    wanted = {"phase": "Bound", "access_modes": volume.spec.access_modes, "capacity": volume.spec.capacity}
    status = merge_status(claim, wanted)
    if status is not None:
        yield status


def _volume_of(context: Context, claim: PersistentVolumeClaim) -> Json:
    spec = claim.spec
    name = DEFAULT_CLASS if spec.storage_class_name is None else spec.storage_class_name
    found = context.snapshot.get(StorageClass, "", name)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{claim.metadata.uid}",
            "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER},
        },
        "spec": {
            "capacity": {"storage": spec.resources.requests.get("storage", "1Gi")},
            "accessModes": list(spec.access_modes),
            "claimRef": _claim_ref(claim),
            "persistentVolumeReclaimPolicy": (found.reclaim_policy if found else None) or "Delete",
            "storageClassName": name,
            "volumeMode": spec.volume_mode or "Filesystem",
            "csi": {"driver": DRIVER, "volumeHandle": f"pvc-{claim.metadata.uid}"},
        },
    }


def _claim_ref(claim: PersistentVolumeClaim) -> Json:
    meta = claim.metadata
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta.namespace,
        "name": meta.name,
        "uid": meta.uid,
    }


def _volume_write(volume: PersistentVolume, claims: Mapping[str, PersistentVolumeClaim]) -> Write | None:
    """The phase of a volume, or its removal (rule 3)."""
    ref = volume.spec.claim_ref
    if ref is None or not ref.get("uid"):
        return merge_status(volume, {"phase": "Available"})
    claim = claims.get(f"{ref.get('namespace')}/{ref.get('name')}")
    if claim is not None and claim.metadata.uid == ref["uid"]:
        return merge_status(volume, {"phase": "Bound"})
    made_here = (volume.spec.csi or {}).get("driver") == DRIVER
    if made_here and volume.spec.persistent_volume_reclaim_policy == "Delete":
        return Remove(Origin(volume.ref), volume.ref, "v1", volume.metadata.uid)
    return merge_status(volume, {"phase": "Released"})
