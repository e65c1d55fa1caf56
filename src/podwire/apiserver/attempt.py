"""A write as admission sees it, and which rules and selectors it fits.

Rules:

1. A rule fits when operation, group, version, resource with subresource, and scope do; ``pods/*`` fits ``pods`` and all
   its subresources.
2. A namespace selector looks at the namespace of the object, or at the object when it is a Namespace; other objects
   without a namespace always fit.
3. An object selector fits when it selects the old or the new object.

Spec: k8s apiserver/pkg/admission/plugin/webhook/predicates.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from podwire.apiserver.chance import Chance
from podwire.apiserver.identity import User
from podwire.apiserver.objects import Objects
from podwire.kube.meta import LabelSelector, selects
from podwire.kube.registry import Kind

Json = dict[str, Any]
Phase = Literal["mutating", "validating"]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A write; ``new`` is None for DELETE, ``old`` for CREATE. ``options`` is the request's CreateOptions, ...

    ``body`` is group, version and kind of ``new`` where they are not those of the resource (a subresource's body).
    """

    operation: str
    kind: Kind
    namespace: str
    name: str
    subresource: str
    new: Json | None
    old: Json | None
    user: User
    dry_run: bool
    options: Json | None = None
    body: tuple[str, str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What all webhooks of a phase said: the object as they want it, and warnings for the client."""

    value: Json | None
    warnings: tuple[str, ...] = ()


class Reviewer(Protocol):
    """What a write asks while it runs (``webhooks/reviewed.py``)."""

    chance: Chance

    def answer(self, phase: Phase, attempt: Attempt) -> Answer:
        """What the webhooks of a phase say; raises what makes the write run again with the answer."""
        ...

    def assign(self, value: Json, assign: Callable[[Json], Json]) -> Json:
        """``assign(value)``, the same in every run as far as it can be."""
        ...


def fits(rule: Json, attempt: Attempt, kind: Kind | None = None) -> bool:
    """Rule 1; ``kind`` is another row the same objects are served by."""
    kind = kind or attempt.kind
    names = rule.get("resourceNames") or ()
    return (
        _names(rule.get("operations"), attempt.operation)
        and _names(rule.get("apiGroups"), kind.group)
        and _names(rule.get("apiVersions"), kind.version)
        and any(_is_resource(word, kind.plural, attempt.subresource) for word in rule.get("resources") or ())
        and (rule.get("scope") or "*") in ("*", "Namespaced" if kind.namespaced else "Cluster")
        and (not names or attempt.name in names)
    )


def _names(words: Any, value: str) -> bool:
    return bool(words) and ("*" in words or value in words)


def _is_resource(word: str, plural: str, subresource: str) -> bool:
    resource, _, sub = word.partition("/")
    return resource in ("*", plural) and sub in ("*", subresource)


def in_namespace(objects: Objects, selector: Json | None, attempt: Attempt) -> bool:
    """Rule 2."""
    if not selector:
        return True
    if attempt.kind.stored == "Namespace":
        space = attempt.new or attempt.old
    elif attempt.namespace:
        space = objects.get("Namespace", attempt.namespace)
    else:
        return True
    return space is not None and selected(selector, space)


def has_labels(selector: Json | None, attempt: Attempt) -> bool:
    """Rule 3."""
    if not selector:
        return True
    return any(value is not None and selected(selector, value) for value in (attempt.new, attempt.old))


def selected(selector: Json, value: Json) -> bool:
    """Whether a label selector selects an object."""
    return selects(msgspec.convert(selector, LabelSelector), (value.get("metadata") or {}).get("labels") or {})


def request_of(attempt: Attempt, kind: Kind | None = None) -> Json:
    """What AdmissionReview and CEL call ``request``, without the objects; ``kind`` is the row a webhook is asked by."""
    asked = _identity(kind or attempt.kind, attempt)
    original = _identity(attempt.kind, attempt)
    return {
        **asked,
        "subResource": attempt.subresource,
        "requestKind": original["kind"],
        "requestResource": original["resource"],
        "requestSubResource": attempt.subresource,
        "name": attempt.name,
        # As the API server has it: a Namespace is in itself.
        "namespace": attempt.name if attempt.kind.stored == "Namespace" else attempt.namespace,
        "operation": attempt.operation,
        "userInfo": attempt.user.info(),
        "dryRun": attempt.dry_run,
    }


def _identity(kind: Kind, attempt: Attempt) -> Json:
    group, version, name = attempt.body or (kind.group, kind.version, kind.name)
    return {
        "kind": {"group": group, "version": version, "kind": name},
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
    }
