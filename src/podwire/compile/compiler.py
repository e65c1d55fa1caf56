"""The ordered passes and the loop over them."""

from collections.abc import Callable, Mapping

import msgspec

from podwire.base import Edition, Finding, differences
from podwire.compile import (
    attachments,
    autoscalers,
    endpoints,
    nodes,
    policy,
    routes,
    services,
    status,
    workloads,
    zone,
)
from podwire.compile.context import Context, Piece
from podwire.compile.memo import Memo
from podwire.plan import NodePlan, Plans, PodsMode, PolicyPlan, RoutePlan, ServicePlan, Write, WritePlan, ZonePlan
from podwire.snapshot import Snapshot

Pass = Callable[[Context], Piece]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("attachments", attachments.compile_attachments),
    ("workloads", workloads.compile_workloads),
    ("endpoints", endpoints.compile_endpoints),
    ("services", services.compile_services),
    ("zone", zone.compile_zone),
    ("policy", policy.compile_policy),
    ("routes", routes.compile_routes),
    ("autoscalers", autoscalers.compile_autoscalers),
    ("nodes", nodes.compile_nodes),
    ("status", status.compile_status),
)
"""Order matters only in that a pass may read the plans of earlier ones."""


class Compiled(msgspec.Struct, frozen=True):
    """Plans of one instant, and when they change by time alone."""

    plans: Plans
    wake_at: float | None = None


class Compiler:
    """Compiles snapshot after snapshot, sharing every unit that did not change."""

    def __init__(self) -> None:
        """No memory yet."""
        self._memo = Memo()
        self._last: Plans | None = None
        self._writes: Edition[str, Write] = Edition()
        self._said: tuple[tuple[Finding, ...], ...] = ()
        self._findings: tuple[Finding, ...] = ()

    def compile(self, snapshot: Snapshot) -> Compiled:
        """The plans of one instant. A pass that fails leaves tables half advanced: then everything is forgotten."""
        try:
            return self._compile(Context(snapshot, self._memo))
        except BaseException:
            self._memo = Memo()
            raise

    def _compile(self, context: Context) -> Compiled:
        writes: dict[str, Write] = {}
        said: list[tuple[Finding, ...]] = []
        wakes: list[float] = []
        for _, run in PASSES:
            piece = run(context)
            context.absorb(piece)
            writes.update(piece.writes)
            said.append(piece.findings)
            if piece.wake_at is not None:
                wakes.append(piece.wake_at)
        self._memo.sweep()
        settings = context.snapshot.settings
        plans = Plans(
            services=context.services or ServicePlan({}, {}, (), ()),
            policy=context.policy or PolicyPlan({}, {}, (), {}, {}),
            routes=context.routes or RoutePlan({}),
            zone=context.zone or ZonePlan(settings.domain, (), {}, (), PodsMode("disabled", 30), 0, 30, ()),
            nodes=context.nodes
            or NodePlan(settings.cluster, settings.fabrics, {}, {}, {}, settings.service_cidrs, settings.cluster_cidrs),
            writes=WritePlan(self._keep(writes)),
            findings=self._sort(tuple(said)),
        )
        self._last = plans if self._last is None else _share(self._last, plans)
        return Compiled(self._last, min(wakes, default=None))

    def _keep(self, writes: Mapping[str, Write]) -> Edition[str, Write]:
        """All writes; an equal one is the object before."""
        before = self._writes
        changes: dict[str, Write | None] = dict.fromkeys(before.keys() - writes.keys())
        for key, write in writes.items():
            known = before.get(key)
            changes[key] = known if known == write else write
        self._writes = before.revise(changes)
        return self._writes

    def _sort(self, said: tuple[tuple[Finding, ...], ...]) -> tuple[Finding, ...]:
        """All findings; the same object while no pass says anything else."""
        if said != self._said:
            self._said, self._findings = said, tuple(sorted(finding for found in said for finding in found))
        return self._findings


def _share(old: Plans, new: Plans) -> Plans:
    """``new`` with every plan that is made of the very same units replaced by the old object: drivers compare plans
    by identity first."""
    parts = {}
    for name in ("services", "policy", "routes", "zone", "nodes", "writes"):
        before, after = getattr(old, name), getattr(new, name)
        same = all(_same(getattr(before, field), getattr(after, field)) for field in after.__struct_fields__)
        parts[name] = before if same else after
    return msgspec.structs.replace(new, **parts)


def _same(old: object, new: object) -> bool:
    if old is new:
        return True
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return not differences(old, new)
    return not isinstance(new, Mapping) and old == new


def compile_plans(snapshot: Snapshot) -> Plans:
    """The plans of one instant, with no memory of earlier ones."""
    return Compiler().compile(snapshot).plans
