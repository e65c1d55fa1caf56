"""The instant itself and its indexes."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar, cast

from podwire.base import Ref
from podwire.kube import EndpointSlice, KubeObject, Namespace, Node, Pod, Service
from podwire.plan import Facts
from podwire.snapshot.groups import OWNED_KINDS, controller_of, group, namespace_of, node_of, service_of, uid_of
from podwire.snapshot.settings import Settings

T = TypeVar("T", bound=KubeObject)
_EMPTY: Mapping[str, KubeObject] = MappingProxyType({})


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
        return group(self.all(Pod).values(), namespace_of)

    @cached_property
    def services_by_namespace(self) -> Mapping[str, tuple[Service, ...]]:
        """Services of each namespace, by name."""
        return group(self.all(Service).values(), namespace_of)

    @cached_property
    def slices_by_service(self) -> Mapping[str, tuple[EndpointSlice, ...]]:
        """EndpointSlices of each Service (``namespace/name``), by slice name."""
        return group(self.all(EndpointSlice).values(), service_of)

    @cached_property
    def children(self) -> Mapping[str, tuple[KubeObject, ...]]:
        """Pods, ReplicaSets, Jobs and ControllerRevisions by the uid of their controlling owner."""
        return group((v for kind in OWNED_KINDS for v in self.objects.get(kind, _EMPTY).values()), controller_of)

    @cached_property
    def pods_by_node(self) -> Mapping[str, tuple[Pod, ...]]:
        """Pods bound to each node, existing or not."""
        return group(self.all(Pod).values(), node_of)

    @cached_property
    def pods_by_uid(self) -> Mapping[str, tuple[Pod, ...]]:
        """The pod of each uid, as the only one of its group."""
        return group(self.all(Pod).values(), uid_of)

    def keys_of(self, uids: Iterable[str]) -> set[str]:
        """Keys of the pods with these uids."""
        return {pod.key for uid in uids for pod in self.pods_by_uid.get(uid, ())}

    def adopt(self, groups: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> None:
        """Take over the groups that the builder keeps up to date, by the name of the property."""
        self.__dict__.update(groups)

    def pods_of(self, owner: KubeObject) -> tuple[Pod, ...]:
        """Pods controlled by ``owner``, by name."""
        return tuple(c for c in self.children.get(owner.metadata.uid, ()) if isinstance(c, Pod))

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return self.all(Node)
