"""The protocol every source speaks, and its errors."""

from typing import Any, Protocol

import msgspec

from podwire.base import PodwireError
from podwire.plan import Write


class Change(msgspec.Struct, frozen=True):
    """One object appeared, changed (``value`` set) or went away (``value`` None). ``key``: ``namespace/name``."""

    kind: str
    key: str
    value: dict[str, Any] | None


class ApiError(PodwireError):
    """The API answered with a Status of failure; ``status`` is its JSON, ``code`` its HTTP code."""

    def __init__(self, status: dict[str, Any]) -> None:
        """Keep the Status object."""
        super().__init__(str(status.get("message", "")))
        self.status = status
        self.code = int(status.get("code", 500))
        self.reason = str(status.get("reason", ""))


class Source(Protocol):
    """Objects in, writes out."""

    async def changes(self) -> tuple[Change, ...]:
        """Wait for at least one change and return all that are there, oldest first.

        The first answer holds every existing object (it may be empty). Never returns the same change twice.
        """
        ...

    async def write(self, write: Write) -> None:
        """Carry out one write. Raises :class:`ApiError` with the API's own words."""
        ...

    async def close(self) -> None:
        """Stop watching."""
        ...
