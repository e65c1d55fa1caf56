"""One result a Service, recomputed only for the Services that were touched.

Rules:

1. With a snapshot that follows the one seen last, and the same other inputs, only its ``touched_services`` are made
   anew; otherwise every Service is.
2. A result equal to the one before is the object before. Results are in the order of the Services.
3. ``changed`` are the keys whose result is another object than at the update before, or gone.
"""

from collections.abc import Callable, Mapping, Set
from typing import Any, Generic, TypeVar

from podwire.compile.memo import is_same
from podwire.kube import EndpointSlice, Service
from podwire.snapshot import Snapshot

T = TypeVar("T")
Make = Callable[[Service, tuple[EndpointSlice, ...]], T]


class ServiceTable(Generic[T]):
    """Results by Service key; kept in a memo from compile to compile."""

    def __init__(self) -> None:
        """Nothing seen."""
        self.results: Mapping[str, T] = {}
        self.changed: frozenset[str] = frozenset()
        self._version = 0
        self._inputs: tuple[Any, ...] = ()

    def update(
        self, snapshot: Snapshot, inputs: tuple[Any, ...], make: Make[T], *, also: Set[str] = frozenset()
    ) -> Mapping[str, T]:
        """The results for ``snapshot``; ``inputs`` is all that ``make`` depends on beside the Service and slices.

        ``also`` names Services that are to be made anew for other reasons.
        """
        services, slices = snapshot.all(Service), snapshot.slices_by_service
        dirty = self._dirty(snapshot, inputs) | also
        self._version = 0  # should ``make`` fail, everything is made anew next time
        results = dict(self.results)
        changed = set()
        for key in dirty:
            service, old = services.get(key), results.get(key)
            if service is None:
                changed |= {key} if results.pop(key, None) is not None else set()
                continue
            new = make(service, slices.get(key, ()))
            if old is None or (new is not old and new != old):
                results[key] = new
                changed.add(key)
        if any(key not in self.results for key in changed):
            results = {key: results[key] for key in services if key in results}
        if changed:
            self.results = results
        self.changed = frozenset(changed)
        self._inputs, self._version = inputs, snapshot.lineage.version
        return self.results

    def _dirty(self, snapshot: Snapshot, inputs: tuple[Any, ...]) -> set[str]:
        lineage = snapshot.lineage
        if self._version and is_same(self._inputs, inputs):
            if lineage.version == self._version:
                return set()
            if lineage.before == self._version:
                return set(lineage.touched_services)
        return {*snapshot.all(Service), *self.results}
