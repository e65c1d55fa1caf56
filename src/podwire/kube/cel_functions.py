"""Functions of the Common Expression Language: the standard ones, and the table of all with what Kubernetes adds.

An :class:`Overload` names the types it takes; compiling picks by what is known, running by the values at hand.
Spec: cel-spec doc/langdef.md "Functions"; k8s apiserver/pkg/cel/environment/base.go.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import msgspec

from podwire.kube.cel_values import CelError, Maybe, kind_of, ranged, type_of


class Overload(msgspec.Struct, frozen=True):
    """``args`` are types of values (``any`` takes all); ``result`` a type, ``item``, ``same`` or ``list``.

    ``method``: True for ``x.f()``, False for ``f(x)``, None for both.
    """

    args: tuple[str, ...]
    result: str
    run: Callable[..., Any]
    method: bool | None = None


Function = tuple[Overload, ...]


def overload(signature: str, run: Callable[..., Any]) -> Overload:
    """From ``string.int>bool`` (a method), ``int,int>int`` (a function) or ``~list>int`` (both)."""
    args, _, result = signature.partition(">")
    if args.startswith("~"):
        return Overload(tuple(args[1:].split(",")), result, run)
    target, dot, rest = args.partition(".")
    if dot:
        return Overload((target, *(part for part in rest.split(",") if part)), result, run, True)
    return Overload(tuple(part for part in args.split(",") if part), result, run, False)


def _int(value: Any) -> int:
    match kind_of(value):
        case "int" | "uint":
            return ranged(int(value), False)
        case "double":
            if value != value or not -(2.0**63) < value < 2.0**63:
                raise CelError("integer overflow")
            return int(value)
        case "string":
            return ranged(_parsed(int, value, "int"), False)
        case "timestamp":
            return int(value.timestamp())
        case _:
            raise CelError("no such overload")


def _uint(value: Any) -> int:
    return ranged(_parsed(int, value, "uint") if isinstance(value, str) else int(value), True)


def _double(value: Any) -> float:
    return float(_parsed(float, value, "double")) if isinstance(value, str) else float(value)


def _parsed(read: Callable[[str], Any], text: str, name: str) -> Any:
    if "_" not in text and text == text.strip() and len(text) < 400:
        try:
            return read(text)
        except ValueError:
            pass
    raise CelError(f"type conversion error from 'string' to '{name}'")


def text_of(value: Any) -> str:
    """``string(value)``."""
    match kind_of(value):
        case "string":
            return str(value)
        case "bool":
            return "true" if value else "false"
        case "int" | "uint":
            return str(int(value))
        case "double":
            return str(int(value)) if value == value and abs(value) < 1e21 and value == int(value) else repr(value)
        case "bytes":
            try:
                return bytes(value).decode()
            except UnicodeDecodeError as error:
                raise CelError("invalid UTF-8 in bytes, cannot convert to string") from error
        case "timestamp":
            return str(value.astimezone(UTC).isoformat()).replace("+00:00", "Z")
        case "duration":
            return _seconds_text(value)
        case "ip" | "cidr":
            return str(value.value)
        case _:
            raise CelError("no such overload")


def _seconds_text(value: timedelta) -> str:
    total = value // timedelta(microseconds=1)
    whole, rest = divmod(abs(total), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if total < 0 else ''}{whole}{fraction}s"


def parse_duration(text: str) -> timedelta:
    """Go's ``time.ParseDuration``: ``1h30m``, ``-1.5s``. Raises :class:`CelError`."""
    sign, body = (-1 if text[:1] == "-" else 1), text.lstrip("+-") if text[:1] in "+-" else text
    if body == "0":
        return timedelta()
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", body) if len(body) < 100 else []
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise CelError(f'time: invalid duration "{text}"')
    units = {"ns": 1e-3, "us": 1.0, "µs": 1.0, "μs": 1.0, "ms": 1e3, "s": 1e6, "m": 6e7, "h": 3.6e9}
    total = sum(float(number) * units[unit] for number, unit in parts)
    if total > 2**63 / 1000:
        raise CelError(f'time: invalid duration "{text}"')
    return timedelta(microseconds=sign * round(total))


