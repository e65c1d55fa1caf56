"""What two values differ in, field by field.

1. A value that comes or goes counts with everything in it: containers, members, leaves.
2. Structs that have members are left out of what is added (Go's zero objects have them already), as are lists that a
   struct requires; so managedFields look as kube-apiserver writes them.
3. An item that occurs twice in a list is compared as one leaf.

Spec: structured-merge-diff typed/compare.go.
"""

from collections.abc import Iterable
from typing import Any

from podwire.apiserver.patch.fieldset import Fields
from podwire.apiserver.patch.typed import ABSENT, ANY, members_of, shape_of
from podwire.kube.schema import Schema


def whole(schema: Schema, value: Any, *, named: bool) -> Fields:
    """All fields of ``value``, containers included, as the node of a field that comes or goes.

    Without ``named``, structs with members are left out, as are lists a struct always has.
    """
    found = members_of(schema, value)
    if not found:
        return {}
    struct = schema.kind == "object"
    below: Fields = {} if struct and not named else {".": {}}
    required = schema.required if struct and not named else ()
    for element, child, child_schema in found:
        node = whole(child_schema, child, named=named)
        if not struct and node and "." not in node:
            node = {".": {}, **node}
        if required and element[2:] in required and child_schema.kind == "list" and node:
            node = {name: rest for name, rest in node.items() if name != "."}
        below[element] = node
    return below


def compare(schema: Schema, old: Any, new: Any) -> tuple[Fields | None, Fields | None]:
    """What ``new`` added or modified, and what it removed, as nodes; None for nothing. Either may be ``ABSENT``."""
    if old is new or (type(old) is type(new) and old == new):
        return None, None
    if old is ABSENT:
        return whole(schema, new, named=False), None
    if new is ABSENT:
        return None, whole(schema, old, named=True)
    before, after = _comparable(schema, old, new)
    if before is None or after is None:
        return {}, None
    left, right = _grouped(before), _grouped(after)
    changed: Fields = {}
    removed: Fields = {}
    for element in [*left, *(name for name in right if name not in left)]:
        _compare_member(element, left.get(element), right.get(element), (changed, removed))
    return changed or None, removed or None


Member = tuple[str, Any, Schema]
Group = tuple[Any, Schema, bool]
"""Value (a list of values when the element occurs more than once), schema, and whether it occurs more than once."""


def _comparable(schema: Schema, old: Any, new: Any) -> tuple[list[Member] | None, list[Member] | None]:
    """Members of both, when both are granular in the same way; null goes with anything."""
    if shape_of(schema, old) != shape_of(schema, new) and old is not None and new is not None:
        return None, None
    if not old and not new:
        return None, None
    return members_of(schema, old) if old is not None else [], members_of(schema, new) if new is not None else []


def _grouped(found: Iterable[Member]) -> dict[str, Group]:
    out: dict[str, Group] = {}
    for element, value, schema in found:
        known = out.get(element)
        if known is None:
            out[element] = (value, schema, False)
        else:
            out[element] = ([*known[0], value] if known[2] else [known[0], value], schema, True)
    return out


def _compare_member(element: str, left: Group | None, right: Group | None, into: tuple[Fields, Fields]) -> None:
    """Compare one member; an item that occurs twice is compared as one leaf (compare.go visitListItems)."""
    changed, removed = into
    schema = (right or left or (None, ANY, False))[1]
    if (left and left[2]) or (right and right[2]):
        if left and right and left[2] and right[2] and left[0] == right[0]:
            return
        if right and right[2]:
            changed[element] = {}
        elif left:
            removed[element] = {}
            if right:
                changed[element] = _item(whole(schema, right[0], named=False))
        return
    added, gone = compare(schema, left[0] if left else ABSENT, right[0] if right else ABSENT)
    if added is not None:
        changed[element] = _item(added) if left is None and element[0] == "k" else added
    if gone is not None:
        removed[element] = gone


def _item(node: Fields) -> Fields:
    """The node of a list item that is new: a member itself."""
    return node if not node or "." in node else {".": {}, **node}
