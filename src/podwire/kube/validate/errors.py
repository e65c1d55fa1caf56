"""One thing wrong with one field, in Kubernetes' words.

Spec: apimachinery pkg/util/validation/field/errors.go.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

ErrorType = Literal[
    "Required", "Invalid", "TypeInvalid", "Duplicate", "NotSupported", "Forbidden", "TooLong", "TooMany", "NotFound"
]

_TITLES: Mapping[ErrorType, str] = MappingProxyType(
    {
        "Required": "Required value",
        "Invalid": "Invalid value",
        "TypeInvalid": "Invalid value",
        "Duplicate": "Duplicate value",
        "NotSupported": "Unsupported value",
        "Forbidden": "Forbidden",
        "TooLong": "Too long",
        "TooMany": "Too many",
        "NotFound": "Not found",
    }
)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with the value at ``field``; ``shown`` is the value as Kubernetes prints it, or empty."""

    type: ErrorType
    field: str
    detail: str = ""
    shown: str = ""

    @property
    def reason(self) -> str:
        """The reason of a Status cause: ``FieldValueInvalid``."""
        return f"FieldValue{self.type}"

    @property
    def message(self) -> str:
        """The message of a Status cause: ``Invalid value: 80: must be ...``; the field stands beside it."""
        return ": ".join(part for part in (_TITLES[self.type], self.shown, self.detail) if part)

    def __str__(self) -> str:
        """``spec.ports[0].port: Invalid value: 0: must be ...``."""
        return f"{self.field}: {self.message}"


Errors = Iterator[FieldError]


def show(value: Any) -> str:
    """A value as field errors print it: text quoted as in Go, numbers bare, the rest as compact JSON."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # half of a surrogate pair, as JSON escapes allow
        return ascii(value)


def required(field: str, detail: str = "") -> FieldError:
    """The field must be set."""
    return FieldError("Required", field, detail)


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value is wrong."""
    return FieldError("Invalid", field, detail, show(value))


def each_invalid(field: str, value: Any, problems: Iterable[str]) -> Errors:
    """One error for each problem of the value."""
    return (invalid(field, value, problem) for problem in problems)


def duplicate(field: str, value: Any) -> FieldError:
    """The value must be unique and is not."""
    return FieldError("Duplicate", field, "", show(value))


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is none of those allowed."""
    words = ", ".join(f'"{word}"' for word in sorted(supported))
    return FieldError("NotSupported", field, f"supported values: {words}", show(value))


def forbidden(field: str, detail: str) -> FieldError:
    """The field must not be set, or not be changed."""
    return FieldError("Forbidden", field, detail)


def too_long(field: str, limit_bytes: int) -> FieldError:
    """The value is longer than ``limit_bytes``."""
    return FieldError("TooLong", field, f"may not be more than {limit_bytes} bytes")


def too_many(field: str, actual: int, limit: int) -> FieldError:
    """The list has more than ``limit`` items."""
    plural = "item" if limit == 1 else "items"
    return FieldError("TooMany", field, f"must have at most {limit} {plural}", str(actual))


def not_found(field: str, value: Any) -> FieldError:
    """The value names something that is not there."""
    return FieldError("NotFound", field, "", show(value))


def immutable(field: str, new: Any, old: Any) -> Errors:
    """An error when the value changed."""
    if new != old:
        yield invalid(field, new, "field is immutable")


def non_negative(field: str, value: int | None) -> Errors:
    """An error when the number is below zero."""
    if value is not None and value < 0:
        yield invalid(field, value, "must be greater than or equal to 0")


def one_of(field: str, value: str, supported: Iterable[str]) -> Errors:
    """Errors when the value is empty or none of those allowed."""
    if not value:
        yield required(field)
    elif value not in supported:
        yield not_supported(field, value, supported)
