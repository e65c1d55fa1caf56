"""The scale subresource: autoscaling/v1 Scale of Deployment, ReplicaSet and StatefulSet.

Spec: k8s:pkg/registry/apps/*/storage (ScaleREST) and autoscaling/v1.
"""

from typing import Any

from podwire.kube.columns_text import selector
from podwire.kube.edit import put
from podwire.kube.validate.errors import FieldError, invalid

Obj = dict[str, Any]

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(obj: Obj) -> Obj:
    """The Scale of a workload; it has the workload's resourceVersion, so a PUT of it detects conflicts."""
    meta, spec, status = obj.get("metadata") or {}, obj.get("spec") or {}, obj.get("status") or {}
    found = spec.get("selector")
    observed: Obj = {"replicas": status.get("replicas", 0)}
    if found:
        observed["selector"] = selector(found)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in _COPIED if key in meta},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": observed,
    }


def set_scale(obj: Obj, replicas: int) -> Obj:
    """The workload with ``replicas``."""
    return put(obj, "spec", {**(obj.get("spec") or {}), "replicas": replicas})


def replicas_of(scale: Obj) -> int:
    """The replicas a Scale asks for; absent is 0, as in Go. Raises :class:`ValueError` when they are no int32."""
    spec = scale.get("spec")
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else 0
    if not isinstance(replicas, int) or isinstance(replicas, bool) or abs(replicas) >= 1 << 31:
        raise ValueError(
            'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal value into '
            "Go struct field ScaleSpec.spec.replicas of type int32"
        )
    return replicas


def scale_errors(replicas: int) -> tuple[FieldError, ...]:
    """Replicas are never negative."""
    return (invalid("spec.replicas", replicas, "must be greater than or equal to 0"),) if replicas < 0 else ()
