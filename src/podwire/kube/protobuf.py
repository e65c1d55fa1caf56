"""Kubernetes' protobuf request bodies as JSON values.

Rules:

1. A body is ``k8s\\0`` and ``runtime.Unknown``: 1 typeMeta {1 apiVersion, 2 kind}, 2 raw, 4 contentType.
2. The result is what the same client would have sent as JSON: Go writes zero values of fields that are no pointers,
   and those are dropped; zero values of pointers (``replicas: 0``) stay.
3. Unknown field numbers are skipped, as proto2 demands; input may be hostile: lengths are checked, depth is bounded.
4. Only built-in kinds have protobuf; another kind raises :class:`NoProtobuf`.

Tables: ``protobuf_core.py``, ``protobuf_groups.py``. Spec: apimachinery pkg/runtime/generated.proto; protobuf encoding.
"""

import base64
import datetime
import functools
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

Json = dict[str, Any]
MAGIC = b"k8s\0"
MAX_DEPTH = 64
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "v1": "core",
        "apps/v1": "apps",
        "batch/v1": "batch",
        "autoscaling/v1": "autoscaling",
        "autoscaling/v2": "autoscaling2",
        "policy/v1": "policy",
        "rbac.authorization.k8s.io/v1": "rbac",
        "authentication.k8s.io/v1": "authentication",
        "authorization.k8s.io/v1": "authorization",
        "coordination.k8s.io/v1": "coordination",
        "discovery.k8s.io/v1": "discovery",
        "events.k8s.io/v1": "events",
        "networking.k8s.io/v1": "networking",
        "storage.k8s.io/v1": "storage",
        "scheduling.k8s.io/v1": "scheduling",
        "admissionregistration.k8s.io/v1": "admissionregistration",
        "meta.k8s.io/v1": "meta",
    }
)
_META_KINDS = ("DeleteOptions",)
_TOKEN = re.compile(r"(?P<number>\d+)(?P<mark>[*?%<]?)(?P<name>[\w$-]*)(?::(?P<type>[\w.]+))?\Z")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """The bytes are not a message of the kind they claim."""


class NoProtobuf(ValueError):
    """The kind has no protobuf form."""


class Field(msgspec.Struct, frozen=True):
    """One row of a struct's table; ``type`` is a code or ``package.Struct``."""

    name: str
    mark: str
    type: str


def decode_body(data: bytes) -> Json:
    """The object of a body. Raises :class:`ProtobufError` and :class:`NoProtobuf`."""
    if not data.startswith(MAGIC):
        raise ProtobufError("the body does not begin with the prefix of Kubernetes protobuf")
    types, raw = b"", b""
    for number, value in _fields(data[len(MAGIC) :]):
        if number in (1, 2) and not isinstance(value, bytes):
            raise ProtobufError("runtime.Unknown: a field has the wrong wire type")
        types, raw = (value, raw) if number == 1 else (types, value) if number == 2 else (types, raw)
    words = {number: _text(value) for number, value in _fields(types)}
    api_version, kind = words.get(1, ""), words.get(2, "")
    return {"apiVersion": api_version, "kind": kind, **decode_message(struct_of(api_version, kind), raw)}


def struct_of(api_version: str, kind: str) -> str:
    """``package.Struct`` of a kind. Raises :class:`NoProtobuf`."""
    package = "meta" if kind in _META_KINDS else _PACKAGES.get(api_version, "")
    if kind not in _structs().get(package, {}):
        raise NoProtobuf(f"{kind} of {api_version} has no protobuf form")
    return f"{package}.{kind}"


def decode_message(name: str, data: bytes, depth: int = 0) -> Json:
    """The JSON of one struct (``package.Struct``)."""
    if depth > MAX_DEPTH:
        raise ProtobufError(f"messages are nested deeper than {MAX_DEPTH}")
    table, found = fields_of(name), dict[str, Any]()
    for number, wire in _fields(data):
        field = table.get(number)
        if field is not None:
            _put(found, field, wire, depth)
    return found


def _put(found: Json, field: Field, wire: Any, depth: int) -> None:
    match field.mark:
        case "*":
            found.setdefault(field.name, []).append(_value(field, wire, depth))
        case "%":
            key, value = _entry(field, wire, depth)
            found.setdefault(field.name, {})[key] = value
        case "<":
            found.update(_value(field, wire, depth))
        case mark:
            value = _value(field, wire, depth)
            if mark == "?" or value not in ("", 0, False, None, {}):
                found[field.name] = value


def _entry(field: Field, wire: Any, depth: int) -> tuple[str, Any]:
    pair = dict(_fields(_raw(wire)))
    key = _text(pair.get(1, b""))
    empty: Any = 0 if field.type in ("b", "i") else b""
    return key, _value(field, pair.get(2, empty), depth)


