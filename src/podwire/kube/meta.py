"""Object metadata and selectors (meta/v1)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from podwire.base import Ref
from podwire.kube.struct import KubeStruct, api


class OwnerReference(KubeStruct, frozen=True):
    """An owner; when all owners are gone the garbage collector removes the dependent."""

    api_version: Annotated[str, api(required=True)] = ""
    kind: Annotated[str, api(required=True)] = ""
    name: Annotated[str, api(required=True)] = ""
    uid: Annotated[str, api(required=True)] = ""
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ManagedFieldsEntry(KubeStruct, frozen=True):
    """Who manages which fields, for server-side apply."""

    manager: str = ""
    operation: str = ""
    api_version: str = ""
    time: str | None = None
    fields_type: str = ""
    fields_v1: dict[str, Any] | None = None
    subresource: str = ""


class ObjectMeta(KubeStruct, frozen=True):
    """Metadata every persisted object has."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: Annotated[
        tuple[OwnerReference, ...], api(merge_key="uid", list_type="map", list_map_keys=("uid",))
    ] = ()
    finalizers: Annotated[tuple[str, ...], api(list_type="set", patch_merge=True)] = ()
    managed_fields: Annotated[tuple[ManagedFieldsEntry, ...], api(list_type="atomic")] = ()


class KubeObject(KubeStruct, frozen=True):
    """An object with identity."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()

    @property
    def ref(self) -> Ref:
        """Kind, namespace, name."""
        return Ref(self.kind, self.metadata.namespace, self.metadata.name)

    @property
    def key(self) -> str:
        """``namespace/name`` or ``name``."""
        return f"{self.metadata.namespace}/{self.metadata.name}" if self.metadata.namespace else self.metadata.name


class LabelSelectorRequirement(KubeStruct, frozen=True):
    """One expression of a selector."""

    key: Annotated[str, api(required=True)] = ""
    operator: Annotated[Literal["In", "NotIn", "Exists", "DoesNotExist"], api(required=True)] = "In"
    values: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class LabelSelector(KubeStruct, frozen=True):
    """``matchLabels`` and all ``matchExpressions`` must hold; an empty selector selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: Annotated[tuple[LabelSelectorRequirement, ...], api(list_type="atomic")] = ()


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether ``selector`` matches ``labels``. NotIn and DoesNotExist match objects without the key (N3)."""
    if any(labels.get(k) != v for k, v in selector.match_labels.items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.match_expressions)


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


class Condition(KubeStruct, frozen=True):
    """A status condition (meta/v1, and the older per-kind forms, which are subsets)."""

    type: Annotated[str, api(required=True)] = ""
    status: Annotated[str, api(required=True)] = ""
    observed_generation: int | None = None
    last_probe_time: str | None = None
    last_heartbeat_time: str | None = None
    last_update_time: str | None = None
    last_transition_time: str | None = None
    reason: str = ""
    message: str = ""
