"""Status objects of failure, in Kubernetes' words.

Rules:

1. A refused request is a :class:`StatusError` that holds the whole Status; the HTTP layer only encodes it.
2. ``details.kind`` is the resource (plural) for lookups and the kind for validation, as in apimachinery's
   ``api/errors``.
"""

from collections.abc import Iterable
from typing import Any

from podwire.kube.registry import Kind

Json = dict[str, Any]


class StatusError(Exception):
    """A request was refused; ``status`` is the Status object, ``code`` its HTTP code."""

    def __init__(self, status: Json, *, headers: dict[str, str] | None = None) -> None:
        """Keep the Status and extra response headers."""
        super().__init__(str(status.get("message", "")))
        self.status = status
        self.code = int(status.get("code", 500))
        self.reason = str(status.get("reason", ""))
        self.headers = headers or {}


def failure(code: int, reason: str, message: str, *, details: Json | None = None) -> StatusError:
    """Any failure."""
    status: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        status["reason"] = reason
    if details:
        status["details"] = details
    status["code"] = code
    return StatusError(status)


def cause(reason: str, message: str, field: str) -> Json:
    """One entry of ``details.causes``."""
    return {"reason": reason, "message": message, "field": field}


def resource_of(kind: Kind) -> str:
    """``pods`` or ``deployments.apps``."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def _details(kind: Kind, name: str) -> Json:
    details: Json = {"name": name} if name else {}
    if kind.group:
        details["group"] = kind.group
    return details | {"kind": kind.plural}


def not_found(kind: Kind, name: str) -> StatusError:
    """404 for one object."""
    message = f'{resource_of(kind)} "{name}" not found'
    return failure(404, "NotFound", message, details=_details(kind, name))


def no_such_path() -> StatusError:
    """404 for a path nothing serves; its empty details tell kubectl that the feature is absent."""
    message = "the server could not find the requested resource"
    return failure(404, "NotFound", message, details={})


def already_exists(kind: Kind, name: str) -> StatusError:
    """409 for a taken name."""
    message = f'{resource_of(kind)} "{name}" already exists'
    return failure(409, "AlreadyExists", message, details=_details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> StatusError:
    """409: somebody else wrote first, or a precondition failed."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource_of(kind)} "{name}": {why}'
    return failure(409, "Conflict", message, details=_details(kind, name))


def invalid(kind: Kind, name: str, causes: Iterable[Json]) -> StatusError:
    """422 with one cause a field."""
    causes = list(causes)
    words = [f"{entry['field']}: {entry['message']}" for entry in causes]
    text = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    kind_name = f"{kind.name}.{kind.group}" if kind.group else kind.name
    details: Json = {"name": name} if name else {}
    if kind.group:
        details["group"] = kind.group
    details |= {"kind": kind.name, "causes": causes}
    return failure(422, "Invalid", f'{kind_name} "{name}" is invalid: {text}', details=details)


def bad_request(message: str) -> StatusError:
    """400."""
    return failure(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str, *, causes: Iterable[Json] = ()) -> StatusError:
    """403 by admission."""
    details = _details(kind, name)
    if found := list(causes):
        details["causes"] = found
    return failure(403, "Forbidden", f'{resource_of(kind)} "{name}" is forbidden: {why}', details=details)


def unauthorized() -> StatusError:
    """401."""
    return failure(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> StatusError:
    """405."""
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def expired(message: str, *, token: str = "") -> StatusError:
    """410; ``token`` lets a paging client go on with a newer revision."""
    error = failure(410, "Expired", message)
    if token:
        error.status["metadata"] = {"continue": token}
    return error


def too_old(asked: int, oldest: int) -> StatusError:
    """410 for a resourceVersion outside the kept history."""
    return expired(f"too old resource version: {asked} ({oldest})")


def too_large(asked: int, newest: int) -> StatusError:
    """504 for a resourceVersion from the future."""
    details = {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }
    message = f"Timeout: Too large resource version: {asked}, current: {newest}"
    return failure(504, "Timeout", message, details=details)


def unsupported_media(content_type: str, accepted: str) -> StatusError:
    """415."""
    message = (
        f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        f" (got {content_type or 'none'})"
    )
    return failure(415, "UnsupportedMediaType", message)


def not_acceptable(offered: str) -> StatusError:
    """406."""
    return failure(406, "NotAcceptable", f"only the following media types are accepted: {offered}")


def too_big(limit: int) -> StatusError:
    """413."""
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def internal(message: str) -> StatusError:
    """500."""
    return failure(500, "InternalError", f"Internal error occurred: {message}")


def success(kind: Kind, name: str, uid: str) -> Json:
    """The answer to a DELETE that removed the object."""
    details = _details(kind, name)
    if uid:
        details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
