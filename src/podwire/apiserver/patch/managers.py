"""metadata.managedFields: reading, identity, order, limits.

An entry stays the JSON object it is in the API; an entry nobody touched is the very same object after a write.

Spec: apimachinery pkg/util/managedfields/internal/{managedfields,capmanagers,stripmeta,managedfieldsupdater}.go.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from podwire.apiserver.patch.compare import compare
from podwire.apiserver.patch.fieldset import Fields, difference, exclude, ordered, parse_fields, union
from podwire.apiserver.patch.target import Patched, patch_kind
from podwire.apiserver.patch.typed import ABSENT
from podwire.kube.schema import Schema

Json = dict[str, Any]
Identity = tuple[str, str, str, str]
"""Manager, operation, apiVersion (Update only), subresource: what makes two writers the same."""

MAX_UPDATE_MANAGERS = 10
ANCIENT = "ancient-changes"

_NOBODYS = (
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
)
STRIPPED: Mapping[str, Any] = MappingProxyType(
    {"f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, **{f"f:{name}": {} for name in _NOBODYS}}}
)
"""Fields that have no owner."""

_RESET_BY_STATUS: Json = {
    "f:spec": {},
    "f:metadata": {"f:ownerReferences": {}, "f:finalizers": {}, "f:deletionTimestamp": {}},
}


def reset_fields(kind_name: Patched, subresource: str) -> Fields:
    """Fields that a write through this path cannot change, so that it does not come to own them."""
    if subresource == "status":
        return _RESET_BY_STATUS
    return {"f:status": {}} if not subresource and patch_kind(kind_name).has_status else {}


def root_schema(kind_name: Patched) -> Schema:
    """The schema of a kind."""
    return patch_kind(kind_name).schema


def changes(kind_name: Patched, old: Json, new: Json, subresource: str) -> tuple[Fields, Fields]:
    """Fields added or modified, and fields removed, but for those nobody owns or this path cannot change."""
    schema = patch_kind(kind_name).schema
    changed: Fields = {}
    removed: Fields = {}
    for name in {**old, **new}:
        if name in ("apiVersion", "kind"):
            continue
        before, after = old.get(name, ABSENT), new.get(name, ABSENT)
        if before is after:
            continue
        if name == "metadata":
            before, after = _owned(before), _owned(after)
        added, gone = compare(schema.fields[name], before, after) if name in schema.fields else (None, None)
        if added is not None:
            changed[f"f:{name}"] = added
        if gone is not None:
            removed[f"f:{name}"] = gone
    reset = reset_fields(kind_name, subresource)
    return (exclude(changed, reset), exclude(removed, reset)) if reset else (changed, removed)


def _owned(meta: Any) -> Json:
    return {name: value for name, value in meta.items() if name not in _NOBODYS} if isinstance(meta, dict) else {}


def entries_of(obj: Json | None) -> list[Json]:
    """The entries of a stored object, which the server wrote."""
    return list((obj or {}).get("metadata", {}).get("managedFields") or ())


def parse_entries(raw: Any) -> list[Json] | None:
    """A client's managedFields in canonical form; None when they cannot be read (callers then keep the live ones)."""
    out: dict[Identity, Json] = {}
    if not isinstance(raw, list):
        return None
    for entry in raw:
        if not isinstance(entry, dict) or entry.get("operation") not in ("Apply", "Update"):
            return None
        if entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            return None
        try:
            fields = parse_fields(entry.get("fieldsV1") or {})
        except ValueError:
            return None
        clean = {**entry, "fieldsType": "FieldsV1", "fieldsV1": fields}
        if not all(isinstance(clean.get(name, ""), str) for name in ("manager", "apiVersion", "time", "subresource")):
            return None
        out[identity(clean)] = clean
    return list(out.values())


def is_reset(raw: Any) -> bool:
    """An empty list, or one empty entry, asks to forget all managers."""
    return raw in ([], [{}])


def identity(entry: Json) -> Identity:
    """Who an entry belongs to."""
    operation = entry["operation"]
    version = "" if operation == "Apply" else entry.get("apiVersion", "")
    return entry.get("manager", ""), operation, version, entry.get("subresource", "")


def make_entry(owner: Identity, api_version: str, now: str, fields: Fields) -> Json:
    """A new entry, its fields in order."""
    manager, operation, _, subresource = owner
    entry: Json = {"manager": manager or "unknown", "operation": operation, "apiVersion": api_version, "time": now}
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": ordered(fields)}
    return {**entry, "subresource": subresource} if subresource else entry


def find(entries: Iterable[Json], owner: Identity) -> Json | None:
    """The entry of ``owner``."""
    return next((entry for entry in entries if identity(entry) == owner), None)


def less(entries: Iterable[Json], *taken: Fields) -> list[Json]:
    """The entries without the fields ``taken``; entries left with nothing disappear."""
    out = []
    for entry in entries:
        fields = before = entry.get("fieldsV1") or {}
        for gone in taken:
            fields = difference(fields, gone) if gone else fields
        if fields is before:
            out.append(entry)
        elif fields:
            out.append({**entry, "fieldsV1": fields})
    return out


def claim(entries: list[Json], owner: Identity, api_version: str, *, now: str, fields: Fields) -> list[Json]:
    """The entries with ``fields`` added to those of an updating ``owner``."""
    mine = difference(fields, dict(STRIPPED))
    if not mine:
        return entries
    before = find(entries, owner)
    if before is not None:
        mine = union(mine, before["fieldsV1"])
    return [*(entry for entry in entries if entry is not before), make_entry(owner, api_version, now, mine)]


def capped(entries: list[Json]) -> list[Json]:
    """At most ten updaters: the oldest of a version are merged into ``ancient-changes``."""
    updaters = [entry for entry in entries if entry["operation"] == "Update"]
    surplus = len(updaters) - MAX_UPDATE_MANAGERS
    if surplus <= 0:
        return entries
    kept = [entry for entry in entries if entry["operation"] != "Update"]
    updaters.sort(key=lambda entry: (entry.get("time", ""), identity(entry)))
    first: dict[str, Json] = {}
    for entry in updaters:
        version = entry.get("apiVersion", "")
        bucket = first.get(version)
        if bucket is None or surplus <= 0:
            kept.append(entry)
            first.setdefault(version, entry)
            continue
        fields = union(entry["fieldsV1"], bucket["fieldsV1"])
        owner = (ANCIENT, "Update", version, "")
        merged = make_entry(owner, version, entry.get("time", ""), fields)
        kept = [merged if other is bucket else other for other in kept]
        first[version] = merged
        surplus -= 1
    return kept


def in_order(entries: Iterable[Json]) -> list[Json]:
    """Apply before Update, then by time and name (sortEncodedManagedFields)."""
    return sorted(
        entries,
        key=lambda entry: (
            entry["operation"],
            entry.get("time", ""),
            entry.get("manager", ""),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
        ),
    )


def with_entries(obj: Json, entries: list[Json]) -> Json:
    """``obj`` with these entries; ``obj`` itself when it has them."""
    meta = obj.get("metadata") or {}
    if not entries:
        if "managedFields" not in meta:
            return obj
        return {**obj, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}
    if meta.get("managedFields") == entries:
        return obj
    return {**obj, "metadata": {**meta, "managedFields": entries}}
