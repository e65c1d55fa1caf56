"""Who owns what after a plain write (create, update, patch but apply).

1. Whoever adds or changes a field comes to own it, and all others lose it. What is removed nobody owns.
2. An object without managers is not tracked until somebody applies it; a new object always is.
3. A write that changes nothing owned leaves managedFields as they are, times included.
4. A client may set managedFields on the main path; through a subresource what it sends is ignored. An empty list (or
   one empty entry) resets them; what cannot be read leaves the live ones.
5. More than ten updaters: the oldest are merged into ``ancient-changes``.

Spec: apimachinery pkg/util/managedfields/internal/{fieldmanager,skipnonapplied,capmanagers}.go.
"""

from typing import Any

from podwire.apiserver.patch.managers import (
    Json,
    capped,
    changes,
    claim,
    entries_of,
    in_order,
    is_reset,
    less,
    parse_entries,
    with_entries,
)
from podwire.apiserver.patch.target import Patched, patch_kind


def track_update(
    kind_name: Patched, old: Json | None, new: Json, manager: str, now: str, subresource: str = ""
) -> Json:
    """``new`` with the managedFields a write by ``manager`` leaves; ``new`` itself when they are right already.

    ``old`` is the live object, None for a create; ``now`` an RFC 3339 time in whole seconds.
    """
    live = entries_of(old)
    before = live if subresource else _sent(new, live)
    if old is not None and not before:
        return with_entries(new, [])
    changed, removed = changes(kind_name, old or {}, new, subresource)
    if not changed and not removed:
        return with_entries(new, before)
    entries = less(before, changed, removed)
    version = patch_kind(kind_name).api_version
    owner = (manager or "unknown", "Update", version, subresource)
    entries = claim(entries, owner, version, now=now, fields=changed)
    return with_entries(new, in_order(capped(entries)))


def _sent(new: Json, live: list[Json]) -> list[Json]:
    """The entries to start from: those the client sent, if it sent any that can be read (rule 4)."""
    sent: Any = (new.get("metadata") or {}).get("managedFields")
    if sent is None or sent == live:
        return live
    if is_reset(sent):
        return []
    return parse_entries(sent) or live
