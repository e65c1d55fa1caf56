"""CustomResourceDefinitions at work: names, conditions, serving, deletion with all objects.

1. A definition is established, or refused its names, in the very write that creates it: its conditions are part of what
   that write stores, and when the write is answered the kind is served.
2. Names are taken within a group: plural, singular, short names and kinds of another definition or built-in kind.
3. A deleted definition takes its objects with it: it waits (finalizer ``customresourcecleanup``) until all are gone.
4. A definition of a kind podwire has built in is established, but the built-in kind answers and keeps its objects.
5. What is served follows the head of the store: :class:`Definitions` observes every write.

Spec: k8s apiextensions-apiserver/pkg/controller/{status,establish,finalizer}.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec

from podwire.apiserver.chance import timestamp
from podwire.apiserver.kinds import Kinds
from podwire.apiserver.meaning import BUILT_IN
from podwire.apiserver.objects import Objects, Place
from podwire.apiserver.reaper import DeleteOptions, Reaper
from podwire.apiserver.strategy import with_meta
from podwire.kube.crd import CLEANUP, condition, default_definition, is_established
from podwire.kube.meta import KubeObject
from podwire.kube.registry import KINDS, Kind
from podwire.kube.validate.errors import FieldError

Json = dict[str, Any]

DEFINITION = "CustomResourceDefinition"
_NAMES = ("plural", "singular", "shortNames", "kind", "listKind", "categories")


class Definitions:
    """Serves what the definitions in the store define."""

    def __init__(self, objects: Objects, reaper: Reaper, now: Callable[[], datetime]) -> None:
        """Serve what is there, and follow."""
        self._objects = objects
        self._reaper = reaper
        self._cleaning: set[str] = set()
        row = msgspec.structs.replace(KINDS[DEFINITION], storage=DEFINITION)
        objects.kinds.add((row,), DefinitionMeaning(objects, now))
        for _, value in objects.store.heads(DEFINITION):
            self._serve(value)
        objects.observers.append(self._observe)

    def _observe(self, place: Place, old: Json | None, new: Json | None) -> None:
        if place[0] == DEFINITION:
            self._changed(place[1], old, new)
        elif new is None and "." in place[0]:
            self._left(place[0])

    def _changed(self, name: str, old: Json | None, new: Json | None) -> None:
        if new is None:
            if old is not None and is_established(old) and not built_in(old):
                self._objects.kinds.remove(storage_of(old))
            return
        if old is None or old.get("spec") != new.get("spec") or is_established(old) != is_established(new):
            self._serve(new)
        if new["metadata"].get("deletionTimestamp") and CLEANUP in (new["metadata"].get("finalizers") or ()):
            self._serve(new)
            self._clean(name, new)

    def _serve(self, value: Json) -> None:
        if not is_established(value) or built_in(value):
            return
        from podwire.apiserver.custom.meaning import CustomMeaning

        self._objects.kinds.add(rows_of(value), CustomMeaning(value))

    # --- deletion ---

    def _clean(self, name: str, value: Json) -> None:
        """Rule 3."""
        if name in self._cleaning:
            return
        self._cleaning.add(name)
        storage = storage_of(value)
        if is_established(value) and not built_in(value):
            kind = self._objects.kinds.stored(storage)
            for key in [key for key, _ in self._objects.store.heads(storage)]:
                if self._objects.get(storage, key) is not None:
                    self._reaper.delete(kind, key, DeleteOptions())
        self._cleaning.discard(name)
        self._finish(name, storage)

    def _left(self, storage: str) -> None:
        """An object of a custom kind is gone; its definition may have waited for that."""
        for name, value in [*self._objects.store.heads(DEFINITION)]:
            waits = value["metadata"].get("deletionTimestamp") and name not in self._cleaning
            if waits and storage_of(value) == storage:
                self._finish(name, storage)

    def _finish(self, name: str, storage: str) -> None:
        value = self._objects.get(DEFINITION, name)
        if value is None or any(True for _ in self._objects.store.heads(storage)):
            return
        left = [entry for entry in value["metadata"].get("finalizers") or () if entry != CLEANUP]
        freed = with_meta(value, finalizers=left or None)
        if freed != value:
            self._cleaning.add(name)
            item = self._objects.put(DEFINITION, name, freed)
            self._cleaning.discard(name)
            self._reaper.after_update(KINDS[DEFINITION], name, item.value)


def storage_of(value: Json) -> str:
    """Under what name a definition's objects are stored."""
    spec = value["spec"]
    return f"{spec['names']['kind']}.{spec['group']}"


def built_in(value: Json) -> bool:
    """Rule 4."""
    names, group = value["spec"]["names"], value["spec"]["group"]
    row = KINDS.get(names["kind"])
    return row is not None and (row.group, row.plural) == (group, names["plural"])


def rows_of(value: Json) -> tuple[Kind, ...]:
    """The rows of the served versions, the newest kind of version first, as Kubernetes prefers them."""
    spec = value["spec"]
    names = spec["names"]
    served = [version for version in spec["versions"] if version.get("served")]
    return tuple(
        Kind(
            names["kind"],
            spec["group"],
            version["name"],
            names["plural"],
            KubeObject,
            spec["scope"] == "Namespaced",
            tuple(names.get("shortNames") or ()),
            tuple(names.get("categories") or ()),
            tuple(name for name in ("status", "scale") if (version.get("subresources") or {}).get(name) is not None),
            storage=storage_of(value),
        )
        for version in sorted(served, key=lambda version: version_order(version["name"]))
    )


