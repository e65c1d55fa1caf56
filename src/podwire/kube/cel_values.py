"""Values of the Common Expression Language: what Python types stand for them, equality, order, arithmetic.

1. int is a Python int, uint a :class:`UInt`, double a float, timestamp a datetime, duration a timedelta; null, bool,
   string, bytes, list and map are their Python namesakes. Kubernetes' own types are the frozen structs below.
2. Equality is never an error: values of different types differ, numbers compare across types.
3. A list with ``x-kubernetes-list-type: set`` or ``map`` is a :class:`SetList` or :class:`MapList`: order is nothing.

Spec: cel-spec doc/langdef.md; k8s apiserver/pkg/cel/{quantity,ip,cidr,url,semver}.go, common/values.go.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from types import MappingProxyType
from typing import Any

import msgspec

from podwire.kube.cel_parse import UInt

INT_MIN, INT_MAX, UINT_MAX = -(1 << 63), (1 << 63) - 1, (1 << 64) - 1


class CelError(ValueError):
    """An evaluation failed; the text is CEL's."""


class Quantity(msgspec.Struct, frozen=True):
    """``resource.Quantity``: equal by value."""

    value: Decimal


class Ip(msgspec.Struct, frozen=True):
    """``net.IP``."""

    value: IPv4Address | IPv6Address


class CidrBlock(msgspec.Struct, frozen=True):
    """``net.CIDR``."""

    value: IPv4Network | IPv6Network


class Url(msgspec.Struct, frozen=True):
    """``net.URL``: its parts as Go's ``url.URL`` gives them."""

    scheme: str = ""
    host: str = ""
    hostname: str = ""
    port: str = ""
    path: str = ""
    query: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Semver(msgspec.Struct, frozen=True):
    """A semantic version; ``build`` does not count in comparisons."""

    core: tuple[int, int, int]
    pre: tuple[str, ...] = ()
    build: tuple[str, ...] = ()


class Maybe(msgspec.Struct, frozen=True):
    """An optional: ``present`` tells whether ``value`` means anything."""

    present: bool
    value: Any = None


class TypeOf(msgspec.Struct, frozen=True):
    """The value of ``type(x)``."""

    name: str


class SetList(list[Any]):
    """Rule 3, ``set``."""


class MapList(list[Any]):
    """Rule 3, ``map``: items are told apart by ``keys``."""

    keys: tuple[str, ...] = ()


NOTHING = Maybe(False)

_KINDS = MappingProxyType(
    {
        bool: "bool",
        int: "int",
        UInt: "uint",
        float: "double",
        str: "string",
        bytes: "bytes",
        list: "list",
        SetList: "list",
        MapList: "list",
        dict: "map",
        type(None): "null",
        datetime: "timestamp",
        timedelta: "duration",
        Quantity: "quantity",
        Ip: "ip",
        CidrBlock: "cidr",
        Url: "url",
        Semver: "semver",
        Maybe: "optional",
        TypeOf: "type",
    }
)
_TYPE_NAMES = MappingProxyType(
    {
        "null": "null_type",
        "timestamp": "google.protobuf.Timestamp",
        "duration": "google.protobuf.Duration",
        "quantity": "kubernetes.Quantity",
        "ip": "net.IP",
        "cidr": "net.CIDR",
        "url": "kubernetes.URL",
        "semver": "kubernetes.Semver",
        "optional": "optional_type",
    }
)
_NUMBERS = (int, float, UInt)
_ORDERED = frozenset({"string", "bytes", "bool", "timestamp", "duration"})


def kind_of(value: Any) -> str:
    """Our short name of a value's type."""
    return _KINDS.get(type(value), "dyn")


def type_name(kind: str) -> str:
    """CEL's name of a type."""
    return _TYPE_NAMES.get(kind, kind)


def type_of(value: Any) -> TypeOf:
    """``type(value)``."""
    return TypeOf(type_name(kind_of(value)))


def equal(left: Any, right: Any) -> bool:
    """Rule 2."""
    kind = type(left)
    if kind is type(right):
        if kind in (str, int, bool, float):
            return bool(left == right)
        if kind is dict:
            return len(left) == len(right) and all(k in right and equal(v, right[k]) for k, v in left.items())
        if kind is Maybe:
            return left.present == right.present and (not left.present or equal(left.value, right.value))
        if kind is Semver:
            return (left.core, left.pre) == (right.core, right.pre)
    if kind in _NUMBERS and type(right) in _NUMBERS:
        return bool(left == right)
    if isinstance(left, list) and isinstance(right, list):
        return _equal_lists(left, right)
    return kind is type(right) and bool(left == right)


