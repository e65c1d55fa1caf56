"""Cron schedules: the five fields, the macros, and the times they name.

Rules:

1. Fields are minute, hour, day of month, month, day of week (0 is Sunday); each is a list of ``*``, ``?``, values,
   ranges and steps; months and weekdays have English names of three letters.
2. A day counts when both day fields hold, if one of them is ``*``; otherwise when either does.
3. A local time that a change of clocks leaves out is skipped; one that comes twice counts once.

Source: github.com/robfig/cron/v3 ``parser.go`` (ParseStandard), which kube-controller-manager uses.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from types import MappingProxyType
from zoneinfo import ZoneInfo

import msgspec

MACROS: Mapping[str, str] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_UNITS: Mapping[str, float] = MappingProxyType(
    {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
)
_HORIZON_DAYS = 5 * 366


class CronError(ValueError):
    """The text is no schedule, or the zone is none."""


class Schedule(msgspec.Struct, frozen=True):
    """A parsed schedule. ``every_seconds`` is set for ``@every`` and then the only thing that counts."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = True
    every_seconds: float = 0

    def next_after(self, moment: float, zone: str = "") -> float | None:
        """The first time after ``moment`` (seconds since the epoch); None when none comes in five years.

        Raises :class:`CronError` for an unknown zone.
        """
        if self.every_seconds:
            return float(int(moment) + self.every_seconds)
        found = find_zone(zone)
        return next((t for t in self._times(moment, found) if t > moment), None)

    def _times(self, moment: float, zone: tzinfo) -> Iterator[float]:
        now = datetime.fromtimestamp(moment, zone)
        for offset in range(_HORIZON_DAYS):
            day = now.date() + timedelta(days=offset)
            if day.month in self.months and self._holds(day):
                # An hour less, because clocks may just have been set back.
                yield from self._times_of(day, zone, first_hour=0 if offset else now.hour - 1)

    def _times_of(self, day: date, zone: tzinfo, *, first_hour: int) -> Iterator[float]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes) if hour >= first_hour else ():
                local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                seconds = local.timestamp()
                if datetime.fromtimestamp(seconds, zone).replace(fold=0) == local:
                    yield seconds

    def _holds(self, day: date) -> bool:
        in_month, in_week = day.day in self.days, (day.weekday() + 1) % 7 in self.weekdays
        return in_month and in_week if self.any_day else in_month or in_week


def find_zone(name: str) -> tzinfo:
    """The time zone; UTC for no name. Raises :class:`CronError`."""
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise CronError(f"unknown time zone {name}") from error


def parse_schedule(text: str) -> Schedule:
    """The schedule a text names. Raises :class:`CronError` in the parser's words."""
    if not text.strip():
        raise CronError("empty spec string")
    if text.startswith("@"):
        return _macro(text)
    fields = text.split()
    if len(fields) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]")
    sets = [_field(word, index) for index, word in enumerate(fields)]
    any_day = any(_is_star(fields[index]) for index in (2, 4))
    return Schedule(sets[0], sets[1], sets[2], sets[3], sets[4], any_day)


def _macro(text: str) -> Schedule:
    if text in MACROS:
        return parse_schedule(MACROS[text])
    if text.startswith("@every "):
        seconds = _duration(text.removeprefix("@every "))
        if seconds is None:
            raise CronError(f"failed to parse duration {text}")
        return Schedule(every_seconds=max(1.0, float(int(seconds))))
    raise CronError(f"unrecognized descriptor: {text}")


def _duration(text: str) -> float | None:
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _is_star(field: str) -> bool:
    return any(part.split("/")[0] in ("*", "?") for part in field.split(","))


def _field(text: str, index: int) -> frozenset[int]:
    return frozenset().union(*(_part(part, index) for part in text.split(",")))


def _part(text: str, index: int) -> frozenset[int]:
    low, high = _BOUNDS[index]
    span, slash, step_text = text.partition("/")
    if "/" in step_text:
        raise CronError(f"too many slashes: {text}")
    step = _number(step_text, index, text) if slash else 1
    start, dash, end = span.partition("-")
    if span in ("*", "?"):
        first, last = low, high
    else:
        first = _number(start, index, text)
        last = _number(end, index, text) if dash else (high if slash else first)
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    if first < low:
        raise CronError(f"beginning of range ({first}) below minimum ({low}): {text}")
    if last > high:
        raise CronError(f"end of range ({last}) above maximum ({high}): {text}")
    if first > last:
        raise CronError(f"beginning of range ({first}) beyond end of range ({last}): {text}")
    return frozenset(range(first, last + 1, step))


def _number(word: str, index: int, text: str) -> int:
    names, first = {3: (_MONTHS, 1), 4: (_DAYS, 0)}.get(index, ([], 0))
    if word.lower() in names:
        return names.index(word.lower()) + first
    if not re.match(r"\d{1,9}\Z", word):
        raise CronError(f"failed to parse int from {word}: {text}")
    return int(word)
