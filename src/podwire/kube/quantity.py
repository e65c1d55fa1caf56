"""Resource quantities in canonical form (``resource.Quantity``): what kube-apiserver stores for ``0.5`` or ``1024Mi``.

1. Binary suffixes (Ki, Mi, ...) stay binary, decimal ones decimal; exponents stay exponents.
2. No fractional digits: the suffix moves down (``0.5`` is ``500m``, ``1.5Gi`` is ``1536Mi``); nothing finer than ``n``.
3. No trailing thousands: the suffix moves up (``1000m`` is ``1``, ``1024Mi`` is ``1Gi``).

Spec: k8s.io/apimachinery/pkg/api/resource/quantity.go.
"""

import re
from decimal import ROUND_UP, Decimal

_PATTERN = r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]?|[KMGTPE]i))\Z"
_DECIMAL = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def parse_quantity(text: str | int | float) -> Decimal:
    """The number a quantity stands for. Raises :class:`ValueError` when it is none."""
    written = str(text)
    found = re.match(_PATTERN, written) if len(written) <= 64 else None
    if not found:
        raise ValueError("quantities must match the regular expression")
    number, exponent, suffix = found.groups()
    if exponent:
        power = int(exponent[1:])
        if abs(power) > 100:
            raise ValueError("quantity out of range")
        return Decimal(number).scaleb(power)
    if suffix.endswith("i"):
        return Decimal(number) * (1 << 10 * _BINARY.index(suffix))
    return Decimal(number).scaleb(3 * (_DECIMAL.index(suffix) - 3))


def canonical_quantity(text: str | int | float) -> str:
    """The canonical form; text that is no quantity is returned as it is (validation names it)."""
    written = str(text)
    try:
        value = parse_quantity(written)
    except ValueError:
        return written
    if value == 0:
        return "0"
    if written.endswith("i") and abs(value) >= 1024:
        return _binary(value)
    if re.search(r"[eE][+-]?\d+\Z", written):
        return _exponent(value)
    return _decimal(value)


def _binary(value: Decimal) -> str:
    if value != value.to_integral_value():
        return _decimal(value)
    number, step = int(value), 0
    while number % 1024 == 0 and step < len(_BINARY) - 1:
        number, step = number // 1024, step + 1
    return f"{number}{_BINARY[step]}"


def _decimal(value: Decimal) -> str:
    nanos = int((value * 10**9).to_integral_value(rounding=ROUND_UP))
    step = 0
    while nanos % 1000 == 0 and step < len(_DECIMAL) - 1:
        nanos, step = nanos // 1000, step + 1
    return f"{nanos}{_DECIMAL[step]}"


def _exponent(value: Decimal) -> str:
    power, number = 0, value
    while number != number.to_integral_value():
        number, power = number * 1000, power - 3
    whole = int(number)
    while whole % 1000 == 0:
        whole, power = whole // 1000, power + 3
    return f"{whole}e{power}" if power else str(whole)
