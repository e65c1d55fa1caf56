"""Cluster addresses and node ports: who has which, and the next free one (reference/services.md S5, S8, S9).

Rules:

1. What is taken is read from the Services themselves: ``track`` follows every write, ``assign`` only picks. So a dry
   run, a refused write or a rolled back one cannot leak anything.
2. Dynamic picks start at a random place of the upper band, wrap there, then fall back to the lower band, which is
   thereby mostly free for static use (KEP-3070, KEP-3668).
3. Node ports are a pool by number: two Services never share one. Ports of one Service with the same ``port`` and
   another protocol share theirs. healthCheckNodePort comes from the same pool.
4. externalIPs are refused unless the cluster allows them (S16).
5. Addresses come from the blocks of ServiceCIDRs: the cluster's own (``kubernetes``) first, then the others by name.
   One that is being deleted gives none. An IPAddress that somebody made takes its address. Which families a Service
   has: families.py.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from podwire.apiserver.families import family_of, keeps_preference, settle_families
from podwire.apiserver.services import needs_address, needs_health_port, node_ports, wants_node_ports
from podwire.apiserver.status import Json, StatusError, cause, forbidden, internal, invalid
from podwire.kube.registry import KINDS

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767
SERVICE = KINDS["Service"]
Network = IPv4Network | IPv6Network

DEFAULT_CIDR = "kubernetes"
"""The ServiceCIDR with the cluster's own blocks."""
RESERVED = "an IPAddress"
"""Who has an address that no Service has."""


class Refused(Exception):
    """A wanted value cannot be had; the text says why."""


class Pool:
    """Numbers ``[first, first + size)`` with owners."""

    def __init__(self, first: int, size: int, band: int, taken: dict[int, str] | None = None) -> None:
        """``band`` numbers at the beginning are picked last; pools that overlap share ``taken``."""
        self.first = first
        self.size = size
        self.band = band
        self.taken = {} if taken is None else taken

    def __contains__(self, number: int) -> bool:
        """Whether the number may be had at all."""
        return self.first <= number < self.first + self.size

    def pick(self, chance: Callable[[int], int], avoid: set[int]) -> int | None:
        """A free number, None when there is none."""
        upper = self.size - self.band
        start = chance(upper) if upper else 0
        for step in range(upper):
            number = self.first + self.band + (start + step) % upper
            if number not in self.taken and number not in avoid:
                return number
        lower = range(self.first, self.first + self.band)
        return next((number for number in lower if number not in self.taken and number not in avoid), None)


