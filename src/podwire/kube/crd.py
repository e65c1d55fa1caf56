"""apiextensions.k8s.io/v1: CustomResourceDefinition, and what its fields mean together.

Schemas are kept as they are written; ``structural`` reads them.
Spec: k8s apiextensions-apiserver/pkg/apis/apiextensions.
"""

from typing import Annotated, Any

from podwire.kube.meta import Condition, KubeObject
from podwire.kube.struct import KubeStruct, api

Json = dict[str, Any]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""The finalizer that keeps a definition until its objects are gone."""


class CustomResourceNames(KubeStruct, frozen=True):
    """How a custom resource is named in paths and by people."""

    plural: Annotated[str, api(required=True)] = ""
    singular: str = ""
    short_names: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    kind: Annotated[str, api(required=True)] = ""
    list_kind: str = ""
    categories: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class CustomResourceColumn(KubeStruct, frozen=True):
    """A column of ``kubectl get``."""

    name: Annotated[str, api(required=True)] = ""
    type: Annotated[str, api(required=True)] = ""
    format: str = ""
    description: str = ""
    priority: int = 0
    json_path: Annotated[str, api(required=True)] = ""


class ScaleSubresource(KubeStruct, frozen=True):
    """Where the scale subresource finds its fields."""

    spec_replicas_path: Annotated[str, api(required=True)] = ""
    status_replicas_path: Annotated[str, api(required=True)] = ""
    label_selector_path: str | None = None


class CustomResourceSubresources(KubeStruct, frozen=True):
    """The subresources of a version."""

    status: dict[str, Any] | None = None
    scale: ScaleSubresource | None = None


class SelectableField(KubeStruct, frozen=True):
    """A field that field selectors may name."""

    json_path: Annotated[str, api(required=True)] = ""


class CustomResourceVersion(KubeStruct, frozen=True):
    """One version of a custom resource."""

    name: Annotated[str, api(required=True)] = ""
    served: Annotated[bool, api(required=True)] = False
    storage: Annotated[bool, api(required=True)] = False
    deprecated: bool = False
    deprecation_warning: str | None = None
    schema: dict[str, Any] | None = None
    subresources: CustomResourceSubresources | None = None
    additional_printer_columns: Annotated[tuple[CustomResourceColumn, ...], api(list_type="atomic")] = ()
    selectable_fields: Annotated[tuple[SelectableField, ...], api(list_type="atomic")] = ()


class CustomResourceConversion(KubeStruct, frozen=True):
    """How versions become each other."""

    strategy: Annotated[str, api(required=True)] = ""
    webhook: dict[str, Any] | None = None


class CustomResourceDefinitionSpec(KubeStruct, frozen=True):
    """What is defined."""

    group: Annotated[str, api(required=True)] = ""
    names: Annotated[CustomResourceNames, api(required=True)] = CustomResourceNames()
    scope: Annotated[str, api(required=True)] = ""
    versions: Annotated[tuple[CustomResourceVersion, ...], api(required=True, list_type="atomic")] = ()
    conversion: CustomResourceConversion | None = None
    preserve_unknown_fields: bool = False


class CustomResourceDefinitionStatus(KubeStruct, frozen=True):
    """Whether it is served, under which names, and in which versions objects may be stored."""

    conditions: Annotated[tuple[Condition, ...], api(list_type="map", list_map_keys=("type",))] = ()
    accepted_names: CustomResourceNames = CustomResourceNames()
    stored_versions: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    observed_generation: int | None = None


class CustomResourceDefinition(KubeObject, frozen=True):
    """A kind that a user adds; while it exists its objects are served under its group and versions."""

    spec: Annotated[CustomResourceDefinitionSpec, api(required=True)] = CustomResourceDefinitionSpec()
    status: CustomResourceDefinitionStatus = CustomResourceDefinitionStatus()


def default_definition(value: Json) -> Json:
    """Names and conversion a definition leaves out."""
    spec = value.get("spec") or {}
    names = dict(spec.get("names") or {})
    kind = names.get("kind") or ""
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    if names == spec.get("names") and spec.get("conversion"):
        return value
    return {**value, "spec": {**spec, "names": names, "conversion": spec.get("conversion") or {"strategy": "None"}}}


def schema_of_version(version: Json) -> Json:
    """The raw schema of a version; empty when it has none."""
    found = (version.get("schema") or {}).get("openAPIV3Schema")
    return found if isinstance(found, dict) else {}


def storage_version(spec: Json) -> Json:
    """The version objects are stored in; empty when none is."""
    return next((version for version in spec.get("versions") or () if version.get("storage")), {})


def condition(value: Json, kind: str) -> Json:
    """A condition of the status; empty when it is absent."""
    found = (value.get("status") or {}).get("conditions") or ()
    return next((entry for entry in found if entry.get("type") == kind), {})


def is_established(value: Json) -> bool:
    """Whether the definition is served."""
    return condition(value, "Established").get("status") == "True"
