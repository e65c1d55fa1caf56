"""A DNS plane without sockets: answers from :class:`podwire.plan.ZoneIndex` and confirms every plan at once."""

from podwire.plan import Answer, PlaneFact, Report, ZoneIndex, ZonePlan
from podwire.planes.dns import frames


class FakeDns:
    """A :class:`podwire.plan.Driver` for zone plans, and the same answers that the worker gives."""

    def __init__(self, report: Report) -> None:
        """Nothing applied."""
        self.plans: list[ZonePlan] = []
        self._report = report
        self._index: ZoneIndex | None = None

    async def apply(self, plan: ZonePlan) -> None:
        """Answer from this plan from now on."""
        self.plans.append(plan)
        self._index = ZoneIndex(plan)
        text = frames.digest_zone(plan, sum(map(frames.number_of, plan.units.values())))
        self._report("dns", PlaneFact(ready=True, applied={"zone": text, "serial": str(plan.serial)}))

    async def close(self) -> None:
        """Forget the plan; idempotent."""
        self._index = None

    def resolve(self, name: str, rtype: str = "A") -> Answer:
        """The answer to a question; SERVFAIL before the first plan, as the real server says."""
        if self._index is None:
            return Answer("SERVFAIL", (), "zone", "the zone is not loaded yet")
        return self._index.resolve(name, rtype)
