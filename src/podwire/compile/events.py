"""Observations and findings as core/v1 Events.

Rules:

1. An Event's name is a function of what it says (object, reason, message), so the same thing said again is the same
   object: its count grows instead.
2. What is older than an hour is not written (again): the API server forgets Events after that time.
3. What was observed is written a second later: at a start, the writes that make pods ready go first, and repetitions
   are counted in one write.
4. A finding becomes a Warning whose reason is the finding's code, once.
"""

from collections.abc import Iterator
from functools import partial

import msgspec

from podwire.base import NOWHERE, Origin, Ref
from podwire.compile.context import Context
from podwire.compile.deeds import deeds_of
from podwire.compile.names import child_name
from podwire.compile.statuses import api_version_of, format_time, parse_time
from podwire.compile.topology import Said
from podwire.kube import Event, KubeObject, Namespace
from podwire.plan import Create, EventFact, Json, Merge, Write

KEEP_SECONDS = 3600
DELAY_SECONDS = 1.0
FINDING_COMPONENT = "podwire"


class _Said(msgspec.Struct, frozen=True):
    """One thing said about one object, how often and when."""

    ref: Ref
    uid: str
    type: str
    reason: str
    message: str
    component: str
    field: str = ""
    times: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """What makes two events the same."""
        return "\n".join((str(self.ref), self.uid, self.type, self.reason, self.message, self.component))


def next_event_at(context: Context) -> float | None:
    """When the next fact is due to be written (rule 3)."""
    now = context.snapshot.now
    return min((due for due, _ in _facts(context) if due > now), default=None)


def _facts(context: Context) -> Iterator[tuple[float, EventFact]]:
    """What drivers observed and what controllers did, with the time it is due."""
    yield from ((fact.at + DELAY_SECONDS, fact) for fact in context.snapshot.facts.events)
    deeds = deeds_of(context)
    yield from ((fact.at + deeds.delay_seconds, fact) for fact in deeds.facts)


def compile_events(context: Context) -> Iterator[tuple[str, Write]]:
    """Events for observed facts that are due, and for the findings of earlier passes."""
    facts = tuple(fact for due, fact in _facts(context) if due <= context.snapshot.now)
    horizon = context.snapshot.now - KEEP_SECONDS
    said = context.memo.unit("event-facts", (facts, int(horizon // 60)), partial(_group, facts, horizon))
    for item in said:
        yield from _write(context, item)
    for finding in context.findings:
        value = context.snapshot.find(finding.ref)
        if value is None or finding.severity == "info":
            continue
        text = f"{finding.path}: {finding.message}" if finding.path else finding.message
        message = f"{text} (fix: {finding.fix})" if finding.fix else text
        event = compile_event(
            context, value, reason=finding.code, message=message, component=FINDING_COMPONENT, field=str(finding.path)
        )
        if event is not None:
            yield event


def compile_event(
    context: Context, value: KubeObject, *, reason: str, message: str, component: str, field: str = ""
) -> tuple[str, Write] | None:
    """A Warning on an object, once; None when it is there already."""
    said = _Said(value.ref, value.metadata.uid, "Warning", reason, message, component, field)
    return next(_write(context, said), None)


def compile_said(context: Context, value: KubeObject, what: Said, *, component: str) -> Iterator[tuple[str, Write]]:
    """What another pass has to say about an object, once; nothing when it is there already."""
    said = _Said(value.ref, value.metadata.uid, what.type, what.reason, what.message, component)
    return _write(context, said)


def _group(facts: tuple[EventFact, ...], horizon: float) -> tuple[_Said, ...]:
    found: dict[EventFact, list[float]] = {}
    for fact in facts:
        if fact.at >= horizon:
            found.setdefault(msgspec.structs.replace(fact, at=0), []).append(fact.at)
    return tuple(_said(fact, tuple(sorted(times))) for fact, times in found.items())


def _said(fact: EventFact, times: tuple[float, ...]) -> _Said:
    ref = Ref(fact.kind, fact.namespace, fact.name)
    return _Said(ref, fact.uid, fact.type, fact.reason, fact.message, fact.component, "", times)


def _write(context: Context, said: _Said) -> Iterator[tuple[str, Write]]:
    namespace = said.ref.namespace or "default"
    if not _is_open(context, namespace):
        return
    name = child_name(said.ref.name, said.key, length=16)
    known = context.snapshot.get(Event, namespace, name)
    key = f"event/{namespace}/{name}"
    if known is None:
        make = partial(_create, said, namespace, name, context.snapshot.now)
        yield key, context.memo.unit(f"write/{key}", (said.key, said.times), make)
        return
    since = parse_time(known.last_timestamp)
    newer = sum(int(at) > since for at in said.times)
    if newer:
        bump = partial(_bump, known, newer, said.times[-1])
        yield key, context.memo.unit(f"write/{key}", (known, newer, said.times[-1]), bump)


def _is_open(context: Context, namespace: str) -> bool:
    found = context.snapshot.get(Namespace, "", namespace)
    return found is not None and found.metadata.deletion_timestamp is None


def _create(said: _Said, namespace: str, name: str, now: float) -> Write:
    ref, times = said.ref, said.times or (now,)
    involved: Json = {
        "kind": ref.kind,
        "namespace": ref.namespace,
        "name": ref.name,
        "uid": said.uid,
        "apiVersion": api_version_of(ref),
        "fieldPath": said.field,
    }
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {k: v for k, v in involved.items() if v},
        "reason": said.reason,
        "message": said.message[:1024],
        "source": {"component": said.component},
        "firstTimestamp": format_time(times[0]),
        "lastTimestamp": format_time(times[-1]),
        "count": len(times),
        "type": said.type,
        "reportingComponent": said.component,
        "reportingInstance": "",
    }
    return Create(Origin(ref, NOWHERE), Ref("Event", namespace, name), "v1", body)


def _bump(known: Event, newer: int, last: float) -> Write:
    patch = {"count": known.count + newer, "lastTimestamp": format_time(last)}
    return Merge(Origin(known.ref), known.ref, "v1", patch, based_on=known.metadata.resource_version)
