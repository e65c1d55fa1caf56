"""Columns of custom resources: the JSONPath subset of ``additionalPrinterColumns``, and cells.

1. ``.a.b``, ``['a.b']``, ``[0]``, ``[-1]``, ``[*]``, ``[1:3]``, ``..name``, filters ``[?(@.type=="Ready")]`` (``==``,
   ``!=``, ``<``, ``<=``, ``>``, ``>=``, or existence).
2. A cell is the first value found; absent values are null; a value of another type than the column's is null.
3. ``date`` columns are shown as ages.

Spec: client-go util/jsonpath; apiextensions-apiserver/pkg/registry/customresource/tableconvertor.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from podwire.kube.columns import Column
from podwire.kube.columns_text import since
from podwire.kube.validate.errors import show

Json = dict[str, Any]
Step = tuple[str, Any]
_STEP = r"""(?x)\.\.(?P<deep>[\w-]+) | \.(?P<name>(?:[\w-]|\\.)+|\*) | \[\s*'(?P<quoted>(?:[^'\\]|\\.)*)'\s*\]
    | \[\s*"(?P<double>(?:[^"\\]|\\.)*)"\s*\] | \[(?P<index>-?\d+)\] | \[(?P<star>\*)\]
    | \[(?P<slice>-?\d*:-?\d*)\] | \[\?\((?P<filter>[^)]*)\)\]"""
_FILTER = r"""\s*@(?P<left>[^=!<>\s]*)\s*(?:(?P<op>==|!=|<=|>=|<|>)\s*(?P<right>'[^']*'|"[^"]*"|[^\s]+))?\s*"""


class PathError(ValueError):
    """The path is none of rule 1."""


class CompiledColumn(msgspec.Struct, frozen=True):
    """A column with its path."""

    column: Column
    steps: tuple[Step, ...]


def parse_path(text: str) -> tuple[Step, ...]:
    """The steps of a path. Raises :class:`PathError`."""
    if len(text) > 2000:
        raise PathError("path is too long")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        if text[at:] == ".":
            break
        found = re.compile(_STEP).match(text, at)
        if found is None:
            raise PathError(f"unrecognized character in path: {text[at:]!r}")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    kind = found.lastgroup or ""
    text = found.group(kind)
    match kind:
        case "name" if text == "*":
            return "star", None
        case "name" | "quoted" | "double":
            return "name", re.sub(r"\\(.)", r"\1", text)
        case "index":
            return "index", int(text)
        case "slice":
            low, _, high = text.partition(":")
            return "slice", (int(low) if low else None, int(high) if high else None)
        case "filter":
            return "filter", _filter(text)
        case _:
            return kind, text


def _filter(text: str) -> tuple[tuple[Step, ...], str, Any]:
    found = re.fullmatch(_FILTER, text)
    if found is None:
        raise PathError(f"unsupported filter: {text}")
    right = found.group("right")
    value: Any = None
    if right is not None:
        try:
            value = right[1:-1] if right[0] in "'\"" else msgspec.json.decode(right)
        except msgspec.DecodeError as error:
            raise PathError(f"unsupported filter: {text}") from error
    return parse_path(found.group("left")), found.group("op") or "", value


def find(steps: tuple[Step, ...], value: Any) -> list[Any]:
    """Every value the path leads to."""
    found = [value]
    for kind, what in steps:
        found = [below for one in found for below in _below(kind, what, one)]
    return found


def _below(kind: str, what: Any, value: Any) -> Iterable[Any]:
    match kind, value:
        case "name", dict():
            return [value[what]] if what in value else []
        case "index", list():
            return value[what : what + 1] if what >= 0 else value[what:][:1]
        case "slice", list():
            return value[what[0] : what[1]]
        case "star", dict():
            return list(value.values())
        case "star", list():
            return value
        case "filter", list():
            return [item for item in value if _fits(what, item)]
        case "deep", _:
            return _deep(what, value)
        case _:
            return []


def _deep(name: str, value: Any) -> list[Any]:
    found, pending = [], [value]
    while pending:
        node = pending.pop(0)
        if isinstance(node, dict):
            found += [node[name]] if name in node else []
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return found


def _fits(condition: tuple[tuple[Step, ...], str, Any], item: Any) -> bool:
    steps, operator, right = condition
    found = find(steps, item)
    if not operator:
        return bool(found)
    if not found:
        return False
    left = found[0]
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case _ if (
            isinstance(left, str) != isinstance(right, str) or left is None or isinstance(left, dict | list | bool)
        ):
            return False
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)


NAME = Column("Name", "string", "name", "Name must be unique within a namespace.")
AGE = Column("Age", "date", "", "Time since the object was created.")


def read_columns(version: Json) -> tuple[CompiledColumn, ...]:
    """The columns of a version after NAME; AGE alone when it names none."""
    named = version.get("additionalPrinterColumns") or []
    if not named:
        return (CompiledColumn(AGE, (("name", "metadata"), ("name", "creationTimestamp"))),)
    return tuple(
        CompiledColumn(
            Column(
                entry.get("name") or "",
                entry.get("type") or "string",
                entry.get("format") or "",
                entry.get("description") or "",
                entry.get("priority") or 0,
            ),
            parse_path(entry.get("jsonPath") or ""),
        )
        for entry in named
    )


def cells_of(columns: tuple[CompiledColumn, ...], value: Json, now: float) -> list[Any]:
    """NAME and the cells of ``columns``."""
    name = (value.get("metadata") or {}).get("name", "")
    return [name, *(_cell(entry, value, now) for entry in columns)]


def _cell(entry: CompiledColumn, value: Json, now: float) -> Any:
    found = find(entry.steps, value)
    if not found or found[0] is None:
        return None
    first = found[0]
    match entry.column.type:
        case "string":
            return _text(found)
        case "date":
            return since(first, now) if isinstance(first, str) else None
        case "integer":
            return int(first) if _is_number(first) else None
        case "number":
            return float(first) if _is_number(first) else None
        case _:
            return first if isinstance(first, bool) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _text(found: list[Any]) -> str:
    """As JSONPath prints: several values with spaces between them, objects as JSON."""
    return " ".join(one if isinstance(one, str) else show(one) for one in found)
