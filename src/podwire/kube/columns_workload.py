"""Cells of the kinds of apps/v1."""

from typing import Any

from podwire.kube.columns_text import age, labels, name, selector

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


def daemon_set(obj: Obj, now: float) -> list[Any]:
    """Numbers of nodes and pods."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    fields: tuple[str, ...] = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady")
    fields += ("updatedNumberScheduled", "numberAvailable")
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        name(obj),
        *(status.get(field, 0) for field in fields),
        labels(pod.get("nodeSelector")),
        age(obj, now),
        *_containers(spec),
        selector(spec.get("selector")),
    ]


def controller_revision(obj: Obj, now: float) -> list[Any]:
    """Whose revision, and which."""
    owners = (obj.get("metadata") or {}).get("ownerReferences") or ()
    owner = next((o for o in owners if o.get("controller")), None)
    kind = _qualified(owner) if owner else "<none>"
    return [name(obj), kind, obj.get("revision", 0), age(obj, now)]


def _qualified(owner: Obj) -> str:
    group = str(owner.get("apiVersion", "")).rpartition("/")[0]
    kind = str(owner.get("kind", "")).lower()
    return f"{kind}.{group}/{owner.get('name', '')}" if group else f"{kind}/{owner.get('name', '')}"


def _ready(spec: Obj, status: Obj) -> str:
    return f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"


def _containers(spec: Obj) -> list[str]:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return [",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers)]


def autoscaler(obj: Obj, now: float) -> list[Any]:
    """NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    shown = ", ".join(map(_metric, spec.get("metrics") or ())) or "<none>"
    least = spec.get("minReplicas")
    return [
        name(obj),
        f"{target.get('kind', '')}/{target.get('name', '')}",
        shown,
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age(obj, now),
    ]


def _metric(metric: Obj) -> str:
    kind = metric.get("type", "")
    source = metric.get(kind[:1].lower() + kind[1:]) or {}
    target = source.get("target") or {}
    percent = target.get("averageUtilization")
    wanted = f"{percent}%" if percent is not None else target.get("averageValue") or target.get("value") or "<auto>"
    label = f"{source['name']}: " if source.get("name") else ""
    return f"{label}<unknown>/{wanted}"
