"""Values seen through their schema: which fields a value has, merging, removing.

1. A struct, a map, a list with keys and a set of scalars are *granular*: their members have owners. Anything else is
   a leaf, owned as one: scalars, atomic maps and lists, and a value that does not fit its schema.
2. What the schema leaves open (``any``) is deduced from the value: objects are granular, lists are atomic.
3. Field sets here never contain what nobody owns: kind, apiVersion and the server's metadata are stripped by callers.

Spec: structured-merge-diff typed/{tofieldset,merge,remove}.go.
"""

from collections import Counter
from typing import Any, Literal

import msgspec

from podwire.apiserver.patch.fieldset import Fields, is_member, node_of
from podwire.kube.quantity import canonical_quantity
from podwire.kube.schema import Schema

Shape = Literal["map", "keyed", "set", "leaf"]
ANY = Schema(kind="any")
ABSENT: Any = type("Absent", (), {"__repr__": lambda _: "ABSENT"})()
"""No value at all, as opposed to null."""

_encode = msgspec.json.encode


def shape_of(schema: Schema, value: Any) -> Shape:
    """Rule 1 and 2."""
    if schema.map_type == "atomic":
        return "leaf"
    if isinstance(value, dict):
        return "map" if schema.kind in ("object", "map", "any") else "leaf"
    if isinstance(value, list) and schema.kind == "list":
        if schema.list_type == "map" and schema.list_map_keys:
            return "keyed"
        return "set" if schema.list_type == "set" else "leaf"
    return "leaf"


def child_of(schema: Schema, element: str) -> Schema:
    """The schema below a path element."""
    if schema.kind == "object":
        return schema.fields.get(element[2:], ANY)
    return schema.item or ANY


def elements(schema: Schema, items: list[Any]) -> list[str] | None:
    """The path element of every item of a keyed list or a set; None when one has none (no key, wrong type)."""
    if schema.list_type == "set":
        scalars = all(isinstance(item, str | int | float | bool) for item in items)
        return ["v:" + _encode(item).decode() for item in items] if scalars else None
    out = []
    for item in items:
        if not isinstance(item, dict):
            return None
        keys = {}
        for name in sorted(schema.list_map_keys):
            value = item.get(name)
            if value is None:
                field = schema.item.fields.get(name) if schema.item is not None else None
                value = field.default if field is not None else None
            if value is not None:
                keys[name] = value
        if not keys:
            return None
        out.append("k:" + _encode(keys).decode())
    return out


def members_of(schema: Schema, value: Any) -> list[tuple[str, Any, Schema]] | None:
    """(path element, value, schema) of each member of a granular value; None for a leaf.

    Null stands for an empty map or list.
    """
    shape = shape_of(schema, value)
    if shape == "map":
        if schema.kind == "object":
            fields = schema.fields
            return [(f"f:{name}", child, fields.get(name, ANY)) for name, child in value.items()]
        below = schema.item or ANY
        return [(f"f:{name}", child, below) for name, child in value.items()]
    if shape == "leaf":
        return None
    found = elements(schema, value)
    if found is None:
        return None
    below = schema.item or ANY
    return [(element, child, below) for element, child in zip(found, value, strict=True)]


def own(schema: Schema, value: Any) -> Fields | None:
    """The fields an applied ``value`` claims, as a node; None when it claims nothing (an empty granular list).

    Struct fields are not members when they have something below them, members of maps and lists always are.
    """
    found = members_of(schema, value)
    if found is None or value == {}:
        return {}
    named = schema.kind == "object"
    below: Fields = {}
    for element, child, child_schema in found:
        if element in below:
            below[element] = {}  # twice in one list: owned as one
            continue
        node = own(child_schema, child)
        if node is None:
            if not named:
                below[element] = {}
        elif named or not node or "." in node:
            below[element] = node
        else:
            below[element] = {".": {}, **node}
    return below or None


def merge(schema: Schema, live: Any, config: Any) -> Any:
    """``config`` merged into ``live``: granular values member by member, leaves replaced.

    The order of list items is the live one where the two do not disagree, else that of ``config``.
    """
    if live is ABSENT or live is None:
        return config
    if config is ABSENT or live is config:
        return live
    if config is None and shape_of(schema, live) != "leaf":
        return live
    shape = shape_of(schema, config)
    if shape == "leaf" or shape != shape_of(schema, live):
        return config
    if shape == "map":
        return _merge_map(schema, live, config)
    left, right = elements(schema, live), elements(schema, config)
    if left is None or right is None:
        return config
    return _merge_list(schema, (left, live), (right, config))


