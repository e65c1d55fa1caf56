"""A health plane in memory: the same listeners and answers, no sockets."""

from podwire.plan import PlaneFact, Report, ServicePlan
from podwire.planes.proxyhealth.machine import SyncState
from podwire.planes.proxyhealth.render import (
    Answer,
    Listener,
    NodeHealth,
    answer,
    has_check,
    render_health,
    render_listeners,
)


class FakeProxyHealth:
    """A :class:`podwire.plan.Driver` that answers when asked by :meth:`get`."""

    def __init__(self, report: Report) -> None:
        """Nothing listens yet."""
        self._report = report
        self._health: dict[str, NodeHealth] = {}
        self.listeners: tuple[Listener, ...] = ()
        self.sync = SyncState()

    async def apply(self, plan: ServicePlan) -> None:
        """Every listener is there at once."""
        checked = [port for port in plan.ports.values() if has_check(port)]
        self._health, self.listeners = render_health(plan, checked), render_listeners(plan, checked)
        self._report("proxyhealth", PlaneFact(ready=True))

    async def close(self) -> None:
        """Nothing listens any more."""
        self._health, self.listeners = {}, ()

    def get(self, node: str, port: int, path: str, *, now: float = 0.0) -> Answer | None:
        """The answer; None where nobody listens."""
        found = next((x for x in self.listeners if (x.node, x.port) == (node, port)), None)
        return answer(found, path, self._health[node], self.sync, now=now) if found else None
