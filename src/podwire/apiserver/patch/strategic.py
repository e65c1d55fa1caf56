"""Strategic merge patch.

1. Objects merge and null removes, as in a merge patch. A list merges item by item where the schema gives it the patch
   strategy ``merge`` (by its merge key, or as a set of scalars), and is replaced otherwise.
2. Directives: ``$patch: replace | delete | merge`` in an object, ``$deleteFromPrimitiveList/F``,
   ``$setElementOrder/F``, ``$retainKeys``. They never reach the result.
3. Order of a merged list: ``$setElementOrder``, then the patch's order, then the live order.

Spec: apimachinery pkg/util/strategicpatch/patch.go (mergeMap and below).
"""

from typing import Any

from podwire.apiserver.patch.errors import Json, bad_request, unprocessable
from podwire.apiserver.patch.listorder import arrange
from podwire.apiserver.patch.typed import ANY
from podwire.kube.schema import Schema

MARKER = "$patch"
RETAIN = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList"
SET_ORDER = "$setElementOrder"


def strategic_merge(schema: Schema, original: Json, patch: Json) -> Json:
    """``original`` with ``patch`` merged in. Raises :class:`PatchError` 400 (a malformed directive), 422."""
    return _merge_map(schema, original, patch)


def _merge_map(schema: Schema, original: Json, patch: Json) -> Json:
    directive = patch.get(MARKER)
    if directive == "replace":
        return {name: _clean(value) for name, value in patch.items() if name != MARKER}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise unprocessable(f"Unknown patch type: {directive!r}")
    out = dict(_retained(original, patch))
    ordered = _ordered_lists(schema, out, patch)
    for key, value in patch.items():
        if key in (MARKER, RETAIN) or key.startswith(SET_ORDER) or key in ordered:
            continue
        if key.startswith(DELETE_FROM):
            _delete_scalars(out, key, value)
        elif value is None:
            out.pop(key, None)
        else:
            _merge_field(schema, out, key, value)
    return out


def _field(schema: Schema, name: str) -> Schema:
    if schema.kind == "object":
        return schema.fields.get(name, ANY)
    return schema.item or ANY


def _merge_field(schema: Schema, out: Json, key: str, value: Any) -> None:
    """Set ``out[key]`` to what ``value`` makes of it."""
    before = out.get(key)
    below = _field(schema, key)
    if isinstance(before, dict) and isinstance(value, dict):
        out[key] = _merge_map(below, before, value)
    elif isinstance(before, list) and isinstance(value, list) and "merge" in below.patch_strategy:
        out[key] = _merge_list(below, before, value, value)
    elif isinstance(value, dict) and MARKER in value and value[MARKER] != "merge":
        out.pop(key, None)
        if value[MARKER] == "replace":
            out[key] = _merge_map(below, {}, value)
    else:
        out[key] = _clean(value)


def _clean(value: Any) -> Any:
    """A new value without directives and nulls; items that carry a directive are no items."""
    if isinstance(value, dict):
        return {
            name: _clean(child)
            for name, child in value.items()
            if child is not None
            and not name.startswith((DELETE_FROM, SET_ORDER))
            and name not in (MARKER, RETAIN)
            and not _is_deletion(child)
        }
    if isinstance(value, list):
        return [_clean(child) for child in value if not _is_deletion(child)]
    return value


def _is_deletion(value: Any) -> bool:
    return isinstance(value, dict) and value.get(MARKER) in ("delete", "replace")


def _retained(original: Json, patch: Json) -> Json:
    """``$retainKeys``: only the listed fields of the original stay."""
    if RETAIN not in patch:
        return original
    keys = patch[RETAIN]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise bad_request("invalid patch format of retainKeys")
    for name, value in patch.items():
        if value is not None and name not in keys and not name.startswith("$"):
            raise bad_request("invalid patch format of retainKeys")
    return {name: value for name, value in original.items() if name in keys}


