"""Keeps the latest typed objects and facts, and hands out snapshots that share what did not change.

Rules:

1. A value is parsed once per change. One that does not parse becomes a finding (``PW9001``) and is left out; the
   others go on.
2. Tables, facts and groups are editions: in key order, so equal input gives equal snapshots whatever the order of
   arrival; never changed, so a snapshot never sees later changes; and comparable with earlier ones at the cost of what
   changed.
"""

from typing import Any, TypeVar

import msgspec

from podwire.base import NOWHERE, Draft, Finding, Ref
from podwire.kube import KINDS, KubeObject, parse
from podwire.plan import AttachmentFact, EventFact, Fact, Facts, NamesFact, NodeFact, PlaneFact, PodFact
from podwire.snapshot.groups import KEPT, Groups
from podwire.snapshot.settings import Settings
from podwire.snapshot.snapshot import Snapshot

T = TypeVar("T")
KEEP_EVENTS_SECONDS = 60.0
"""How long an observed event is kept: long enough for it to be written, whatever the burst."""


class SnapshotBuilder:
    """Mutable state behind the snapshots. Not thread-safe; owned by the engine."""

    def __init__(self, settings: Settings) -> None:
        """Start empty."""
        self.settings = settings
        self._tables: dict[str, Draft[str, KubeObject]] = {}
        self._groups = {name: Groups(group_of) for name, _, group_of in KEPT}
        self._broken: dict[Ref, Finding] = {}
        self._pods: Draft[str, PodFact] = Draft()
        self._nodes: Draft[str, NodeFact] = Draft()
        self._planes: Draft[str, PlaneFact] = Draft()
        self._attachments: Draft[str, AttachmentFact] = Draft()
        self._events: tuple[EventFact, ...] = ()
        self._names = NamesFact()
        self._gone: set[str] = set()

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
        self._replace(kind, ref.key, parsed)

    def remove(self, kind: str, key: str) -> None:
        """Forget one object (``namespace/name``)."""
        if kind in self._tables and self._tables[kind].get(key) is not None:
            self._replace(kind, key, None)

    def keys(self) -> set[tuple[str, str]]:
        """Kind and key of every object known."""
        return {(kind, key) for kind, table in self._tables.items() for key in table.share()}

    def observe(self, key: str, fact: Fact) -> bool:
        """Take in one fact; False when it says nothing new."""
        match fact:
            case PodFact():
                if fact.gone:
                    self._gone.add(key)
                return _note(self._pods, key, fact)
            case NodeFact():
                return _note(self._nodes, key, fact)
            case PlaneFact():
                return _note(self._planes, key, fact)
            case NamesFact():
                known, self._names = self._names, fact
                return known != fact
            case AttachmentFact():
                return _note(self._attachments, key, None if fact.state == "forgotten" else fact)
            case EventFact():
                self._events = (*self._events, fact)
                return True

    def forget_pod(self, uid: str) -> None:
        """Drop the fact of a pod whose object and sandbox are both gone."""
        self._pods.put(uid, None)
        self._gone.discard(uid)

    def findings(self) -> tuple[Finding, ...]:
        """Objects that did not parse."""
        return tuple(self._broken[ref] for ref in sorted(self._broken))

    def snapshot(self, now: float) -> Snapshot:
        """The current instant. Observed events older than :data:`KEEP_EVENTS_SECONDS` are forgotten, and after this
        snapshot the facts of pods whose objects and sandboxes are both gone: they have said their last word."""
        if self._events and self._events[0].at < now - KEEP_EVENTS_SECONDS:
            self._events = tuple(event for event in self._events if event.at >= now - KEEP_EVENTS_SECONDS)
        seen = self._pods.share(), self._nodes.share(), self._planes.share()
        facts = Facts(*seen, self._events, self._names, self._attachments.share())
        tables = {kind: table.share() for kind, table in self._tables.items()}
        made = Snapshot(tables, facts=facts, settings=self.settings, now=now)
        made.adopt({name: groups.share() for name, groups in self._groups.items()})
        for uid in [uid for uid in self._gone if uid not in made.pods_by_uid]:
            self.forget_pod(uid)
        return made

    def _replace(self, kind: str, key: str, new: KubeObject | None) -> None:
        table = self._tables.setdefault(kind, Draft())
        old = table.get(key)
        table.put(key, new)
        for name, kinds, _ in KEPT:
            if kind in kinds:
                self._groups[name].replace(old, new)


def _note(facts: Draft[str, T], key: str, fact: T | None) -> bool:
    if facts.get(key) == fact:
        return False
    facts.put(key, fact)
    return True
