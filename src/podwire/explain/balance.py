"""How hints spread the connections of a Service: which endpoints the clients of each zone or node use.

Only for Service ports whose endpoints carry hints; without hints every client uses all of them.
"""

from collections import Counter
from collections.abc import Iterator

from podwire.plan import Scope, ServicePlan, ServicePort, decide_backends


def describe_balance(plan: ServicePlan, unit: ServicePort, scope: Scope) -> tuple[str, ...]:
    """One sentence a zone (a node, where nodes are hinted) with its endpoints and where they are; then the load.

    The load assumes that every node starts as many connections as any other.
    """
    if not any(e.for_zones or e.for_nodes for e in unit.endpoints):
        return ()
    by_node = any(e.for_nodes for e in unit.endpoints)
    load: Counter[str] = Counter()
    lines: dict[str, None] = {}
    for node in plan.nodes.values():
        chosen = decide_backends(unit, node=node.name, zone=node.zone, scope=scope).endpoints
        whom = f"node {node.name}" if by_node else f"zone {node.zone or '(none)'}"
        zones = Counter(e.zone or "(none)" for e in chosen)
        places = ", ".join(f"{n} in {zone}" for zone, n in sorted(zones.items())) or "none"
        lines[f"clients in {whom} use {len(chosen)} of {len(unit.endpoints)} endpoints: {places}"] = None
        for endpoint in chosen:
            load[endpoint.address] += 1_000_000 // len(chosen)
    return (*lines, *_heaviest(load))


def _heaviest(load: Counter[str]) -> Iterator[str]:
    if load and max(load.values()) > min(load.values()):
        times = max(load.values()) / min(load.values())
        heaviest = max(load, key=lambda address: (load[address], address))
        yield f"equal clients on every node give {heaviest} {times:.1f} times the least load"
