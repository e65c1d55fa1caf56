"""The ordered passes and the loop over them."""

from collections.abc import Callable, Mapping

import msgspec

from podwire.base import Finding, differences
from podwire.compile import endpoints, nodes, policy, routes, services, status, workloads, zone
from podwire.compile.context import Context, Piece
from podwire.compile.memo import Memo
from podwire.plan import NodePlan, Plans, PodsMode, PolicyPlan, RoutePlan, ServicePlan, Write, WritePlan, ZonePlan
from podwire.snapshot import Snapshot

Pass = Callable[[Context], Piece]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("workloads", workloads.compile_workloads),
    ("endpoints", endpoints.compile_endpoints),
    ("services", services.compile_services),
    ("zone", zone.compile_zone),
    ("policy", policy.compile_policy),
    ("routes", routes.compile_routes),
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

    def compile(self, snapshot: Snapshot) -> Compiled:
        """The plans of one instant."""
        context = Context(snapshot, self._memo)
        writes: dict[str, Write] = {}
        findings: list[Finding] = []
        wakes: list[float] = []
        for _, run in PASSES:
            piece = run(context)
            context.absorb(piece)
            writes.update(piece.writes)
            findings.extend(piece.findings)
            if piece.wake_at is not None:
                wakes.append(piece.wake_at)
        self._memo.sweep()
        settings = snapshot.settings
        plans = Plans(
            services=context.services or ServicePlan({}, {}, (), ()),
            policy=context.policy or PolicyPlan({}, {}, (), {}, {}),
            routes=context.routes or RoutePlan({}),
            zone=context.zone or ZonePlan(settings.domain, (), {}, (), PodsMode("disabled", 30), 0, 30, ()),
            nodes=context.nodes
            or NodePlan(settings.cluster, settings.fabrics, {}, {}, {}, settings.service_cidrs, settings.cluster_cidrs),
            writes=WritePlan(dict(sorted(writes.items()))),
            findings=tuple(sorted(findings)),
        )
        self._last = plans if self._last is None else _share(self._last, plans)
        return Compiled(self._last, min(wakes, default=None))


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
