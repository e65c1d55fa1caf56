"""Ports of nodes that lead to pods: ``hostPort`` and ``hostIP`` of containers, as units of the Service plan.

Rules:

1. A pod with an address that is not of the host network and has not finished has its ports, ready or not, as CNI's
   portmap gives them from the pod's start to its end. The client's address is kept.
2. Without ``hostIP`` the port is on every address of the node, and on 127.0.0.1 for the node's own programs; with
   0.0.0.0 or :: on those of that family.
3. What somebody else has is not opened, and said (PW6027): a NodePort or an address of a Service wins, as kube-proxy's
   rules come before portmap's; of two pods on one node (the scheduler keeps them apart) the older one does.

Source: containernetworking/plugins ``plugins/meta/portmap``, kubernetes ``pkg/proxy/iptables``.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import cast

import msgspec

from podwire.base import Edition, FieldPath, Finding, Origin, Protocol
from podwire.compile.context import Context
from podwire.compile.statuses import parse_time
from podwire.compile.touched import Results, kept
from podwire.kube import Pod, Service
from podwire.kube.pods import ContainerPort
from podwire.plan import LOOPBACK, Endpoint, ServiceNode, ServicePort

Claim = tuple[str, str, int]
"""Address (empty: every address of every node), protocol, port."""
Units = Mapping[str, ServicePort]


class Wish(msgspec.Struct, frozen=True):
    """One ``hostPort`` of a pod, and where it is written."""

    pod: Pod
    path: str
    port: ContainerPort


class HostPorts:
    """Units and findings of all pods, from compile to compile."""

    def __init__(self) -> None:
        """No pod wishes a port."""
        self.units: Edition[str, ServicePort] = Edition()
        self.findings: tuple[Finding, ...] = ()
        self._wishes: Results[tuple[Wish, ...]] = Results()

    def update(self, context: Context, nodes: Mapping[str, ServiceNode]) -> Units:
        """The units of one instant; the same objects while nothing changes."""
        pods = context.snapshot.all(Pod)
        wishes = self._wishes.update((pods,), (), lambda key: find_wishes(pods.get(key)))
        if not wishes and not self.units:
            self.findings = ()
            return self.units
        services = context.snapshot.all(Service)
        claims = context.memo.unit("service-claims", (services,), partial(_claims, services))
        inputs = (wishes, claims, *nodes.values())
        units, self.findings = context.memo.unit("host-ports", inputs, partial(_compile, wishes, claims, nodes))
        changes: dict[str, ServicePort | None] = {key: None for key in self.units if key not in units}
        changes |= {key: kept(self.units.get(key), unit) for key, unit in units.items()}
        self.units = self.units.revise(changes)
        return self.units


def find_wishes(pod: Pod | None) -> tuple[Wish, ...] | None:
    """The ports of its node that a pod asks for (rule 1); None for none."""
    if pod is None or not pod.spec.node_name or pod.spec.host_network or pod.is_finished or not pod.addresses:
        return None
    return tuple(_wishes(pod)) or None


def _wishes(pod: Pod) -> Iterator[Wish]:
    for field, containers in (("containers", pod.spec.containers), ("initContainers", pod.spec.init_containers)):
        for index, container in enumerate(containers):
            if field == "containers" or container.restart_policy == "Always":
                for number, port in enumerate(container.ports):
                    if port.host_port:
                        yield Wish(pod, f"spec.{field}[{index}].ports[{number}]", port)


def _claims(services: Mapping[str, Service]) -> dict[Claim, str]:
    """What Services have, and which."""
    found: dict[Claim, str] = {}
    for service in services.values():
        for port in service.spec.ports:
            if port.node_port:
                found["", port.protocol, port.node_port] = service.key
            for address in service.spec.external_ips:
                found[address, port.protocol, port.port] = service.key
    return found


def _compile(
    wishes: Mapping[str, tuple[Wish, ...]], claims: Mapping[Claim, str], nodes: Mapping[str, ServiceNode]
) -> tuple[dict[str, ServicePort], tuple[Finding, ...]]:
    taken: dict[tuple[str, Claim], str] = {}
    units: dict[str, ServicePort] = {}
    findings: list[Finding] = []
    everything = [wish for found in wishes.values() for wish in found]
    for wish in sorted(everything, key=lambda w: (parse_time(w.pod.metadata.creation_timestamp), w.pod.key, w.path)):
        node = nodes.get(wish.pod.spec.node_name)
        if node is None:
            continue
        addresses, lost = opened_addresses(wish, node), ""
        free = []
        for address in addresses:
            owner = _owner(wish, address, node, claims, taken)
            free += [] if owner else [address]
            lost = lost or owner
        if not addresses:
            lost = f"{wish.port.host_ip} is no address of node {node.name}"
        if lost:
            findings.append(_unopened(wish, lost))
        if free:
            unit = _unit(wish, node, tuple(free))
            units[unit.key] = unit
            taken |= {(node.name, (a, unit.protocol, unit.port)): f"pod {wish.pod.key} has it" for a in free}
    return units, tuple(findings)


def opened_addresses(wish: Wish, node: ServiceNode) -> tuple[str, ...]:
    """Rule 2."""
    match wish.port.host_ip:
        case "":
            return (*node.addresses, LOOPBACK)
        case "0.0.0.0":  # noqa: S104
            return (*(a for a in node.addresses if ":" not in a), LOOPBACK)
        case "::":
            return tuple(a for a in node.addresses if ":" in a)
        case address:
            return (address,) if address in (*node.addresses, LOOPBACK) else ()


def _owner(
    wish: Wish,
    address: str,
    node: ServiceNode,
    claims: Mapping[Claim, str],
    taken: Mapping[tuple[str, Claim], str],
) -> str:
    """Who has the port already (rule 3), in words; nothing when it is free."""
    number, protocol = wish.port.host_port, wish.port.protocol
    service = claims.get((address, protocol, number)) or claims.get(("", protocol, number))
    if service:
        return f"Service {service} has it"
    return taken.get((node.name, (address, protocol, number)), "")


def _unit(wish: Wish, node: ServiceNode, addresses: tuple[str, ...]) -> ServicePort:
    pod, port = wish.pod, wish.port
    origin = Origin(pod.ref, FieldPath(f"{wish.path}.hostPort"))
    return ServicePort(
        origin=origin,
        service=pod.ref,
        port_name=port.name,
        protocol=cast(Protocol, port.protocol),
        port=port.host_port,
        node_port=0,
        cluster_ips=(),
        load_balancer_ips=(),
        external_ips=(),
        affinity_seconds=0,
        internal_local=False,
        external_local=False,
        source_ranges=(),
        endpoints=tuple(
            Endpoint(
                address=address,
                port=port.container_port,
                node=node.name,
                zone=node.zone,
                ready=True,
                serving=True,
                terminating=False,
                pod=pod.ref,
                origin=origin,
            )
            for address in pod.addresses
        ),
        host_node=node.name,
        host_ips=addresses,
    )


def _unopened(wish: Wish, why: str) -> Finding:
    port = wish.port
    where = FieldPath(f"{wish.path}.hostPort")
    message = f"hostPort {port.host_port}/{port.protocol} of node {wish.pod.spec.node_name} is not opened: {why}"
    return Finding("PW6027", "warning", wish.pod.ref, where, message, "choose another port, or leave hostIP out")
