"""Cells of Deployment, ReplicaSet and StatefulSet."""

from typing import Any

from podwire.kube.columns_text import age, name, selector

Obj = dict[str, Any]


def deployment(obj: Obj, now: float) -> list[Any]:
    """READY counts ready against desired."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        _ready(spec, status),
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj, now),
        *_containers(spec),
        selector(spec.get("selector")),
    ]


def replica_set(obj: Obj, now: float) -> list[Any]:
    """Numbers apart."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name(obj), *counts, age(obj, now), *_containers(spec), selector(spec.get("selector"))]


def stateful_set(obj: Obj, now: float) -> list[Any]:
    """READY counts ready against desired."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [name(obj), _ready(spec, status), age(obj, now), *_containers(spec)]


def _ready(spec: Obj, status: Obj) -> str:
    return f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"


def _containers(spec: Obj) -> list[str]:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return [",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers)]
