"""Service ports to kernel elements.

Rules:

1. :func:`podwire.plan.decide_backends` decides; this module only spells its answer. Each Service port has a *cluster*
   list and, with a Local policy, a *local* list; a list is numbered, and its slots are dense.
2. Slots move as little as possible: a removed endpoint's slot goes to a new endpoint, else to the last one.
3. A sticky list is entered by ticket: a number of the endpoint itself. Affinity maps clients to tickets, so moving
   slots never sends a client elsewhere and nothing has to be cleaned when an endpoint goes.
4. A unit without Local policy and without hints renders alike for every node, once.
5. Each family is decided and spelled apart, among its own addresses; a unit holds the elements of all of them. A
   family that the cluster does not route is left out.

P numbers: ``docs/design/services.md``.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import cast

import msgspec

from podwire.base import Cidr, Edition, assign_numbers, differences
from podwire.plan import (
    LOOPBACK,
    Backends,
    Endpoint,
    ProxySettings,
    Scope,
    ServiceNode,
    ServicePlan,
    ServicePort,
    decide_backends,
    node_port_addresses,
    of_family,
)
from podwire.planes.nft import tables as t
from podwire.planes.nft.numbers import Numbers

Slots = tuple[Endpoint, ...]

NODES_UNIT = "nodes"
"""The unit of this node's addresses. No Service port has that key: theirs hold a slash."""

_LOCAL = " local"


class _List(msgspec.Struct, frozen=True, gc=False):
    """One numbered list of endpoints as the kernel will hold it."""

    number: int
    slots: Slots
    backend_class: t.BackendClass | None
    class_number: int


class ListKey(msgspec.Struct, frozen=True, gc=False):
    """Which list: of which unit, which flavour, as seen by which node (empty: by all), of which family."""

    unit: str
    flavour: str
    node: str
    family: int


class _Spelling(msgspec.Struct, gc=False):
    """A unit in the making: elements of all its families, and the classes its lists need. ``inner`` says who is hidden
    from the endpoints behind cluster IPs."""

    elements: dict[str, dict[str, str]]
    classes: set[t.BackendClass]
    inner: int

    def of(self, map_name: str) -> dict[str, str]:
        """The elements of one map, to add to."""
        return self.elements.setdefault(map_name, {})


def assign_slots(before: Slots, wanted: Sequence[Endpoint]) -> Slots:
    """``wanted`` in dense slots, keeping as many of ``before`` in place as possible."""
    by_place = {(e.address, e.port): e for e in wanted}
    kept = [by_place.pop((e.address, e.port), None) for e in before]
    new = list(by_place.values())
    slots = [slot if slot is not None else (new.pop(0) if new else None) for slot in kept] + [*new]
    while None in slots:
        hole, last = slots.index(None), slots.pop()
        if last is not None:
            slots[hole] = last
    return tuple(cast(list[Endpoint], slots))


