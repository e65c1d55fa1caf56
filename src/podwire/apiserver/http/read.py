"""GET: one object, lists with pages, selectors and revisions (reference/api-server.md section 5)."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from podwire.apiserver.history import Item
from podwire.apiserver.http.ask import Target, number, options_invalid, revision
from podwire.apiserver.status import StatusError, bad_request, expired, not_found
from podwire.apiserver.store import Store
from podwire.kube.selectors import SelectorError, parse_label_selector

Json = dict[str, Any]
Chosen = Callable[[Json], bool]


def read_one(store: Store, target: Target, query: Mapping[str, str]) -> Item:
    """GET of one object. Raises 404, and 504 for a revision from the future."""
    wanted = revision(query)
    if wanted is not None and wanted > store.rv:
        store.check(wanted)
    item = store.get(target.kind.stored, target.key)
    if item is None:
        raise not_found(target.kind, target.name)
    return item


def choose(target: Target, query: Mapping[str, str]) -> Chosen | None:
    """The predicate of namespace, name and selectors; None takes everything. Raises 400."""
    parts: list[Chosen] = []
    if namespace := target.namespace:
        parts.append(lambda value: value["metadata"].get("namespace") == namespace)
    if name := target.name:
        parts.append(lambda value: value["metadata"].get("name") == name)
    try:
        if text := query.get("labelSelector", ""):
            labels = parse_label_selector(text)
            parts.append(lambda value: labels(value["metadata"].get("labels") or {}))
        if text := query.get("fieldSelector", ""):
            parts.append(target.meaning.field_selector(target.kind, text))
    except SelectorError as error:
        raise bad_request(str(error)) from error
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else lambda value: all(part(value) for part in parts)


def read_list(store: Store, target: Target, query: Mapping[str, str]) -> tuple[list[Item], Json]:
    """Items and list metadata. Raises 400, 410, 422, 504."""
    if "sendInitialEvents" in query:
        raise options_invalid("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list")
    limit = number(query, "limit") or 0
    token = query.get("continue", "")
    after = ""
    if token:
        rv, after = _resume(store, target, query, token)
    else:
        rv = _revision_of(store, query, limit)
    chosen = choose(target, query)
    rows = store.items_at(target.kind.stored, rv)
    if target.namespace:
        prefix = target.namespace + "/"
        rows = [row for row in rows if row[0].startswith(prefix)]
    if after:
        rows = [row for row in rows if row[0] > after]
    found = [row for row in rows if chosen is None or chosen(row[1].value)]
    meta: Json = {"resourceVersion": str(rv)}
    if limit and len(found) > limit:
        meta["continue"] = _token(rv, found[limit - 1][0])
        if not (query.get("labelSelector") or query.get("fieldSelector")):
            meta["remainingItemCount"] = len(found) - limit
        found = found[:limit]
    return [item for _, item in found], meta


def _revision_of(store: Store, query: Mapping[str, str], limit: int) -> int:
    wanted, match = revision(query), query.get("resourceVersionMatch", "")
    if match not in ("", "Exact", "NotOlderThan"):
        wrong = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        raise options_invalid("resourceVersionMatch", wrong)
    if match and wanted is None:
        why = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise options_invalid("resourceVersionMatch", why)
    if match == "Exact" and not wanted:
        raise options_invalid(
            "resourceVersionMatch", 'Forbidden: resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'
        )
    if wanted and (match == "Exact" or (limit and not match)):
        store.check(wanted)
        return wanted
    if wanted and wanted > store.rv:
        store.check(wanted)
    return store.rv


def _token(rv: int, key: str) -> str:
    return (
        base64.urlsafe_b64encode(msgspec.json.encode({"v": "podwire/1", "rv": rv, "start": key})).decode().rstrip("=")
    )


def _resume(store: Store, target: Target, query: Mapping[str, str], token: str) -> tuple[int, str]:
    if query.get("resourceVersionMatch"):
        why = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
        raise options_invalid("resourceVersionMatch", why)
    if query.get("resourceVersion", "0") not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    try:
        read = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        rv, start = int(read["rv"]), str(read["start"])
    except (ValueError, KeyError, TypeError, msgspec.DecodeError) as error:
        raise bad_request("continue key is not valid: it is not one this server gave") from error
    if rv == -1:  # an inconsistent continuation, as offered with the 410 below
        return store.rv, start
    try:
        store.check(rv)
    except StatusError as error:
        if error.code != 410:
            raise bad_request("continue key is not valid") from error
        why = (
            "The provided continue parameter is too old to display a consistent list result. You can start a new list"
            " without the continue parameter, or use the continue token in this response to retrieve the remainder of"
            " the results. Continuing with the provided token results in an inconsistent list"
        )
        raise expired(why, token=_token(-1, start)) from error
    return rv, start
