"""What a write may change: the rules Kubernetes calls strategies.

1. The main path never changes status, ``/status`` never changes spec, each small subresource only its own field.
2. System metadata (uid, creationTimestamp, generation, deletion) is the server's; what a client sends is ignored.
3. ``generation`` grows by one when the desired state changed, for the kinds that have one.
4. A write that changes nothing but the times in managedFields is no write.

Pure: JSON values in, new JSON values out. Spec: k8s pkg/registry/*/strategy.go, and registry/rest/{create,update}.go of
apiserver.
"""

from typing import Any

from podwire.apiserver.services import merge_allocated
from podwire.kube.jobs import identify_job
from podwire.kube.registry import KINDS, Kind

Json = dict[str, Any]

KEEPS_STATUS_ON_CREATE = ("Node",)
"""A kubelet registers its node with status."""
STATUS_BY_DEFAULTS = ("Namespace", "PersistentVolumeClaim", "Pod", "Service")
"""Their defaults write a first status where there is none."""

_SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_LABELS_BY_STATUS = ("Pod", "Node", "Service", "Namespace")


def with_meta(value: Json, **fields: Any) -> Json:
    """``value`` with metadata fields set; None removes one."""
    meta = {**value["metadata"], **fields}
    return {**value, "metadata": {k: v for k, v in meta.items() if v is not None}}


def prepare_create(kind: Kind, value: Json) -> Json:
    """Drop what a creator may not set; a built-in kind with a status is born with an empty one, as Go's structs are."""
    if "status" in kind.subresources and kind.stored not in KEEPS_STATUS_ON_CREATE:
        value = {k: v for k, v in value.items() if k != "status"}
        if kind.stored in KINDS and kind.stored not in STATUS_BY_DEFAULTS:
            value["status"] = {}
    return identify_job(value) if kind.name == "Job" else value


def prepare_update(kind: Kind, new: Json, old: Json, *, subresource: str) -> Json:
    """``old`` with those fields of ``new`` that the path may change."""
    match subresource:
        case "":
            value = _main(kind, new, old)
        case "status":
            value = _status(kind, new, old)
        case "ephemeralcontainers":
            containers = (new.get("spec") or {}).get("ephemeralContainers")
            value = {**_status(kind, {**new, "status": old.get("status", {})}, old)}
            value["spec"] = {**old.get("spec", {}), "ephemeralContainers": containers or []}
        case "finalize":
            finalizers = (new.get("spec") or {}).get("finalizers") or []
            value = {**old, "spec": {**old.get("spec", {}), "finalizers": finalizers}}
        case _:
            raise ValueError(f"no update through {subresource}")
    return _keep_system(value, old)


def _main(kind: Kind, new: Json, old: Json) -> Json:
    if "status" not in kind.subresources:
        return new
    value = {k: v for k, v in new.items() if k != "status"}
    if "status" in old:
        value["status"] = old["status"]
    if kind.stored == "Service":
        value = merge_allocated(value, old)
        if old["spec"].get("type") == "LoadBalancer" and value["spec"].get("type") != "LoadBalancer":
            value["status"] = {"loadBalancer": {}}
    if kind.stored == "Namespace":
        # Finalizers of a namespace's spec change through /finalize only.
        value["spec"] = old.get("spec", {})
    return value


def _status(kind: Kind, new: Json, old: Json) -> Json:
    meta = dict(new["metadata"])
    kept = ["ownerReferences", "finalizers"]
    if kind.stored not in _LABELS_BY_STATUS:
        kept.append("labels")
    for field in kept:
        meta.pop(field, None)
        if field in old["metadata"]:
            meta[field] = old["metadata"][field]
    value = {**old, "metadata": meta}
    if "status" in new:
        value["status"] = new["status"]
    else:
        value.pop("status", None)
    return value


def _keep_system(value: Json, old: Json) -> Json:
    meta = {k: v for k, v in value["metadata"].items() if k not in _SYSTEM and k != "selfLink"}
    before = old["metadata"]
    meta |= {field: before[field] for field in _SYSTEM if field in before}
    meta["resourceVersion"] = before["resourceVersion"]
    if "managedFields" not in meta and "managedFields" in before:
        meta["managedFields"] = before["managedFields"]
    return {**value, "metadata": meta}


def bump_generation(new: Json, old: Json) -> Json:
    """Rule 3, for a kind that has one."""
    if _desired(new) == _desired(old):
        return new
    return with_meta(new, generation=int(old["metadata"].get("generation", 0)) + 1)


def _desired(value: Json) -> Any:
    if "spec" in value:
        return value["spec"]
    return {k: v for k, v in value.items() if k not in ("metadata", "status")}


def same(new: Json, old: Json) -> bool:
    """Rule 4."""
    if new.keys() != old.keys():
        return False
    if any(new[field] != old[field] for field in new if field != "metadata"):
        return False
    return _untimed(new["metadata"]) == _untimed(old["metadata"])


def _untimed(meta: Json) -> Json:
    entries = [{k: v for k, v in entry.items() if k != "time"} for entry in meta.get("managedFields") or ()]
    return {**meta, "managedFields": entries}


def is_finished(kind: Kind, value: Json) -> bool:
    """Whether an object marked for deletion has nothing left to wait for."""
    meta = value["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers"):
        return False
    if kind.stored == "Namespace":
        return not (value.get("spec") or {}).get("finalizers")
    return not meta.get("deletionGracePeriodSeconds")
