"""HorizontalPodAutoscaler. Spec: k8s pkg/apis/autoscaling/validation/validation.go."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.names import path_segment_problems
from podwire.kube.validate.errors import Errors, each_invalid, forbidden, invalid, not_supported, required

Obj = dict[str, Any]

_SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "ContainerResource": "containerResource",
        "External": "external",
        "Object": "object",
        "Pods": "pods",
        "Resource": "resource",
    }
)
_TARGETS = ("AverageValue", "Utilization", "Value")


def check_autoscaler(obj: Obj, old: Obj | None) -> Errors:
    """Target, bounds and metrics."""
    spec = obj.get("spec") or {}
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        where = f"spec.scaleTargetRef.{field}"
        if not target.get(field):
            yield required(where)
        else:
            yield from each_invalid(where, target[field], path_segment_problems(target[field]))
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 1:
        yield invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        yield invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        yield invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric(metric, f"spec.metrics[{index}]")


def _metric(metric: Obj, where: str) -> Errors:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{where}.type", "must specify a metric source type")
        return
    if kind not in _SOURCES:
        yield not_supported(f"{where}.type", kind, _SOURCES)
        return
    for name in _SOURCES.values():
        if metric.get(name) is not None and name != _SOURCES[kind]:
            yield forbidden(f"{where}.{name}", "must populate the given metric source only")
    source = metric.get(_SOURCES[kind])
    if source is None:
        yield required(f"{where}.{_SOURCES[kind]}", "must populate information for the given metric source")
        return
    target = source.get("target") or {}
    path = f"{where}.{_SOURCES[kind]}.target"
    if not target.get("type"):
        yield required(f"{path}.type", "must specify a metric target type")
    elif target["type"] not in _TARGETS:
        yield invalid(f"{path}.type", target["type"], "must be either Utilization, Value, or AverageValue")
