"""The records of all Services, advanced by what changed: one EndpointSlice among ten thousand Services costs itself.

Rules:

1. A Service that changed, or whose EndpointSlices did, is compiled; the rest is taken over.
2. An endpoint at an address that is some Service's clusterIP leaves that address's PTR to the Service. Which endpoints
   these are is looked at again when a clusterIP comes or goes.
3. ``units`` is one edition for as long as the process lives: Services, namespaces, pods and the apex.

``tests/unit/compile_zone/test_zone_advance.py`` holds it against compiling everything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec

from podwire.base import Edition, Finding
from podwire.compile.touched import Findings, Results, kept
from podwire.compile.zone_service import Naming, cluster_ips, compile_service_zone, endpoint_addresses
from podwire.kube import EndpointSlice, KubeObject, Service
from podwire.plan import ZoneUnit


class Part(msgspec.Struct, frozen=True):
    """What one Service contributes: ``addresses`` are its endpoints', ``version`` is the highest of its objects."""

    unit: ZoneUnit
    findings: tuple[Finding, ...]
    cluster_ips: tuple[str, ...]
    addresses: frozenset[str]
    version: int


class World(msgspec.Struct, frozen=True):
    """The Services whose names are answered: ``admits`` is a function of ``inputs`` and the Service alone, except for
    the Services in ``also``."""

    services: Mapping[str, Service]
    slices: Mapping[str, tuple[EndpointSlice, ...]]
    naming: Naming
    admits: Callable[[Service], bool]
    drop_empty: bool
    inputs: tuple[Any, ...]
    also: Set[str]


class Records:
    """Parts and units of the latest compile; kept in a memo."""

    def __init__(self) -> None:
        """Nothing compiled."""
        self.units: Edition[str, ZoneUnit] = Edition()
        self.findings = Findings()
        self.version = 0
        self._parts: Results[Part] = Results()
        self._virtual: dict[str, set[str]] = {}
        self._shown: Edition[str, Part] = Edition()

    def update(self, world: World) -> None:
        """Bring the units of Services up to date."""
        before = self._parts.results
        after = self._parts.update(
            (world.services, world.slices), world.inputs, lambda key: _make(world, key), also=world.also
        )
        changed = set(self._parts.changed)
        moved = self._count_virtual(changed, before, after)
        if moved:
            changed |= {key for key, part in after.items() if not moved.isdisjoint(part.addresses)}
        self._show({key: self._without_shadowed(world, key, after.get(key)) for key in changed})

    def put(self, changes: Mapping[str, ZoneUnit | None]) -> None:
        """Units of other things than Services."""
        self.units = self.units.revise({key: kept(self.units.get(key), unit) for key, unit in changes.items()})

    def holders(self, address: str) -> tuple[str, ...]:
        """Keys of the Services with a clusterIP, sorted."""
        return tuple(sorted(self._virtual.get(address, ())))

    def _count_virtual(self, changed: Set[str], before: Mapping[str, Part], after: Mapping[str, Part]) -> set[str]:
        """Keep the holders of clusterIPs; the addresses that became one, or are none any more."""
        was: dict[str, bool] = {}
        for parts, is_new in ((before, False), (after, True)):
            for key in changed & parts.keys():
                for address in parts[key].cluster_ips:
                    holders = self._virtual.setdefault(address, set())
                    was.setdefault(address, bool(holders))
                    (holders.add if is_new else holders.discard)(key)
        for address in was:
            if not self._virtual[address]:
                del self._virtual[address]
        return {address for address, there in was.items() if there is not (address in self._virtual)}

    def _without_shadowed(self, world: World, key: str, part: Part | None) -> Part | None:
        """Rule 2."""
        shadowed = () if part is None else tuple(sorted(filter(self._virtual.__contains__, part.addresses)))
        if not shadowed:
            return part
        return compile_part(world.services[key], world.slices.get(key, ()), world.naming, shadowed)

    def _show(self, parts: Mapping[str, Part | None]) -> None:
        old = self._shown
        self._shown = old.revise(parts)
        self.put({f"Service/{key}": None if part is None else part.unit for key, part in parts.items()})
        self.findings.update({key: () if part is None else part.findings for key, part in parts.items()})
        highest = max((part.version for part in parts.values() if part is not None), default=0)
        if highest < self.version and any(key in old and old[key].version == self.version for key in parts):
            self.version = max((part.version for part in self._shown.values()), default=0)
        else:
            self.version = max(self.version, highest)


def _make(world: World, key: str) -> Part | None:
    service = world.services.get(key)
    if service is None or not world.admits(service):
        return None
    part = compile_part(service, world.slices.get(key, ()), world.naming, ())
    return None if world.drop_empty and part.cluster_ips and not part.addresses else part


def compile_part(service: Service, slices: Sequence[EndpointSlice], naming: Naming, shadowed: tuple[str, ...]) -> Part:
    """One Service. ``shadowed`` are addresses of its endpoints that are some Service's clusterIP."""
    unit, findings = compile_service_zone(service, slices, shadowed, naming)
    version = max(version_of(service), *map(version_of, slices), 0)
    return Part(unit, findings, cluster_ips(service), endpoint_addresses(slices), version)


def highest_version(values: Iterable[KubeObject]) -> int:
    """Of some objects; at least 1."""
    return max(map(version_of, values), default=1)


def version_of(value: KubeObject) -> int:
    """resourceVersions are decimal in every API server in use; offline objects have none."""
    text = value.metadata.resource_version
    return int(text) if text.isdecimal() else 0
