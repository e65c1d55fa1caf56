"""Structural schemas: the OpenAPI v3 schemas of custom resource definitions, read once into a tree.

1. Reading never fails: what a definition may not say is refused when it is written (``crd_schema``).
2. ``ROOT_FIELDS`` (apiVersion, kind, metadata) of an object and of embedded resources belong to Kubernetes.
3. A tree is shared by all objects of a kind and never changes.

Pruning and defaults are in ``structural_values``, validation in ``structural_check``, rules in ``structural_rules``.
Spec: k8s apiextensions-apiserver/pkg/apiserver/schema/structural.go; KEP-1174.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from podwire.kube.cel_types import BOOL, BYTES, DOUBLE, DYN, INT, STRING, Decl, escape
from podwire.kube.schema import Schema, SchemaKind, schema_of

Json = dict[str, Any]

ROOT_FIELDS = ("apiVersion", "kind", "metadata")
_BOUNDS = (
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "uniqueItems",
)


class Rule(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One of ``x-kubernetes-validations``."""

    rule: str = ""
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool | None = None


class Structural(msgspec.Struct, frozen=True, kw_only=True):
    """One node. ``checks`` are the plain validations by their OpenAPI names."""

    type: str = ""
    properties: Mapping[str, "Structural"] = {}
    items: "Structural | None" = None
    additional: "Structural | None" = None
    """What unnamed fields are; None when they are not allowed."""
    nullable: bool = False
    has_default: bool = False
    default: Any = None
    preserve: bool = False
    int_or_string: bool = False
    embedded: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    required: tuple[str, ...] = ()
    checks: Mapping[str, Any] = {}
    all_of: tuple["Structural", ...] = ()
    any_of: tuple["Structural", ...] = ()
    one_of: tuple["Structural", ...] = ()
    not_: "Structural | None" = None
    rules: tuple[Rule, ...] = ()
    active: frozenset[str] = frozenset()
    """What is anywhere at or below this node: ``default``, ``rules``, ``convert`` (values CEL sees otherwise)."""


def read_structural(raw: Any) -> Structural:
    """The tree of ``openAPIV3Schema``; what is not as it should be counts as absent."""
    if not isinstance(raw, dict):
        return Structural(preserve=raw is True)
    properties = {name: read_structural(below) for name, below in (raw.get("properties") or {}).items()}
    items = read_structural(raw["items"]) if isinstance(raw.get("items"), dict) else None
    extra = raw.get("additionalProperties")
    additional = read_structural(extra) if isinstance(extra, dict) or extra is True else None
    rules = tuple(msgspec.convert(rule, Rule) for rule in raw.get("x-kubernetes-validations") or ())
    node = Structural(
        type=raw.get("type") or "",
        properties=MappingProxyType(properties),
        items=items,
        additional=additional,
        nullable=bool(raw.get("nullable")),
        has_default=raw.get("default") is not None,
        default=raw.get("default"),
        preserve=bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        int_or_string=bool(raw.get("x-kubernetes-int-or-string")),
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
        list_type=raw.get("x-kubernetes-list-type") or "",
        list_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        map_type=raw.get("x-kubernetes-map-type") or "",
        required=tuple(raw.get("required") or ()),
        checks={name: raw[name] for name in _BOUNDS if raw.get(name) is not None},
        all_of=_several(raw, "allOf"),
        any_of=_several(raw, "anyOf"),
        one_of=_several(raw, "oneOf"),
        not_=read_structural(raw["not"]) if isinstance(raw.get("not"), dict) else None,
        rules=rules,
    )
    return msgspec.structs.replace(node, active=_active(node))


def _several(raw: Json, name: str) -> tuple[Structural, ...]:
    return tuple(read_structural(below) for below in raw.get(name) or ())


def _active(node: Structural) -> frozenset[str]:
    found = {name for below in _below(node) for name in below.active}
    if node.has_default:
        found.add("default")
    if node.rules:
        found.add("rules")
    if node.type == "number" or node.list_type in ("set", "map") or node.checks.get("format") in _CEL_FORMATS:
        found.add("convert")
    return frozenset(found)


def _below(node: Structural) -> tuple[Structural, ...]:
    single = (below for below in (node.items, node.additional) if below is not None)
    return (*node.properties.values(), *single)


_CEL_FORMATS: Mapping[str, Decl] = MappingProxyType(
    {"date": Decl("timestamp"), "date-time": Decl("timestamp"), "duration": Decl("duration"), "byte": BYTES}
)
_CEL_SCALARS: Mapping[str, Decl] = MappingProxyType(
    {"string": STRING, "integer": INT, "number": DOUBLE, "boolean": BOOL}
)
_META = Decl("map", fields={"name": STRING, "generateName": STRING})


def declaration_of(node: Structural, *, root: bool = False) -> Decl:
    """What rules know of a value of this schema. Fields whose names cannot be written are left out."""
    if node.int_or_string:
        return DYN
    match node.type:
        case "array":
            return Decl("list", declaration_of(node.items) if node.items else DYN)
        case "object" if node.additional is not None and not node.properties:
            return Decl("map", declaration_of(node.additional) if _typed(node.additional) else DYN)
        case "object":
            named = {escape(name): declaration_of(below) for name, below in node.properties.items() if _typed(below)}
            fields = {name: kind for name, kind in named.items() if name is not None}
            if root or node.embedded:
                fields |= {"apiVersion": STRING, "kind": STRING, "metadata": _META}
            return Decl("map", fields=fields)
        case "string":
            return _CEL_FORMATS.get(node.checks.get("format", ""), STRING)
        case kind:
            return _CEL_SCALARS.get(kind, DYN)


def _typed(node: Structural) -> bool:
    return bool(node.type) or node.int_or_string


def ownership_schema(node: Structural, *, name: str) -> Schema:
    """The schema patches, server-side apply and strict decoding of metadata use, for the whole object."""
    from podwire.kube.meta import ObjectMeta

    made = _ownership(node)
    fields = dict(made.fields)
    fields |= {field: Schema(kind="string") for field in ("apiVersion", "kind")}
    fields["metadata"] = schema_of(ObjectMeta)
    return Schema(kind="object", name=name, fields=MappingProxyType(fields), required=made.required)


def _ownership(node: Structural) -> Schema:
    """Free-form parts are ``any``: their objects are granular, their lists atomic."""
    if node.int_or_string:
        return Schema(kind="any")
    default = node.default if node.has_default else None
    match node.type:
        case "array" if node.items is not None:
            return Schema(
                kind="list",
                item=_ownership(node.items),
                list_type=node.list_type,
                list_map_keys=node.list_keys,
                default=default,
            )
        case "object" if node.properties and not node.embedded:
            fields = {name: _ownership(below) for name, below in node.properties.items()}
            return Schema(
                kind="object",
                fields=MappingProxyType(fields),
                required=node.required,
                map_type=node.map_type,
                default=default,
            )
        case "object" if node.additional is not None and _typed(node.additional):
            return Schema(kind="map", item=_ownership(node.additional), map_type=node.map_type, default=default)
        case "string" | "integer" | "number" | "boolean":
            kind: SchemaKind = node.type
            return Schema(kind=kind, default=default)
        case _:
            return Schema(kind="any", map_type=node.map_type, default=default)


def type_of_json(value: Any) -> str:
    """The OpenAPI type of a JSON value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if math.isfinite(value) and value == int(value) else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