def _merge_map(schema: Schema, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    out = dict(live)
    for name, value in config.items():
        out[name] = merge(child_of(schema, f"f:{name}"), live.get(name, ABSENT), value)
    return out if any(out[name] is not live.get(name, ABSENT) for name in out) else live


def _merge_list(schema: Schema, live: tuple[list[str], list[Any]], config: tuple[list[str], list[Any]]) -> list[Any]:
    """structured-merge-diff's order: walk both lists, keep live-only items in place, follow ``config`` for the rest."""
    (left, left_items), (right, right_items) = live, config
    below = schema.item or ANY
    wanted = dict(zip(right, right_items, strict=True))
    times = Counter(left)
    known = {e: i for e, i in zip(left, left_items, strict=True) if times[e] == 1}
    shared = [element for element in right if element in times]
    out: list[Any] = []
    done: set[str] = set()
    i = j = at = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            element = left[i]
            if element == right[j]:
                out.append(merge(below, known.get(element, ABSENT), wanted[element]))
                done.add(element)
                i, j, at = i + 1, j + 1, at + 1
                continue
            if element in wanted and at < len(shared) and shared[at] != element:
                i += 1
                continue
        if i < len(left):
            if left[i] not in wanted:
                out.append(left_items[i])
                i += 1
                continue
            if left[i] in done:
                i += 1
        if j < len(right):
            element = right[j]
            out.append(merge(below, known.get(element, ABSENT), wanted[element]))
            done.add(element)
            j += 1
            at += at < len(shared) and shared[at] == element
    return out


def remove(schema: Schema, value: Any, fields: Fields) -> Any:
    """``value`` without ``fields``; a container that loses its last member becomes null, as does an atomic one."""
    found = members_of(schema, value)
    if found is None:
        return value if shape_of(schema, value) == "leaf" and not isinstance(value, dict | list) else None
    if not found:
        return None
    kept = []
    for element, child, child_schema in found:
        node = fields.get(element)
        if node is None:
            kept.append((element, child))
        elif not is_member(node):
            kept.append((element, remove(child_schema, child, node)))
    if not kept:
        return None
    if isinstance(value, list):
        return [child for _, child in kept]
    return {element[2:]: child for element, child in kept}


def ensure_named(schema: Schema, fields: Fields) -> Fields:
    """``fields`` with every struct field that has something below it as a member."""
    out: Fields = {}
    for element, node in fields.items():
        if element == ".":
            continue
        child = child_of(schema, element)
        below = ensure_named(child, node)
        named = schema.kind == "object" and bool(below) and element[2:] in schema.fields
        made = node_of(is_member(node) or named, below)
        if made is not None:
            out[element] = made
    return out


def canonical(schema: Schema, value: Any) -> Any:
    """``value`` with quantities as the server stores them (``cpu: 1`` is ``"1"``), so that equal ones do not conflict.

    kube-apiserver leaves them as they are written, and such conflicts are a known nuisance of it.
    """
    if isinstance(value, dict):
        items = {name: canonical(child_of(schema, f"f:{name}"), child) for name, child in value.items()}
        return value if all(items[name] is value[name] for name in items) else items
    if isinstance(value, list):
        entries = [canonical(schema.item or ANY, child) for child in value]
        return value if all(a is b for a, b in zip(entries, value, strict=True)) else entries
    if schema.format == "quantity" and schema.kind not in ("map", "list") and isinstance(value, str | int | float):
        text = canonical_quantity(value)
        return value if value == text else text
    return value


def without_nulls(value: Any) -> Any:
    """``value`` without null members of objects; the same object when there are none."""
    if isinstance(value, dict):
        kept = {name: without_nulls(child) for name, child in value.items() if child is not None}
        same = len(kept) == len(value) and all(kept[name] is value[name] for name in kept)
        return value if same else kept
    if isinstance(value, list):
        items = [without_nulls(child) for child in value]
        return value if all(a is b for a, b in zip(items, value, strict=True)) else items
    return value