class ServiceRenderer:
    """Renders Service plans one after another; remembers slots, and units that did not change."""

    def __init__(self, families: tuple[t.Family, ...]) -> None:
        """Nothing rendered yet."""
        self._families = families
        self._numbers = Numbers()
        self._ports: Mapping[str, ServicePort] = {}
        self._nodes: Mapping[str, ServiceNode] = {}
        self._proxy = ProxySettings()
        self._inner = t.MASQUERADE_OTHERS
        self._slots: dict[str, dict[ListKey, Slots]] = {}
        self._units: dict[str, Edition[str, t.Unit]] = {}

    def render(self, plan: ServicePlan) -> dict[str, Edition[str, t.Unit]]:
        """Units by node name. Unchanged plan units give the same Unit objects."""
        moved = differences(self._ports, plan.ports)
        gone, changed = moved - plan.ports.keys(), moved & plan.ports.keys()
        changed |= self._renumber(plan, changed=changed, gone=gone)
        nodes_changed = dict(self._nodes) != dict(plan.nodes) or self._proxy != plan.proxy
        if not self._units:  # no node has been told anything yet, however often we were called
            changed |= plan.ports.keys()
        if self._proxy.masquerade_all != plan.proxy.masquerade_all:
            changed |= plan.ports.keys()
        self._inner = t.MASQUERADE if plan.proxy.masquerade_all else t.MASQUERADE_OTHERS
        if nodes_changed:
            changed |= {key for key, port in plan.ports.items() if depends_on_node(port)}
        made: dict[str, dict[str, t.Unit | None]] = {name: dict.fromkeys(gone) for name in plan.nodes}
        for key in gone:
            self._slots.pop(key, None)
        for key in changed:
            self._render_port(plan.ports[key], plan.nodes, made)
        if nodes_changed:
            self._forget_nodes(plan.nodes)
            for name, node in plan.nodes.items():
                made[name][NODES_UNIT] = render_nodes(plan, node, self._families)
        known = self._units
        self._units = {name: (known.get(name) or self._shared_units(changed)).revise(made[name]) for name in plan.nodes}
        self._ports, self._nodes, self._proxy = plan.ports, plan.nodes, plan.proxy
        return self._units

    def _renumber(self, plan: ServicePlan, *, changed: Set[str], gone: Set[str]) -> Set[str]:
        """Bring list numbers up to date; the keys of other units whose lists got another number."""
        wanted = {*changed, *(_local_key(key) for key in changed if _has_local_list(plan.ports[key]))}
        dropped = {*gone, *map(_local_key, gone), *map(_local_key, changed)} - wanted
        return {key.removesuffix(_LOCAL) for key in self._numbers.change(gone=dropped, new=wanted)}

    def _shared_units(self, changed: Set[str]) -> Edition[str, t.Unit]:
        """What a node seen for the first time shares with any other."""
        known = next(iter(self._units.values()), Edition[str, t.Unit]())
        return Edition({key: unit for key, unit in known.items() if key not in changed and key != NODES_UNIT})

    def _forget_nodes(self, nodes: Mapping[str, ServiceNode]) -> None:
        self._slots = {
            unit: {key: slots for key, slots in lists.items() if not key.node or key.node in nodes}
            for unit, lists in self._slots.items()
        }

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each list; :func:`unit_of_list` tells whose it is. A copy: the next plan is rendered in another
        thread."""
        return dict(self._numbers.known)

    def _render_port(
        self, port: ServicePort, nodes: Mapping[str, ServiceNode], made: dict[str, dict[str, t.Unit | None]]
    ) -> None:
        if depends_on_node(port):
            for name, node in nodes.items():
                is_told = port.host_node in ("", name)
                made[name][port.key] = self._render_unit(port, name, node.zone) if is_told else None
            return
        shared = self._render_unit(port, "", "")
        for by_key in made.values():
            by_key[port.key] = shared

    def _render_unit(self, port: ServicePort, node: str, zone: str) -> t.Unit:
        spelling = _Spelling({}, set(), self._inner)
        for family in self._families:
            own = of_family(port, family.number)
            if (
                not own.cluster_ips and not own.host_ips
            ):  # a Service is of the families its cluster IPs are of, NodePorts too
                continue
            decided = decide_backends(own, node=node, zone=zone, scope="shortcut")
            lists = [self._list(own, decided, ListKey(port.key, "", node, family.number))]
            if _has_local_list(own):
                scope: Scope = "internal" if own.internal_local else "external"
                decided = decide_backends(own, node=node, zone=zone, scope=scope)
                lists.append(self._list(own, decided, ListKey(port.key, "local", node, family.number)))
            render_unit(family, own, lists, into=spelling)
        udp = _udp_flows(port) if port.protocol == "UDP" else None
        return t.Unit(spelling.elements, tuple(sorted(spelling.classes)), udp)

    def _list(self, port: ServicePort, decided: Backends, key: ListKey) -> _List:
        lists = self._slots.setdefault(key.unit, {})
        slots = lists[key] = assign_slots(lists.get(key, ()), decided.endpoints)
        number = self._numbers.known[_local_key(port.key) if key.flavour else port.key]
        if not slots:
            return _List(number, slots, None, t.DROP if decided.none == "drop" else t.REFUSE)
        family = t.IP.nft if key.family == 4 else t.IP6.nft
        backend_class = t.BackendClass(len(slots), port.affinity_seconds, family)
        return _List(number, slots, backend_class, backend_class.number)


def unit_of_list(name: str) -> str:
    """The key of the Service port that a list belongs to."""
    return name.removesuffix(_LOCAL)


def depends_on_node(port: ServicePort) -> bool:
    """Whether two nodes may be told different things about ``port``."""
    local = port.internal_local or port.external_local or bool(port.host_node)
    return local or any(e.for_zones or e.for_nodes for e in port.endpoints)


def render_unit(family: t.Family, port: ServicePort, lists: Sequence[_List], *, into: _Spelling) -> None:
    """Elements of one Service port of one family: its cluster list first, then its local list if it has one."""
    for part in lists:
        _render_list(family, part, port.affinity_seconds, into)
    _render_internal(family, port, lists, into)
    _render_external(family, port, lists, into)
    _render_host(family, port, lists[0], into)
    hairpins = {f"{e.address} . {e.address}": "" for part in lists for e in part.slots}
    if hairpins:
        into.of(family.hairpins).update(hairpins)
    into.classes.update(part.backend_class for part in lists if part.backend_class is not None)


def _render_list(family: t.Family, part: _List, affinity_seconds: int, into: _Spelling) -> None:
    number = t.word(part.number)
    into.of(family.counts)[number] = t.word(part.class_number)
    if not part.slots:
        return
    backends = into.of(family.backends)
    if not affinity_seconds:
        backends.update((f"{number} . 0x{i:x}", f"{e.address} . {e.port}") for i, e in enumerate(part.slots))
        return
    tickets = assign_numbers([_ticket_key(e) for e in part.slots], bits=31)
    for slot, endpoint in enumerate(part.slots):
        ticket = t.word(tickets[_ticket_key(endpoint)])
        into.of(family.tickets)[f"{number} . 0x{slot:x}"] = ticket
        into.of(family.members)[f"{number} . {ticket}"] = ""
        backends[f"{number} . {ticket}"] = f"{endpoint.address} . {endpoint.port}"


def _render_internal(family: t.Family, port: ServicePort, lists: Sequence[_List], into: _Spelling) -> None:
    chosen = lists[-1] if port.internal_local else lists[0]
    value = t.word(chosen.number | into.inner)
    protocol = port.protocol.lower()
    for address in port.cluster_ips:
        key = f"{address} . {protocol} . {port.port}"
        into.of(family.frontends)[key] = value
        into.of(family.traffic)[key] = ""
        into.of(family.cluster_ips)[address] = ""


def _render_external(family: t.Family, port: ServicePort, lists: Sequence[_List], into: _Spelling) -> None:
    protocol = port.protocol.lower()
    word, restricted = _external_word(port, lists), _is_restricted(port)
    words = set()
    for address in (*port.load_balancer_ips, *port.external_ips):
        flags = t.RESTRICTED if restricted and address in port.load_balancer_ips else 0
        key = f"{address} . {protocol} . {port.port}"
        into.of(family.frontends)[key] = t.word(word | flags)
        into.of(family.traffic)[key] = ""
        words.add(word | flags)
        if address in port.load_balancer_ips:  # its other ports are refused, or they would circle between node and host
            into.of(family.cluster_ips)[address] = ""
        if flags:
            _render_ranges(family, port, address, into)
    if port.node_port:
        into.of(family.nodeports)[f"{protocol} . {port.node_port}"] = t.word(word)
        into.of(family.node_traffic)[f"{protocol} . {port.node_port}"] = ""
        words.add(word)
    if port.external_local and words:
        inside = t.word(lists[0].number | t.MASQUERADE_OTHERS)
        into.of(family.shortcuts).update((t.word(w), inside) for w in words)


def _render_host(family: t.Family, port: ServicePort, part: _List, into: _Spelling) -> None:
    """A port of this node: whoever asks keeps his address, but for the node's own programs on loopback."""
    for address in port.host_ips:
        flags = t.MASQUERADE if address == LOOPBACK else 0
        place = f"{address} . {port.protocol.lower()} . {port.port}"
        into.of(family.frontends)[place] = t.word(part.number | flags)


