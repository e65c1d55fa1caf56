"""Strict decoding of JSON values by schema: unknown fields, wrong types, pruning. Input may be hostile.

1. Walks follow the schema, so their depth is the schema's; ``any`` parts are walked without recursion.
2. The texts are those of kube-apiserver (sigs.k8s.io/json, k8s.io/apimachinery serializer), except that list indexes
   are named in the path.
3. ``null`` means absent everywhere, as it does when Go decodes into a struct.
"""

import re
from collections.abc import Iterator
from typing import Any

from podwire.kube.registry import KINDS
from podwire.kube.schema import Schema, schema_of_kind

MAX_DEPTH = 256
"""Deepest nesting accepted below free-form fields; real manifests stay below 40."""

_TIME = r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z"
_QUANTITY = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?\Z"
_BASE64 = r"[A-Za-z0-9+/]*={0,2}\Z"
_GO_SCALARS = {"string": "string", "boolean": "bool", "integer": "int32", "number": "float64"}
_INT32 = 1 << 31
_LIMITS = {"int32": _INT32, "int64": 1 << 63}


def unknown_fields(kind_name: str, obj: Any) -> tuple[str, ...]:
    """Paths of fields the kind does not have (``spec.ports[0].y``), in document order."""
    return tuple(_unknown(schema_of_kind(kind_name), obj, ""))


def prune(kind_name: str, obj: dict[str, Any]) -> dict[str, Any]:
    """``obj`` without unknown fields and nulls; the same object when there are none. Types must have been checked."""
    pruned: dict[str, Any] = _prune(schema_of_kind(kind_name), obj)
    return pruned


def type_errors(kind_name: str, obj: Any) -> str:
    """Why ``obj`` cannot be decoded as the kind, as kube-apiserver answers with 400 BadRequest; empty when it can."""
    if isinstance(obj, dict):
        error = next(_errors(schema_of_kind(kind_name), obj, "", kind_name), "")
    else:
        shown = "null" if obj is None else _json_type(obj)
        error = f"json: cannot unmarshal {shown} into Go value of type v1.{kind_name}"
    if not error:
        return ""
    version = KINDS[kind_name].version
    return f'{kind_name} in version "{version}" cannot be handled as a {kind_name}: {error}'


def schema_errors(schema: Schema, obj: Any) -> str:
    """Why ``obj`` does not fit ``schema``, the first reason; empty when it does."""
    return next(_errors(schema, obj, "", schema.name), "")


def schema_unknown(schema: Schema, obj: Any, path: str) -> tuple[str, ...]:
    """Paths, below ``path``, of fields ``schema`` does not have."""
    return tuple(_unknown(schema, obj, path))


def schema_prune(schema: Schema, obj: Any) -> Any:
    """``obj`` without unknown fields and nulls."""
    return _prune(schema, obj)


