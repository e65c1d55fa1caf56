"""What the JSON of a kind means: the seam between verbs and kinds.

Built-in kinds answer from ``podwire.kube``; a custom resource answers from its definition's schema. ``kind`` is the row
of the request (a version of the kind). Values are never changed: each function gives a new one, or the same.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from podwire.kube.decode import prune, type_errors, unknown_fields
from podwire.kube.defaults import default_object
from podwire.kube.registry import Kind
from podwire.kube.selectors import parse_field_selector
from podwire.kube.validate import FieldError, validate

if TYPE_CHECKING:
    from podwire.apiserver.patch.target import PatchKind

Json = dict[str, Any]


class Meaning(Protocol):
    """What verbs, lists and tables ask about a kind."""

    def type_errors(self, kind: Kind, value: Json) -> str:
        """Why ``value`` cannot be decoded (400); empty when it can."""
        ...

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        """Paths of fields the kind does not have."""
        ...

    def prune(self, kind: Kind, value: Json) -> Json:
        """``value`` as it is stored: without unknown fields and nulls."""
        ...

    def default(self, kind: Kind, value: Json) -> Json:
        """``value`` with its defaults."""
        ...

    def present(self, kind: Kind, value: Json) -> Json:
        """A stored ``value`` as the version of the row shows it; the same object when that is how it is stored."""
        ...

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        """Everything wrong with ``new`` (422)."""
        ...

    def has_generation(self, kind: Kind) -> bool:
        """Whether ``metadata.generation`` counts changes of the desired state."""
        ...

    def columns(self, kind: Kind) -> Iterable[Any]:
        """Columns of the Table (name, type, format, description, priority)."""
        ...

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        """One row of the Table; ``now`` is seconds since the epoch."""
        ...

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        """A predicate. Raises :class:`podwire.kube.selectors.SelectorError`."""
        ...

    def patch_kind(self, kind: Kind) -> "str | PatchKind":
        """The kind as patches and field ownership see it."""
        ...

    def scale(self, kind: Kind, value: Json) -> Json:
        """The Scale of an object."""
        ...

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        """The merge patch that sets the replicas."""
        ...

    def openapi_schema(self, kind: Kind) -> Json | None:
        """The OpenAPI schema of the kind; None when it is made from its type."""
        ...


_GENERATION = frozenset(
    {"Pod", "Deployment", "ReplicaSet", "StatefulSet", "Ingress", "IngressClass", "NetworkPolicy", "EndpointSlice"}
    | {"ClusterNetworkPolicy"}
    | {"DaemonSet", "Job", "CronJob", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    | {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    | {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
)


class _BuiltIn:
    """Answers from ``podwire.kube``, by kind name."""

    def type_errors(self, kind: Kind, value: Json) -> str:
        return type_errors(kind.name, value)

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        return unknown_fields(kind.name, value)

    def prune(self, kind: Kind, value: Json) -> Json:
        return prune(kind.name, value)

    def default(self, kind: Kind, value: Json) -> Json:
        return default_object(value)

    def present(self, kind: Kind, value: Json) -> Json:
        return value

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        return validate(new, old, subresource=subresource)

    def has_generation(self, kind: Kind) -> bool:
        return kind.name in _GENERATION

    def columns(self, kind: Kind) -> Iterable[Any]:
        from podwire.kube.columns import columns_of

        return columns_of(kind.name)

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        from podwire.kube.columns import cells

        return cells(kind.name, value, now)

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        return parse_field_selector(kind.name, text)

    def patch_kind(self, kind: Kind) -> "str | PatchKind":
        return kind.name

    def scale(self, kind: Kind, value: Json) -> Json:
        from podwire.kube.scale import scale_of

        return scale_of(value)

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        return {"spec": {"replicas": replicas}}

    def openapi_schema(self, kind: Kind) -> Json | None:
        return None


BUILT_IN: Meaning = _BuiltIn()
