"""What a pass gets and returns.

A pass is a plain function ``(Context) -> Piece``. It reads the snapshot and the plans of earlier passes, keeps units
in the memo, and returns its own piece with findings. It never mutates plans, logs, or raises for user input.
"""

from collections.abc import Mapping

import msgspec

from podwire.base import Finding
from podwire.compile.memo import Memo
from podwire.plan import NodePlan, PolicyPlan, RoutePlan, ServicePlan, Write, ZonePlan
from podwire.snapshot import Snapshot


class Piece(msgspec.Struct, frozen=True):
    """What one pass contributes: at most one plan of each kind, writes by key, findings."""

    services: ServicePlan | None = None
    policy: PolicyPlan | None = None
    routes: RoutePlan | None = None
    zone: ZonePlan | None = None
    nodes: NodePlan | None = None
    writes: Mapping[str, Write] = {}
    findings: tuple[Finding, ...] = ()
    wake_at: float | None = None
    """When the answer changes by time alone (seconds since the epoch); the engine compiles again then."""


class Context:
    """The snapshot, the memo, and what earlier passes of this compile produced."""

    def __init__(self, snapshot: Snapshot, memo: Memo) -> None:
        """Nothing produced yet."""
        self.snapshot = snapshot
        self.memo = memo
        self.services: ServicePlan | None = None
        self.policy: PolicyPlan | None = None
        self.routes: RoutePlan | None = None
        self.zone: ZonePlan | None = None
        self.nodes: NodePlan | None = None
        self.findings: tuple[Finding, ...] = ()

    def absorb(self, piece: Piece) -> None:
        """Make the plans of a piece visible to later passes."""
        self.services = piece.services or self.services
        self.policy = piece.policy or self.policy
        self.routes = piece.routes or self.routes
        self.zone = piece.zone or self.zone
        self.nodes = piece.nodes or self.nodes
        self.findings = (*self.findings, *piece.findings)