def _unknown(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if schema.kind == "object" and isinstance(value, dict):
        for key, child in value.items():
            below = f"{path}.{key}" if path else str(key)
            field = schema.fields.get(key)
            if field is None:
                yield below
            elif field.kind in ("object", "list", "map"):
                yield from _unknown(field, child, below)
    elif schema.item is not None and schema.item.kind == "object":
        pairs = enumerate(value) if isinstance(value, list) else ()
        for index, child in pairs:
            yield from _unknown(schema.item, child, f"{path}[{index}]")


def _prune(schema: Schema, value: Any) -> Any:
    if schema.kind == "object" and isinstance(value, dict):
        kept = {k: _prune(schema.fields[k], v) for k, v in value.items() if v is not None and k in schema.fields}
        same = len(kept) == len(value) and all(kept[k] is value[k] for k in kept)
        return value if same else kept
    if schema.kind == "list" and schema.item is not None and isinstance(value, list):
        items = [_zero(schema.item) if v is None else _prune(schema.item, v) for v in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if schema.kind == "map" and schema.item is not None and isinstance(value, dict) and None in value.values():
        return {k: _zero(schema.item) if v is None else v for k, v in value.items()}
    return value


def _zero(schema: Schema) -> Any:
    """What Go makes of a null in a list or map: the zero value of the type."""
    match schema.kind:
        case "object" | "map":
            return {}
        case "list":
            return []
        case "boolean":
            return False
        case "integer" | "number" | "int-or-string":
            return 0
        case "string":
            return ""
        case _:
            return {} if schema.format == "object" else None


def _errors(schema: Schema, value: Any, path: str, owner: str) -> Iterator[str]:
    """Decoding errors at and below ``path``; ``owner`` is the Go struct that has the field."""
    if value is None:
        return
    match schema.kind:
        case "object" if isinstance(value, dict):
            for key, child in value.items():
                field = schema.fields.get(key) if isinstance(key, str) else None
                if field is not None:
                    yield from _errors(field, child, f"{path}.{key}" if path else key, schema.name)
        case "list" if isinstance(value, list) and schema.item is not None:
            for index, child in enumerate(value):
                yield from _errors(schema.item, child, f"{path}[{index}]", owner)
        case "map" if isinstance(value, dict) and schema.item is not None:
            for key, child in value.items():
                yield from _errors(schema.item, child, f"{path}.{key}", owner)
        case "any":
            yield from _any_errors(schema, value, path, owner)
        case _:
            yield from _scalar_errors(schema, value, path, owner)


def _scalar_errors(schema: Schema, value: Any, path: str, owner: str) -> Iterator[str]:
    if not _fits(schema, value):
        shown = _json_type(value)
        if shown == "number" and schema.kind == "integer" and abs(value) < 1e30:
            shown = f"number {value}"
        yield f"json: cannot unmarshal {shown} into Go struct field {owner}.{path} of type {_go_type(schema)}"
    elif isinstance(value, str) and schema.format:
        yield from _format_errors(schema.format, value, path)


def _fits(schema: Schema, value: Any) -> bool:
    match schema.kind:
        case "string":
            return isinstance(value, str) or (
                schema.format == "quantity" and isinstance(value, int | float) and not isinstance(value, bool)
            )
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            limit = _LIMITS.get(schema.format, 1 << 63)
            return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "int-or-string":
            numbers = (int, float) if schema.format == "quantity" else (int,)
            small = not isinstance(value, int) or schema.format == "quantity" or -_INT32 <= value < _INT32
            return isinstance(value, str) or (isinstance(value, numbers) and not isinstance(value, bool) and small)
        case _:
            return False


def _format_errors(form: str, value: str, path: str) -> Iterator[str]:
    if form == "quantity" and not re.match(_QUANTITY, value):
        yield (
            "quantities must match the regular expression "
            f"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' ({path}: {_quoted(value)})"
        )
    elif form in ("date-time", "micro-time") and not re.match(_TIME, value):
        yield f'parsing time {_quoted(value)} as "2006-01-02T15:04:05Z07:00": cannot parse {_quoted(value)} ({path})'
    elif form == "byte":
        bare = value.replace("\n", "").replace("\r", "")
        if len(bare) % 4 or not re.match(_BASE64, bare):
            yield f"illegal base64 data at input byte {_bad_byte(bare)} ({path})"


def _bad_byte(text: str) -> int:
    """Where decoding stops: the first character outside the alphabet, else the end."""
    found = re.search(r"[^A-Za-z0-9+/]", text)
    return found.start() if found else len(text)


def _any_errors(schema: Schema, value: Any, path: str, owner: str) -> Iterator[str]:
    """Depth and key checks of a free-form value, without recursion."""
    if schema.format == "object" and not isinstance(value, dict):
        shown = _json_type(value)
        yield f"json: cannot unmarshal {shown} into Go struct field {owner}.{path} of type map[string]interface {{}}"
        return
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            yield f"exceeded max depth of {MAX_DEPTH} below {path}"
            return
        if isinstance(node, dict):
            pending.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)


def _json_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case dict():
            return "object"
        case _:
            return "array"


def _go_type(schema: Schema) -> str:
    match schema.kind:
        case "object":
            return f"v1.{schema.name}"
        case "list":
            return f"[]{_go_type(schema.item)}" if schema.item else "[]interface {}"
        case "map":
            return f"map[string]{_go_type(schema.item)}" if schema.item else "map[string]interface {}"
        case "integer":
            return schema.format or "int32"
        case "int-or-string":
            return "resource.Quantity" if schema.format == "quantity" else "intstr.IntOrString"
        case "any":
            return "interface {}"
        case _:
            return _GO_SCALARS[schema.kind]


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
