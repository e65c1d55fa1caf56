"""events.k8s.io/v1 Event: the same stored objects as core/v1 Event, with other names for their fields.

Rules:

1. Objects are stored as core/v1; what comes in is renamed before anything looks at it, what goes out after.
2. A field of the other group's form is unknown here, as in Kubernetes.

Spec: k8s pkg/apis/events/v1/conversion.go, staging/src/k8s.io/api/events/v1/types.go.
"""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from podwire.apiserver.meaning import BUILT_IN
from podwire.kube.core import Event
from podwire.kube.registry import Kind
from podwire.kube.validate import FieldError

if TYPE_CHECKING:
    from podwire.apiserver.patch.target import PatchKind

Json = dict[str, Any]

NEW_EVENT = Kind("Event", "events.k8s.io", "v1", "events", Event, True, ("ev",), storage="Event")
_TO_CORE: Mapping[str, str] = MappingProxyType(
    {
        "regarding": "involvedObject",
        "note": "message",
        "reportingController": "reportingComponent",
        "deprecatedSource": "source",
        "deprecatedFirstTimestamp": "firstTimestamp",
        "deprecatedLastTimestamp": "lastTimestamp",
        "deprecatedCount": "count",
    }
)
_TO_NEW: Mapping[str, str] = MappingProxyType({core: new for new, core in _TO_CORE.items()})
_STRINGS = ("reportingController", "reportingInstance", "action", "reason", "note", "type")
_TIMES = ("eventTime", "deprecatedFirstTimestamp", "deprecatedLastTimestamp")
_OBJECTS = ("series", "regarding", "related", "deprecatedSource")


def to_core(value: Json) -> Json:
    """The stored form."""
    renamed = {_TO_CORE.get(key, key): part for key, part in value.items() if key not in _TO_NEW}
    return {**renamed, "apiVersion": "v1"}


def to_new(value: Json) -> Json:
    """The form of this group."""
    return {**{_TO_NEW.get(key, key): part for key, part in value.items()}, "apiVersion": NEW_EVENT.api_version}


class NewEvents:
    """The meaning of the second Event."""

    def type_errors(self, kind: Kind, value: Json) -> str:
        """As core, by the stored names."""
        return BUILT_IN.type_errors(kind, to_core(value))

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        """Rule 2."""
        foreign = tuple(key for key in value if key in _TO_NEW)
        return (*foreign, *BUILT_IN.unknown_fields(kind, to_core(value)))

    def prune(self, kind: Kind, value: Json) -> Json:
        """The stored form."""
        return BUILT_IN.prune(kind, to_core(value))

    def default(self, kind: Kind, value: Json) -> Json:
        """As core."""
        return BUILT_IN.default(kind, value)

    def present(self, kind: Kind, value: Json) -> Json:
        """Rule 1."""
        return to_new(value)

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        """As core: an event with eventTime is checked by the newer rules there too."""
        return BUILT_IN.validate(kind, new, old, subresource=subresource)

    def has_generation(self, kind: Kind) -> bool:
        """No."""
        return False

    def columns(self, kind: Kind) -> Iterable[Any]:
        """As core."""
        return BUILT_IN.columns(kind)

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        """As core."""
        return BUILT_IN.cells(kind, to_core(value), now)

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        """Over stored objects; ``regarding.name`` is ``involvedObject.name``."""
        core = text.replace("regarding.", "involvedObject.").replace("reportingController", "reportingComponent")
        return BUILT_IN.field_selector(kind, core)

    def patch_kind(self, kind: Kind) -> "str | PatchKind":
        """As core."""
        return BUILT_IN.patch_kind(kind)

    def scale(self, kind: Kind, value: Json) -> Json:
        """There is none."""
        return BUILT_IN.scale(kind, value)

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        """There is none."""
        return BUILT_IN.scale_change(kind, replicas)

    def openapi_schema(self, kind: Kind) -> Json | None:
        """Enough for ``kubectl explain`` and for checks of field names."""
        properties: Json = {name: {"type": "string"} for name in _STRINGS}
        properties |= {name: {"type": "string", "format": "date-time"} for name in _TIMES}
        properties |= {name: {"type": "object", "x-kubernetes-preserve-unknown-fields": True} for name in _OBJECTS}
        properties["deprecatedCount"] = {"type": "integer", "format": "int32"}
        why = "Event is a report of something that happened to an object."
        return {"type": "object", "description": why, "properties": properties}
