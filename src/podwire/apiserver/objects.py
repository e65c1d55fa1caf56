"""The head of the store with its indexes: owners, namespaces, allocations.

Every write goes through here, so the indexes cannot lag. They are derived: after a rolled back commit (the store's
``epoch`` grew) they are built again.
"""

from collections.abc import Callable
from typing import Any

from podwire.apiserver.allocate import Allocator
from podwire.apiserver.history import Item
from podwire.apiserver.kinds import Kinds
from podwire.apiserver.store import Store

Json = dict[str, Any]
Place = tuple[str, str]
"""Kind and key."""
Observer = Callable[[Place, Json | None, Json | None], None]
"""Told of every write to the head: place, old and new value."""

_RULES = ("LimitRange", "ResourceQuota")


def key_of(namespace: str, name: str) -> str:
    """``namespace/name`` or ``name``."""
    return f"{namespace}/{name}" if namespace else name


def owners(value: Json) -> list[Json]:
    """Owner references."""
    found: list[Json] = value["metadata"].get("ownerReferences") or []
    return found


class Objects:
    """Reads and writes of the head."""

    def __init__(self, store: Store, allocator: Allocator, kinds: Kinds | None = None) -> None:
        """Index what the store holds."""
        self.kinds = kinds or Kinds()
        self.store = store
        self.allocator = allocator
        self._dependents: dict[str, set[Place]] = {}
        self._uids: dict[str, Place] = {}
        self._members: dict[str, set[Place]] = {}
        self._rules: dict[str, set[Place]] = {}
        self._epoch = -1
        self.observers: list[Observer] = []
        self._follow()

    def get(self, kind: str, key: str) -> Json | None:
        """The newest value."""
        self._follow()
        return self.store.head(kind, key)

    def put(self, kind: str, key: str, value: Json) -> Item:
        """Create or replace."""
        self._follow()
        old = self.store.head(kind, key)
        item = self.store.put(kind, key, value)
        self._index((kind, key), old, item.value)
        self._tell((kind, key), old, item.value)
        return item

    def remove(self, kind: str, key: str) -> Item:
        """Delete at once."""
        self._follow()
        old = self.store.head(kind, key)
        item = self.store.remove(kind, key)
        self._index((kind, key), old, None)
        self._tell((kind, key), old, None)
        return item

    def _tell(self, place: Place, old: Json | None, new: Json | None) -> None:
        for observer in self.observers:
            observer(place, old, new)

    def dependents(self, uid: str) -> list[Place]:
        """Objects that name ``uid`` as an owner."""
        return sorted(self._dependents.get(uid, ()))

    def place_of(self, uid: str) -> Place | None:
        """The object with that uid."""
        return self._uids.get(uid)

    def members(self, namespace: str) -> list[Place]:
        """Everything in a namespace."""
        return sorted(self._members.get(namespace, ()))

    def rules_in(self, namespace: str, stored: str) -> list[Place]:
        """The LimitRanges or ResourceQuotas of a namespace; a look at nothing else."""
        return sorted(self._rules.get(f"{stored} {namespace}", ()))

    def _follow(self) -> None:
        if self._epoch == self.store.epoch:
            return
        self._epoch = self.store.epoch
        self._dependents, self._uids, self._members, self._rules = {}, {}, {}, {}
        self.allocator.reset()
        for kind in self.store.head_kinds():
            for key, value in self.store.heads(kind):
                self._index((kind, key), None, value)

    def _index(self, place: Place, old: Json | None, new: Json | None) -> None:
        if old is not None:
            _discard(self._members, old["metadata"].get("namespace", ""), place)
            self._uids.pop(old["metadata"].get("uid", ""), None)
            for owner in owners(old):
                _discard(self._dependents, owner.get("uid", ""), place)
        if new is not None:
            if namespace := new["metadata"].get("namespace", ""):
                self._members.setdefault(namespace, set()).add(place)
            self._uids[new["metadata"].get("uid", "")] = place
            for owner in owners(new):
                self._dependents.setdefault(owner.get("uid", ""), set()).add(place)
        if place[0] in _RULES:
            _discard(self._rules, f"{place[0]} {place[1].partition('/')[0]}", place)
            if new is not None:
                self._rules.setdefault(f"{place[0]} {place[1].partition('/')[0]}", set()).add(place)
        match place[0]:
            case "Service":
                self.allocator.track(place[1], old, new)
            case "ServiceCIDR":
                self.allocator.track_cidr(place[1], new)
            case "IPAddress":
                self.allocator.track_address(place[1], new)
            case _:
                pass


def _discard(index: dict[str, set[Place]], key: str, place: Place) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(place)
        if not found:
            del index[key]
