"""Text forms the printers share: ages, durations, selectors, lists cut after a few items."""

from datetime import datetime
from typing import Any

Obj = dict[str, Any]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def seconds_of(timestamp: Any) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None when absent or malformed."""
    try:
        return datetime.fromisoformat(timestamp).timestamp() if timestamp else None
    except (TypeError, ValueError):
        return None


def since(timestamp: Any, now: float) -> str:
    """Time since ``timestamp`` in kubectl's short form, ``<unknown>`` without one."""
    then = seconds_of(timestamp)
    return "<unknown>" if then is None else human_duration(now - then)


def age(obj: Obj, now: float) -> str:
    """Time since the object was created."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"), now)


def name(obj: Obj) -> str:
    """The object's name."""
    return str((obj.get("metadata") or {}).get("name", ""))


def human_duration(seconds: float) -> str:
    """``duration.HumanDuration``: two units at most, fewer as the age grows."""
    if seconds < -1:
        return "<invalid>"
    whole = max(int(seconds), 0)
    minutes, hours, days = whole // _MINUTE, whole // _HOUR, whole // _DAY
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if minutes < 10:
        return _pair(minutes, "m", whole % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 8 * 365:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def labels(values: Obj | None) -> str:
    """``a=b,c=d`` in key order, ``<none>`` when empty."""
    return ",".join(f"{key}={value}" for key, value in sorted((values or {}).items())) or "<none>"


def selector(value: Obj | None) -> str:
    """A label selector as ``metav1.FormatLabelSelector`` writes it."""
    if not value:
        return "<none>"
    terms = [(key, f"{key}={wanted}") for key, wanted in (value.get("matchLabels") or {}).items()]
    terms += [(item.get("key", ""), _requirement(item)) for item in value.get("matchExpressions") or ()]
    return ",".join(text for _, text in sorted(terms)) or "<none>"


def _requirement(item: Obj) -> str:
    key, values = item.get("key", ""), ",".join(sorted(item.get("values") or ()))
    match item.get("operator"):
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "DoesNotExist":
            return f"!{key}"
        case _:
            return str(key)


def shortened(items: list[str], *, total: int | None = None) -> str:
    """Up to three items and how many there are beyond."""
    count = len(items) if total is None else total
    shown = ",".join(items[:3])
    return f"{shown} + {count - 3} more..." if count > 3 else shown