def version_order(name: str) -> tuple[Any, ...]:
    """``v2`` before ``v1`` before ``v1beta2`` before ``v1alpha1`` before other names (apimachinery version.Compare)."""
    import re

    found = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", name)
    if found is None:
        return (1, name)
    stage = {"": 0, "beta": 1, "alpha": 2}[found.group(2) or ""]
    return (0, stage, -int(found.group(1)), -int(found.group(3) or 0))


class DefinitionMeaning:
    """The meaning of definitions themselves: that of built-in kinds, and names, conditions and the finalizer."""

    def __init__(self, objects: Objects, now: Callable[[], datetime]) -> None:
        """``objects`` holds the other definitions and the kinds."""
        self._objects = objects
        self._now = now

    def type_errors(self, kind: Kind, value: Json) -> str:
        return BUILT_IN.type_errors(kind, value)

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        return BUILT_IN.unknown_fields(kind, value)

    def prune(self, kind: Kind, value: Json) -> Json:
        return BUILT_IN.prune(kind, value)

    def present(self, kind: Kind, value: Json) -> Json:
        return value

    def default(self, kind: Kind, value: Json) -> Json:
        """Defaults, the status that follows from the names, and the finalizer of a new definition."""
        value = default_definition(value)
        if not _is_whole(value):
            return value  # validation says what is missing
        old = self._objects.get(DEFINITION, value["metadata"].get("name", ""))
        if old is None:
            finalizers = value["metadata"].get("finalizers") or []
            value = with_meta(value, finalizers=[*(entry for entry in finalizers if entry != CLEANUP), CLEANUP])
        return {**value, "status": self._status(value, old)}

    def _status(self, value: Json, old: Json | None) -> Json:
        names, spec = value["spec"]["names"], value["spec"]
        clash = _clash(self._objects.kinds, value)
        was = is_established(old) if old is not None else False
        accepted = {key: names[key] for key in _NAMES if names.get(key)}
        before = value.get("status") or {}
        if clash:
            good = [("NamesAccepted", "False", *clash), ("Established", "True" if was else "False", *_NOT_ACCEPTED)]
        else:
            good = [
                ("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
                ("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
            ]
        if value["metadata"].get("deletionTimestamp"):
            words = "CustomResource deletion is in progress"
            good.append(("Terminating", "True", "InstanceDeletionInProgress", words))
        storing = [version["name"] for version in spec["versions"] if version.get("storage")]
        stored = [*dict.fromkeys([*(before.get("storedVersions") or ()), *storing])]
        conditions = [self._condition(value, *parts) for parts in good]
        shown = before.get("acceptedNames") or {"plural": "", "kind": ""}
        return {
            "conditions": conditions,
            "acceptedNames": shown if clash else accepted,
            "storedVersions": stored,
        }

    def _condition(self, value: Json, kind: str, status: str, reason: str, message: str) -> Json:
        known = condition(value, kind)
        moment = known.get("lastTransitionTime") if known.get("status") == status else None
        return {
            "type": kind,
            "status": status,
            "lastTransitionTime": moment or timestamp(self._now()),
            "reason": reason,
            "message": message,
        }

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        from podwire.kube.crd_check import check_definition

        return check_definition(new, old, subresource=subresource)

    def has_generation(self, kind: Kind) -> bool:
        return True

    def columns(self, kind: Kind) -> Iterable[Any]:
        from podwire.kube.columns import Column
        from podwire.kube.crd_columns import NAME

        return (NAME, Column("Created At", "date", "", "When the definition was created."))

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        return [value["metadata"]["name"], value["metadata"].get("creationTimestamp")]

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        return BUILT_IN.field_selector(kind, text)

    def patch_kind(self, kind: Kind) -> str:
        return kind.name

    def scale(self, kind: Kind, value: Json) -> Json:
        raise ValueError("definitions have no scale")

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        raise ValueError("definitions have no scale")

    def openapi_schema(self, kind: Kind) -> Json | None:
        return None


_NOT_ACCEPTED = ("NotAccepted", "not all names are accepted")


def _is_whole(value: Json) -> bool:
    """Whether the fields that the status is made of are there."""
    spec = value.get("spec") or {}
    names = spec.get("names") or {}
    return bool(names.get("plural") and names.get("kind") and spec.get("group")) and all(
        version.get("name") for version in spec.get("versions") or ()
    )


def _clash(kinds: Kinds, value: Json) -> tuple[str, str] | None:
    """Reason and message of the first name that is taken (rule 2)."""
    if built_in(value):
        return None
    group, names, mine = value["spec"]["group"], value["spec"]["names"], storage_of(value)
    others = [row for row in kinds.rows() if row.group == group and (row.plural, row.stored) != (names["plural"], mine)]
    resources = {name for row in others for name in (row.plural, row.singular, *row.short_names)}
    kind_names = {name for row in others for name in (row.name, f"{row.name}List")}
    checks = [
        ("PluralConflict", names["plural"], resources),
        ("SingularConflict", names.get("singular") or "", resources),
        *(("ShortNamesConflict", short, resources) for short in names.get("shortNames") or ()),
        ("KindConflict", names["kind"], kind_names),
        ("ListKindConflict", names.get("listKind") or "", kind_names),
    ]
    for reason, name, taken in checks:
        if name in taken:
            return reason, f'"{name}" is already in use'
    return None
