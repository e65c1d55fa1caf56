"""How a patch is refused, and the options it is applied with."""

from collections.abc import Sequence
from typing import Any

import msgspec

Json = dict[str, Any]


class PatchError(Exception):
    """The patch cannot be applied; the fields are those of the Status that answers it."""

    def __init__(self, code: int, reason: str, message: str, causes: Sequence[Json] = ()) -> None:
        """``causes`` are Kubernetes StatusCauses: ``{"reason", "message", "field"}``."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = tuple(causes)


class PatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Who patches what: ``now`` is an RFC 3339 time in whole seconds, ``subresource`` empty for the object itself."""

    field_manager: str = ""
    force: bool = False
    subresource: str = ""
    now: str = ""


def bad_request(message: str) -> PatchError:
    """400: the patch itself is malformed."""
    return PatchError(400, "BadRequest", message)


def unprocessable(why: str) -> PatchError:
    """422: a well-formed patch that does not fit the object."""
    return PatchError(422, "Invalid", f"the server rejected our request due to an error in our request: {why}")


def too_large(message: str) -> PatchError:
    """413."""
    return PatchError(413, "RequestEntityTooLarge", message)
