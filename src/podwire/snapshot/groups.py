"""Objects by what they belong to (a Service, a namespace, an owner), kept up to date change by change."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from podwire.base import Edition
from podwire.kube import EndpointSlice, KubeObject, Pod

T = TypeVar("T", bound=KubeObject)


class Groups(Generic[T]):
    """Tuples by group, each in the order of kind and key."""

    def __init__(self, group_of: Callable[[T], str]) -> None:
        """``group_of`` is a function of the object alone; the empty text means no group."""
        self._group_of = group_of
        self._edition: Edition[str, tuple[T, ...]] = Edition()
        self._changed: dict[str, list[T]] = {}

    def replace(self, old: T | None, new: T | None) -> None:
        """Put ``new`` in the place of ``old``."""
        if old is not None and (members := self._members(old)) is not None:
            del members[bisect_left(members, _order(old), key=_order)]
        if new is not None and (members := self._members(new)) is not None:
            members.insert(bisect_left(members, _order(new), key=_order), new)

    def share(self) -> Edition[str, tuple[T, ...]]:
        """The groups as they are now."""
        if self._changed:
            made = {name: tuple(members) or None for name, members in self._changed.items()}
            self._edition, self._changed = self._edition.revise(made), {}
        return self._edition

    def _members(self, value: T) -> list[T] | None:
        name = self._group_of(value)
        if name and name not in self._changed:
            self._changed[name] = list(self._edition.get(name, ()))
        return self._changed[name] if name else None


def group(objects: Iterable[T], group_of: Callable[[T], str]) -> Edition[str, tuple[T, ...]]:
    """The same, of objects that are there at once."""
    found: dict[str, list[T]] = {}
    for value in sorted(objects, key=_order):
        if name := group_of(value):
            found.setdefault(name, []).append(value)
    return Edition({name: tuple(values) for name, values in found.items()})


def _order(value: KubeObject) -> tuple[str, str]:
    return value.kind, value.key


def namespace_of(value: KubeObject) -> str:
    """The namespace it lives in."""
    return value.metadata.namespace


def service_of(part: EndpointSlice) -> str:
    """Key of the Service a slice belongs to; empty for none."""
    name = part.metadata.labels.get("kubernetes.io/service-name")
    return f"{part.metadata.namespace}/{name}" if name else ""


def controller_of(value: KubeObject) -> str:
    """The uid of the controlling owner; empty for none."""
    return next((owner.uid for owner in value.metadata.owner_references if owner.controller), "")


def node_of(pod: Pod) -> str:
    """The node it is bound to; empty for none."""
    return pod.spec.node_name


def uid_of(value: KubeObject) -> str:
    """Its own uid; offline objects may have none."""
    return value.metadata.uid


Kept = tuple[str, tuple[str, ...], Callable[[Any], str]]
OWNED_KINDS = ("ControllerRevision", "Job", "Pod", "ReplicaSet")
KEPT: tuple[Kept, ...] = (
    ("pods_by_namespace", ("Pod",), namespace_of),
    ("services_by_namespace", ("Service",), namespace_of),
    ("slices_by_service", ("EndpointSlice",), service_of),
    ("children", OWNED_KINDS, controller_of),
    ("pods_by_node", ("Pod",), node_of),
    ("pods_by_uid", ("Pod",), uid_of),
)
"""The groups of a snapshot: property, kinds, what groups them."""
