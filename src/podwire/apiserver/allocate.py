"""Cluster addresses and node ports: who has which, and the next free one (reference/services.md S5, S8, S9).

Rules:

1. What is taken is read from the Services themselves: ``track`` follows every write, ``assign`` only picks. So a dry
   run, a refused write or a rolled back one cannot leak anything.
2. Dynamic picks start at a random place of the upper band, wrap there, then fall back to the lower band, which is
   thereby mostly free for static use (KEP-3070, KEP-3668).
3. Node ports are a pool by number: two Services never share one. Ports of one Service with the same ``port`` and
   another protocol share theirs. healthCheckNodePort comes from the same pool.
4. externalIPs are refused unless the cluster allows them (S16).
5. IPv4 only; IPv6 families are refused with 422.
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from podwire.apiserver.services import needs_address, needs_health_port, node_ports, wants_node_ports
from podwire.apiserver.status import Json, StatusError, cause, forbidden, internal, invalid
from podwire.kube.registry import KINDS

FIRST_NODE_PORT, LAST_NODE_PORT = 30000, 32767
SERVICE = KINDS["Service"]


class Refused(Exception):
    """A wanted value cannot be had; the text says why."""


class Pool:
    """Numbers ``[first, first + size)`` with owners."""

    def __init__(self, first: int, size: int, band: int) -> None:
        """``band`` numbers at the beginning are picked last."""
        self.first = first
        self.size = size
        self.band = band
        self.taken: dict[int, str] = {}

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


def address_pool(network: IPv4Network) -> Pool:
    """Usable addresses: the network address and broadcast are never given (S5)."""
    size = network.num_addresses
    band = min(max(16, size // 16), 256) if size > 16 else 0
    return Pool(int(network.network_address) + 1, max(size - 2, 0), band)


def port_pool() -> Pool:
    """30000-32767, the first 86 static first (S8)."""
    size = LAST_NODE_PORT - FIRST_NODE_PORT + 1
    return Pool(FIRST_NODE_PORT, size, min(max(16, size // 32), 128))


class Allocator:
    """Both pools."""

    def __init__(self, service_cidrs: tuple[str, ...], chance: Callable[[int], int]) -> None:
        """``service_cidrs``: IPv4; ``chance(n)``: a number below n."""
        self.network = IPv4Network(service_cidrs[0])
        self._chance = chance
        self.allow_external_ips = False
        self.reset()

    def reset(self) -> None:
        """Nothing is taken."""
        self.addresses = address_pool(self.network)
        self.ports = port_pool()

    @property
    def first_address(self) -> str:
        """Where Service ``kubernetes`` lives."""
        return str(self.network[1])

    def track(self, key: str, old: Json | None, new: Json | None) -> None:
        """A Service was written: release what ``old`` had, take what ``new`` has."""
        for value in (old, new):
            spec = (value or {}).get("spec", {})
            numbers = [int(IPv4Address(ip)) for ip in spec.get("clusterIPs", ()) if ip != "None" and ":" not in ip]
            for number in numbers:
                _mark(self.addresses, number, key, taken=value is new)
            for port in _all_ports(spec):
                _mark(self.ports, port, key, taken=value is new)

    def assign(self, key: str, new: Json, old: Json | None) -> Json:
        """``new`` with everything its type needs. Raises :class:`StatusError` 403, 422 or 500."""
        spec = dict(new.get("spec", {}))
        name = new["metadata"].get("name", "")
        if not self.allow_external_ips:
            _deny_external_ips(spec, (old or {}).get("spec", {}), name)
        if needs_address(spec):
            self._families(spec, name)
            self._address(spec, key, name)
        self._node_ports(spec, key, name, old=old)
        return {**new, "spec": spec}

    def _families(self, spec: Json, name: str) -> None:
        headless = spec.get("clusterIP") == "None"
        selectorless = headless and not spec.get("selector")
        if selectorless and not spec.get("ipFamilyPolicy"):
            spec["ipFamilyPolicy"] = "SingleStack" if len(spec.get("ipFamilies", ())) == 1 else "RequireDualStack"
        policy = spec.setdefault("ipFamilyPolicy", "SingleStack")
        if policy == "RequireDualStack" and not selectorless:
            raise _invalid(
                name, "spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"
            )
        for index, family in enumerate(spec.get("ipFamilies", ())):
            if family == "IPv6" and not selectorless:
                raise _invalid(name, f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        if not spec.get("ipFamilies"):
            both = selectorless and policy != "SingleStack"
            spec["ipFamilies"] = ["IPv4", "IPv6"] if both else ["IPv4"]

    def _address(self, spec: Json, key: str, name: str) -> None:
        wanted = spec.get("clusterIP", "") or next(iter(spec.get("clusterIPs", ())), "")
        if wanted == "":
            number = self.addresses.pick(self._chance, set())
            if number is None:
                raise internal("failed to allocate a serviceIP: range is full")
            wanted = str(IPv4Address(number))
        elif wanted != "None":
            try:
                self._claim_address(wanted, key)
            except Refused as why:
                asked = spec.get("clusterIPs") or [wanted]
                message = f"failed to allocate IP {wanted}: {why}"
                raise _invalid(name, "spec.clusterIPs", asked, message) from None
        spec["clusterIP"] = wanted
        spec["clusterIPs"] = spec.get("clusterIPs") or [wanted]

    def _claim_address(self, wanted: str, key: str) -> None:
        outside = f"the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {self.network}"
        try:
            number = int(IPv4Address(wanted))
        except ValueError:
            raise Refused(outside) from None
        if not self.addresses.first <= number < self.addresses.first + self.addresses.size:
            raise Refused(outside)
        if self.addresses.taken.get(number, key) != key:
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


def _mark(pool: Pool, number: int, key: str, *, taken: bool) -> None:
    if taken:
        pool.taken[number] = key
    elif pool.taken.get(number) == key:
        del pool.taken[number]


def _all_ports(spec: Json) -> set[int]:
    health = spec.get("healthCheckNodePort")
    return node_ports(spec) | ({health} if health else set())


def _invalid(name: str, path: str, value: Any, why: str) -> StatusError:
    from msgspec.json import encode

    shown = encode(value).decode()
    return invalid(SERVICE, name, [cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", path)])
