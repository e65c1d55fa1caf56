"""All metrics of a worker: questions, caches, pools, hosts, and our own about the table."""

from collections.abc import Iterator

from podwire.planes.dns.channels import Channels
from podwire.planes.dns.control import Control
from podwire.planes.dns.machine import Responder
from podwire.planes.dns.metrics import SERVER, Sample, labels_of
from podwire.planes.dns.wire import decode_name


def collect(responder: Responder, channels: Channels, control: Control, now: float) -> Iterator[Sample]:
    """Everything there is to say now."""
    responder.settle()
    yield "coredns_build_info", 'version="podwire",revision="",goversion=""', 1
    yield "coredns_panics_total", "", 0
    for router in responder.built.routers.values():
        for block in router.blocks:
            for zone in block.zones:
                labels = labels_of(router.place, decode_name(zone).rstrip(".") + ".", block.view)
                yield from (("coredns_plugin_enabled", f'{labels},name="{name}"', 1) for name in block.plugins)
    yield "coredns_autopath_success_total", SERVER, sum(a.found for a in responder.built.autopaths)
    yield from responder.metrics.samples()
    yield from _caches(responder)
    yield from _pools(channels)
    if responder.built.hosts:
        yield "coredns_hosts_entries", "", sum(h.size for h in responder.built.hosts)
    yield "coredns_reload_failed_total", "", control.refused
    yield "podwire_dns_driver_heard_seconds", "", round(now - control.heard, 3)
    names, units = responder.table.size if responder.table is not None else (0, 0)
    yield "podwire_dns_names", "", names
    yield "podwire_dns_objects", "", units


def _caches(responder: Responder) -> Iterator[Sample]:
    for number, cache in enumerate(responder.built.caches):
        base = f'{SERVER},zones="{number}"'
        counts = cache.counts
        for half in ("success", "denial"):
            labels = f'{base},type="{half}"'
            yield "coredns_cache_entries", labels, counts.sizes[half]
            yield "coredns_cache_hits_total", labels, counts.hits[half]
            yield "coredns_cache_evictions_total", labels, counts.evictions[half]
        yield "coredns_cache_misses_total", base, counts.misses
        yield "coredns_cache_requests_total", base, counts.misses + sum(counts.hits.values()) + counts.served_stale
        yield "coredns_cache_served_stale_total", base, counts.served_stale
        yield "coredns_cache_prefetch_total", base, counts.prefetch


def _pools(channels: Channels) -> Iterator[Sample]:
    for number, pool in enumerate(channels.pools):
        labels = f'pool="{number}"'
        yield "coredns_forward_healthcheck_broken_total", labels, pool.counts["healthcheck_broken"]
        yield "coredns_forward_max_concurrent_rejects_total", labels, pool.counts["max_concurrent_rejects"]
        yield (
            "coredns_proxy_healthcheck_failures_total",
            f'proxy_name="forward",{labels}',
            (pool.counts["healthcheck_failures"]),
        )
