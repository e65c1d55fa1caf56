"""Field selectors: which fields of each kind may be selected on, and their values.

Spec: k8s:pkg/apis/*/v1/conversion.go (AddFieldLabelConversionsFor*) and each strategy's ToSelectableFields.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_META = ("metadata.name", "metadata.namespace")

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Event": (
            *_META,
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
        "Job": (*_META, "status.successful"),
        "Namespace": ("metadata.name", "status.phase"),
        "Node": ("metadata.name", "spec.unschedulable"),
        "Pod": (
            *_META,
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ),
        "ReplicaSet": (*_META, "status.replicas"),
        "Secret": (*_META, "type"),
        "Service": (*_META, "spec.clusterIP", "spec.type"),
    }
)
"""Selectable fields by kind; kinds not listed have name and namespace."""


def supported_fields(kind_name: str) -> tuple[str, ...]:
    """The fields that may be selected on."""
    return FIELDS.get(kind_name, _META)


def field_value(kind_name: str, obj: Mapping[str, Any], path: str) -> str:
    """The value of a selectable field as text; absent is empty, booleans are ``true`` and ``false``.

    Raises :class:`KeyError` for a field the kind does not select on.
    """
    if path not in supported_fields(kind_name):
        raise KeyError(path)
    if kind_name == "Event" and path == "source":
        return str(_walk(obj, ("source", "component")) or obj.get("reportingComponent") or "")
    if path == "status.successful":
        return str(_walk(obj, ("status", "succeeded")) or 0)
    if path == "status.podIPs":
        return ",".join(entry.get("ip", "") for entry in _walk(obj, ("status", "podIPs")) or ())
    value = _walk(obj, tuple(path.split(".")))
    if path in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if value else "false"
    if path == "status.replicas":
        return str(value or 0)
    return "" if value is None else str(value)


def _walk(obj: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        obj = obj.get(step) if isinstance(obj, Mapping) else None
    return obj
