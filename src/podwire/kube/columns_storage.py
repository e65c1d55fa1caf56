"""Cells of volumes, claims and storage classes."""

from typing import Any

from podwire.kube.columns_text import age, name

Obj = dict[str, Any]
_SHORT = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
_DEFAULT = "storageclass.kubernetes.io/is-default-class"


def _modes(modes: Any) -> str:
    return ",".join(short for mode, short in _SHORT if mode in (modes or ()))


def claim(obj: Obj, now: float) -> list[Any]:
    """Size and modes are shown once it is bound."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    bound = bool(spec.get("volumeName"))
    capacity = (status.get("capacity") or {}).get("storage", "") if bound else ""
    phase = "Terminating" if (obj.get("metadata") or {}).get("deletionTimestamp") else status.get("phase", "")
    return [
        name(obj),
        phase,
        spec.get("volumeName", ""),
        str(capacity),
        _modes(status.get("accessModes")) if bound else "",
        spec.get("storageClassName") or "",
        age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def volume(obj: Obj, now: float) -> list[Any]:
    """With the claim as namespace/name."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ref = spec.get("claimRef")
    phase = "Terminating" if (obj.get("metadata") or {}).get("deletionTimestamp") else status.get("phase", "")
    return [
        name(obj),
        str((spec.get("capacity") or {}).get("storage", "")),
        _modes(spec.get("accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        phase,
        f"{ref.get('namespace', '')}/{ref.get('name', '')}" if ref else "",
        spec.get("storageClassName", ""),
        status.get("reason", ""),
        age(obj, now),
        spec.get("volumeMode") or "<unset>",
    ]


def storage_class(obj: Obj, now: float) -> list[Any]:
    """The default class is marked."""
    default = ((obj.get("metadata") or {}).get("annotations") or {}).get(_DEFAULT) == "true"
    return [
        f"{name(obj)} (default)" if default else name(obj),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]
