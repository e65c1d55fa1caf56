"""What must be written back through the Kubernetes API: status, derived objects, bindings, events.

Rules:

1. A write is level-triggered: it is in the plan for as long as the API does not show its effect, and not longer.
2. ``based_on`` is the resourceVersion the decision was made on; the API's conflict answer means *compile again*.
3. Bodies are plain JSON values as the API takes them; nobody mutates them after construction.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from podwire.base import Origin, Ref

Json = dict[str, Any]


class Create(msgspec.Struct, frozen=True):
    """POST ``body``. An existing object of that name is success: somebody was faster."""

    origin: Origin
    ref: Ref
    api_version: str
    body: Json


class Replace(msgspec.Struct, frozen=True):
    """PUT ``body`` (with its resourceVersion) to the object, or to ``subresource``."""

    origin: Origin
    ref: Ref
    api_version: str
    body: Json
    subresource: str = ""


class Merge(msgspec.Struct, frozen=True):
    """JSON merge patch to the object or a subresource; ``based_on`` makes it conditional when not empty."""

    origin: Origin
    ref: Ref
    api_version: str
    patch: Json
    subresource: str = ""
    based_on: str = ""


class Remove(msgspec.Struct, frozen=True):
    """DELETE with a uid precondition. ``grace_seconds`` None leaves the default."""

    origin: Origin
    ref: Ref
    api_version: str
    uid: str
    grace_seconds: int | None = None


class Bind(msgspec.Struct, frozen=True):
    """POST to ``pods/binding``."""

    origin: Origin
    ref: Ref
    uid: str
    node: str


Write = Create | Replace | Merge | Remove | Bind


class WritePlan(msgspec.Struct, frozen=True):
    """Writes by key; a key names one effect on one object, e.g. ``status/Ingress/shop/web``. Order is by key within
    a phase; writes of one key never run twice at once."""

    writes: Mapping[str, Write]
