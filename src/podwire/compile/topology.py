"""Zone hints for ``service.kubernetes.io/topology-mode: Auto``: endpoints to zones in proportion to their CPU.

Rules:

1. Nodes that are not ready and control-plane nodes do not count; every other needs a zone and allocatable CPU, else
   nobody gets hints. At least two zones, and at least as many ready endpoints as zones.
2. A zone wants its CPU share of the ready endpoints and must get that divided by 1.2 (20 % overload), rounded up.
3. Slices nobody touches keep their hints while all ready endpoints have some for known zones and no zone passes its
   maximum. The endpoints of the others start with their own zone.
4. While the largest surplus and the largest deficit are at least half an endpoint and not both below one, one
   endpoint's hint moves.
5. What happened is an Event: hints enabled, or disabled and why.

Source: KEP-2433; kubernetes ``staging/src/k8s.io/endpointslice/topologycache`` (the numbers and words are its own;
where it takes zones in the order of a Go map, this takes them by name).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Literal

import msgspec

from podwire.kube import Node, Service
from podwire.kube.discovery import Endpoint, EndpointHints, ForZone
from podwire.kube.quantity import parse_quantity

ZONE_LABEL = "topology.kubernetes.io/zone"
MODE_ANNOTATIONS = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints")
CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
OVERLOAD = 0.2

NO_NODES = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
FEW_ENDPOINTS = "Insufficient number of endpoints"
TOO_UNEVEN = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
NO_ZONE = "One or more endpoints do not have a zone specified"
NOTHING = "No hints allocated for zones"
ENABLED = "Topology Aware Hints has been enabled"

Endpoints = tuple[Endpoint, ...]


class Topology(msgspec.Struct, frozen=True):
    """Zone by node name, and each zone's share of the CPU (empty: not to be told)."""

    zones: Mapping[str, str]
    ratios: tuple[tuple[str, float], ...]


