"""An Envoy that confirms everything at once and answers by the plan: for tests and machines without packets."""

from podwire.plan import PlaneFact, ProxyPlan, Report, RouteDecision, RoutePlan, decide_route, digest


class FakeEnvoy:
    """The driver's protocol without a process."""

    def __init__(self, report: Report) -> None:
        """Nothing applied yet."""
        self._report = report
        self._facts: dict[str, PlaneFact] = {}
        self.plan = RoutePlan({})

    async def start(self) -> None:
        """Nothing to start."""

    async def apply(self, plan: RoutePlan) -> None:
        """Confirm every unit of every proxy."""
        self.plan = plan
        for key, proxy in plan.proxies.items():
            fact = PlaneFact(ready=True, applied=_digests(proxy))
            if self._facts.get(key) != fact:
                self._facts[key] = fact
                self._report(f"envoy/{key}", fact)

    async def close(self) -> None:
        """Serve nothing."""
        self.plan = RoutePlan({})
        self._facts.clear()

    def request(self, proxy: str, *, host: str, path: str = "/", tls: bool = False) -> RouteDecision:
        """What ``proxy`` answers. Raises :class:`KeyError` when there is no such proxy."""
        return decide_route(self.plan.proxies[proxy], host=host, path=path, tls=tls)


def _digests(proxy: ProxyPlan) -> dict[str, str]:
    return {
        **{f"host/{key}": digest(unit) for key, unit in proxy.hosts.items()},
        **{f"cluster/{key}": digest(unit) for key, unit in proxy.clusters.items()},
        **{f"certificate/{key}": digest(unit) for key, unit in proxy.certificates.items()},
    }
