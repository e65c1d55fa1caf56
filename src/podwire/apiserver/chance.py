"""The one place where the API server meets clock and chance: time, uids, name suffixes, random picks.

Tests put :class:`FixedChance` here, so that equal writes give equal bytes.
"""

from datetime import UTC, datetime, timedelta
from typing import Protocol

# apimachinery's rand.String alphabet: no vowels, no 0, 1, 3: generated names spell nothing.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


class Chance(Protocol):
    """Clock and chance."""

    def now(self) -> datetime:
        """The current time, aware, in UTC."""
        ...

    def uid(self) -> str:
        """A fresh uid."""
        ...

    def suffix(self) -> str:
        """Five characters for ``generateName``."""
        ...

    def pick(self, count: int) -> int:
        """A number in ``[0, count)``."""
        ...


class RealChance:
    """The machine's clock and entropy."""

    def now(self) -> datetime:
        """The current time."""
        return datetime.now(UTC)

    def uid(self) -> str:
        """A random uuid."""
        from uuid import uuid4

        return str(uuid4())

    def suffix(self) -> str:
        """Five random characters."""
        return "".join(ALPHABET[self.pick(len(ALPHABET))] for _ in range(5))

    def pick(self, count: int) -> int:
        """A uniform number."""
        from secrets import randbelow

        return randbelow(count)


class FixedChance:
    """A clock that only moves when told, and counters instead of chance."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        """Begin at ``start``."""
        self.time = start
        self._count = 0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)

    def now(self) -> datetime:
        """The set time."""
        return self.time

    def uid(self) -> str:
        """``00000000-0000-4000-8000-<counter>``."""
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012x}"

    def suffix(self) -> str:
        """The counter in the alphabet."""
        self._count += 1
        number, text = self._count, ""
        for _ in range(5):
            number, digit = divmod(number, len(ALPHABET))
            text = ALPHABET[digit] + text
        return text

    def pick(self, count: int) -> int:
        """Always the first."""
        return 0


def timestamp(moment: datetime) -> str:
    """metav1.Time: whole seconds, Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