def _value(field: Field, wire: Any, depth: int) -> Any:
    known = _SCALARS.get(field.type)
    try:
        return known(wire) if known else decode_message(field.type, _raw(wire), depth + 1)
    except ProtobufError as error:
        raise ProtobufError(f"{field.name}: {error}") from error


# --- tables ---


@functools.cache
def _structs() -> Mapping[str, Mapping[str, str]]:
    from podwire.kube import protobuf_core, protobuf_groups

    texts = {**protobuf_core.STRUCTS, **protobuf_groups.STRUCTS}
    return {package: dict(_lines(text)) for package, text in texts.items()}


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.replace("\n    ", " ").strip().split("\n"):
        name, _, tokens = line.partition(":")
        yield name, tokens


@functools.cache
def fields_of(name: str) -> Mapping[int, Field]:
    """The table of ``package.Struct``, by field number. Raises :class:`KeyError`."""
    package, _, struct_name = name.partition(".")
    return dict(_row(package, token) for token in _structs()[package][struct_name].split())


def _row(package: str, token: str) -> tuple[int, Field]:
    found = _TOKEN.match(token.replace("@", "1metadata:meta.ObjectMeta"))
    assert found, token
    type_ = found["type"] or ""
    if type_ and type_ not in _SCALARS and "." not in type_:
        type_ = f"{package}.{type_}"
    if found["mark"] == "<":  # an inline struct has no name, only a type
        return int(found["number"]), Field("", "<", _inline(package, found["name"], type_))
    return int(found["number"]), Field(found["name"], found["mark"], type_)


def _inline(package: str, name: str, type_: str) -> str:
    return type_ or f"{package}.{name}"


# --- values ---


def _raw(wire: Any) -> bytes:
    if not isinstance(wire, bytes):
        raise ProtobufError("wrong wire type, expected bytes")
    return wire


def _text(wire: Any) -> str:
    try:
        return _raw(wire).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("a string is not UTF-8") from error


def _integer(wire: Any) -> int:
    if not isinstance(wire, int):
        raise ProtobufError("wrong wire type, expected a varint")
    return wire - (1 << 64) if wire >> 63 else wire


def _boolean(wire: Any) -> bool:
    return _integer(wire) != 0


def _double(wire: Any) -> float:
    number: float = struct.unpack("<d", wire[1])[0] if isinstance(wire, tuple) and len(wire[1]) == 8 else 0.0
    return number


def _bytes(wire: Any) -> str:
    return base64.b64encode(_raw(wire)).decode()


def _quantity(wire: Any) -> str:
    return _text(dict(_fields(_raw(wire))).get(1, b"0")) or "0"


def _int_or_string(wire: Any) -> int | str:
    found = dict(_fields(_raw(wire)))
    return _text(found.get(3, b"")) if _integer(found.get(1, 0)) else _integer(found.get(2, 0))


def _moment(wire: Any) -> tuple[datetime.datetime, int] | None:
    found = dict(_fields(_raw(wire)))
    if not found:
        return None
    seconds, nanos = _integer(found.get(1, 0)), _integer(found.get(2, 0))
    if not -62135596800 <= seconds < 253402300800 or not 0 <= nanos < 1_000_000_000:
        raise ProtobufError("a time is outside years 1 to 9999")
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds), nanos


def _time(wire: Any) -> str | None:
    found = _moment(wire)
    return f"{found[0].isoformat()}Z" if found else None


def _micro_time(wire: Any) -> str | None:
    found = _moment(wire)
    return f"{found[0].isoformat()}.{found[1] // 1000:06d}Z" if found else None


def _embedded(wire: Any) -> Any:
    """RawExtension and FieldsV1: JSON inside."""
    data = _raw(dict(_fields(_raw(wire))).get(1, b""))
    try:
        return msgspec.json.decode(data) if data else None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtobufError("embedded JSON cannot be read") from error


def _strings(wire: Any) -> list[str]:
    return [_text(value) for number, value in _fields(_raw(wire)) if number == 1]


_SCALARS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "": _text,
        "b": _boolean,
        "i": _integer,
        "d": _double,
        "y": _bytes,
        "Q": _quantity,
        "I": _int_or_string,
        "T": _time,
        "M": _micro_time,
        "R": _embedded,
        "F": _embedded,
        "E": _strings,
    }
)


# --- the wire ---


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with values: an int (varint), bytes, or a pair of wire type and bytes (fixed)."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        wire = tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size = {_FIXED64: 8, _FIXED32: 4}.get(wire, -1)
        if wire == _BYTES:
            size, at = _varint(data, at)
        if size < 0 or size > end - at:
            raise ProtobufError("the message is cut off or has a wire type that Kubernetes does not use")
        part = data[at : at + size]
        at += size
        yield tag >> 3, part if wire == _BYTES else (wire, part)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
    raise ProtobufError("a number is cut off or longer than 64 bits")
