"""When the rules were asked for and when they were in force: what the health of a proxy is made of.

Rules:

1. Healthy while no update waits longer than twice the sync period (P10).
2. A failed attempt leaves the update waiting.
3. Times are arguments (seconds since the epoch).

Source: kubernetes ``pkg/proxy/healthcheck/proxy_health.go``, ``pkg/proxy/metrics/metrics.go``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

from podwire.base import differences
from podwire.plan import ServicePlan, ServicePort, decide_backends

BUCKETS = tuple(0.001 * 2**n for n in range(15))
"""metrics.ExponentialBuckets(0.001, 2, 15)."""


class PortWatch:
    """Which Service ports changed from plan to plan, and those of special interest among them."""

    def __init__(self, wanted: Callable[[ServicePort], object]) -> None:
        """``wanted``: which ports to keep in ``found``."""
        self.found: dict[str, ServicePort] = {}
        self._wanted = wanted
        self._ports: Mapping[str, ServicePort] = {}

    def advance(self, ports: Mapping[str, ServicePort]) -> list[tuple[ServicePort | None, ServicePort | None]]:
        """Old and new of every port that is another object now."""
        old, self._ports = self._ports, ports
        keys = sorted(differences(old, ports))
        for key in keys:
            self.found.pop(key, None)
            if key in ports and self._wanted(ports[key]):
                self.found[key] = ports[key]
        return [(old.get(key), ports.get(key)) for key in keys]


class SyncState:
    """One proxy's syncs so far. Changed by the driver's thread only."""

    def __init__(self) -> None:
        """Nothing asked for."""
        self.sync_period_seconds = 30.0
        self.syncs = self.failures = 0
        self.total_seconds = self.last_sync_at = self.last_queued_at = 0.0
        self.service_changes = self.endpoint_changes = 0
        self.without_local: dict[str, int] = {"internal": 0, "external": 0}
        self._counts = [0] * (len(BUCKETS) + 1)
        self._waiting_since: float | None = None
        self._ports = PortWatch(lambda port: port.internal_local or port.external_local)

    def queue(self, plan: ServicePlan, now: float) -> None:
        """An update was asked for."""
        self.sync_period_seconds = plan.proxy.sync_period_seconds
        self.last_queued_at = now
        if self._waiting_since is None:
            self._waiting_since = now

    def finish(self, plan: ServicePlan, *, started: float, now: float) -> None:
        """The update is in force."""
        self._waiting_since = None
        self.syncs += 1
        self.last_sync_at = now
        self.total_seconds += now - started
        self._counts[bisect_left(BUCKETS, now - started)] += 1
        self._count_changes(plan.ports)
        self._count_without_local(plan)

    def fail(self) -> None:
        """The update was refused; it goes on waiting."""
        self.failures += 1

    def is_healthy(self, now: float) -> bool:
        """Rule 1."""
        return self._waiting_since is None or now - self._waiting_since <= 2 * self.sync_period_seconds

    def buckets(self) -> Iterator[tuple[str, int]]:
        """Cumulative counts by upper bound."""
        total = 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self._counts, strict=True):
            total += count
            yield bound, total

    def _count_changes(self, ports: Mapping[str, ServicePort]) -> None:
        for old, new in self._ports.advance(ports):
            self.service_changes += 1
            before = set(old.endpoints) if old else set()
            self.endpoint_changes += len(before ^ (set(new.endpoints) if new else set()))

    def _count_without_local(self, plan: ServicePlan) -> None:
        """Service ports that some node drops for want of a local endpoint."""
        found = {"internal": 0, "external": 0}
        for unit in self._ports.found.values():
            if unit.internal_local:
                found["internal"] += _is_missing(plan, unit, internal=True)
            if unit.external_local:
                found["external"] += _is_missing(plan, unit, internal=False)
        self.without_local = found


def _is_missing(plan: ServicePlan, unit: ServicePort, *, internal: bool) -> bool:
    scope = "internal" if internal else "external"
    decided = (decide_backends(unit, node=n.name, zone=n.zone, scope=scope) for n in plan.nodes.values())  # type: ignore[arg-type]
    return any(not d.endpoints and d.none == "drop" for d in decided)
