"""The schema of a kind, derived from its struct: what OpenAPI, patches, server-side apply and strict decoding share.

1. A schema is a finite tree, built once per type on first use (none is built at import).
2. ``any`` is the part of a manifest podwire keeps but does not use; nothing below it is checked, pruned or merged.
3. Facts Python types cannot say (merge keys, list types, formats) come from ``api(...)`` beside the field.

Spec: the ``x-kubernetes-*`` OpenAPI extensions; structured-merge-diff for list and map types.
"""

import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from podwire.kube.registry import KINDS
from podwire.kube.struct import KubeStruct

SchemaKind = Literal["object", "map", "list", "string", "integer", "number", "boolean", "int-or-string", "any"]

_SCALARS: Mapping[type, SchemaKind] = types.MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean"}
)
_ATOMIC_STRUCTS = frozenset(
    {"LabelSelector", "LocalObjectReference", "KeySelector", "ObjectFieldSelector", "ObjectReference"}
    | {"ResourceFieldSelector", "EnvVarSource.fileKeyRef"}
)
"""Structs server-side apply owns as one value (``x-kubernetes-map-type: atomic``)."""

_INT64 = frozenset(
    {"generation", "observedGeneration", "deletionGracePeriodSeconds", "terminationGracePeriodSeconds"}
    | {"activeDeadlineSeconds", "tolerationSeconds", "leaseTransitions64", "defaultUser", "user"}
)


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a kind's schema.

    ``name`` and ``package`` say which struct an object is, ``fields`` maps its JSON names; ``item`` is the schema of
    a list's items or a map's values; ``default`` is the value server-side apply and OpenAPI assume when the field is
    absent (list map keys need it).
    """

    kind: SchemaKind
    name: str = ""
    package: str = ""
    fields: Mapping[str, "Schema"] = {}
    item: "Schema | None" = None
    list_type: str = ""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    merge_key: str = ""
    patch_strategy: str = ""
    retain_keys: bool = False
    required: tuple[str, ...] = ()
    format: str = ""
    default: Any = None
    doc: str = ""
    deprecated: bool = False


@functools.cache
def schema_of(struct: type[KubeStruct]) -> Schema:
    """The schema of a struct type, with its fields in declaration order."""
    hints = typing.get_type_hints(struct, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
    fields: dict[str, Schema] = {}
    required = []
    for attribute, name in zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True):
        annotation, extra, doc = _unwrap(hints[attribute])
        if extra.get("required"):
            required.append(name)
        # Only a value the API documents (``TCP``) is a default; Go's zero values are absence.
        value = defaults[attribute]
        default = value if isinstance(value, str) and value and not extra.get("required") else None
        fields[name] = _field_schema(name, annotation, extra, doc=doc, default=default)
    return Schema(
        kind="object",
        name=struct.__name__,
        package=struct.__module__.rpartition(".")[2],
        fields=types.MappingProxyType(fields),
        required=tuple(required),
        map_type="atomic" if struct.__name__ in _ATOMIC_STRUCTS else "",
        doc=(struct.__doc__ or "").split("\n\n")[0].strip(),
    )


def schema_of_kind(kind_name: str) -> Schema:
    """The schema of a kind in the registry. Raises :class:`KeyError` for a kind podwire does not own."""
    return schema_of(KINDS[kind_name].type)


def _unwrap(annotation: Any) -> tuple[Any, dict[str, Any], str]:
    """The bare annotation, the facts of ``api(...)``, the description."""
    if get_origin(annotation) is not typing.Annotated:
        return annotation, {}, ""
    bare, *metas = get_args(annotation)
    meta = next((m for m in metas if isinstance(m, msgspec.Meta)), None)
    return (bare, meta.extra or {}, meta.description or "") if meta else (bare, {}, "")


def _field_schema(name: str, annotation: Any, extra: dict[str, Any], *, doc: str, default: str | None) -> Schema:
    base = _type_schema(annotation, extra)
    strategies = ["merge"] if extra.get("merge_key") or extra.get("patch_merge") else []
    if extra.get("retain_keys"):
        strategies.append("retainKeys")
    return msgspec.structs.replace(
        base,
        list_type=extra.get("list_type", ""),
        list_map_keys=tuple(extra.get("list_map_keys", ())),
        map_type=extra.get("map_type", base.map_type),
        merge_key=extra.get("merge_key", ""),
        patch_strategy=",".join(strategies),
        retain_keys=bool(extra.get("retain_keys")),
        format=base.format if base.kind in ("list", "map") else extra.get("format", base.format) or _format(name, base),
        default=default,
        doc=doc or base.doc,
        deprecated=bool(extra.get("deprecated")),
    )


def _format(name: str, base: Schema) -> str:
    """The format Kubernetes gives a scalar of this name: times end in Time or Timestamp, numbers are int32."""
    if base.kind == "string" and (name == "time" or name.endswith(("Timestamp", "Time", "timeAdded"))):
        return "micro-time" if name in ("eventTime", "renewTime", "acquireTime") else "date-time"
    if base.kind == "integer":
        return "int64" if name in _INT64 or name.startswith("runAs") else "int32"
    return ""


def _type_schema(annotation: Any, extra: dict[str, Any]) -> Schema:
    """The schema of a bare annotation."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _union_schema(annotation, extra)
    if origin is tuple:
        return Schema(kind="list", item=_type_schema(get_args(annotation)[0], extra))
    if origin is dict and extra.get("parts"):
        from podwire.kube import pod_parts  # described only when a schema is asked for

        return schema_of(getattr(pod_parts, extra["parts"]))
    if origin is dict:
        value = _type_schema(get_args(annotation)[1], extra)
        return Schema(kind="any", format="object") if value.kind == "any" else Schema(kind="map", item=value)
    if origin is Literal:
        return Schema(kind="string")
    if isinstance(annotation, type) and issubclass(annotation, KubeStruct):
        return schema_of(annotation)
    if annotation in _SCALARS:
        return Schema(kind=_SCALARS[annotation], format=extra.get("format", ""))
    return Schema(kind="any")


def _union_schema(annotation: Any, extra: dict[str, Any]) -> Schema:
    members = [member for member in get_args(annotation) if member is not type(None)]
    if len(members) == 1:
        return _type_schema(members[0], extra)
    if set(members) == {str, int, float}:
        return Schema(kind="int-or-string", format="quantity")
    if set(members) == {str, int}:
        return Schema(kind="int-or-string", format="int-or-string")
    return Schema(kind="any")
