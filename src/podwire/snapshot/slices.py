"""EndpointSlices by Service, kept up to date change by change.

Rule: what :meth:`SliceIndex.share` handed out never changes; the first change after it works on a copy.
"""

from bisect import insort
from collections.abc import Mapping

from podwire.kube import EndpointSlice
from podwire.snapshot.snapshot import service_of

Slices = tuple[EndpointSlice, ...]


class SliceIndex:
    """Slices of each Service (``namespace/name``), by slice name."""

    def __init__(self) -> None:
        """Empty."""
        self._by_service: dict[str, Slices] = {}
        self._shared = False

    def replace(self, old: EndpointSlice | None, new: EndpointSlice | None) -> set[str]:
        """Put ``new`` in the place of ``old``; the Services concerned."""
        if self._shared:
            self._by_service, self._shared = dict(self._by_service), False
        touched = set()
        if old is not None and (service := service_of(old)):
            touched.add(service)
            self._put(service, [part for part in self._by_service.get(service, ()) if part is not old])
        if new is not None and (service := service_of(new)):
            touched.add(service)
            parts = list(self._by_service.get(service, ()))
            insort(parts, new, key=lambda part: part.metadata.name)
            self._put(service, parts)
        return touched

    def share(self) -> Mapping[str, Slices]:
        """The index as it is now."""
        self._shared = True
        return self._by_service

    def _put(self, service: str, parts: list[EndpointSlice]) -> None:
        if parts:
            self._by_service[service] = tuple(parts)
        else:
            self._by_service.pop(service, None)
