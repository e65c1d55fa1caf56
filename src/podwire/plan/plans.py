"""All plans of one instant, their digest, and the protocol of the drivers that execute them."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

from podwire.base import Finding
from podwire.plan.facts import AttachmentFact, EventFact, NamesFact, NodeFact, PlaneFact, PodFact
from podwire.plan.node import NodePlan
from podwire.plan.policy import PolicyPlan
from podwire.plan.routes import RoutePlan
from podwire.plan.services import ServicePlan
from podwire.plan.writes import WritePlan
from podwire.plan.zone import ZonePlan

Fact = PodFact | NodeFact | PlaneFact | EventFact | NamesFact | AttachmentFact
Report = Callable[[str, Fact], None]
"""Called by a driver, from the event loop's thread, with the fact's key (pod uid, node name, plane key)."""

P = TypeVar("P", contravariant=True)


class Plans(msgspec.Struct, frozen=True):
    """The output of one compile. Units that did not change are the *same objects* as in the plans before."""

    services: ServicePlan
    policy: PolicyPlan
    routes: RoutePlan
    zone: ZonePlan
    nodes: NodePlan
    writes: WritePlan
    findings: tuple[Finding, ...]


class Driver(Protocol[P]):
    """Executes one kind of plan.

    ``apply`` makes the world equal to ``plan``: it diffs by unit identity against what it applied last, survives
    cancellation (the next apply repairs), is a no-op the second time, and never touches foreign objects. It raises
    :class:`podwire.base.PodwireError` only when the plane as a whole failed; a refused unit is a fact.
    ``close`` removes everything the driver made, and is idempotent.
    """

    async def apply(self, plan: P) -> None:
        """Make it so."""
        ...

    async def close(self) -> None:
        """Undo everything."""
        ...


def digest(unit: Any) -> str:
    """A short, stable name for the content of a plan unit; equal content gives equal text in every process."""
    from podwire.base import stable_hash

    return stable_hash(msgspec.json.encode(unit, order="deterministic").decode(), size_bytes=8)
