"""Text functions Kubernetes adds to CEL: strings (version 2), regular expressions, ``format``, quantities, versions.

Spec: cel-go ext/strings.go, ext/formatting.go; k8s apiserver/pkg/cel/library/{regex,quantity,semverlib,format}.go.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from podwire.kube.cel_functions import Function, overload, text_of
from podwire.kube.cel_regex import find_all, matches
from podwire.kube.cel_values import CelError, Quantity, Semver, kind_of
from podwire.kube.quantity import parse_quantity

_FORMAT_LIMIT = 1_000_000


def _char_at(text: str, at: int) -> str:
    if not 0 <= at <= len(text):
        raise CelError(f"index out of range: {at}")
    return text[at : at + 1]


def _index_of(text: str, part: str, start: int = 0) -> int:
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    return text.find(part, start)


def _last_index_of(text: str, part: str, start: int | None = None) -> int:
    if start is None:
        return text.rfind(part)
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    return text.rfind(part, 0, start + len(part))


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= len(text):
        raise CelError(f"index out of range: {start}")
    if not start <= stop <= len(text):
        raise CelError(f"invalid substring range. start: {start}, end: {stop}")
    return text[start:stop]


def _split(text: str, by: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if limit == 1:
        return [text]
    if by:
        return text.split(by, limit - 1 if limit > 0 else -1)
    chars = list(text)
    return chars if limit < 0 or len(chars) <= limit else [*chars[: limit - 1], "".join(chars[limit - 1 :])]


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    if len(text) * max(len(new), 1) > _FORMAT_LIMIT * 10:
        raise CelError("result of replace is too long")
    return text.replace(old, new, limit)


def _join(parts: list[Any], by: str = "") -> str:
    if not all(isinstance(part, str) for part in parts):
        raise CelError("no such overload")
    return by.join(parts)


def _ascii(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(char) if char.isascii() else char for char in text)


def _quote(text: str) -> str:
    marks = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    marks |= {"\\": "\\\\", '"': '\\"'}
    return '"' + "".join(marks.get(char, char) for char in text) + '"'


def _find(text: str, pattern: str) -> str:
    return next(iter(find_all(text, pattern, 1)), "")


def _formatted(text: str, args: list[Any]) -> str:
    """``'%s is %d'.format([a, b])``."""
    left = list(reversed(args))

    def one(found: re.Match[str]) -> str:
        if found.group() == "%%":
            return "%"
        if found.group("verb") is None:
            raise CelError(f'could not parse formatting clause: unrecognized formatting clause "{found.group()[1:]}"')
        if not left:
            raise CelError("index 0 out of range")
        digits = found.group("digits")
        return _clause(found.group("verb"), int(digits) if digits is not None else None, left.pop())

    shown = re.sub(r"%(?:%|(?:\.(?P<digits>\d{1,3}))?(?P<verb>[sdfebxXo])|.?)", one, text, flags=re.DOTALL)
    if len(shown) > _FORMAT_LIMIT:
        raise CelError("result of format is too long")
    return shown


def _clause(verb: str, digits: int | None, value: Any) -> str:
    kind = kind_of(value)
    match verb:
        case "s":
            return shown(value)
        case "d" if kind in ("int", "uint"):
            return str(int(value))
        case "f" if kind in ("double", "int", "uint"):
            return f"{float(value):.{6 if digits is None else digits}f}"
        case "e" if kind in ("double", "int", "uint"):
            return f"{float(value):.{6 if digits is None else digits}e}"
        case "b" if kind in ("int", "uint", "bool"):
            return f"{int(value):b}"
        case "o" if kind in ("int", "uint"):
            return f"{int(value):o}"
        case "x" | "X" if kind in ("int", "uint"):
            return f"{int(value):{verb}}"
        case "x" | "X" if kind in ("string", "bytes"):
            raw = (value if isinstance(value, bytes) else value.encode()).hex()
            return raw.upper() if verb == "X" else raw
    raise CelError(f"error during formatting: {verb} clause cannot take {kind}")


def shown(value: Any) -> str:
    """A value as ``%s`` writes it."""
    match kind_of(value):
        case "null":
            return "null"
        case "list":
            return "[" + ", ".join(shown(item) for item in value) + "]"
        case "map":
            return "{" + ", ".join(sorted(f"{shown(key)}: {shown(item)}" for key, item in value.items())) + "}"
        case "type":
            return str(value.name)
        case _:
            return text_of(value)


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(parse_quantity(text))
    except ValueError as error:
        raise CelError(str(error)) from error


def _is(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except CelError:
            return False
        return True

    return check


def _whole(held: Quantity) -> int:
    if held.value != held.value.to_integral_value() or not -(1 << 63) <= held.value < 1 << 63:
        raise CelError("cannot convert value to integer")
    return int(held.value)


def _is_integer(held: Quantity) -> bool:
    return held.value == held.value.to_integral_value() and -(1 << 63) <= held.value < 1 << 63


def _order(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _amount(other: Quantity | int) -> Decimal:
    return other.value if isinstance(other, Quantity) else Decimal(other)


_VERSION = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?"


def _semver(text: str, normalize: bool = False) -> Semver:
    if normalize:
        text = text.removeprefix("v")
        core, mark, rest = re.match(r"([0-9.]*)([-+]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        numbers = [str(int(part)) if part.isdigit() else part for part in core.split(".")]
        text = ".".join([*numbers, "0", "0"][: max(3, len(numbers))]) + mark + rest
    found = re.fullmatch(_VERSION, text) if len(text) < 256 else None
    pre = tuple(found.group(4).split(".")) if found and found.group(4) else ()
    build = tuple(found.group(5).split(".")) if found and found.group(5) else ()
    if found is None or any(not part or (part.isdigit() and part != "0" and part[0] == "0") for part in pre):
        raise CelError(f"Invalid character(s) found in version {text!r}")
    if not all(build):
        raise CelError("Build meta data is empty")
    return Semver((int(found.group(1)), int(found.group(2)), int(found.group(3))), pre, build)


def _version_key(held: Semver) -> tuple[Any, ...]:
    """Precedence: a pre-release comes before its release; numbers before words."""
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in held.pre)
    return held.core, not held.pre, parts


def _compare_versions(left: Semver, right: Semver) -> int:
    return _order(_version_key(left), _version_key(right))


STRINGS: Mapping[str, Function] = MappingProxyType(
    {
        "matches": (overload("~string,string>bool", matches),),
        "find": (overload("string.string>string", _find),),
        "findAll": (
            overload("string.string>list", find_all),
            overload("string.string,int>list", find_all),
        ),
        "charAt": (overload("string.int>string", _char_at),),
        "indexOf": (overload("string.string>int", _index_of), overload("string.string,int>int", _index_of)),
        "lastIndexOf": (
            overload("string.string>int", _last_index_of),
            overload("string.string,int>int", _last_index_of),
        ),
        "substring": (overload("string.int>string", _substring), overload("string.int,int>string", _substring)),
        "split": (overload("string.string>list", _split), overload("string.string,int>list", _split)),
        "replace": (
            overload("string.string,string>string", _replace),
            overload("string.string,string,int>string", _replace),
        ),
        "join": (overload("list.>string", _join), overload("list.string>string", _join)),
        "lowerAscii": (overload("string.>string", lambda text: _ascii(text, str.lower)),),
        "upperAscii": (overload("string.>string", lambda text: _ascii(text, str.upper)),),
        "trim": (overload("string.>string", str.strip),),
        "reverse": (overload("string.>string", lambda text: text[::-1]),),
        "strings.quote": (overload("string>string", _quote),),
        "format": (overload("string.list>string", _formatted),),
        "quantity": (overload("string>quantity", _quantity),),
        "isQuantity": (overload("string>bool", _is(_quantity)),),
        "sign": (overload("quantity.>int", lambda held: _order(held.value, 0)),),
        "isInteger": (overload("quantity.>bool", _is_integer),),
        "asInteger": (overload("quantity.>int", _whole),),
        "asApproximateFloat": (overload("quantity.>double", lambda held: float(held.value)),),
        "add": tuple(
            overload(f"quantity.{kind}>quantity", lambda a, b: Quantity(a.value + _amount(b)))
            for kind in ("quantity", "int")
        ),
        "sub": tuple(
            overload(f"quantity.{kind}>quantity", lambda a, b: Quantity(a.value - _amount(b)))
            for kind in ("quantity", "int")
        ),
        "compareTo": (
            overload("quantity.quantity>int", lambda a, b: _order(a.value, b.value)),
            overload("semver.semver>int", _compare_versions),
        ),
        "isGreaterThan": (
            overload("quantity.quantity>bool", lambda a, b: a.value > b.value),
            overload("semver.semver>bool", lambda a, b: _compare_versions(a, b) > 0),
        ),
        "isLessThan": (
            overload("quantity.quantity>bool", lambda a, b: a.value < b.value),
            overload("semver.semver>bool", lambda a, b: _compare_versions(a, b) < 0),
        ),
        "semver": (overload("string>semver", _semver), overload("string,bool>semver", _semver)),
        "isSemver": (
            overload("string>bool", _is(_semver)),
            overload("string,bool>bool", lambda text, normalize: _is(lambda t: _semver(t, normalize))(text)),
        ),
        "major": (overload("semver.>int", lambda held: held.core[0]),),
        "minor": (overload("semver.>int", lambda held: held.core[1]),),
        "patch": (overload("semver.>int", lambda held: held.core[2]),),
    }
)
"""By name; merged with the others in ``cel_table``."""