def _equal_lists(left: list[Any], right: list[Any]) -> bool:
    if len(left) != len(right):
        return False
    if isinstance(left, SetList):
        return all(any(equal(a, b) for b in right) for a in left) and all(any(equal(a, b) for b in left) for a in right)
    if isinstance(left, MapList):
        found = {_key(item, left.keys): item for item in right if isinstance(item, dict)}
        return all(
            isinstance(item, dict) and _key(item, left.keys) in found and equal(item, found[_key(item, left.keys)])
            for item in left
        )
    return all(equal(a, b) for a, b in zip(left, right, strict=True))


def _key(item: Any, keys: tuple[str, ...]) -> str:
    return repr([item.get(key) for key in keys])


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1. Raises :class:`CelError` where there is no order."""
    if type(left) in _NUMBERS and type(right) in _NUMBERS:
        return int(left > right) - int(left < right)
    kind = kind_of(left)
    if kind == kind_of(right) and kind in _ORDERED:
        return bool(left > right) - bool(left < right)
    raise CelError("no such overload")


def ranged(value: int, unsigned: bool) -> int:
    """An int64 or uint64. Raises :class:`CelError` on overflow."""
    low, high = (0, UINT_MAX) if unsigned else (INT_MIN, INT_MAX)
    if not low <= value <= high:
        raise CelError("unsigned integer overflow" if unsigned else "integer overflow")
    return UInt(value) if unsigned else int(value)


def add(left: Any, right: Any) -> Any:
    """``+``."""
    match kind_of(left), kind_of(right):
        case ("int" | "uint") as a, b if a == b:
            return ranged(left + right, a == "uint")
        case ("double", "double") | ("string", "string") | ("bytes", "bytes") | ("duration", "duration"):
            return left + right
        case "list", "list":
            return _join(left, right)
        case ("timestamp", "duration") | ("duration", "timestamp"):
            return _in_time(lambda: left + right)
    raise CelError("no such overload")


def _join(left: list[Any], right: list[Any]) -> list[Any]:
    """Set and map lists merge, others are joined."""
    if isinstance(left, SetList):
        return SetList([*left, *(item for item in right if not any(equal(item, other) for other in left))])
    if isinstance(left, MapList):
        wanted = {_key(item, left.keys): item for item in right if isinstance(item, dict)}
        merged = MapList([wanted.pop(_key(item, left.keys), item) for item in left])
        merged.extend(wanted.values())
        merged.keys = left.keys
        return merged
    return [*left, *right]


def subtract(left: Any, right: Any) -> Any:
    """``-``."""
    match kind_of(left), kind_of(right):
        case ("int" | "uint") as a, b if a == b:
            return ranged(left - right, a == "uint")
        case ("double", "double") | ("timestamp", "timestamp") | ("duration", "duration"):
            return left - right
        case "timestamp", "duration":
            return _in_time(lambda: left - right)
    raise CelError("no such overload")


def _in_time(work: Any) -> Any:
    try:
        return work()
    except OverflowError as error:
        raise CelError("timestamp overflow") from error


def multiply(left: Any, right: Any) -> Any:
    """``*``."""
    match kind_of(left), kind_of(right):
        case ("int" | "uint") as a, b if a == b:
            return ranged(left * right, a == "uint")
        case "double", "double":
            return left * right
    raise CelError("no such overload")


def divide(left: Any, right: Any) -> Any:
    """``/``: integers towards zero."""
    match kind_of(left), kind_of(right):
        case ("int" | "uint") as a, b if a == b:
            if right == 0:
                raise CelError("division by zero")
            found = abs(left) // abs(right)
            return ranged(found if (left < 0) == (right < 0) else -found, a == "uint")
        case "double", "double":
            return _divide_doubles(left, right)
    raise CelError("no such overload")


def _divide_doubles(left: float, right: float) -> float:
    if right != 0:
        return left / right
    return float("nan") if left == 0 or left != left else float("inf") * (1 if left > 0 else -1)


def modulo(left: Any, right: Any) -> Any:
    """``%``: the sign is the dividend's."""
    kind = kind_of(left)
    if kind not in ("int", "uint") or kind_of(right) != kind:
        raise CelError("no such overload")
    if right == 0:
        raise CelError("modulus by zero")
    found = abs(left) % abs(right)
    return ranged(found if left >= 0 else -found, kind == "uint")
