"""What the driver tells its workers: the zone plan as frames of JSON. Pure.

The rules of the frames are in ``control.py``, their reader.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from podwire.base import stable_hash
from podwire.plan import ZonePlan, ZoneUnit
from podwire.plan.dnsconfig import DnsConfig

UNITS_PER_FRAME = 500
"""Small enough that a worker answers questions between two frames."""


def number_of(unit: ZoneUnit) -> int:
    """A unit's share of the zone's digest."""
    return int(stable_hash(msgspec.json.encode(_portable(unit)).decode(), size_bytes=8), 16)


def digest_zone(plan: ZonePlan, total: int) -> str:
    """A name for the content of a zone. ``total`` is the sum of :func:`number_of` over its units, so that a change of
    one unit costs one unit."""
    head = (plan.domain, plan.reverse, plan.namespaces, plan.pods, plan.serial, plan.ttl, plan.upstreams, str(total))
    whole = (head, plan.fallthrough, plan.config, plan.places, plan.client_rate)
    return stable_hash(msgspec.json.encode(whole).decode(), size_bytes=8)


def encode_full(plan: ZonePlan, revision: int) -> Iterator[bytes]:
    """Frames that build the whole zone anew."""
    yield _frame({"fresh": True, "meta": meta_of(plan, None)})
    yield from _units(plan.units, (), revision)


def encode_delta(
    old: ZonePlan, new: ZonePlan, put: Mapping[str, ZoneUnit], remove: tuple[str, ...], revision: int
) -> Iterator[bytes]:
    """Frames that turn ``old`` into ``new``."""
    yield _frame({"meta": meta_of(new, old)})
    yield from _units(put, remove, revision)


def encode_sockets(count: int) -> bytes:
    """Announces ``count`` descriptors that travel with this frame."""
    return _frame({"sockets": count})


def encode_release(number: int) -> bytes:
    """The answer of this number may go out."""
    return _frame({"release": number})


def encode_beat() -> bytes:
    """The driver is alive and has nothing to say."""
    return _frame({"beat": True})


def meta_of(plan: ZonePlan, old: ZonePlan | None) -> dict[str, Any]:
    """What holds for the whole zone. Namespaces travel only when they changed, and only when pods are echoed; the
    configuration only when it changed."""
    namespaces = plan.namespaces if plan.pods.mode == "insecure" else ()
    unchanged = old is not None and old.namespaces == plan.namespaces and old.pods == plan.pods
    same_config = old is not None and (old.config is plan.config or old.config == plan.config)
    return {
        "domain": plan.domain,
        "reverse": plan.reverse,
        "namespaces": None if unchanged else namespaces,
        "pods_ttl": plan.pods.ttl,
        "serial": plan.serial,
        "upstreams": plan.upstreams,
        "fallthrough": plan.fallthrough,
        "config": None if same_config else blocks_of(plan.config),
        "watched": plan.watched,
        "places": plan.places,
        "client_rate": plan.client_rate,
    }


def blocks_of(config: DnsConfig) -> list[dict[str, Any]]:
    """Server blocks as the workers get them, without where they come from."""
    return [{n: getattr(b, n) for n in b.__struct_fields__ if n != "origin"} for b in config.blocks]


def _units(put: Mapping[str, ZoneUnit], remove: tuple[str, ...], revision: int) -> Iterator[bytes]:
    keys = list(put)
    for start in range(0, len(keys), UNITS_PER_FRAME):
        yield _frame({"put": {key: _portable(put[key]) for key in keys[start : start + UNITS_PER_FRAME]}})
    yield _frame({"remove": remove, "commit": revision})


def _portable(unit: ZoneUnit) -> Any:
    return [(r.name, r.type, r.ttl, r.data) for r in unit.records], unit.exists


def _frame(value: dict[str, Any]) -> bytes:
    data = msgspec.json.encode(value)
    return len(data).to_bytes(4, "big") + data
