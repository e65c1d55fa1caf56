"""Sets of fields, in the very form the API stores them: FieldsV1.

A set is a dict from path elements (``f:name``, ``k:{"key":…}``, ``v:value``, ``i:n``) to nodes. A node is a dict too:
empty, it says that the field is in the set; otherwise it holds the fields below, and ``.`` when the field itself is in
the set as well. So stored managedFields need no decoding, and an untouched branch is shared, not copied.

Nothing here ever changes its arguments; an operation without effect returns its first argument itself.
Spec: structured-merge-diff fieldpath/set.go and serialize.go.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

Fields = dict[str, Any]
Path = tuple[str, ...]


def is_member(node: Mapping[str, Any]) -> bool:
    """Whether the field of this node is itself in the set."""
    return not node or "." in node


def node_of(member: bool, below: Fields) -> Fields | None:
    """The node of a field with what is below it; None when nothing is in the set. ``below`` holds no ``.``."""
    if not below:
        return {} if member else None
    return {".": {}, **below} if member else below


def union(left: Fields, right: Fields) -> Fields:
    """Fields in either set."""
    if not right or left is right:
        return left
    out = dict(left)
    changed = False
    for element, node in right.items():
        mine = out.get(element)
        both = node if mine is None else _union_node(mine, node)
        if both is not mine:
            out[element] = both
            changed = True
    return out if changed else left


def _union_node(left: Fields, right: Fields) -> Fields:
    if left and right:
        return union(left, right)
    if not right:
        return left if not left or "." in left else {".": {}, **left}
    return right if "." in right else {".": {}, **right}


def difference(left: Fields, right: Fields) -> Fields:
    """Fields in ``left`` that are not in ``right``; a field does not stand for those below it."""
    out: Fields = {}
    changed = False
    for element, node in left.items():
        other = right.get(element)
        rest = node if other is None else _difference_node(node, other)
        changed |= rest is not node
        if rest is not None:
            out[element] = rest
    return out if changed else left


def _difference_node(left: Fields, right: Fields) -> Fields | None:
    member = is_member(left)
    keeps = member and not is_member(right)
    below = {element: node for element, node in left.items() if element != "."}
    rest = difference(below, right)
    return left if keeps == member and rest is below else node_of(keeps, rest)


def intersection(left: Fields, right: Fields) -> Fields:
    """Fields in both sets."""
    out: Fields = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None or element == ".":
            continue
        shared = node_of(is_member(node) and is_member(other), intersection(node, other))
        if shared is not None:
            out[element] = shared
    return out


def exclude(left: Fields, right: Fields) -> Fields:
    """``left`` without the fields of ``right`` *and all below them*."""
    out: Fields = {}
    for element, node in left.items():
        other = right.get(element)
        if other is None:
            out[element] = node
        elif not is_member(other):
            below = {name: child for name, child in node.items() if name != "."}
            rest = node_of(is_member(node), exclude(below, other))
            if rest is not None:
                out[element] = rest
    return out


def members(fields: Fields, path: Path = ()) -> Iterator[Path]:
    """The paths of all fields of a set: those of a level first, then those below, each in order."""
    ordered = sorted(fields.items())
    for element, node in ordered:
        if element != "." and is_member(node):
            yield (*path, element)
    for element, node in ordered:
        if element != "." and node:
            yield from members(node, (*path, element))


def has(fields: Fields, path: Path) -> bool:
    """Whether the field at ``path`` is in the set."""
    node: Fields | None = fields
    for element in path:
        node = node.get(element) if node else None
        if node is None:
            return False
    return node is not None and is_member(node)


def ordered(fields: Fields) -> Fields:
    """The same set in the order kube-apiserver writes it, so that equal sets give equal bytes."""
    return {element: ordered(fields[element]) if fields[element] else {} for element in sorted(fields)}


def format_path(path: Path) -> str:
    """``.spec.template.spec.containers[name="web"].image``, as conflicts name fields."""
    return "".join(_format_element(element) for element in path)


def _format_element(element: str) -> str:
    kind, text = element[:2], element[2:]
    match kind:
        case "f:":
            return f".{text}"
        case "k:":
            keys = msgspec.json.decode(text)
            return "[" + ",".join(f"{name}={_format_value(keys[name])}" for name in sorted(keys)) + "]"
        case "v:":
            return f"[={_format_value(msgspec.json.decode(text))}]"
        case _:
            return f"[{text}]"


def _format_value(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def parse_fields(value: Any) -> Fields:
    """A client's FieldsV1 in canonical form. Raises :class:`ValueError` when it is none."""
    if not isinstance(value, dict):
        raise ValueError("fieldsV1 must be an object")
    out: Fields = {}
    for element, node in value.items():
        if element == ".":
            continue
        if not isinstance(node, dict):
            raise ValueError(f"{element}: must be an object")
        canonical = _parse_element(element)
        if canonical:
            below = parse_fields(node)
            found = node_of(is_member(node) or not below, below)
            assert found is not None
            out[canonical] = found
    return out


def _parse_element(element: str) -> str:
    """The canonical form; empty for an element of a kind that is not known, which is dropped."""
    if len(element) < 2 or element[1] != ":":
        raise ValueError(f"{element!r} is no path element")
    kind, text = element[:2], element[2:]
    try:
        match kind:
            case "f:":
                return element
            case "i:":
                return f"i:{int(text)}"
            case "k:":
                keys = msgspec.json.decode(text, type=dict[str, Any])
                return "k:" + msgspec.json.encode({name: keys[name] for name in sorted(keys)}).decode()
            case "v:":
                return "v:" + msgspec.json.encode(msgspec.json.decode(text)).decode()
            case _:
                return ""
    except msgspec.DecodeError as error:
        raise ValueError(f"{element!r} is no path element: {error}") from error
