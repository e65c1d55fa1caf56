"""Server-side apply.

1. The applied object says all that its manager wants. What it said last time and not now is removed, unless another
   manager owns it as well.
2. A field that another manager owns and that would change is a conflict (409), unless forced: then it changes hands.
3. Applying the same object again changes nothing, times included.
4. kubectl moving from client-side apply does not conflict with what its last-applied annotation says.
5. An object nobody was tracked on belongs to ``before-first-apply``.

Spec: structured-merge-diff merge/update.go (Apply, prune); apimachinery pkg/util/managedfields/internal/
{fieldmanager,lastappliedmanager,lastappliedupdater,skipnonapplied,conflict}.go.
"""

from typing import Any

import msgspec

from podwire.apiserver.patch.compare import compare
from podwire.apiserver.patch.errors import Json, PatchError, PatchOptions, bad_request
from podwire.apiserver.patch.fieldset import Fields, difference, exclude, format_path, has, intersection, members, union
from podwire.apiserver.patch.managers import (
    STRIPPED,
    Identity,
    changes,
    claim,
    entries_of,
    find,
    in_order,
    less,
    make_entry,
    reset_fields,
    with_entries,
)
from podwire.apiserver.patch.target import Patched, patch_kind
from podwire.apiserver.patch.typed import (
    canonical,
    elements,
    ensure_named,
    merge,
    own,
    remove,
    shape_of,
    without_nulls,
)
from podwire.kube.schema import Schema

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
MAX_MANAGER = 128


class _Conflicts(Exception):
    """Fields of others that would change, by entry."""

    def __init__(self, found: list[tuple[Json, tuple[str, ...]]]) -> None:
        super().__init__("conflicts")
        self.found = found


def apply_object(kind_name: Patched, config: Any, *, current: Json | None, options: PatchOptions) -> Json:
    """``current`` after ``config`` was applied, with managedFields; ``current`` itself when nothing changed.

    ``current`` None creates. Raises :class:`PatchError` 400 (malformed), 409 (conflicts), 422 (no manager).
    """
    check_manager(options.field_manager)
    _check_config(kind_name, config)
    config = canonical(patch_kind(kind_name).schema, {**config, "metadata": config.get("metadata") or {}})
    live: Json = current or {}
    entries = entries_of(live)
    if current is not None and not entries:
        entries = _first_entries(kind_name, live, options.now)
    try:
        return _attempt(kind_name, config, live, entries=entries, options=options)
    except _Conflicts as conflicts:
        left = _serious(kind_name, live, conflicts.found, options)
        if left:
            raise _conflict_error(left) from None
        forced = msgspec.structs.replace(options, force=True)
        return _attempt(kind_name, config, live, entries=entries, options=forced)


def check_manager(name: str) -> None:
    """A manager's name is required and printable. Raises :class:`PatchError` 422."""
    if not name:
        why, reason = "Required value: is required for apply patch", "FieldValueRequired"
    elif len(name) > MAX_MANAGER:
        why, reason = f"Too long: may not be more than {MAX_MANAGER} bytes", "FieldValueTooLong"
    elif not name.isprintable():
        why, reason = f"Invalid value: {name!r}: should only contain printable characters", "FieldValueInvalid"
    else:
        return
    causes = [{"reason": reason, "message": why, "field": "fieldManager"}]
    raise PatchError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: fieldManager: {why}', causes)


def _check_config(kind_name: Patched, config: Any) -> None:
    kind = patch_kind(kind_name)
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: the applied configuration must be one object")
    for field in ("apiVersion", "kind"):
        if not config.get(field):
            raise bad_request(f"Object '{field}' is missing in the applied configuration")
    if config["kind"] != kind.name:
        raise bad_request(f"invalid object type: {config['apiVersion']}, Kind={config['kind']}")
    if config["apiVersion"] != kind.api_version:
        raise bad_request(
            "Incorrect version specified in apply patch. "
            f"Specified patch version: {config['apiVersion']}, expected: {kind.api_version}"
        )
    if error := kind.type_errors(config):
        raise bad_request(error)
    meta = config.get("metadata") or {}
    if meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    where = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {kind.api_version}, Kind={kind.name}"
    problems = [f".{path}: field not declared in schema" for path in kind.unknown_fields(config)]
    problems += _list_problems(patch_kind(kind_name).schema, config, "")
    if problems:
        text = problems[0] if len(problems) == 1 else "errors:\n  " + "\n  ".join(problems)
        raise bad_request(f"failed to create typed patch object ({where}): {text}")


def _list_problems(schema: Schema, value: Any, path: str) -> list[str]:
    """Items of keyed lists and sets that have no key, or the key of another item."""
    out: list[str] = []
    if isinstance(value, dict):
        for name, child in value.items():
            below = schema.fields.get(name) if schema.kind == "object" else schema.item
            if below is not None and isinstance(child, dict | list):
                out += _list_problems(below, child, f"{path}.{name}")
    elif isinstance(value, list) and schema.item is not None:
        if shape_of(schema, value) in ("keyed", "set"):
            found = elements(schema, value)
            if found is None:
                return [f"{path}: element omits all key fields {list(schema.list_map_keys)} or is no valid item"]
            twice = sorted({element for element in found if found.count(element) > 1})
            out += [f"{path}: duplicate entries for key {format_path((element,))}" for element in twice]
        for index, child in enumerate(value):
            out += _list_problems(schema.item, child, f"{path}[{index}]")
    return out


