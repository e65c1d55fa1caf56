"""The instant itself and its indexes."""

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar, cast

import msgspec

from podwire.base import Ref
from podwire.kube import EndpointSlice, KubeObject, Namespace, NetworkPolicy, Node, Pod, Service
from podwire.plan import Facts
from podwire.snapshot.settings import Settings

T = TypeVar("T", bound=KubeObject)
_EMPTY: Mapping[str, KubeObject] = MappingProxyType({})


Groups = dict[str, tuple[Mapping[str, KubeObject], Mapping[str, tuple[KubeObject, ...]]]]
"""By kind: a table, and its objects by namespace. Belongs to the builder, every snapshot of it uses it."""


class Lineage(msgspec.Struct, frozen=True):
    """What a snapshot shares with the one before it, by the same builder.

    ``touched_services`` are the keys of Services that changed or whose EndpointSlices or Endpoints did since
    ``before``. Versions of one builder grow; 0 is no version.
    """

    version: int = 0
    before: int = 0
    touched_services: frozenset[str] = frozenset()


class Snapshot:
    """Objects by kind and key (``namespace/name``), facts, settings and ``now`` (seconds since the epoch).

    Immutable by convention: nothing changes after construction except the caches of indexes.
    """

    def __init__(
        self, objects: Mapping[str, Mapping[str, KubeObject]], *, facts: Facts, settings: Settings, now: float
    ) -> None:
        """Take ownership of the mappings."""
        self.objects = objects
        self.facts = facts
        self.settings = settings
        self.now = now
        self.lineage = Lineage()
        self._groups: Groups = {}

    def all(self, kind: type[T]) -> Mapping[str, T]:
        """Every object of a kind, in key order."""
        return cast(Mapping[str, T], self.objects.get(kind.__name__, _EMPTY))

    def get(self, kind: type[T], namespace: str, name: str) -> T | None:
        """One object, or None."""
        return self.all(kind).get(f"{namespace}/{name}" if namespace else name)

    def find(self, ref: Ref) -> KubeObject | None:
        """The object a reference names, or None."""
        return self.objects.get(ref.kind, _EMPTY).get(ref.key)

    def labels_of(self, namespace: str) -> Mapping[str, str]:
        """Labels of a namespace; empty when it does not exist."""
        found = self.get(Namespace, "", namespace)
        return found.metadata.labels if found else {}

    @cached_property
    def pods_by_namespace(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods of each namespace, by name."""
        return self._grouped(Pod)

    @cached_property
    def services_by_namespace(self) -> Mapping[str, tuple[Service, ...]]:
        """Services of each namespace, by name."""
        return self._grouped(Service)

    @cached_property
    def policies_by_namespace(self) -> Mapping[str, tuple[NetworkPolicy, ...]]:
        """NetworkPolicies of each namespace, by name."""
        return self._grouped(NetworkPolicy)

    def _grouped(self, kind: type[T]) -> Mapping[str, tuple[T, ...]]:
        """By namespace; grouped again only when the table is another one than last time."""
        table = self.all(kind)
        known = self._groups.get(kind.__name__)
        if known is None or known[0] is not table:
            self._groups[kind.__name__] = known = (table, _group(table))
        return cast(Mapping[str, tuple[T, ...]], known[1])

    def share(self, lineage: Lineage, slices: Mapping[str, tuple[EndpointSlice, ...]], groups: Groups) -> None:
        """Take over from the builder what it keeps up to date change by change, and what earlier snapshots grouped."""
        self.lineage = lineage
        self._groups = groups
        self.__dict__["slices_by_service"] = slices

    @cached_property
    def slices_by_service(self) -> Mapping[str, tuple[EndpointSlice, ...]]:
        """EndpointSlices of each Service (``namespace/name``), by slice name."""
        found: dict[str, list[EndpointSlice]] = {}
        for part in self.all(EndpointSlice).values():
            service = service_of(part)
            if service:
                found.setdefault(service, []).append(part)
        return {key: tuple(parts) for key, parts in found.items()}

    @cached_property
    def children(self) -> Mapping[str, tuple[KubeObject, ...]]:
        """Pods, ReplicaSets, Jobs and ControllerRevisions by the uid of their controlling owner."""
        found: dict[str, list[KubeObject]] = {}
        for kind in ("ReplicaSet", "Job", "ControllerRevision", "Pod"):
            for value in self.objects.get(kind, _EMPTY).values():
                for owner in value.metadata.owner_references:
                    if owner.controller:
                        found.setdefault(owner.uid, []).append(value)
        return {uid: tuple(values) for uid, values in found.items()}

    def pods_of(self, owner: KubeObject) -> tuple[Pod, ...]:
        """Pods controlled by ``owner``, by name."""
        return tuple(c for c in self.children.get(owner.metadata.uid, ()) if isinstance(c, Pod))

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return self.all(Node)


def service_of(part: EndpointSlice) -> str:
    """Key of the Service a slice belongs to; empty for none."""
    name = part.metadata.labels.get("kubernetes.io/service-name")
    return f"{part.metadata.namespace}/{name}" if name else ""


def _group(objects: Mapping[str, T]) -> Mapping[str, tuple[T, ...]]:
    found: dict[str, list[T]] = {}
    for value in objects.values():
        found.setdefault(value.metadata.namespace, []).append(value)
    return {namespace: tuple(values) for namespace, values in found.items()}
