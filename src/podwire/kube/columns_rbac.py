"""Cells of roles and bindings."""

from typing import Any

from podwire.kube.columns_text import age, name

Obj = dict[str, Any]


def role(obj: Obj, now: float) -> list[Any]:
    """When it was made, as a time."""
    return [name(obj), (obj.get("metadata") or {}).get("creationTimestamp") or "<unknown>"]


def binding(obj: Obj, now: float) -> list[Any]:
    """The role, and who gets it."""
    reference = obj.get("roleRef") or {}
    given = f"{reference.get('kind', '')}/{reference.get('name', '')}"
    subjects = obj.get("subjects") or ()

    def of(kind: str) -> str:
        words = [_shown(subject) for subject in subjects if subject.get("kind") == kind]
        return ", ".join(words)

    return [name(obj), given, age(obj, now), of("User"), of("Group"), of("ServiceAccount")]


def _shown(subject: Obj) -> str:
    if subject.get("kind") == "ServiceAccount":
        return f"{subject.get('namespace', '')}/{subject.get('name', '')}"
    return str(subject.get("name", ""))
