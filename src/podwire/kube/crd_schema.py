"""Which schemas a definition may have: structural ones, whose patterns and rules compile and whose defaults are valid.

1. Every node says its type, but for int-or-string and free-form nodes; ``properties`` and ``additionalProperties``
   exclude each other; nothing is referenced.
2. Below ``allOf``, ``anyOf``, ``oneOf`` and ``not`` there are validations only, of fields named outside as well.
3. Errors are in the order of the schema; at most ``MAX_ERRORS`` are named.

Spec: k8s apiextensions-apiserver/pkg/apiserver/schema/validation.go, pkg/apis/apiextensions/validation/validation.go.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from podwire.kube.cel_env import CompileError
from podwire.kube.cel_regex import PatternError, compile_pattern
from podwire.kube.structural import Structural, declaration_of, read_structural
from podwire.kube.structural_check import check_value
from podwire.kube.structural_rules import compile_rule
from podwire.kube.structural_values import fill_defaults, unknown_fields
from podwire.kube.validate.errors import FieldError, forbidden, invalid, not_supported, required

Errors = Iterator[FieldError]
Json = dict[str, Any]

MAX_ERRORS = 50
MAX_DEPTH = 60
TYPES = ("array", "boolean", "integer", "number", "object", "string")
_REFUSED = (
    "$ref",
    "definitions",
    "dependencies",
    "deprecated",
    "discriminator",
    "id",
    "patternProperties",
    "readOnly",
    "writeOnly",
    "xml",
    "additionalItems",
    "$schema",
)
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_STRUCTURAL = (
    "type",
    "default",
    "title",
    "description",
    "nullable",
    "additionalProperties",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
)
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def check_schema(raw: Any, path: str) -> Errors:
    """Everything wrong with ``openAPIV3Schema`` at ``path``."""
    if not isinstance(raw, dict):
        yield required(path, "schemas are required")
        return
    found = [*islice(_shape(raw, path, 0), MAX_ERRORS)]
    if found:
        yield from found
        return
    if raw.get("type") != "object":
        yield invalid(f"{path}.type", raw.get("type") or "", "must be object at the root")
    if raw.get("nullable"):
        yield forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    structural = [*islice(_structural(raw, path, root=True), MAX_ERRORS)]
    yield from structural
    if not structural:
        yield from islice(_meaning(raw, read_structural(raw), path, root=True), MAX_ERRORS)


def _shape(raw: Any, path: str, depth: int) -> Errors:
    """JSON types of the keywords, so that reading cannot go wrong."""
    if depth > MAX_DEPTH:
        yield invalid(path, "", "schema is nested too deep")
        return
    for name, kinds in _KEYWORDS.items():
        value = raw.get(name)
        if value is not None and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in _kinds(kinds))
        ):
            yield invalid(f"{path}.{name}", value, f"must be of type {'/'.join(k.__name__ for k in _kinds(kinds))}")
            return
    for name in ("required", "x-kubernetes-list-map-keys"):
        for index, word in enumerate(raw.get(name) or ()):
            if not isinstance(word, str):
                yield invalid(f"{path}.{name}[{index}]", word, "must be of type str")
                return
    rules = raw.get("x-kubernetes-validations") or []
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict) or any(
            not isinstance(value, bool if key == "optionalOldSelf" else str) for key, value in rule.items()
        ):
            yield invalid(f"{path}.x-kubernetes-validations[{index}]", rule, "must be an object of strings")
            return
    for name, below in _parts(raw):
        if not isinstance(below, dict) and not (name == ".additionalProperties" and isinstance(below, bool)):
            yield invalid(path + name, below, "must be a schema")
        elif isinstance(below, dict):
            yield from _shape(below, path + name, depth + 1)


def _kinds(kinds: Any) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


_TEXTS = ("type", "format", "title", "description", "pattern", "x-kubernetes-list-type", "x-kubernetes-map-type")
_FLAGS = (
    "nullable",
    "uniqueItems",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
)
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_LISTS = ("enum", "required", "allOf", "anyOf", "oneOf", "x-kubernetes-list-map-keys", "x-kubernetes-validations")
_KEYWORDS: dict[str, Any] = {
    **dict.fromkeys(_TEXTS, str),
    **dict.fromkeys(_FLAGS, bool),
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (int, float)),
    **dict.fromkeys(_LISTS, list),
    "properties": dict,
}


def _parts(raw: Json) -> Iterator[tuple[str, Any]]:
    """Every schema directly below, with its path."""
    for name, below in (raw.get("properties") or {}).items():
        yield f".properties[{name}]", below
    for name in ("items", "additionalProperties", "not"):
        if raw.get(name) is not None:
            yield f".{name}", raw[name]
    for name in _JUNCTORS:
        for index, below in enumerate(raw.get(name) or ()):
            yield f".{name}[{index}]", below


def _structural(raw: Json, path: str, *, root: bool = False) -> Errors:
    """Rule 1 at and below a node, rule 2 below its junctors."""
    for name in _REFUSED:
        if name in raw:
            yield forbidden(f"{path}.{name}", f"{name} is not supported")
    if raw.get("uniqueItems"):
        yield forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    kind = raw.get("type")
    if kind and kind not in TYPES:
        yield not_supported(f"{path}.type", kind, TYPES)
    free = raw.get("x-kubernetes-preserve-unknown-fields") or raw.get("x-kubernetes-int-or-string")
    if not kind and not free and not root:
        yield required(f"{path}.type", f"must not be empty for specified {_holder(path)}")
    if raw.get("additionalProperties") is False:
        yield forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    elif raw.get("additionalProperties") is not None and raw.get("properties"):
        yield forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if isinstance(raw.get("items"), list):
        yield forbidden(f"{path}.items", "items must be a schema object and not an array")
    yield from _extensions(raw, path)
    for name, below in (raw.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        if root and name == "metadata":
            yield from _metadata(below, where)
        else:
            yield from _structural(below, where)
    for name in ("items", "additionalProperties"):
        if isinstance(raw.get(name), dict):
            yield from _structural(raw[name], f"{path}.{name}")
    yield from _junctors(raw, raw, path)


def _holder(path: str) -> str:
    if path.endswith(".items"):
        return "array items"
    return "object additionalProperties" if path.endswith(".additionalProperties") else "object fields"


def _metadata(raw: Json, path: str) -> Errors:
    if raw.get("type") != "object":
        yield invalid(f"{path}.type", raw.get("type") or "", "must be object")
    for name in raw.get("properties") or {}:
        if name not in ("name", "generateName"):
            yield forbidden(f"{path}.properties[{name}]", "must only contain name and generateName")


def _extensions(raw: Json, path: str) -> Errors:
    kind = raw.get("type")
    if raw.get("x-kubernetes-int-or-string") and kind:
        yield invalid(f"{path}.type", kind, "must be empty if x-kubernetes-int-or-string is true")
    if raw.get("x-kubernetes-embedded-resource"):
        if kind != "object":
            yield invalid(f"{path}.type", kind or "", "must be object if x-kubernetes-embedded-resource is true")
        if not raw.get("properties") and not raw.get("x-kubernetes-preserve-unknown-fields"):
            why = "must not be empty if x-kubernetes-embedded-resource is true without "
            yield required(f"{path}.properties", f"{why}x-kubernetes-preserve-unknown-fields")
    if raw.get("x-kubernetes-preserve-unknown-fields") is False:
        yield invalid(f"{path}.x-kubernetes-preserve-unknown-fields", False, "must be true or undefined")
    map_type = raw.get("x-kubernetes-map-type")
    if map_type not in (None, "granular", "atomic"):
        yield not_supported(f"{path}.x-kubernetes-map-type", map_type, ("granular", "atomic"))
    list_type = raw.get("x-kubernetes-list-type")
    if list_type is None:
        if raw.get("x-kubernetes-list-map-keys"):
            yield required(f"{path}.x-kubernetes-list-type", "must be map if x-kubernetes-list-map-keys is non-empty")
        return
    if list_type not in ("atomic", "set", "map"):
        yield not_supported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "set", "map"))
    if kind != "array":
        yield invalid(f"{path}.type", kind or "", "must be array if x-kubernetes-list-type is specified")
    elif list_type == "map":
        yield from _map_list(raw, path)


def _map_list(raw: Json, path: str) -> Errors:
    keys = raw.get("x-kubernetes-list-map-keys") or []
    where = f"{path}.x-kubernetes-list-map-keys"
    items = raw.get("items") or {}
    if not keys:
        yield required(where, "must not be empty if x-kubernetes-list-type is map")
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type") or "", why)
        return
    for index, key in enumerate(keys):
        field = (items.get("properties") or {}).get(key)
        if field is None:
            yield invalid(f"{where}[{index}]", key, "must be the name of an item property")
        elif key not in (items.get("required") or ()) and field.get("default") is None:
            why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            yield required(f"{path}.items.properties[{key}].default", why)


def _junctors(raw: Json, outside: Json, path: str) -> Errors:
    """Rule 2: ``outside`` is the node whose value ``raw`` validates."""
    parts = [(f".{name}[{i}]", part) for name in _JUNCTORS for i, part in enumerate(raw.get(name) or ())]
    if raw.get("not") is not None:
        parts.append((".not", raw["not"]))
    for name, part in parts:
        yield from _nested(part, outside, path + name)


def _nested(raw: Json, outside: Json, path: str) -> Errors:
    loose = bool(outside.get("x-kubernetes-int-or-string"))
    for name in _STRUCTURAL:
        if raw.get(name) is not None and not (name == "type" and loose):
            yield forbidden(f"{path}.{name}", "must be empty to be structural")
    for name, below in (raw.get("properties") or {}).items():
        where = f"{path}.properties[{name}]"
        known = (outside.get("properties") or {}).get(name)
        if known is None and isinstance(outside.get("additionalProperties"), dict):
            known = outside["additionalProperties"]
        if known is None:
            yield required(f"{_bare(path)}.properties[{name}]", f"because it is defined in {where}")
        else:
            yield from _nested(below, known, where)
    if isinstance(raw.get("items"), dict):
        if not isinstance(outside.get("items"), dict):
            yield required(f"{_bare(path)}.items", f"because it is defined in {path}.items")
        else:
            yield from _nested(raw["items"], outside["items"], f"{path}.items")
    yield from _junctors(raw, outside, path)


def _bare(path: str) -> str:
    """The node a junctor stands at."""
    for mark in (".allOf[", ".anyOf[", ".oneOf[", ".not"):
        path = path.split(mark, maxsplit=1)[0]
    return path


def _meaning(raw: Json, node: Structural, path: str, *, root: bool = False) -> Errors:
    """Patterns, rules and defaults, and what is below."""
    if raw.get("pattern"):
        try:
            compile_pattern(raw["pattern"])
        except PatternError as error:
            why = f"must be a valid regular expression, but isn't: error parsing regexp: {error}"
            yield invalid(f"{path}.pattern", raw["pattern"], why)
            return
    for index, rule in enumerate(node.rules):
        yield from _rule(rule, node, f"{path}.x-kubernetes-validations[{index}]", root=root)
    if node.has_default:
        yield from _default(node, f"{path}.default", root=root)
    for name, below in _parts(raw):
        if isinstance(below, dict):
            yield from _meaning(below, read_structural(below), path + name)


def _rule(rule: Any, node: Structural, path: str, *, root: bool) -> Errors:
    if not rule.rule.strip():
        yield required(f"{path}.rule", "rule is not specified")
        return
    if "\n" in rule.message:
        yield invalid(f"{path}.message", rule.message, "message must not contain line breaks")
    if rule.message and not rule.message.strip():
        yield invalid(f"{path}.message", rule.message, "message must be non-empty if specified")
    if "\n" in rule.rule.strip() and not rule.message and not rule.message_expression:
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    if rule.reason and rule.reason not in _REASONS:
        yield not_supported(f"{path}.reason", rule.reason, _REASONS)
    if rule.field_path and not rule.field_path.startswith((".", "[")):
        yield invalid(f"{path}.fieldPath", rule.field_path, "must be a path that starts with . or ['")
    plain = msgspec.structs.replace(rule, message_expression="")
    kind = declaration_of(node, root=root)
    try:
        compile_rule(plain, kind)
    except CompileError as error:
        yield invalid(f"{path}.rule", rule.rule, f"compilation failed: {error}")
        return
    try:
        compile_rule(rule, kind)
    except CompileError as error:
        yield invalid(f"{path}.messageExpression", rule.message_expression, f"compilation failed: {error}")


def _default(node: Structural, path: str, *, root: bool) -> Errors:
    if root:
        yield forbidden(path, "must not be set at the root")
        return
    if stray := next(unknown_fields(node, node.default, ""), ""):
        yield invalid(path, node.default, f"must not have unknown fields: {stray}")
        return
    bare = msgspec.structs.replace(node, has_default=False)
    yield from check_value(bare, fill_defaults(bare, node.default), path)
