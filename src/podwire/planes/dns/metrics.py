"""The server's metrics in Prometheus text, under CoreDNS's names. Pure.

Rules:

1. Labels and names are CoreDNS's (coredns:plugin/metrics/README.md), ``server`` is such as ``dns://:53``. Durations
   have finer buckets below a quarter of a millisecond: most replies take a hundredth of that.
2. Replies from memory are counted one by one and timed by the batch: the mean of a batch stands for each reply in it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache

SERVER = 'server="dns://:53",view=""'
DURATIONS = (1e-5, 2.5e-5, 5e-5, 1e-4, *(0.00025 * 2**n for n in range(16)))
SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000)
Sample = tuple[str, str, float]
"""Name, labels, value."""


class Histogram:
    """Counts by upper bound."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Nothing observed."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """``times`` observations of one value."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def samples(self, name: str, labels: str) -> Iterator[Sample]:
        """Cumulative buckets, sum and count."""
        total = 0
        for bound, count in zip((*map(_number, self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f"{name}_bucket", f'{labels},le="{bound}"', total
        yield f"{name}_sum", labels, self._sum
        yield f"{name}_count", labels, total


class Metrics:
    """Everything counted about questions."""

    def __init__(self) -> None:
        """Nothing counted."""
        self._replies: dict[tuple[str, ...], int] = {}
        self._durations: dict[str, Histogram] = {}
        self._sizes: dict[tuple[str, str, str], Histogram] = {}
        self._memory_seconds = 0.0
        self._memory_replies = 0

    def count(
        self, key: tuple[str, ...], *, sizes: tuple[int, int], seconds: float | None = None, times: int = 1
    ) -> None:
        """``times`` replies of one kind. ``key``: labels of server, view and zone (:func:`labels_of`), proto, family,
        type, rcode, plugin, "1" for DO; ``sizes`` of question and reply; ``seconds`` None: from memory, timed by
        :meth:`batch`."""
        self._replies[key] = self._replies.get(key, 0) + times
        zone, proto = key[0], key[1]
        for what, size in zip(("request", "response"), sizes, strict=True):
            self._sizes.setdefault((what, zone, proto), Histogram(SIZES)).observe(size, times)
        if seconds is None:
            seconds = self._memory_seconds / self._memory_replies if self._memory_replies else 0.0
        self._durations.setdefault(zone, Histogram(DURATIONS)).observe(seconds, times)

    def batch(self, seconds: float, replies: int) -> None:
        """How long a batch of replies took."""
        self._memory_seconds += seconds
        self._memory_replies += replies

    def samples(self) -> Iterator[Sample]:
        """All samples about questions."""
        requests: dict[str, int] = {}
        responses: dict[str, int] = {}
        dnssec: dict[str, int] = {}
        for (base, proto, family, rtype, rcode, plugin, asked), count in self._replies.items():
            asks = f'{base},proto="{proto}",family="{family}",type="{rtype}"'
            gives = f'{base},rcode="{rcode}",plugin="{plugin}"'
            requests[asks] = requests.get(asks, 0) + count
            responses[gives] = responses.get(gives, 0) + count
            if asked:
                dnssec[base] = dnssec.get(base, 0) + count
        for name, found in (("requests", requests), ("responses", responses), ("do_requests", dnssec)):
            yield from ((f"coredns_dns_{name}_total", labels, value) for labels, value in found.items())
        for base, histogram in self._durations.items():
            yield from histogram.samples("coredns_dns_request_duration_seconds", base)
        for (what, base, proto), histogram in self._sizes.items():
            labels = f'{base},proto="{proto}"'
            yield from histogram.samples(f"coredns_dns_{what}_size_bytes", labels)


@lru_cache(maxsize=1024)
def labels_of(place: tuple[str, int], zone: str, view: str) -> str:
    """The labels ``server``, ``view`` and ``zone``."""
    return f'server="{place[0]}://:{place[1]}",view="{_escape(view)}",zone="{_escape(zone)}"'


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return f"{value:g}"


def family_of(name: str) -> str:
    """The metric that a sample belongs to."""
    for ending in ("_bucket", "_sum", "_count"):
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def format_samples(samples: Iterable[Sample]) -> str:
    """Prometheus text format 0.0.4; samples of one metric stay together."""
    families: dict[str, list[str]] = {}
    for name, labels, value in samples:
        shown = f"{int(value)}" if value == int(value) else f"{value!r}"
        place = f"{{{labels}}}" if labels else ""
        families.setdefault(family_of(name), []).append(f"{name}{place} {shown}\n")
    out = []
    for name, lines in families.items():
        kind = "counter" if name.endswith("_total") else "histogram" if "_bucket" in lines[0] else "gauge"
        out.append(f"# TYPE {name} {kind}\n" + "".join(lines))
    return "".join(out)
