"""Which pods each Service selects, kept up to date by the pods and Services that changed.

Rules:

1. Pods are found by label; a Service is found from a pod by its *anchor*, the least pair of its selector: a pod without
   that label cannot be selected.
2. A change of a pod that no Service could see (see :class:`PodView`) changes nothing here.
"""

from collections.abc import Iterator

from podwire.base import Edition
from podwire.compile.endpoints_views import PodView, has_derived_endpoints, view_pod
from podwire.compile.touched import Results, Seen
from podwire.kube import Pod, Service
from podwire.snapshot import Snapshot

Label = tuple[str, str, str]
"""Namespace, key, value."""


class Selections:
    """Pods by label and Services by anchor; lives in a memo."""

    def __init__(self) -> None:
        """Nothing seen."""
        self._views: Results[PodView] = Results()
        self._services: Seen[Service] = Seen()
        self._by_label: dict[Label, dict[str, PodView]] = {}
        self._by_anchor: dict[Label, dict[str, Service]] = {}

    def update(self, snapshot: Snapshot) -> set[str]:
        """Follow ``snapshot``; keys of the Services whose pods are others now, or were."""
        self._follow_services(snapshot)
        pods = snapshot.all(Pod)
        before = self._views.results
        after = self._views.update((pods,), (), lambda key: view_pod(pods[key]) if key in pods else None)
        stale: set[str] = set()
        for key in self._views.changed:
            stale.update(self._replace(key, before, after))
        return stale

    def select(self, service: Service) -> tuple[PodView, ...]:
        """Pods with all labels of the Service's selector, by name."""
        selector, namespace = service.spec.selector.items(), service.metadata.namespace
        buckets = [self._by_label.get((namespace, *item), {}) for item in selector]
        found = [view for view in min(buckets, key=len).values() if selector <= dict(view.labels).items()]
        return tuple(sorted(found, key=lambda view: view.name))

    def _follow_services(self, snapshot: Snapshot) -> None:
        before, after = self._services.value, snapshot.all(Service)
        for key in self._services.advance(after):
            old, new = before.get(key), after.get(key)
            if old is not None and has_derived_endpoints(old):
                _drop(self._by_anchor, _anchor(old), key)
            if new is not None and has_derived_endpoints(new):
                self._by_anchor.setdefault(_anchor(new), {})[key] = new

    def _replace(self, key: str, before: Edition[str, PodView], after: Edition[str, PodView]) -> Iterator[str]:
        old, new = before.get(key), after.get(key)
        if old is not None:
            yield from self._selecting(old)
            for label in _labels(old):
                _drop(self._by_label, label, key)
        if new is not None:
            yield from self._selecting(new)
            for label in _labels(new):
                self._by_label.setdefault(label, {})[key] = new

    def _selecting(self, view: PodView) -> Iterator[str]:
        labels = dict(view.labels).items()
        for label in _labels(view):
            for key, service in self._by_anchor.get(label, {}).items():
                if service.spec.selector.items() <= labels:
                    yield key


def _labels(view: PodView) -> Iterator[Label]:
    return ((view.namespace, *item) for item in view.labels)


def _anchor(service: Service) -> Label:
    return (service.metadata.namespace, *min(service.spec.selector.items()))


def _drop(index: dict[Label, dict[str, PodView]] | dict[Label, dict[str, Service]], label: Label, key: str) -> None:
    del index[label][key]
    if not index[label]:
        del index[label]