def parse_timestamp(text: str) -> datetime:
    """RFC 3339. Raises :class:`CelError`."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-]\d\d:\d\d))", text)
    if found:
        day, clock, fraction, zone = found.groups()
        try:
            return datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}{zone or '+00:00'}")
        except ValueError:
            pass
    raise CelError(f'invalid timestamp "{text}"')


def _zoned(value: datetime, zone: str) -> datetime:
    found = re.fullmatch(r"([+-]?)(\d\d):(\d\d)", zone)
    if found:
        offset = timedelta(hours=int(found.group(2)), minutes=int(found.group(3)))
        return value.astimezone(UTC) + (-offset if found.group(1) == "-" else offset)
    from zoneinfo import ZoneInfo

    try:
        return value.astimezone(ZoneInfo(zone))
    except (ValueError, KeyError) as error:
        raise CelError(f"unknown time zone {zone}") from error


def _part(name: str, read: Callable[[datetime], int]) -> tuple[str, Function]:
    return name, (
        overload("timestamp.>int", lambda value: read(value.astimezone(UTC))),
        overload("timestamp.string>int", lambda value, zone: read(_zoned(value, zone))),
    )


def _span(name: str, unit: timedelta, read: Callable[[datetime], int], *, modulo: int = 0) -> tuple[str, Function]:
    def whole(value: timedelta) -> int:
        count = abs(value) // unit
        count = count % modulo if modulo else count
        return count if value >= timedelta() else -count

    return name, (*_part(name, read)[1], overload("duration.>int", whole))


def _year_day(value: datetime) -> int:
    return value.timetuple().tm_yday - 1


_LENGTH = tuple(overload(f"~{kind}>int", len) for kind in ("string", "bytes", "list", "map"))

STANDARD: Mapping[str, Function] = MappingProxyType(
    {
        "size": _LENGTH,
        "int": tuple(overload(f"{k}>int", _int) for k in ("int", "uint", "double", "string", "timestamp")),
        "uint": tuple(overload(f"{k}>uint", _uint) for k in ("int", "uint", "double", "string")),
        "double": tuple(overload(f"{k}>double", _double) for k in ("int", "uint", "double", "string")),
        "string": tuple(
            overload(f"{k}>string", text_of)
            for k in ("string", "bool", "int", "uint", "double", "bytes", "timestamp", "duration", "ip", "cidr")
        ),
        "bool": (
            overload("bool>bool", lambda value: value),
            overload("string>bool", lambda text: _boolean(text)),
        ),
        "bytes": (overload("string>bytes", lambda text: text.encode()), overload("bytes>bytes", lambda value: value)),
        "dyn": (overload("any>dyn", lambda value: value),),
        "type": (overload("any>type", type_of),),
        "duration": (overload("string>duration", parse_duration), overload("duration>duration", lambda value: value)),
        "timestamp": (
            overload("string>timestamp", parse_timestamp),
            overload("int>timestamp", lambda value: _moment(value)),
            overload("timestamp>timestamp", lambda value: value),
        ),
        "contains": (overload("string.string>bool", lambda text, part: part in text),),
        "startsWith": (overload("string.string>bool", str.startswith),),
        "endsWith": (overload("string.string>bool", str.endswith),),
        **dict(
            (
                _part("getFullYear", lambda value: value.year),
                _part("getMonth", lambda value: value.month - 1),
                _part("getDate", lambda value: value.day),
                _part("getDayOfMonth", lambda value: value.day - 1),
                _part("getDayOfWeek", lambda value: value.isoweekday() % 7),
                _part("getDayOfYear", _year_day),
                _span("getHours", timedelta(hours=1), lambda value: value.hour),
                _span("getMinutes", timedelta(minutes=1), lambda value: value.minute),
                _span("getSeconds", timedelta(seconds=1), lambda value: value.second),
                _span(
                    "getMilliseconds", timedelta(milliseconds=1), lambda value: value.microsecond // 1000, modulo=1000
                ),
            )
        ),
        "optional.of": (overload("any>optional", lambda value: Maybe(True, value)),),
        "optional.none": (overload(">optional", lambda: Maybe(False)),),
        "optional.ofNonZeroValue": (overload("any>optional", lambda value: _non_zero(value)),),
        "hasValue": (overload("optional.>bool", lambda held: held.present),),
        "value": (overload("optional.>item", lambda held: _value(held)),),
        "or": (overload("optional.optional>same", lambda held, other: held if held.present else other),),
        "orValue": (overload("optional.any>item", lambda held, other: held.value if held.present else other),),
    }
)
"""The language's own."""


def _boolean(text: str) -> bool:
    if text in ("true", "TRUE", "True", "t", "1"):
        return True
    if text in ("false", "FALSE", "False", "f", "0"):
        return False
    raise CelError("type conversion error from 'string' to 'bool'")


def _moment(value: int) -> datetime:
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise CelError("timestamp overflow") from error


def _non_zero(value: Any) -> Maybe:
    zero = value is None or (not isinstance(value, bool) and value in (0, "", b"")) or value is False
    empty = isinstance(value, list | dict) and not value
    return Maybe(False) if zero or empty else Maybe(True, value)


def _value(held: Maybe) -> Any:
    if not held.present:
        raise CelError("optional.none() dereference")
    return held.value
