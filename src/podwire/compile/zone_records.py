"""The records of all Services, advanced by what changed: one EndpointSlice among ten thousand Services costs itself.

Rules:

1. When only EndpointSlices are others than in the compile before, the Services they belong to are compiled and the
   rest is taken over. Anything else (a Service, a Namespace, options, an endpoint at a clusterIP) compiles everything.
2. The result is the same as that of compiling everything (a test compares them).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from podwire.base import Finding
from podwire.compile.zone_service import Naming, cluster_ips, compile_service_zone, endpoint_addresses
from podwire.kube import EndpointSlice, KubeObject, Namespace, Service
from podwire.plan import ZoneUnit

SERVICE_LABEL = "kubernetes.io/service-name"


class Part(msgspec.Struct, frozen=True):
    """What one Service contributes: ``addresses`` are its endpoints', ``version`` is the highest of its objects."""

    unit: ZoneUnit
    findings: tuple[Finding, ...]
    cluster_ips: tuple[str, ...]
    addresses: frozenset[str]
    version: int


class Tables(NamedTuple):
    """The snapshot's tables behind the records; compared by identity."""

    services: Mapping[str, Service]
    slices: Mapping[str, EndpointSlice]
    namespaces: Mapping[str, Namespace]


class Records(msgspec.Struct, eq=False, kw_only=True):
    """All parts of one compile, and what the next one needs. Immutable by convention; compared by identity.

    ``base_version`` is the highest of the Namespaces. The fields below ``can_advance`` follow from those above.
    """

    tables: Tables
    settings: tuple[Any, ...]
    parts: dict[str, Part]
    units: dict[str, ZoneUnit]
    namespaces: tuple[str, ...]
    servers: tuple[str, ...]
    base_version: int
    can_advance: bool
    virtual: frozenset[str] = frozenset()
    findings: tuple[Finding, ...] = ()
    version: int = 1
    slices: dict[str, dict[str, EndpointSlice]] = {}


def complete_records(made: Records) -> Records:
    """Fill in what follows from the parts."""
    made.virtual = frozenset(ip for part in made.parts.values() for ip in part.cluster_ips)
    made.findings = tuple(finding for part in made.parts.values() for finding in part.findings)
    made.version = max(made.base_version, max((p.version for p in made.parts.values()), default=1))
    for key, value in made.tables.slices.items():
        made.slices.setdefault(service_of(value), {})[key] = value
    return made


def service_of(value: EndpointSlice) -> str:
    """Key of the Service that a slice belongs to."""
    return f"{value.metadata.namespace}/{value.metadata.labels.get(SERVICE_LABEL, '')}"


def version_of(value: KubeObject) -> int:
    """resourceVersions are decimal in every API server in use; offline objects have none."""
    text = value.metadata.resource_version
    return int(text) if text.isdecimal() else 0


def compile_part(service: Service, slices: Sequence[EndpointSlice], naming: Naming, shadowed: tuple[str, ...]) -> Part:
    """One Service. ``shadowed`` are addresses of its endpoints that are some Service's clusterIP."""
    unit, findings = compile_service_zone(service, slices, shadowed, naming)
    version = max(version_of(service), *map(version_of, slices), 0)
    return Part(unit, findings, cluster_ips(service), endpoint_addresses(slices), version)


def advance(last: Records, tables: Tables, settings: tuple[Any, ...], naming: Naming) -> Records | None:
    """The records after a change of EndpointSlices only; None when everything must be compiled (rule 1)."""
    same = last.tables.services is tables.services and last.tables.namespaces is tables.namespaces
    if not last.can_advance or not same or last.settings[0] is not settings[0] or last.settings[1:] != settings[1:]:
        return None
    before, after = last.tables.slices, tables.slices
    touched = {key for key, value in after.items() if before.get(key) is not value}
    if len(after) != len(before) or touched - before.keys():
        touched |= before.keys() - after.keys()
    made = _copy(last)
    for key in touched:
        _move(made, key, before.get(key), after.get(key))
    names = {service_of(v) for key in touched for v in (before.get(key), after.get(key)) if v is not None}
    lowered = False
    for name in sorted(names & made.parts.keys()):
        old = made.parts[name]
        slices = tuple(made.slices.get(name, {}).values())
        part = compile_part(tables.services[name], slices, naming, ())
        if not made.virtual.isdisjoint(part.addresses):
            return None
        lowered |= old.version == made.version and part.version < old.version
        made.parts[name] = part
        if part.unit != old.unit:
            made.units[f"Service/{name}"] = part.unit
        made.version = max(made.version, part.version)
        if old.findings != part.findings:
            made.findings = tuple(f for p in made.parts.values() for f in p.findings)
    if lowered:
        made.version = max(made.base_version, max((p.version for p in made.parts.values()), default=1))
    made.tables = tables
    return made


def _copy(last: Records) -> Records:
    """A shallow copy; tables of slices are copied when they change."""
    return msgspec.structs.replace(last, parts=dict(last.parts), units=dict(last.units), slices=dict(last.slices))


def _move(made: Records, key: str, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
    """Put a slice under the Service it belongs to now; slices of a Service stay in key order."""
    if old is not None:
        name = service_of(old)
        made.slices[name] = {k: v for k, v in made.slices[name].items() if k != key}
    if new is not None:
        name = service_of(new)
        made.slices[name] = dict(sorted({**made.slices.get(name, {}), key: new}.items()))