class Said(msgspec.Struct, frozen=True):
    """An Event to be."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


class Part(msgspec.Struct, frozen=True):
    """The endpoints of one slice, and whether the slice is to be written anyway."""

    endpoints: Endpoints
    changed: bool


class _Share(msgspec.Struct, frozen=True):
    """What a zone wants (endpoints, not rounded), and the most it may have."""

    desired: float
    maximum: int


def is_auto(service: Service) -> bool:
    """Whether the Service asks for hints by CPU; the older annotation counts when the newer is absent."""
    found = next((service.metadata.annotations[a] for a in MODE_ANNOTATIONS if a in service.metadata.annotations), "")
    return found in ("Auto", "auto")


def compile_topology(nodes: Mapping[str, Node], ready: Iterable[str]) -> Topology:
    """Rule 1. ``ready`` names the ready nodes."""
    zones = {name: node.metadata.labels.get(ZONE_LABEL, "") for name, node in nodes.items()}
    counted = [
        nodes[name]
        for name in sorted(ready)
        if not any(label in nodes[name].metadata.labels for label in CONTROL_PLANE_LABELS)
    ]
    by_zone: dict[str, float] = {}
    for node in counted:
        zone, cpu = zones[node.metadata.name], _cpu(node)
        if not zone or not cpu:
            return Topology(zones, ())
        by_zone[zone] = by_zone.get(zone, 0) + cpu
    total = sum(by_zone.values())
    if len(by_zone) < 2:
        return Topology(zones, ())
    return Topology(zones, tuple((zone, by_zone[zone] / total) for zone in sorted(by_zone)))


def _cpu(node: Node) -> float:
    try:
        return float(parse_quantity(node.status.allocatable.get("cpu", "0")))
    except ValueError:
        return 0.0


def assign_hints(parts: Sequence[Part], topology: Topology, family: str) -> tuple[tuple[Endpoints, ...], Said]:
    """The endpoints of each part with hints, or all without when it cannot be done."""
    total = sum(_is_ready(e) for part in parts for e in part.endpoints)
    shares, problem = _shares(topology.ratios, total)
    if problem:
        return _without(parts), _disabled(problem, family)
    kept, have = _keep(parts, shares)
    opened = [index for index in range(len(parts)) if index not in kept]
    if any(_is_ready(e) and not e.zone for index in opened for e in parts[index].endpoints):
        return _without(parts), _disabled(NO_ZONE, family)
    hinted = {index: tuple(_own_zone(e) for e in parts[index].endpoints) for index in opened}
    for endpoints in hinted.values():
        have.update(e.zone for e in endpoints if e.zone and _is_ready(e))
    if not have:
        return _without(parts), _disabled(NOTHING, family)
    giving, receiving = _moves(shares, have)
    for index in opened:
        hinted[index] = _redistribute(hinted[index], giving, receiving)
    made = tuple(hinted.get(index, part.endpoints) for index, part in enumerate(parts))
    return made, Said("Normal", "TopologyAwareHintsEnabled", f"{ENABLED}, addressType: {family}")


def _disabled(message: str, family: str) -> Said:
    return Said("Warning", "TopologyAwareHintsDisabled", f"{message}, addressType: {family}")


def _without(parts: Sequence[Part]) -> tuple[Endpoints, ...]:
    return tuple(tuple(msgspec.structs.replace(e, hints=None) for e in part.endpoints) for part in parts)


def _is_ready(endpoint: Endpoint) -> bool:
    return endpoint.conditions.ready is not False


def _shares(ratios: tuple[tuple[str, float], ...], total: int) -> tuple[dict[str, _Share], str]:
    """Rules 1 and 2: what each zone shall have, or why nobody gets hints."""
    counted = f"({total} endpoints, {len(ratios)} zones)"
    if not ratios:
        return {}, NO_NODES
    if len(ratios) > total:
        return {}, f"{FEW_ENDPOINTS} {counted}"
    minimums = {zone: ceil(ratio * total * (1 / (1 + OVERLOAD))) for zone, ratio in ratios}
    spare = total - sum(minimums.values())
    if spare < 0:
        return {}, f"{TOO_UNEVEN} {counted}"
    return {z: _Share(max(ratio * total, float(minimums[z])), minimums[z] + spare) for z, ratio in ratios}, ""


def _keep(parts: Sequence[Part], shares: Mapping[str, _Share]) -> tuple[set[int], Counter[str]]:
    """Rule 3: the parts that stay as they are, and the endpoints each zone has by them."""
    kept: set[int] = set()
    have: Counter[str] = Counter()
    for index, part in enumerate(parts):
        ready = [e for e in part.endpoints if _is_ready(e)]
        hints = Counter(e.hints.for_zones[0].name for e in ready if e.hints and e.hints.for_zones)
        complete = hints.total() == len(ready) and hints.keys() <= shares.keys()
        if part.changed or not complete or any(have[z] + n > shares[z].maximum for z, n in hints.items()):
            continue
        kept.add(index)
        have.update(hints)
    return kept, have


def _own_zone(endpoint: Endpoint) -> Endpoint:
    hints = EndpointHints(for_zones=(ForZone(name=endpoint.zone or ""),)) if _is_ready(endpoint) else None
    return msgspec.structs.replace(endpoint, hints=hints)


def _moves(shares: Mapping[str, _Share], have: Mapping[str, int]) -> tuple[Counter[str], Counter[str]]:
    """Rule 4: how many endpoints each zone gives, and how many each receives."""
    surplus = {zone: have.get(zone, 0) - share.desired for zone, share in shares.items()}
    giving: Counter[str] = Counter()
    receiving: Counter[str] = Counter()
    while True:
        rich = max(sorted(surplus), key=lambda zone: surplus[zone])
        poor = min(sorted(surplus), key=lambda zone: surplus[zone])
        more, less = surplus[rich], -surplus[poor]
        if more < 0.5 or less < 0.5 or (more < 1 and less < 1):
            return giving, receiving
        giving[rich] += 1
        receiving[poor] += 1
        surplus[rich] -= 1
        surplus[poor] += 1


def _redistribute(endpoints: Endpoints, giving: Counter[str], receiving: Counter[str]) -> Endpoints:
    """Move hints; ``giving`` and ``receiving`` shrink by what was moved."""
    made = []
    for endpoint in endpoints:
        zone = endpoint.zone or ""
        target = min((z for z, n in receiving.items() if n), default="")
        if _is_ready(endpoint) and giving[zone] > 0 and target:
            giving[zone] -= 1
            receiving[target] -= 1
            endpoint = msgspec.structs.replace(endpoint, hints=EndpointHints(for_zones=(ForZone(name=target),)))
        made.append(endpoint)
    return tuple(made)
