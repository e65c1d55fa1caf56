"""What must come back from one probe, by walking ``decide_backends`` and ``decide_policy`` hop by hop.

This is the meaning the kernel is held against; it knows routes of :mod:`nft_world` and nothing of nftables.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.kernel.nft_world import NODES, PORTS, ZONES, Probe, Seen, World

from podwire.plan import Endpoint, PolicyPod, ServicePort, decide_backends, decide_policy
from podwire.plan.services import Scope
from podwire.planes.nft import NftPlan


class Packet(NamedTuple):
    """A first packet at a node; ``born`` when that node itself sends it."""

    node: str
    source: str
    address: str
    port: int
    protocol: str
    born: bool


class Model:
    """Expectations over one plan in one world."""

    def __init__(self, world: World, plan: NftPlan) -> None:
        self.world, self.plan = world, plan
        self.by_address: dict[str, PolicyPod] = {a: p for p in plan.policy.pods.values() for a in p.addresses}
        self.places = {world.address(place): place for place in (*world.pods, *NODES, "host")}

    def expect(self, probe: Probe) -> set[Seen]:
        """Every outcome that is right."""
        source = self.world.address(probe.place)
        if probe.place == "host":
            if (node := self._entry(probe.address)) is None:
                return {self._arrive(probe.address, probe, source)}
        else:
            node = probe.place if probe.place in NODES else self.world.pods[probe.place][0]
        packet = Packet(node, source, probe.address, probe.port, probe.protocol, probe.place in NODES)
        return set(self._at_node(packet, probe, ()))

    def _entry(self, address: str) -> str | None:
        """Where the host's routes lead."""
        if address.startswith("10.96."):
            return "node-a"
        if address.startswith("10.89.9."):
            return "node-b"
        return next((n for n, a in NODES.items() if a == address), None) or self._home(address)

    def _home(self, address: str) -> str | None:
        pod = self.places.get(address, "")
        return self.world.pods[pod][0] if pod in self.world.pods else None

    def _is_pod(self, address: str) -> bool:
        return address.startswith("10.244.")

    def _match(self, p: Packet) -> tuple[ServicePort, bool, bool] | None:
        """The Service port a packet hits at its node, whether from outside, and whether on a balancer address."""
        for _, unit in sorted(self.plan.services.ports.items()):
            if unit.protocol != p.protocol:
                continue
            if unit.port == p.port and p.address in unit.cluster_ips:
                return unit, False, False
            if unit.port == p.port and p.address in (*unit.load_balancer_ips, *unit.external_ips):
                return unit, True, p.address in unit.load_balancer_ips
            if unit.node_port == p.port and p.address == NODES[p.node]:
                return unit, True, False
        return None

    def _at_node(self, p: Packet, probe: Probe, path: tuple[str, ...]) -> Iterator[Seen]:
        hit = self._match(p)
        if hit is None:
            yield from self._plain(p, probe, path)
            return
        unit, outside, balancer = hit
        if balancer and unit.source_ranges and not any(r.contains(p.source) for r in unit.source_ranges):
            yield Seen("drop")
            return
        insider = p.born or self._is_pod(p.source)
        scope: Scope = "internal" if not outside else "shortcut" if insider else "external"
        backends = decide_backends(unit, node=p.node, zone=ZONES[p.node], scope=scope)
        if not backends.endpoints:
            yield Seen(backends.none)
        hide = (outside and not unit.external_local) or (not self._is_pod(p.source) and scope != "external")
        for endpoint in backends.endpoints:
            yield self._deliver(p, endpoint, probe, hide=hide)

    def _deliver(self, p: Packet, endpoint: Endpoint, probe: Probe, *, hide: bool) -> Seen:
        own_node = NODES[p.node]
        if endpoint.address == own_node:
            return self._arrive(own_node, probe._replace(port=endpoint.port), p.source)
        if not p.born and not self._passes(p.node, p.source, endpoint.address, endpoint.port, p.protocol):
            return Seen("drop")
        home = self._home(endpoint.address)
        source_home = self._home(p.source)
        astray = source_home not in (None, p.node) and home != p.node
        source = own_node if hide or astray or endpoint.address == p.source else p.source
        if home not in (None, p.node) and not self._passes(
            str(home), source, endpoint.address, endpoint.port, p.protocol
        ):
            return Seen("drop")
        return self._arrive(endpoint.address, probe._replace(port=endpoint.port), source)

    def _plain(self, p: Packet, probe: Probe, path: tuple[str, ...]) -> Iterator[Seen]:
        virtual = {a for unit in self.plan.services.ports.values() for a in unit.cluster_ips}
        if p.address.startswith("10.96."):
            yield Seen("refuse" if p.address in virtual else "drop")
            return
        if p.address == NODES[p.node]:
            yield self._arrive(p.address, probe, p.source)
            return
        if not p.born and not self._passes(p.node, p.source, p.address, p.port, p.protocol):
            yield Seen("drop")
            return
        if p.address in NODES.values() and p.node not in path:
            there = next(n for n, a in NODES.items() if a == p.address)
            yield from self._at_node(p._replace(node=there, born=False), probe, (*path, p.node))
            return
        home = self._home(p.address)
        if home not in (None, p.node) and not self._passes(str(home), p.source, p.address, p.port, p.protocol):
            yield Seen("drop")
            return
        leaves = self._is_pod(p.source) and home is None and p.address not in NODES.values()
        yield self._arrive(p.address, probe, NODES[p.node] if leaves else p.source)

    def _passes(self, node: str, source: str, destination: str, port: int, protocol: str) -> bool:
        """Both directions, of the pods that live on ``node``."""
        sides = (("egress", source, destination), ("ingress", destination, source))
        for direction, subject, peer in sides:
            pod = self.by_address.get(subject)
            if pod is None or pod.node != node:
                continue
            verdict = decide_policy(
                self.plan.policy,
                subject=pod,
                direction="egress" if direction == "egress" else "ingress",
                peer=peer,
                protocol=protocol,
                port=port,
            )
            if verdict.action == "deny":
                return False
        return True

    def _arrive(self, address: str, probe: Probe, source: str) -> Seen:
        place = self.places[address]
        listens = probe.port in (PORTS if place in self.world.pods else (8080,))
        return Seen("answer", place, source) if listens else Seen("refuse")
