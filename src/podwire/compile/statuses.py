"""How passes write status: only what differs, conditions with their transition times, conditional on what was read.

Rules:

1. A patch is made only when a field it owns differs from what the API shows; other fields are left alone.
2. ``lastTransitionTime`` moves only when a condition's status does.
3. Conditions of types the caller does not own (readiness gates, other controllers) stay.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from podwire.base import NOWHERE, FieldPath, Origin, Ref
from podwire.kube import KINDS, KubeObject
from podwire.kube.meta import Condition
from podwire.plan import Json, Merge


def format_time(seconds: float) -> str:
    """``2026-11-24T21:30:00Z``: whole seconds, as metav1.Time."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> float:
    """Seconds since the epoch; 0 for no or broken text (an API validated it before)."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else 0.0
    except ValueError:
        return 0.0


def to_json(value: msgspec.Struct) -> Json:
    """The JSON value of a typed object, lists as lists."""
    decoded: Json = msgspec.json.decode(msgspec.json.encode(value))
    return decoded


def condition(kind: str, holds: bool, *, reason: str = "", message: str = "") -> Condition:
    """A condition without times."""
    return Condition(type=kind, status="True" if holds else "False", reason=reason, message=message)


def find_condition(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of a type."""
    return next((c for c in conditions if c.type == kind), None)


def merge_conditions(
    old: Iterable[Condition], wanted: Iterable[Condition], now: float, *, updates: bool = False
) -> tuple[Condition, ...]:
    """``wanted`` with times, after rule 2, and those of ``old`` that are not wanted.

    ``updates`` also keeps ``lastUpdateTime`` (Deployments): it moves when status or reason do.
    """
    known = {c.type: c for c in old}
    merged = {c.type: _timed(known.get(c.type), c, format_time(now), updates=updates) for c in wanted}
    rest = {kind: c for kind, c in known.items() if kind not in merged}
    return (*merged.values(), *rest.values())


def _timed(old: Condition | None, new: Condition, now: str, *, updates: bool) -> Condition:
    moved = old is None or old.status != new.status
    changed = moved or (old is not None and old.reason != new.reason)
    since = now if old is None or moved else old.last_transition_time or now
    updated = None
    if updates:
        updated = now if old is None or changed else new.last_update_time or old.last_update_time or now
    return msgspec.structs.replace(new, last_transition_time=since, last_update_time=updated)


def merge_status(obj: KubeObject, wanted: Mapping[str, Any], *, path: FieldPath = NOWHERE) -> Merge | None:
    """The patch that makes the fields in ``wanted`` (attribute names to typed values) the status, or None.

    A value equal to the field's default removes the field.
    """
    status: Any = getattr(obj, "status")  # noqa: B009 - KubeObject itself has no status
    fields = dict(zip(status.__struct_fields__, status.__struct_encode_fields__, strict=True))
    blank = type(status)()
    patch = {
        fields[name]: _value(value, getattr(blank, name))
        for name, value in wanted.items()
        if getattr(status, name) != value
    }
    if not patch:
        return None
    return Merge(
        Origin(obj.ref, path),
        obj.ref,
        api_version_of(obj.ref),
        {"status": patch},
        subresource="status",
        based_on=obj.metadata.resource_version,
    )


def api_version_of(ref: Ref) -> str:
    """``v1`` or ``apps/v1``."""
    return KINDS[ref.kind].api_version


def _value(value: Any, default: Any) -> Any:
    """Numbers and flags are written even when zero: a status says 0 replicas."""
    if value is None or (value == default and not isinstance(value, int)):
        return None
    return msgspec.json.decode(msgspec.json.encode(value))


def owner_reference(owner: KubeObject) -> Json:
    """A controlling owner reference, as Kubernetes' controllers write it."""
    return {
        "apiVersion": api_version_of(owner.ref),
        "kind": owner.kind,
        "name": owner.metadata.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
