"""Which ports Services send to a pod by number: what a stand-in listens on beside its declared ports."""

from collections.abc import Iterable

import msgspec

from podwire.compile.endpoints_views import has_derived_endpoints
from podwire.kube import Pod, Service
from podwire.plan.node import StandInPort


class PortIndex(msgspec.Struct, frozen=True):
    """Per selector of a namespace's Services, the numeric target ports."""

    entries: tuple[tuple[tuple[tuple[str, str], ...], tuple[StandInPort, ...]], ...]

    @classmethod
    def of(cls, services: Iterable[Service]) -> "PortIndex":
        """Equal for Services that differ in other things only."""
        entries = []
        for service in services:
            if not has_derived_endpoints(service):
                continue
            ports = tuple(sorted(set(_numeric(service))))
            if ports:
                entries.append((tuple(sorted(service.spec.selector.items())), ports))
        return cls(tuple(sorted(entries)))

    def ports_of(self, pod: Pod) -> tuple[StandInPort, ...]:
        """Ports of Services that select ``pod``."""
        labels = pod.metadata.labels.items()
        found = {port for selector, ports in self.entries if set(selector) <= set(labels) for port in ports}
        return tuple(sorted(found))


def _numeric(service: Service) -> Iterable[StandInPort]:
    for port in service.spec.ports:
        target = port.target_port or port.port
        if isinstance(target, int) or target.isdigit():
            yield StandInPort(int(target), port.protocol or "TCP")
