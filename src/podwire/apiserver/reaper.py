"""Deletion: grace, finalizers, owners, namespaces.

Rules:

1. A pod on a node is deleted gracefully: marked, then removed by whoever ends it with grace 0. Everything else without
   finalizers goes at once.
2. When the last owner of an object is gone, the object is deleted in the same transaction as its owner: a crash leaves
   no orphans. Background is the default; Foreground keeps the owner until its blocking dependents are gone; Orphan
   strips the references.
3. A namespace is marked, its content deleted, and it goes when the last object in it is gone. ``defer`` may put the
   second step off: ``kubectl delete -f`` names the namespace first and must still find what is in it.
4. An owner of a kind the server does not serve is taken to exist.

Spec: k8s staging/src/k8s.io/apiserver/pkg/registry/rest/delete.go, pkg/controller/{garbagecollector,namespace}.
"""

from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from podwire.apiserver.chance import Chance, timestamp
from podwire.apiserver.objects import Objects, Place, owners
from podwire.apiserver.status import conflict, forbidden, not_found
from podwire.apiserver.strategy import is_finished, with_meta
from podwire.kube.registry import Kind

Json = dict[str, Any]

FOREGROUND = "foregroundDeletion"
PERMANENT_NAMESPACES = ("default", "kube-system", "kube-public")
_ENDED = ("Succeeded", "Failed")


class DeleteOptions(msgspec.Struct, frozen=True, kw_only=True):
    """meta/v1 DeleteOptions as far as they matter here."""

    grace_seconds: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    dry_run: bool = False


class Deleted(msgspec.Struct, frozen=True):
    """What became of the object: its newest state, its revision, and whether it is gone."""

    value: Json
    rv: int
    gone: bool


