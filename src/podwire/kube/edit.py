"""Copy-on-write edits of JSON objects: every function returns its argument when there is nothing to change."""

from collections.abc import Callable, Mapping
from typing import Any

Obj = dict[str, Any]


def fill(obj: Obj, defaults: Mapping[str, Any]) -> Obj:
    """``obj`` with the defaults of the fields that are missing, null or the empty string."""
    missing = {key: value for key, value in defaults.items() if obj.get(key) in (None, "")}
    return {**obj, **missing} if missing else obj


def put(obj: Obj, key: str, value: Any) -> Obj:
    """``obj`` with ``key`` set to ``value``."""
    return obj if key in obj and obj[key] is value else {**obj, key: value}


def each(obj: Obj, key: str, change: Callable[[Obj], Obj]) -> Obj:
    """``obj`` with ``change`` applied to every object in the list ``key``."""
    items = obj.get(key)
    if not items:
        return obj
    changed = [change(item) if isinstance(item, dict) else item for item in items]
    return put(obj, key, changed) if any(a is not b for a, b in zip(changed, items, strict=True)) else obj
