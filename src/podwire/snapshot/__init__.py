"""One immutable instant: typed objects, observed facts, settings and the time, indexed.

Two snapshots share every object that did not change, so passes may compare by identity. The API's plain values become
typed objects once per version, in :class:`SnapshotBuilder`.
"""

from podwire.snapshot.builder import SnapshotBuilder
from podwire.snapshot.groups import controller_of
from podwire.snapshot.settings import AddressRange, DnsOptions, ImageRule, ImageRun, Owned, Settings, parse_dns_options
from podwire.snapshot.snapshot import Snapshot

__all__ = [
    "AddressRange",
    "DnsOptions",
    "ImageRule",
    "ImageRun",
    "Owned",
    "Settings",
    "Snapshot",
    "SnapshotBuilder",
    "controller_of",
    "parse_dns_options",
]
