"""``/metrics``: a few of kube-apiserver's own metric names, in the Prometheus text format.

Spec: https://prometheus.io/docs/instrumenting/exposition_formats/; k8s
test/instrumentation/testdata/stable-metrics-list.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from podwire.apiserver.http.ask import Target
from podwire.apiserver.store import Store

MEDIA = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts requests; reads the rest when asked."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._requests: Counter[tuple[str, str, str, str, int]] = Counter()

    def count(self, verb: str, target: Target | None, code: int) -> None:
        """One answered request."""
        kind = target.kind if target else None
        group, resource = (kind.group, kind.plural) if kind else ("", "")
        self._requests[verb, group, resource, target.subresource if target else "", code] += 1

    def text(self, store: Store, watchers: int) -> str:
        """The whole page; ``watchers`` are the open watches."""
        return "\n".join([*self._lines(store, watchers), ""])

    def _lines(self, store: Store, watchers: int) -> Iterator[str]:
        yield "# HELP apiserver_request_total Requests by verb, resource and HTTP code."
        yield "# TYPE apiserver_request_total counter"
        for (verb, group, resource, subresource, code), number in sorted(self._requests.items()):
            labels = {"code": code, "group": group, "resource": resource, "subresource": subresource, "verb": verb}
            yield f"apiserver_request_total{_labels(labels)} {number}"
        yield "# HELP apiserver_storage_objects Stored objects by kind."
        yield "# TYPE apiserver_storage_objects gauge"
        for stored in store.kinds():
            yield f"apiserver_storage_objects{_labels({'resource': stored})} {len(store.items(stored))}"
        yield "# HELP apiserver_registered_watchers Open watches."
        yield "# TYPE apiserver_registered_watchers gauge"
        yield f"apiserver_registered_watchers {watchers}"
        yield "# HELP process_resident_memory_bytes Resident memory."
        yield "# TYPE process_resident_memory_bytes gauge"
        yield f"process_resident_memory_bytes {_resident_bytes()}"


def _labels(pairs: dict[str, object]) -> str:
    words = (f'{name}="{value!s}"' for name, value in pairs.items())
    return "{" + ",".join(words) + "}"


def _resident_bytes() -> int:
    from resource import getpagesize

    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
