"""Validation of values by a structural schema, in the words of kube-apiserver.

1. Errors name the field; a value of a wrong type is one error, and nothing below it is looked at.
2. ``anyOf``, ``oneOf``, ``allOf`` and ``not`` look at the same value with other schemas.
3. Ratcheting: what an update left as it was is not looked at again (KEP-4008).
4. Patterns are RE2, so time is linear in the text.

CEL rules are in ``structural_rules``. Spec: k8s apiextensions-apiserver/pkg/apiserver/validation/validation.go,
kube-openapi/pkg/validation/validate, apiserver/schema/listtype/validation.go.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_network
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec

from podwire.kube.cel_functions import parse_duration, parse_timestamp
from podwire.kube.cel_regex import matches
from podwire.kube.cel_values import CelError
from podwire.kube.structural import ROOT_FIELDS, Structural, type_of_json
from podwire.kube.validate.errors import FieldError, duplicate, invalid, required, show, too_long, too_many

Errors = Iterator[FieldError]
UNSET: Any = type("Unset", (), {"__repr__": lambda _: "UNSET"})()
"""There is no old value."""


def check_value(node: Structural, value: Any, path: str, *, old: Any = UNSET, root: bool = False) -> Errors:
    """Everything wrong with ``value``; ``path`` is empty for the object itself."""
    if old is not UNSET and old == value and type(old) is type(value):
        return  # rule 3
    if value is None:
        if not node.nullable and (node.type or node.int_or_string):
            yield _type_error(path, _wanted(node), None)
        return
    if node.int_or_string and (isinstance(value, bool) or not isinstance(value, int | str)):
        yield _type_error(path, "integer,string", value)
        return
    if node.type and not _is_type(node.type, value):
        yield _type_error(path, node.type, value)
        return
    yield from _plain(node, value, path)
    match value:
        case dict():
            yield from _object(node, value, path, old=old, root=root)
        case list():
            yield from _array(node, value, path, old=old)
    yield from _junctors(node, value, path)


def _wanted(node: Structural) -> str:
    return "integer,string" if node.int_or_string else node.type


def _is_type(wanted: str, value: Any) -> bool:
    found = type_of_json(value)
    return found == wanted or (wanted == "number" and found == "integer")


def _type_error(path: str, wanted: str, value: Any) -> FieldError:
    found = type_of_json(value)
    where = path or "<nil>"
    detail = f'{path} in body must be of type {wanted}: "{found}"'
    return FieldError("TypeInvalid", where, detail.strip(), show(found))


def _object(node: Structural, value: dict[str, Any], path: str, *, old: Any, root: bool) -> Errors:
    before = old if isinstance(old, dict) else {}
    if node.embedded and not root:
        yield from _embedded(value, path)
    for name in node.required:
        if name not in value:
            yield required(f"{path}.{name}" if path else name)
    for name, child in value.items():
        if name in ROOT_FIELDS and (root or node.embedded) and (root or name != "metadata"):
            continue
        below = node.properties.get(name) or node.additional
        if below is not None:
            where = f"{path}.{name}" if path else name
            yield from check_value(below, child, where, old=before.get(name, UNSET))


def _embedded(value: dict[str, Any], path: str) -> Errors:
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            yield required(f"{path}.{name}", "must not be empty")
        elif not isinstance(value[name], str):
            yield _type_error(f"{path}.{name}", "string", value[name])
    if not isinstance(value.get("metadata", {}), dict):
        yield _type_error(f"{path}.metadata", "object", value["metadata"])


def _array(node: Structural, value: list[Any], path: str, *, old: Any) -> Errors:
    if node.items is not None:
        before = _matching(node, value, old)
        for index, item in enumerate(value):
            yield from check_value(node.items, item, f"{path}[{index}]", old=before[index])
    if node.list_type in ("set", "map"):
        yield from _doubles(node, value, path, old)


def _matching(node: Structural, value: list[Any], old: Any) -> list[Any]:
    """The old item of each item: by key for map lists (sets and atomic lists have no such relation)."""
    if not isinstance(old, list) or node.list_type != "map":
        return [UNSET] * len(value)
    known = {_key(node, item): item for item in old}
    return [known.get(_key(node, item), UNSET) for item in value]


def key_of(node: Structural, item: Any) -> str:
    """What tells an item of a map list from the others."""
    return _key(node, item)


def _key(node: Structural, item: Any) -> str:
    if not isinstance(item, dict):
        return ""
    fields = node.items.properties if node.items is not None else {}
    found = {name: item.get(name, fields[name].default if name in fields else None) for name in node.list_keys}
    return _name(found)


def _name(value: Any) -> str:
    """A value as text that equal values share."""
    try:
        return msgspec.json.encode(value, order="sorted").decode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON escapes allow
        return ascii(value)


def _doubles(node: Structural, value: list[Any], path: str, old: Any) -> Errors:
    seen: set[str] = set()
    tolerated = isinstance(old, list) and _has_doubles(node, old)
    if tolerated:
        return
    for index, item in enumerate(value):
        if node.list_type == "map" and not isinstance(item, dict):
            continue  # its type is wrong, which is said elsewhere
        name = _name(item) if node.list_type == "set" else _key(node, item)
        if name in seen:
            shown = item if node.list_type == "set" else {k: item.get(k) for k in node.list_keys if k in item}
            yield duplicate(f"{path}[{index}]", shown)
        seen.add(name)


def _has_doubles(node: Structural, items: list[Any]) -> bool:
    names = [_name(item) if node.list_type == "set" else _key(node, item) for item in items]
    return len(set(names)) < len(names)


def _plain(node: Structural, value: Any, path: str) -> Errors:
    for name, bound in node.checks.items():
        check = _CHECKS.get(name)
        if check is not None:
            yield from check(value, bound, path, node)


def _enum(value: Any, allowed: Any, path: str, _: Structural) -> Errors:
    if not any(value == one and type_of_json(value) == type_of_json(one) for one in allowed):
        words = ", ".join(show(one) for one in allowed)
        yield FieldError("NotSupported", path or "<nil>", f"supported values: {words}", show(value))


def _minimum(value: Any, bound: Any, path: str, node: Structural) -> Errors:
    exclusive = node.checks.get("exclusiveMinimum") is True
    if _number(value) and (value < bound or (exclusive and value == bound)):
        words = "greater than" if exclusive else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {words} {_shown(bound)}")


def _maximum(value: Any, bound: Any, path: str, node: Structural) -> Errors:
    exclusive = node.checks.get("exclusiveMaximum") is True
    if _number(value) and (value > bound or (exclusive and value == bound)):
        words = "less than" if exclusive else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {words} {_shown(bound)}")


def _multiple(value: Any, bound: Any, path: str, _: Structural) -> Errors:
    if _number(value) and bound and (value / bound) != int(value / bound):
        yield invalid(path, value, f"{path} in body should be a multiple of {_shown(bound)}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(bound: Any) -> str:
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


def _min_length(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, str) and len(value) < bound:
        yield invalid(path, value, f"{path} in body should be at least {bound} chars long")


def _max_length(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, str) and len(value) > bound:
        yield too_long(path, bound)


def _pattern(value: Any, pattern: str, path: str, _: Structural) -> Errors:
    if isinstance(value, str) and not matches(value, pattern):
        yield invalid(path, value, f"{path} in body should match '{pattern}'")


def _min_items(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, list) and len(value) < bound:
        yield invalid(path, len(value), f"{path} in body should have at least {bound} items")


def _max_items(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, list) and len(value) > bound:
        yield too_many(path, len(value), bound)


def _unique(value: Any, bound: bool, path: str, _: Structural) -> Errors:
    if bound and isinstance(value, list):
        names = {_name(item) for item in value}
        if len(names) < len(value):
            yield invalid(path, value, f"{path} in body shouldn't contain duplicates")


def _min_properties(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, dict) and len(value) < bound:
        yield invalid(path, len(value), f"{path} in body should have at least {bound} properties")


def _max_properties(value: Any, bound: int, path: str, _: Structural) -> Errors:
    if isinstance(value, dict) and len(value) > bound:
        yield too_many(path, len(value), bound)


def _format(value: Any, form: str, path: str, _: Structural) -> Errors:
    read = FORMATS.get(form)
    if read is None or not isinstance(value, str):
        return
    try:
        read(value)
    except (CelError, ValueError, binascii.Error):
        yield invalid(path, value, f"{path} in body must be of type {form}: {show(value)}")


def _full(pattern: str) -> Callable[[str], None]:
    def read(text: str) -> None:
        if len(text) > 4096 or not re.fullmatch(pattern, text):
            raise ValueError(text)

    return read


def _uri(text: str) -> None:
    found = urlsplit(text)
    if not (found.scheme or text.startswith("/")) or any(char.isspace() for char in text):
        raise ValueError(text)


def _cidr(text: str) -> None:
    if "/" not in text:
        raise ValueError(text)
    ip_network(text, strict=False)


def _hostname(text: str) -> None:
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    if len(text) > 255 or not all(re.fullmatch(label, part) for part in text.removesuffix(".").split(".")):
        raise ValueError(text)


_HEX = "[0-9a-fA-F]"
_UUID = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%s{_HEX}{{3}}-?%s{_HEX}{{3}}-?{_HEX}{{12}}"
FORMATS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "date-time": parse_timestamp,
        "date": lambda text: datetime.strptime(text, "%Y-%m-%d"),
        "duration": parse_duration,
        "byte": lambda text: base64.b64decode(text, validate=True),
        "ipv4": IPv4Address,
        "ipv6": IPv6Address,
        "cidr": _cidr,
        "mac": _full(rf"{_HEX}{{2}}([:-]{_HEX}{{2}}){{5}}|({_HEX}{{4}}\.){{2}}{_HEX}{{4}}"),
        "uri": _uri,
        "hostname": _hostname,
        "email": _full(r"[^@\s<>]+@[^@\s<>]+"),
        "uuid": _full(_UUID % (_HEX, _HEX)),
        "uuid3": _full(_UUID % ("3", _HEX)),
        "uuid4": _full(_UUID % ("4", "[89abAB]")),
        "uuid5": _full(_UUID % ("5", "[89abAB]")),
        "hexcolor": _full(rf"#?({_HEX}{{3}}|{_HEX}{{6}})"),
        "isbn": _full(r"(97[89][- ]?)?\d{1,5}[- ]?\d+[- ]?\d+[- ]?[\dX]"),
    }
)
"""Formats Kubernetes looks at; others are remarks."""

_CHECKS: Mapping[str, Callable[[Any, Any, str, Structural], Errors]] = MappingProxyType(
    {
        "enum": _enum,
        "minimum": _minimum,
        "maximum": _maximum,
        "multipleOf": _multiple,
        "minLength": _min_length,
        "maxLength": _max_length,
        "pattern": _pattern,
        "minItems": _min_items,
        "maxItems": _max_items,
        "uniqueItems": _unique,
        "minProperties": _min_properties,
        "maxProperties": _max_properties,
        "format": _format,
    }
)


def _junctors(node: Structural, value: Any, path: str) -> Errors:
    """Rule 2."""
    where = path or "<nil>"

    def fails(why: str) -> FieldError:
        return FieldError("Invalid", where, f'"{path}" must {why}', '""')

    if node.all_of:
        found = [error for part in node.all_of for error in check_value(part, value, path)]
        yield from found
        if found:
            yield fails("validate all the schemas (allOf)")
    if node.any_of and not any(_holds(part, value, path) for part in node.any_of):
        yield fails("validate at least one schema (anyOf)")
    if node.one_of:
        good = sum(_holds(part, value, path) for part in node.one_of)
        if good != 1:
            yield fails(
                f"validate one and only one schema (oneOf). Found {f'{good}' if good else 'none'} valid"
                + (" alternatives" if good else "")
            )
    if node.not_ is not None and _holds(node.not_, value, path):
        yield fails("not validate the schema (not)")


def _holds(node: Structural, value: Any, path: str) -> bool:
    return next(check_value(node, value, path), None) is None