def address_pool(network: Network, taken: dict[int, str] | None = None) -> Pool:
    """Usable addresses: the network address is never given, nor is IPv4's broadcast (S5)."""
    size = network.num_addresses
    band = min(max(16, size // 16), 256) if size > 16 else 0
    never = 2 if network.version == 4 else 1
    return Pool(int(network.network_address) + 1, max(size - never, 0), band, taken)


def port_pool() -> Pool:
    """30000-32767, the first 86 static first (S8)."""
    size = LAST_NODE_PORT - FIRST_NODE_PORT + 1
    return Pool(FIRST_NODE_PORT, size, min(max(16, size // 32), 128))


class Allocator:
    """The pools of addresses and the one of ports."""

    def __init__(self, service_cidrs: tuple[str, ...], chance: Callable[[int], int]) -> None:
        """``service_cidrs``: one of each family, the primary one first; ``chance(n)``: a number below n."""
        self.networks: dict[str, Network] = {f"IPv{block.version}": block for block in map(ip_network, service_cidrs)}
        self._chance = chance
        self.allow_external_ips = False
        self.reset()

    def reset(self) -> None:
        """Nothing is taken."""
        self._taken: dict[str, dict[int, str]] = {family: {} for family in self.networks}
        self._blocks: dict[str, tuple[Network, ...]] = {DEFAULT_CIDR: tuple(self.networks.values())}
        self._make_pools()
        self.ports = port_pool()

    def _make_pools(self) -> None:
        ordered = sorted(self._blocks.items(), key=lambda entry: (entry[0] != DEFAULT_CIDR, entry[0]))
        self._pools: dict[str, list[tuple[Network, Pool]]] = {family: [] for family in self.networks}
        for _, blocks in ordered:
            for block in blocks:
                family = f"IPv{block.version}"
                if family in self._pools:
                    self._pools[family].append((block, address_pool(block, self._taken[family])))

    def taken(self, family: str) -> Mapping[int, str]:
        """Who has which address of a family."""
        return self._taken[family]

    @property
    def first_address(self) -> str:
        """Where Service ``kubernetes`` lives."""
        return str(next(iter(self.networks.values()))[1])

    def track(self, key: str, old: Json | None, new: Json | None) -> None:
        """A Service was written: release what ``old`` had, take what ``new`` has."""
        for value in (old, new):
            spec = (value or {}).get("spec", {})
            for address in spec.get("clusterIPs", ()):
                taken = self._taken.get(family_of(address))
                if address != "None" and taken is not None:
                    _mark(taken, int(ip_address(address)), key, mine=value is new)
            for port in _all_ports(spec):
                _mark(self.ports.taken, port, key, mine=value is new)

    def track_cidr(self, name: str, new: Json | None) -> None:
        """A ServiceCIDR was written; None: it is gone."""
        if new is None or new["metadata"].get("deletionTimestamp"):
            self._blocks.pop(name, None)
        else:
            self._blocks[name] = tuple(map(ip_network, (new.get("spec") or {}).get("cidrs") or ()))
        self._make_pools()

    def track_address(self, address: str, new: Json | None) -> None:
        """An IPAddress was written; None: it is gone."""
        taken, number = self._taken.get(family_of(address)), int(ip_address(address))
        if taken is None:
            return
        if new is not None:
            taken.setdefault(number, RESERVED)
        elif taken.get(number) == RESERVED:
            del taken[number]

    def assign(self, key: str, new: Json, old: Json | None) -> Json:
        """``new`` with everything its type needs. Raises :class:`StatusError` 403, 422 or 500."""
        spec = dict(new.get("spec", {}))
        name = new["metadata"].get("name", "")
        before = (old or {}).get("spec", {})
        if not self.allow_external_ips:
            _deny_external_ips(spec, before, name)
        if spec.get("clusterIP") and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [spec["clusterIP"]]
        if needs_address(spec) and not keeps_preference(spec, before):
            problems = settle_families(spec, before, tuple(self.networks))
            if problems:
                raise invalid(SERVICE, name, [_cause(path, value, why) for path, value, why in problems])
            self._assign_addresses(spec, key, name)
        self._node_ports(spec, key, name, old=old)
        return {**new, "spec": spec}

    def _assign_addresses(self, spec: Json, key: str, name: str) -> None:
        """An address of each family: the one that is asked for, else the next free one."""
        asked = list(spec.get("clusterIPs") or ())
        if asked[:1] != ["None"]:
            given = []
            for index, family in enumerate(spec["ipFamilies"]):
                wanted = asked[index] if index < len(asked) else ""
                given.append(self._address(family, wanted, key, name=name, asked=asked))
            asked = given
        spec["clusterIP"], spec["clusterIPs"] = asked[0], asked

    def _address(self, family: str, wanted: str, key: str, *, name: str, asked: list[str]) -> str:
        if wanted:
            try:
                self._claim_address(family, wanted, key)
            except Refused as why:
                message = f"failed to allocate IP {wanted}: {why}"
                raise _invalid(name, "spec.clusterIPs", asked, message) from None
            return wanted
        for network, pool in self._pools[family]:
            number = pool.pick(self._chance, set())
            if number is not None:
                return str(network[number - int(network.network_address)])
        raise internal("failed to allocate a serviceIP: range is full")

    def _claim_address(self, family: str, wanted: str, key: str) -> None:
        pools, number = self._pools[family], int(ip_address(wanted))
        if self._taken[family].get(number) == key:
            return  # also when its ServiceCIDR is being deleted
        if family_of(wanted) != family or not any(number in pool for _, pool in pools):
            span = f"The range of valid IPs is {', '.join(str(network) for network, _ in pools)}"
            raise Refused(f"the provided IP ({wanted}) is not in the valid range. {span}")
        if number in self._taken[family]:
            raise Refused("provided IP is already allocated")

    def _node_ports(self, spec: Json, key: str, name: str, *, old: Json | None) -> None:
        explicit = node_ports(spec)
        chosen: set[int] = set(explicit)
        by_port: dict[int, int] = {}
        ports = []
        for index, port in enumerate(spec.get("ports", ())):
            number = port.get("nodePort", 0)
            if number:
                self._claim_port(number, key, name, f"spec.ports[{index}].nodePort")
            elif wants_node_ports(spec):
                number = by_port.get(port.get("port", 0)) or self._next_port(chosen)
            chosen.add(number)
            if number:
                by_port.setdefault(port.get("port", 0), number)
                port = {**port, "nodePort": number}
            ports.append(port)
        if ports:
            spec["ports"] = ports
        self._health_port(spec, key, name, chosen)

    def _health_port(self, spec: Json, key: str, name: str, chosen: set[int]) -> None:
        if not needs_health_port(spec):
            return
        if spec.get("healthCheckNodePort"):
            self._claim_port(spec["healthCheckNodePort"], key, name, "spec.healthCheckNodePort")
        else:
            spec["healthCheckNodePort"] = self._next_port(chosen)

    def _next_port(self, avoid: set[int]) -> int:
        number = self.ports.pick(self._chance, avoid)
        if number is None:
            raise internal("failed to allocate a nodePort: range is full")
        return number

    def _claim_port(self, number: int, key: str, name: str, path: str) -> None:
        if not FIRST_NODE_PORT <= number <= LAST_NODE_PORT:
            span = f"{FIRST_NODE_PORT}-{LAST_NODE_PORT}"
            why = f"provided port is not in the valid range. The range of valid ports is {span}"
            raise _invalid(name, path, number, why)
        if self.ports.taken.get(number, key) != key:
            raise _invalid(name, path, number, "provided port is already allocated")


def _deny_external_ips(spec: Json, before: Json, name: str) -> None:
    """S16: only a subset of what the Service has already (admission plugin DenyServiceExternalIPs)."""
    new = sorted(set(spec.get("externalIPs") or ()) - set(before.get("externalIPs") or ()))
    if new:
        why = (
            f"Use of external IPs is denied by admission control: spec.externalIPs {', '.join(new)} would let anyone "
            "who may edit Services take over an address (CVE-2020-8554); podwire up --allow-external-ips allows it"
        )
        raise forbidden(SERVICE, name, why)


def _mark(taken: dict[int, str], number: int, key: str, *, mine: bool) -> None:
    if mine:
        taken[number] = key
    elif taken.get(number) == key:
        del taken[number]


def _all_ports(spec: Json) -> set[int]:
    health = spec.get("healthCheckNodePort")
    return node_ports(spec) | ({health} if health else set())


def _invalid(name: str, path: str, value: Any, why: str) -> StatusError:
    return invalid(SERVICE, name, [_cause(path, value, why)])


def _cause(path: str, value: Any, why: str) -> Json:
    from msgspec.json import encode

    return cause("FieldValueInvalid", f"Invalid value: {encode(value).decode()}: {why}", path)
