"""Values under a structural schema: pruning, unknown fields, defaults, and values as CEL sees them.

1. Fields the schema does not name go, below ``properties`` only: not where ``x-kubernetes-preserve-unknown-fields``
   or ``additionalProperties`` are. apiVersion, kind and metadata of the object and of embedded resources stay.
2. A default is set where the field is absent, or null and not nullable; then what is below it gets its defaults.
3. Nothing is changed in place: what needs no change is returned itself.

Spec: k8s apiextensions-apiserver/pkg/apiserver/schema/{pruning,defaulting}/algorithm.go.
"""

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from podwire.kube.cel_functions import parse_duration, parse_timestamp
from podwire.kube.cel_values import CelError, MapList, SetList
from podwire.kube.structural import ROOT_FIELDS, Structural


def unknown_fields(node: Structural, value: Any, path: str = "", *, root: bool = False) -> Iterator[str]:
    """Paths of fields pruning removes (``spec.rules[0].x``)."""
    if isinstance(value, list):
        if node.items is not None:
            for index, item in enumerate(value):
                yield from unknown_fields(node.items, item, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    for name, child in value.items():
        if name in ROOT_FIELDS and (root or node.embedded):
            continue
        below = node.properties.get(name) or node.additional
        where = f"{path}.{name}" if path else name
        if below is not None:
            yield from unknown_fields(below, child, where)
        elif not node.preserve:
            yield where


def prune(node: Structural, value: Any, *, root: bool = False) -> Any:
    """Rule 1."""
    if isinstance(value, list):
        if node.items is None:
            return value
        items = [prune(node.items, item) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, child in value.items():
        if name in ROOT_FIELDS and (root or node.embedded):
            kept[name] = child
            continue
        below = node.properties.get(name) or node.additional
        if below is not None:
            kept[name] = prune(below, child)
        elif node.preserve:
            kept[name] = child
    same = len(kept) == len(value) and all(kept[name] is value[name] for name in kept)
    return value if same else kept


def fill_defaults(node: Structural, value: Any) -> Any:
    """Rule 2."""
    if "default" not in node.active:
        return value
    if isinstance(value, list):
        if node.items is None:
            return value
        items = [fill_defaults(node.items, _null_default(node.items, item)) for item in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    if not isinstance(value, dict):
        return value
    filled = dict(value)
    for name, below in node.properties.items():
        found = filled.get(name)
        if found is None and below.has_default and (name not in filled or not below.nullable):
            filled[name] = found = below.default
        if isinstance(found, dict | list):
            filled[name] = fill_defaults(below, found)
    if node.additional is not None:
        for name in value.keys() - node.properties.keys():
            filled[name] = fill_defaults(node.additional, _null_default(node.additional, value[name]))
    same = len(filled) == len(value) and all(filled[name] is value[name] for name in value)
    return value if same else filled


def _null_default(node: Structural, value: Any) -> Any:
    return node.default if value is None and node.has_default and not node.nullable else value


def to_cel(node: Structural, value: Any) -> Any:
    """``value`` as rules see it: numbers are doubles, times are times, sets and maps forget their order."""
    if "convert" not in node.active or value is None:
        return value
    if isinstance(value, dict):
        return {name: _child(node, name, child) for name, child in value.items()}
    if isinstance(value, list):
        items = [to_cel(node.items, item) for item in value] if node.items is not None else value
        if node.list_type == "set":
            return SetList(items)
        if node.list_type == "map":
            keyed = MapList(items)
            keyed.keys = node.list_keys
            return keyed
        return items
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _formatted(value, node.checks.get("format", "")) if isinstance(value, str) else value


def _child(node: Structural, name: str, value: Any) -> Any:
    below = node.properties.get(name) or node.additional
    return to_cel(below, value) if below is not None else value


def _formatted(value: str, form: str) -> Any:
    try:
        match form:
            case "date-time":
                return parse_timestamp(value)
            case "date":
                return datetime.fromisoformat(value).replace(tzinfo=UTC)
            case "duration":
                return parse_duration(value)
            case "byte":
                return base64.b64decode(value, validate=True)
            case _:
                return value
    except (CelError, ValueError, binascii.Error):
        return value  # validation of the format names it
