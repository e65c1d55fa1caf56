"""Keeps the latest typed objects and facts, and hands out snapshots that share what did not change.

Rules:

1. A value is parsed once per change. One that does not parse becomes a finding (``PW9001``) and is left out; the
   others go on.
2. Kind tables are copied on the first change after a snapshot, so a snapshot never sees later changes.
3. Tables are in key order: equal input gives equal snapshots, whatever the order of arrival. Replacing and removing
   keep the order, so a table is sorted again only after a new key.
4. Which Services changed, or their endpoints, is told to the next snapshot: a compile costs what changed.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from podwire.base import NOWHERE, Finding, Ref
from podwire.kube import KINDS, EndpointSlice, KubeObject, parse
from podwire.plan import EventFact, Fact, Facts, NodeFact, PlaneFact, PodFact
from podwire.snapshot.settings import Settings
from podwire.snapshot.slices import SliceIndex
from podwire.snapshot.snapshot import Groups, Lineage, Snapshot

KEEP_EVENTS_SECONDS = 60.0
"""How long an observed event is kept: long enough for it to be written, whatever the burst."""


class SnapshotBuilder:
    """Mutable state behind the snapshots. Not thread-safe; owned by the engine."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self.settings = settings
        self._tables: dict[str, dict[str, KubeObject]] = {}
        self._shared: set[str] = set()
        self._unordered: set[str] = set()
        self._broken: dict[Ref, Finding] = {}
        self._facts = Facts()
        self._slices = SliceIndex()
        self._groups: Groups = {}
        self._touched: set[str] = set()
        self._version = 0

    def put(self, value: dict[str, Any]) -> None:
        """Add or replace one object, as the API returned it. Kinds podwire does not own are ignored."""
        kind = value.get("kind", "")
        if kind not in KINDS:
            return
        meta = value.get("metadata", {})
        ref = Ref(kind, meta.get("namespace", ""), meta.get("name", ""))
        self._broken.pop(ref, None)
        try:
            parsed = parse(value)
        except msgspec.ValidationError as error:
            self._broken[ref] = Finding("PW9001", "error", ref, NOWHERE, f"object does not parse: {error}")
            self.remove(kind, ref.key)
            return
        table = self._writable(kind)
        old = table.get(ref.key)
        if old is None:
            self._unordered.add(kind)
        table[ref.key] = parsed
        self._touch(kind, ref.key, old, parsed)

    def remove(self, kind: str, key: str) -> None:
        """Forget one object (``namespace/name``)."""
        if key in self._tables.get(kind, {}):
            old = self._writable(kind).pop(key)
            self._touch(kind, key, old, None)

    def keys(self) -> set[tuple[str, str]]:
        """Kind and key of every object known."""
        return {(kind, key) for kind, table in self._tables.items() for key in table}

    def observe(self, key: str, fact: Fact) -> bool:
        """Take in one fact; False when it says nothing new."""
        old = self._facts
        match fact:
            case PodFact():
                if old.pods.get(key) == fact:
                    return False
                self._facts = msgspec.structs.replace(old, pods={**old.pods, key: fact})
            case NodeFact():
                if old.nodes.get(key) == fact:
                    return False
                self._facts = msgspec.structs.replace(old, nodes={**old.nodes, key: fact})
            case PlaneFact():
                if old.planes.get(key) == fact:
                    return False
                self._facts = msgspec.structs.replace(old, planes={**old.planes, key: fact})
            case EventFact():
                self._facts = msgspec.structs.replace(old, events=(*old.events, fact))
        return True

    def forget_pod(self, uid: str) -> None:
        """Drop the fact of a pod whose object and sandbox are both gone."""
        pods = {k: v for k, v in self._facts.pods.items() if k != uid}
        self._facts = msgspec.structs.replace(self._facts, pods=pods)

    def findings(self) -> tuple[Finding, ...]:
        """Objects that did not parse."""
        return tuple(self._broken[ref] for ref in sorted(self._broken))

    def snapshot(self, now: float) -> Snapshot:
        """The current instant. Observed events older than :data:`KEEP_EVENTS_SECONDS` are forgotten."""
        events = self._facts.events
        if events and events[0].at < now - KEEP_EVENTS_SECONDS:
            kept = tuple(event for event in events if event.at >= now - KEEP_EVENTS_SECONDS)
            self._facts = msgspec.structs.replace(self._facts, events=kept)
        tables: dict[str, Mapping[str, KubeObject]] = {}
        for kind, table in self._tables.items():
            if kind not in self._shared:
                if kind in self._unordered:
                    table = self._tables[kind] = {key: table[key] for key in sorted(table)}
                    self._unordered.discard(kind)
                self._shared.add(kind)
            tables[kind] = table
        made = Snapshot(tables, facts=self._facts, settings=self.settings, now=now)
        lineage = Lineage(self._version + 1, self._version, frozenset(self._touched))
        made.share(lineage, self._slices.share(), self._groups)
        self._version, self._touched = lineage.version, set()
        return made

    def _touch(self, kind: str, key: str, old: KubeObject | None, new: KubeObject | None) -> None:
        """Rule 4."""
        if kind in ("Service", "Endpoints"):
            self._touched.add(key)
        elif kind == "EndpointSlice":
            self._touched |= self._slices.replace(cast(EndpointSlice | None, old), cast(EndpointSlice | None, new))

    def _writable(self, kind: str) -> dict[str, KubeObject]:
        if kind in self._shared:
            self._tables[kind] = dict(self._tables[kind])
            self._shared.discard(kind)
        return self._tables.setdefault(kind, {})