def _external_word(port: ServicePort, lists: Sequence[_List]) -> int:
    """Cluster policy hides the client behind the node (P5); Local keeps it and short-circuits insiders (P6)."""
    if port.external_local:
        return lists[-1].number | t.SHORTCUT
    return lists[0].number | t.MASQUERADE


def _is_restricted(port: ServicePort) -> bool:
    """Any /0 range means no filter (S15)."""
    return bool(port.source_ranges) and all(r.length for r in port.source_ranges)


def _render_ranges(family: t.Family, port: ServicePort, address: str, into: _Spelling) -> None:
    ranges = _collapse(family, port.source_ranges)
    prefix = f"{address} . {port.protocol.lower()} . {port.port}"
    into.of(family.source_ranges).update((f"{prefix} . {r}", "") for r in ranges)


def _udp_flows(port: ServicePort) -> t.UdpFlows:
    virtual = (*port.cluster_ips, *port.load_balancer_ips, *port.external_ips, *port.host_ips)
    return t.UdpFlows(
        targets=frozenset((a, port.port) for a in virtual),
        node_port=port.node_port,
        keep=frozenset((e.address, e.port) for e in port.endpoints if e.ready or e.serving),
    )


def render_nodes(plan: ServicePlan, node: ServiceNode, families: Iterable[t.Family]) -> t.Unit:
    """This node's addresses, and the blocks towards which a pod keeps its source (P19)."""
    elements: dict[str, dict[str, str]] = {}
    nodes = [Cidr.parse(a) for n in plan.nodes.values() for a in n.addresses]
    pods = [c for n in plan.nodes.values() for c in n.pod_cidrs]
    blocks = [*plan.cluster_cidrs, *plan.service_cidrs, *pods, *nodes]
    for family in families:
        own = [c for c in node.pod_cidrs if c.family == family.number]
        elements[family.node_addresses] = {a: "" for a in node_port_addresses(plan, node) if family.has(a)}
        elements[family.inside] = {str(block): "" for block in _collapse(family, blocks)}
        # Without blocks of its own every pod counts as its own: rule 6 of the rules then never applies.
        elements[family.own_pods] = {str(block): "" for block in _collapse(family, own or plan.cluster_cidrs)}
    return t.Unit(elements)


def _collapse(family: t.Family, blocks: Iterable[Cidr]) -> Iterable[IPv4Network | IPv6Network]:
    """Disjoint blocks that cover the same addresses of a family."""
    return collapse_addresses(cast(IPv4Network, b.network) for b in blocks if b.family == family.number)


def _ticket_key(endpoint: Endpoint) -> str:
    return f"{endpoint.address}:{endpoint.port} {endpoint.pod or ''}"


def _local_key(key: str) -> str:
    return key + _LOCAL


def _has_local_list(port: ServicePort) -> bool:
    return port.internal_local or port.external_local