class Reaper:
    """Deletes objects of the head."""

    def __init__(self, objects: Objects, chance: Chance) -> None:
        """Nothing is read before the first call."""
        self._objects = objects
        self._chance = chance
        self._work: deque[tuple[str, Place]] = deque()
        self._busy = False
        self.defer: Callable[[str], object] | None = None

    def empty(self, namespace: str) -> None:
        """Delete what is in a namespace marked for deletion; nothing when it is gone or alive."""
        value = self._objects.get("Namespace", namespace)
        if value is not None and value["metadata"].get("deletionTimestamp"):
            self._work.append(("empty", ("Namespace", namespace)))
            self._drain()

    def delete(self, kind: Kind, key: str, options: DeleteOptions) -> Deleted:
        """Delete one object. Raises 404, 409 (a precondition failed), 403 (a namespace that stays)."""
        name = key.rpartition("/")[2]
        value = self._objects.get(kind.stored, key)
        if value is None:
            raise not_found(kind, name)
        _check(kind, value, options)
        if kind.stored == "Namespace" and name in PERMANENT_NAMESPACES:
            raise forbidden(kind, name, "this namespace may not be deleted")
        marked = self._mark(kind, value, options)
        if options.dry_run:
            return Deleted(marked, int(value["metadata"]["resourceVersion"]), is_finished(kind, marked))
        result = self._apply(kind, key, value, marked)
        if options.propagation == "Orphan":
            self._orphan(value["metadata"]["uid"])
        self._drain()
        left = self._objects.store.head_item(kind.stored, key)
        if not result.gone and left is None:  # its dependents went at once, and so did it
            return Deleted(result.value, self._objects.store.head_rv, True)
        return result if left is None else Deleted(left.value, left.rv, False)

    def after_update(self, kind: Kind, key: str, value: Json) -> Deleted | None:
        """Remove an object whose last finalizer an update took away; None when it stays."""
        if not is_finished(kind, value):
            return None
        result = self._remove(kind, key)
        self._drain()
        return result

    def after_create(self, kind: Kind, key: str, value: Json) -> None:
        """Collect an object that was created for owners already gone (rule 2)."""
        if owners(value):
            self._work.append(("collect", (kind.stored, key)))
            self._drain()

    # --- one object ---

    def _mark(self, kind: Kind, value: Json, options: DeleteOptions) -> Json:
        meta = value["metadata"]
        grace = _grace(kind, value, options)
        finalizers = list(meta.get("finalizers") or ())
        if options.propagation == "Foreground" and FOREGROUND not in finalizers:
            finalizers.append(FOREGROUND)
        elif options.propagation in ("Background", "Orphan") and FOREGROUND in finalizers:
            finalizers.remove(FOREGROUND)
        first = not meta.get("deletionTimestamp")
        sooner = not first and grace < int(meta.get("deletionGracePeriodSeconds") or 0)
        marked = with_meta(value, finalizers=finalizers or None)
        if first or sooner:
            moment = timestamp(self._chance.now() + timedelta(seconds=grace))
            generation = int(meta["generation"]) + 1 if "generation" in meta and first else meta.get("generation")
            marked = with_meta(
                marked, deletionTimestamp=moment, deletionGracePeriodSeconds=grace, generation=generation
            )
        if kind.stored == "Namespace":
            marked = {**marked, "status": {**(value.get("status") or {}), "phase": "Terminating"}}
        return marked

    def _apply(self, kind: Kind, key: str, value: Json, marked: Json) -> Deleted:
        if is_finished(kind, marked):
            return self._remove(kind, key)
        if marked == value:
            return Deleted(value, int(value["metadata"]["resourceVersion"]), False)
        item = self._objects.put(kind.stored, key, marked)
        if kind.stored == "Namespace" and self.defer is not None:
            self.defer(key)
        elif kind.stored == "Namespace":
            self._work.append(("empty", (kind.stored, key)))
        if FOREGROUND in (marked["metadata"].get("finalizers") or ()):
            self._work.append(("foreground", (kind.stored, key)))
        return Deleted(item.value, item.rv, False)

    def _remove(self, kind: Kind, key: str) -> Deleted:
        item = self._objects.remove(kind.stored, key)
        meta = item.value["metadata"]
        self._work.extend(("collect", place) for place in self._objects.dependents(meta["uid"]))
        for owner in owners(item.value):
            place = self._objects.place_of(owner.get("uid", ""))
            if place is not None:
                self._work.append(("unblock", place))
        if namespace := meta.get("namespace"):
            self._work.append(("vacate", ("Namespace", namespace)))
        return Deleted(item.value, item.rv, True)

    def _orphan(self, uid: str) -> None:
        for kind, key in self._objects.dependents(uid):
            value = self._objects.get(kind, key)
            if value is not None:
                kept = [owner for owner in owners(value) if owner.get("uid") != uid]
                self._objects.put(kind, key, with_meta(value, ownerReferences=kept or None))

    # --- consequences, in order, without recursion ---

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._work:
                what, (kind, key) = self._work.popleft()
                value = self._objects.get(kind, key)
                if value is not None:
                    self._step(what, self._objects.kinds.stored(kind), key, value)
        finally:
            self._work.clear()
            self._busy = False

    def _step(self, what: str, kind: Kind, key: str, value: Json) -> None:
        match what:
            case "collect" if not self._owned(value):
                self._delete_quietly(kind, key, value, "Background")
            case "foreground":
                for dependent, dependent_key in self._objects.dependents(value["metadata"]["uid"]):
                    below = self._objects.get(dependent, dependent_key)
                    if below is not None and not below["metadata"].get("deletionTimestamp"):
                        deep = bool(self._objects.dependents(below["metadata"]["uid"]))
                        self._delete_quietly(
                            self._objects.kinds.stored(dependent), dependent_key, below, "Foreground" if deep else ""
                        )
                self._work.append(("unblock", (kind.stored, key)))
            case "unblock":
                self._unblock(kind, key, value)
            case "empty":
                for member, member_key in self._objects.members(key):
                    found = self._objects.get(member, member_key)
                    if found is not None and not found["metadata"].get("deletionTimestamp"):
                        self._delete_quietly(self._objects.kinds.stored(member), member_key, found, "Background")
                self._work.append(("vacate", (kind.stored, key)))
            case "vacate":
                self._vacate(kind, key, value)
            case _:
                pass

    def _delete_quietly(self, kind: Kind, key: str, value: Json, propagation: str) -> None:
        marked = self._mark(kind, value, DeleteOptions(propagation=propagation))
        self._apply(kind, key, value, marked)

    def _owned(self, value: Json) -> bool:
        found = owners(value)
        known = {row.name for row in self._objects.kinds.rows()}
        return not found or any(
            owner.get("kind") not in known or self._objects.place_of(owner.get("uid", "")) is not None
            for owner in found
        )

    def _unblock(self, kind: Kind, key: str, value: Json) -> None:
        finalizers = value["metadata"].get("finalizers") or []
        uid = value["metadata"]["uid"]
        if FOREGROUND not in finalizers or any(self._blocks(place, uid) for place in self._objects.dependents(uid)):
            return
        kept = [finalizer for finalizer in finalizers if finalizer != FOREGROUND]
        freed = with_meta(value, finalizers=kept or None)
        if is_finished(kind, freed):
            self._remove(kind, key)
        else:
            self._objects.put(kind.stored, key, freed)

    def _blocks(self, place: Place, uid: str) -> bool:
        value = self._objects.get(*place)
        references = owners(value) if value else []
        return any(owner.get("uid") == uid and owner.get("blockOwnerDeletion") for owner in references)

    def _vacate(self, kind: Kind, key: str, value: Json) -> None:
        if not value["metadata"].get("deletionTimestamp") or self._objects.members(key):
            return
        finalizers = [f for f in (value.get("spec") or {}).get("finalizers") or () if f != "kubernetes"]
        empty = {**value, "spec": {**(value.get("spec") or {}), "finalizers": finalizers}}
        if is_finished(kind, empty):
            self._remove(kind, key)
        elif empty != value:
            self._objects.put(kind.stored, key, empty)


def _check(kind: Kind, value: Json, options: DeleteOptions) -> None:
    meta = value["metadata"]
    if options.uid and options.uid != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta['uid']}"
        raise conflict(kind, meta["name"], why)
    if options.resource_version and options.resource_version != meta["resourceVersion"]:
        wanted, found = options.resource_version, meta["resourceVersion"]
        why = f"Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {found}"
        raise conflict(kind, meta["name"], why)


def _grace(kind: Kind, value: Json, options: DeleteOptions) -> int:
    """Seconds; only pods that a node runs have any."""
    if kind.stored != "Pod":
        return 0
    spec, status = value.get("spec") or {}, value.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in _ENDED:
        return 0
    asked = options.grace_seconds
    return int(spec.get("terminationGracePeriodSeconds", 30) if asked is None else max(asked, 0))