def _delete_scalars(out: Json, key: str, values: Any) -> None:
    name = _directed(key, DELETE_FROM)
    if not isinstance(values, list):
        raise bad_request("invalid patch format of primitive list")
    if isinstance(out.get(name), list):
        out[name] = [item for item in out[name] if item not in values]


def _directed(key: str, prefix: str) -> str:
    """The field a directive such as ``$setElementOrder/containers`` is about."""
    head, slash, name = key.partition("/")
    if head != prefix or not slash or not name:
        what = "primitive list" if prefix == DELETE_FROM else "setElementOrder list"
        raise bad_request(f"invalid patch format of {what}")
    return name


def _ordered_lists(schema: Schema, out: Json, patch: Json) -> set[str]:
    """Merge and order the lists that have a ``$setElementOrder``; returns the fields that are done."""
    done: set[str] = set()
    for key, order in patch.items():
        if not key.startswith(SET_ORDER):
            continue
        name = _directed(key, SET_ORDER)
        below = _field(schema, name)
        if not isinstance(order, list):
            raise bad_request("invalid patch format of setElementOrder list")
        live, items = out.get(name), patch.get(name)
        if items is None and name in patch:
            continue
        if not isinstance(live, list | None) or not isinstance(items, list | None):
            raise unprocessable(f"{name} is no list")
        _check_order(below, items or [], order)
        done.add(name)
        if live is None and items is None:
            continue
        if live is not None and items is not None and "merge" not in below.patch_strategy:
            out[name] = _clean(items)
            continue
        out[name] = _merge_list(below, live or [], items or [], order)
    return done


def _check_order(schema: Schema, items: list[Any], order: list[Any]) -> None:
    """What the patch adds must be in the order list, in the same order."""
    if not items or not order:
        return
    wanted = iter([_key(schema, item) for item in order])
    for item in items:
        if isinstance(item, dict) and MARKER in item:
            continue
        if not any(_key(schema, item) == key for key in wanted):
            raise bad_request("The order in patch list doesn't match $setElementOrder list")


def _key(schema: Schema, item: Any) -> Any:
    """What identifies an item of a merging list. Raises 422 when it has none."""
    if not schema.merge_key:
        if isinstance(item, dict | list):
            raise unprocessable("a list of scalars cannot be merged with a list of objects")
        return (type(item) is bool, item)
    if not isinstance(item, dict):
        raise unprocessable(f"list items must be objects with merge key {schema.merge_key}")
    if item.get(schema.merge_key) is None:
        raise unprocessable(f"map: {item} does not contain declared merge key: {schema.merge_key}")
    key = item[schema.merge_key]
    if isinstance(key, dict | list):
        raise unprocessable(f"merge key {schema.merge_key} must be a scalar")
    return (type(key) is bool, key)


def _merge_list(schema: Schema, original: list[Any], patch: list[Any], order: list[Any]) -> list[Any]:
    """Items by key: deleted, replaced, merged or added; then arranged."""
    live: dict[Any, Any] = {}
    for item in original:
        live.setdefault(_key(schema, item), item)
    position = {key: index for index, key in enumerate(live)}
    replace = any(isinstance(item, dict) and item.get(MARKER) == "replace" for item in patch)
    merged: dict[Any, Any] = {} if replace else live
    for item in patch:
        directive = item.get(MARKER) if isinstance(item, dict) else None
        if directive == "delete":
            merged.pop(_key(schema, item), None)
        elif directive is None:
            key = _key(schema, item)
            before = merged.get(key)
            if isinstance(before, dict) and isinstance(item, dict):
                merged[key] = _merge_map(schema.item or ANY, before, item)
            else:
                merged[key] = _clean(item)
        elif directive != "replace":
            raise unprocessable(f"Unknown patch type: {directive!r}")
    wanted = [_key(schema, item) for item in order if not (isinstance(item, dict) and MARKER in item)]
    return [merged[key] for key in arrange(list(merged), wanted, position)]
