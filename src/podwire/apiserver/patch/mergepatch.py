"""JSON Merge Patch, RFC 7386."""

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """``target`` with ``patch`` merged in; ``target`` itself when nothing changes, else sharing what does not.

    An object merges, a null member removes, anything else replaces (RFC 7386, section 2).
    """
    if not isinstance(patch, dict):
        return target if type(target) is type(patch) and target == patch else patch
    if not isinstance(target, dict):
        return merge_patch({}, patch) if patch else {}
    merged = dict(target)
    changed = False
    for key, value in patch.items():
        if value is None:
            changed |= merged.pop(key, _ABSENT) is not _ABSENT
            continue
        before = merged.get(key, _ABSENT)
        after = merge_patch(None if before is _ABSENT else before, value)
        if after is not before:
            merged[key] = after
            changed = True
    return merged if changed else target


_ABSENT = object()