def _first_entries(kind_name: Patched, live: Json, now: str) -> list[Json]:
    """Rule 5."""
    version = patch_kind(kind_name).api_version
    changed, _ = changes(kind_name, {}, live, "")
    return claim([], (BEFORE_FIRST_APPLY, "Update", version, ""), version, now=now, fields=changed)


def _attempt(kind_name: Patched, config: Json, live: Json, *, entries: list[Json], options: PatchOptions) -> Json:
    schema, version = patch_kind(kind_name).schema, patch_kind(kind_name).api_version
    owner: Identity = (options.field_manager, "Apply", "", options.subresource)
    last = find(entries, owner)
    others = [entry for entry in entries if entry is not last]
    reset = reset_fields(kind_name, options.subresource)
    mine = exclude(own(schema, config) or {}, reset)
    merged = merge(schema, live, config)
    new = _pruned(schema, config, merged, last=last, managed=[mine, *(entry["fieldsV1"] for entry in others)])
    changed, removed = changes(kind_name, live, new, options.subresource)
    if not options.force:
        _find_conflicts(others, changed)
    others = less(others, changed, removed)
    new = without_nulls(new)
    if options.field_manager == "kubectl":
        new = _with_last_applied(new, config)
    stripped = difference(mine, dict(STRIPPED))
    if last is not None and last["fieldsV1"] == stripped and with_entries(new, in_order([*others, last])) == live:
        return live
    if stripped:
        others.append(make_entry(owner, version, options.now, stripped))
    new = with_entries(new, in_order(others))
    return live if new == live else new


def _pruned(schema: Schema, config: Json, merged: Json, *, last: Json | None, managed: list[Fields]) -> Json:
    """``merged`` without what the manager owned last time, that nobody owns now (rule 1)."""
    before: Fields = last["fieldsV1"] if last is not None else {}
    if not before or not difference(before, managed[0]):
        return merged
    owned: Fields = {}
    for fields in managed:
        owned = union(owned, fields)
    mentioned = ensure_named(schema, before)
    pruned = remove(schema, merged, mentioned) or {}
    everything = ensure_named(schema, own(schema, merged) or {})
    kept = union(ensure_named(schema, own(schema, pruned) or {}), ensure_named(schema, owned))
    pruned = remove(schema, merged, difference(everything, kept)) or {}
    # What goes must have been the manager's own: items it never mentioned stay (addBackDanglingItems).
    left = ensure_named(schema, own(schema, pruned) or {})
    doomed = intersection(difference(everything, left), mentioned)
    # Containers emptied on the way, but named in the configuration, come back: what is applied is there.
    result: Json = merge(schema, remove(schema, merged, doomed) or {}, config)
    return result


def _find_conflicts(others: list[Json], changed: Fields) -> None:
    found = []
    for entry in sorted(others, key=lambda entry: entry.get("manager", "")):
        shared = intersection(entry["fieldsV1"], changed)
        found += [(entry, path) for path in members(shared)]
    if found:
        raise _Conflicts(found)


def _serious(
    kind_name: Patched, live: Json, found: list[tuple[Json, tuple[str, ...]]], options: PatchOptions
) -> list[tuple[Json, tuple[str, ...]]]:
    """The conflicts that are not kubectl's own client-side past (rule 4)."""
    if options.field_manager != "kubectl":
        return found
    allowed = _last_applied_fields(kind_name, live)
    return [(entry, path) for entry, path in found if not has(allowed, path)]


def _last_applied_fields(kind_name: Patched, live: Json) -> Fields:
    """Fields of the last-applied annotation that still have the value it gave them."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return {}
    try:
        config = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    if not isinstance(config, dict) or config.get("apiVersion") != patch_kind(kind_name).api_version:
        return {}
    schema = patch_kind(kind_name).schema
    config = canonical(schema, config)
    changed, removed = compare(schema, config, live)
    return difference(difference(own(schema, config) or {}, changed or {}), removed or {})


def _with_last_applied(new: Json, config: Json) -> Json:
    """Keep an existing last-applied annotation up to date, so that client-side apply still works."""
    meta = new.get("metadata") or {}
    notes = meta.get("annotations") or {}
    if not notes.get(LAST_APPLIED):
        return new
    wanted = config.get("metadata") or {}
    applied_notes = {k: v for k, v in (wanted.get("annotations") or {}).items() if k != LAST_APPLIED}
    shown = {**config, "metadata": {k: v for k, v in wanted.items() if k != "annotations"}}
    if applied_notes:
        shown["metadata"]["annotations"] = applied_notes
    text = msgspec.json.encode(shown, order="sorted").decode() + "\n"
    if notes[LAST_APPLIED] == text:
        return new
    return {**new, "metadata": {**meta, "annotations": {**notes, LAST_APPLIED: text}}}


def _conflict_error(found: list[tuple[Json, tuple[str, ...]]]) -> PatchError:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {_shown(entry)}",
            "field": format_path(path),
        }
        for entry, path in found
    ]
    if len(found) == 1:
        entry, path = found[0]
        text = f"Apply failed with 1 conflict: conflict with {_shown(entry)}: {format_path(path)}"
        return PatchError(409, "Conflict", text, causes)
    lines: dict[str, list[str]] = {}
    for entry, path in found:
        lines.setdefault(_shown(entry), []).append(f"- {format_path(path)}")
    groups = [line for shown in sorted(lines) for line in (f"conflicts with {shown}:", *lines[shown])]
    return PatchError(409, "Conflict", f"Apply failed with {len(found)} conflicts: " + "\n".join(groups), causes)


def _shown(entry: Json) -> str:
    text = f'"{entry.get("manager", "")}"'
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    return f"{text} using {entry.get('apiVersion', '')}" if entry["operation"] == "Update" else text
