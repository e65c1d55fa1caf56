"""JSON Patch, RFC 6902, on immutable values.

1. Every operation copies the containers on its path and nothing else.
2. The operations are all or nothing; the first that fails is named.
3. ``copy`` shares structure, so a few operations could stand for an exponential document: the encoded size of all that
   is copied is limited, as kube-apiserver limits it (evanphx/json-patch AccumulatedCopySizeLimit).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from podwire.apiserver.patch.errors import PatchError, bad_request, too_large, unprocessable

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024

_NEEDS_VALUE = ("add", "replace", "test")
_NEEDS_FROM = ("move", "copy")
_NAMES = ("add", "remove", "replace", "move", "copy", "test")

Edit = Callable[[Any, str], Any]
"""Takes a container and the last token of a path; gives the new container."""


class _Misfit(Exception):
    """One operation does not fit the document."""


def json_patch(document: Any, operations: Any) -> Any:
    """``document`` after ``operations``. Raises :class:`PatchError` 400 (malformed), 413 (too many), 422 (misfit)."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        limit = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise too_large(limit)
    copied = 0
    for index, operation in enumerate(operations):
        name, path = _checked(operation, index)
        try:
            if name == "copy":
                copied += len(msgspec.json.encode(_look(document, _tokens(operation["from"]))))
                if copied > MAX_COPIED_BYTES:
                    raise too_large(f"the copy operations of a JSON patch are limited to {MAX_COPIED_BYTES} bytes")
            document = _perform(document, name, _tokens(path), operation)
        except _Misfit as error:
            raise unprocessable(f"operation {index} ({name} {path}): {error}") from error
    return document


def _checked(operation: Any, index: int) -> tuple[str, str]:
    """Name and path of a well-formed operation."""
    malformed: PatchError = bad_request(f"error decoding patch: operation {index} is malformed")
    if not isinstance(operation, dict) or operation.get("op") not in _NAMES:
        raise malformed
    name, path = operation["op"], operation.get("path")
    if not isinstance(path, str) or (name in _NEEDS_VALUE and "value" not in operation):
        raise malformed
    if name in _NEEDS_FROM and not isinstance(operation.get("from"), str):
        raise malformed
    return name, path


def _perform(document: Any, name: str, tokens: list[str], operation: dict[str, Any]) -> Any:
    match name:
        case "add":
            return _edit(document, tokens, _adding(operation["value"]))
        case "remove":
            return _edit(document, tokens, _remove)
        case "replace":
            return _edit(document, tokens, _replacing(operation["value"]))
        case "test":
            if not _equal(_look(document, tokens), operation["value"]):
                raise _Misfit("testing value failed")
            return document
    source = _tokens(operation["from"])
    value = _look(document, source)
    if name == "move":
        if len(source) < len(tokens) and tokens[: len(source)] == source:
            raise _Misfit("a value cannot be moved into itself")
        document = _edit(document, source, _remove)
    return _edit(document, tokens, _adding(value))


def _tokens(path: str) -> list[str]:
    """The reference tokens of a JSON pointer (RFC 6901)."""
    if not path:
        return []
    if not path.startswith("/"):
        raise _Misfit("a path begins with /")
    return [token.replace("~1", "/").replace("~0", "~") for token in path[1:].split("/")]


def _look(document: Any, tokens: list[str]) -> Any:
    for token in tokens:
        document = _child(document, token)
    return document


def _child(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        if token not in node:
            raise _Misfit(f"there is no {token!r}")
        return node[token]
    if isinstance(node, list):
        return node[_index(token, len(node) - 1)]
    raise _Misfit(f"{token!r} is below a value that has no members")


def _index(text: str, last: int) -> int:
    """An array index, without leading zeros and not beyond ``last`` (RFC 6901, section 4)."""
    if not (text.isascii() and text.isdigit()) or (text[0] == "0" and len(text) > 1) or len(text) > 9:
        raise _Misfit(f"{text!r} is no index of an array")
    if int(text) > last:
        raise _Misfit(f"index {text} is out of bounds")
    return int(text)


def _edit(node: Any, tokens: list[str], edit: Edit) -> Any:
    """``node`` with its container at ``tokens[:-1]`` edited; iterative, because a path may be long."""
    if not tokens:
        return edit({"": node}, "").get("")  # nothing is left of a document that was removed
    trail = [node]
    for token in tokens[:-1]:
        trail.append(_child(trail[-1], token))
    changed = edit(trail.pop(), tokens[-1])
    for parent, token in zip(reversed(trail), reversed(tokens[:-1]), strict=True):
        copy = parent.copy()
        copy[token if isinstance(parent, dict) else int(token)] = changed
        changed = copy
    return changed


def _adding(value: Any) -> Edit:
    def add(node: Any, name: str) -> Any:
        if isinstance(node, dict):
            return {**node, name: value}
        if not isinstance(node, list):
            raise _Misfit("the parent has no members")
        at = len(node) if name == "-" else _index(name, len(node))
        return [*node[:at], value, *node[at:]]

    return add


def _replacing(value: Any) -> Edit:
    def replace(node: Any, token: str) -> Any:
        _child(node, token)
        copy = node.copy()
        copy[token if isinstance(node, dict) else int(token)] = value
        return copy

    return replace


def _remove(node: Any, token: str) -> Any:
    _child(node, token)
    copy = node.copy()
    del copy[token if isinstance(node, dict) else int(token)]
    return copy


def _equal(left: Any, right: Any) -> bool:
    """Equal as JSON: ``true`` is not ``1`` (Python says otherwise), ``1`` is ``1.0`` (RFC 6902, section 4.6)."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)
