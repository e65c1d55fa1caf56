"""Indexes over (snapshot, plans) that the questions share, and the parties a person can name."""

from collections.abc import Iterable, Iterator
from functools import cached_property

from podwire.base import Ref
from podwire.explain.steps import Party
from podwire.kube import Pod
from podwire.plan import Plans, PolicyPod, ProxyPlan, ServicePort, ZoneIndex, node, node_port_addresses, of_family
from podwire.snapshot import Snapshot

PROXY_IMAGE = "podwire/envoy"


def same_family(addresses: Iterable[str], like: str) -> str:
    """The first address of the family of ``like``; empty when there is none."""
    return next((a for a in addresses if (":" in a) == (":" in like)), "")


class World:
    """One instant, ready for many questions."""

    def __init__(self, snapshot: Snapshot, plans: Plans) -> None:
        """Index lazily."""
        self.snapshot = snapshot
        self.plans = plans

    @cached_property
    def zone(self) -> ZoneIndex:
        """Names."""
        return ZoneIndex(self.plans.zone)

    @cached_property
    def pods_by_address(self) -> dict[str, Ref]:
        """Every live pod address. Pods of the host network are at their node's address and not in here."""
        return {a: pod.pod for pod in self.plans.policy.pods.values() for a in pod.addresses}

    @cached_property
    def nodes_by_address(self) -> dict[str, str]:
        """Node names by address."""
        return {a: n.name for n in self.plans.services.nodes.values() for a in n.addresses}

    @cached_property
    def node_port_addresses(self) -> frozenset[str]:
        """Where NodePorts answer."""
        services = self.plans.services
        return frozenset(a for node in services.nodes.values() for a in node_port_addresses(services, node))

    @cached_property
    def units_by_virtual(self) -> dict[tuple[str, str, int], ServicePort]:
        """Service ports by (address, protocol, port), for cluster, load balancer and external addresses."""
        return {
            (address, unit.protocol, unit.port): unit
            for unit in self._units_by_family()
            for address in (*unit.cluster_ips, *unit.load_balancer_ips, *unit.external_ips)
        }

    def _units_by_family(self) -> Iterator[ServicePort]:
        """Every Service port as the data plane of each of its families has it."""
        for unit in self.plans.services.ports.values():
            four = of_family(unit, 4)
            if four is unit:
                yield unit
            else:
                yield from (four, of_family(unit, 6))

    @cached_property
    def units_by_node_port(self) -> dict[tuple[bool, str, int], ServicePort]:
        """Service ports by (whether IPv6, protocol, nodePort): none in a family in which the Service has no address."""
        units = (u for u in self._units_by_family() if u.node_port and u.cluster_ips)
        return {(":" in u.cluster_ips[0], u.protocol, u.node_port): u for u in units}

    @cached_property
    def units_by_host_port(self) -> dict[tuple[str, str, str, int], ServicePort]:
        """Ports of nodes that lead to pods, by (node, address, protocol, port)."""
        return {
            (unit.host_node, address, unit.protocol, unit.port): unit
            for unit in self._units_by_family()
            for address in unit.host_ips
        }

    @cached_property
    def virtual_addresses(self) -> dict[str, ServicePort]:
        """One Service port for each virtual address."""
        return {address: unit for (address, _, _), unit in self.units_by_virtual.items()}

    @cached_property
    def api_endpoints(self) -> frozenset[tuple[str, int]]:
        """Where the Kubernetes API listens: behind Service ``default/kubernetes`` by definition."""
        unit = self.plans.services.ports.get("default/kubernetes:443/TCP")
        return frozenset((e.address, e.port) for e in unit.endpoints) if unit else frozenset()

    @cached_property
    def cut_nodes(self) -> frozenset[str]:
        """Nodes without their link."""
        return frozenset(name for name, unit in self.plans.nodes.nodes.items() if unit.cut)

    def zone_of(self, node_name: str) -> str:
        """A node's zone."""
        found = self.plans.services.nodes.get(node_name)
        return found.zone if found else ""

    def address_of(self, node_name: str, like: str) -> str:
        """A node's address of the family of ``like``; empty when it has none."""
        found = self.plans.services.nodes.get(node_name)
        return same_family(found.addresses, like) if found else ""

    def subject(self, pod: Ref | None) -> PolicyPod | None:
        """The pod as policies see it."""
        return self.plans.policy.pods.get(pod.key) if pod else None

    def runtime(self, pod: Ref | None) -> node.Pod | None:
        """The pod as the node runtime sees it."""
        return self.plans.nodes.pods.get(pod.key) if pod else None

    def proxy_in(self, pod: Ref | None) -> ProxyPlan | None:
        """The proxy plan a pod executes, if it is a proxy."""
        found = self.runtime(pod)
        if found is None or not any(c.image == PROXY_IMAGE for c in found.containers):
            return None
        return next(iter(self.plans.routes.proxies.values()), None)

    def pod_party(self, pod: Ref) -> Party | None:
        """A pod as one end of a connection; None while it has no address."""
        found = self.subject(pod)
        if found is not None:
            return Party(pod.key, found.addresses, found.node, pod)
        value = self.snapshot.get(Pod, pod.namespace, pod.name)
        if value is None or not value.spec.host_network or not value.spec.node_name:
            return None
        found_node = self.plans.services.nodes.get(value.spec.node_name)
        return Party(pod.key, found_node.addresses, value.spec.node_name, None) if found_node else None

    def node_party(self, name: str) -> Party | None:
        """A program on a node, outside any pod; None when there is no such node."""
        found = self.plans.services.nodes.get(name)
        return Party(f"node/{name}", found.addresses, name) if found and found.addresses else None

    def host_party(self) -> Party:
        """The machine podwire runs on, outside the cluster."""
        return Party("host", self.snapshot.settings.host_addresses)
