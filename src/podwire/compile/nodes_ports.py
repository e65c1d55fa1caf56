"""Which ports Services send to a pod by number: what a stand-in listens on beside its declared ports.

Rule: Services are found from a pod by their *anchor*, the least pair of the selector, as in ``endpoints_selection.py``;
a Service that changes in other things than selector and numbers touches no pod.
"""

from collections.abc import Iterable

import msgspec

from podwire.compile.endpoints_views import has_derived_endpoints
from podwire.compile.touched import Results
from podwire.kube import Pod, Service
from podwire.plan.node import StandInPort
from podwire.snapshot import Snapshot

Labels = tuple[tuple[str, str], ...]


class Sent(msgspec.Struct, frozen=True):
    """What one Service sends to the pods it selects."""

    namespace: str
    selector: Labels
    ports: tuple[StandInPort, ...]

    @property
    def anchor(self) -> tuple[str, str, str]:
        """A label that every selected pod has, in its namespace."""
        return self.namespace, *self.selector[0]

    def reaches(self, pod: Pod) -> bool:
        """Whether the Service selects ``pod``."""
        return pod.metadata.namespace == self.namespace and set(self.selector) <= pod.metadata.labels.items()


class PortTable:
    """What all Services send; lives in a memo."""

    def __init__(self) -> None:
        """No Service known."""
        self._sent: Results[Sent] = Results()
        self._by_anchor: dict[tuple[str, str, str], dict[str, Sent]] = {}

    def update(self, snapshot: Snapshot) -> set[str]:
        """Follow ``snapshot``; keys of the pods that are sent something else now."""
        services, before = snapshot.all(Service), self._sent.results
        after = self._sent.update((services,), (), lambda key: _sent(services[key]) if key in services else None)
        moved = [part for key in self._sent.changed for part in (before.get(key), after.get(key)) if part is not None]
        for key in self._sent.changed & before.keys():
            del self._by_anchor[before[key].anchor][key]
        for key in self._sent.changed & after.keys():
            self._by_anchor.setdefault(after[key].anchor, {})[key] = after[key]
        by_space: dict[str, list[Sent]] = {}
        for part in moved:
            by_space.setdefault(part.namespace, []).append(part)
        pods = ((pod, parts) for space, parts in by_space.items() for pod in snapshot.pods_by_namespace.get(space, ()))
        return {pod.key for pod, parts in pods if any(part.reaches(pod) for part in parts)}

    def ports_of(self, pod: Pod) -> tuple[StandInPort, ...]:
        """Ports of the Services that select ``pod``."""
        anchors = ((pod.metadata.namespace, *pair) for pair in pod.metadata.labels.items())
        parts = (part for anchor in anchors for part in self._by_anchor.get(anchor, {}).values())
        return tuple(sorted({port for part in parts if part.reaches(pod) for port in part.ports}))


def _sent(service: Service) -> Sent | None:
    if not has_derived_endpoints(service):
        return None
    ports = tuple(sorted(set(_numeric(service))))
    return Sent(service.metadata.namespace, tuple(sorted(service.spec.selector.items())), ports) if ports else None


def _numeric(service: Service) -> Iterable[StandInPort]:
    for port in service.spec.ports:
        target = port.target_port or port.port
        if isinstance(target, int) or target.isdigit():
            yield StandInPort(int(target), port.protocol or "TCP")
