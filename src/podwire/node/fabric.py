"""The wires: one edge namespace with a bridge, the host and the nodes on it, and a routed link to every pod.

Everything here blocks and runs in one thread (the runtime's), because entering namespaces is per thread.

Rules:

1. Host and nodes are ports of one bridge in the edge namespace; the host has the fabric's first address. On the host
   there is exactly one link and the routes of ``NodePlan.routes``, nothing else.
2. How nodes reach each other's pods: :mod:`podwire.node.overlay`. A pod has a /32 address (IPv6: /128), its default
   route goes to 169.254.1.1 (fe80::1), which is answered by a permanent neighbour entry: no ARP, and traffic between
   pods of one node crosses the node's forward hook (services reference, section 6.2).
3. Loose reverse path filtering, no redirects: a packet for a virtual address may leave by the interface it came in by.
4. The edge namespace's name has a dot in front, which no node name can have.
5. IPv6 addresses are used at once (no duplicate address detection), and links make up none of their own: no router
   solicitations, no chatter, nobody advertises routes. Only a node's link to the fabric gets a link-local address, from
   which the kernel asks for neighbours on behalf of pods (``ndisc_send_ns`` sends nothing without one).
"""

import os
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

import msgspec

from podwire.base import Cidr, EnvironmentUnfit, PodwireError, stable_hash
from podwire.node import attach_link, netlink, netlink_rules, netns, overlay, podlink
from podwire.node.attach_words import Key
from podwire.node.wires import Record
from podwire.plan import node as plan
from podwire.plan import node_netns, pod_netns
from podwire.plan.node import edge_mark, edge_netns

ETH0_INDEX: Final = 100
BRIDGE_INDEX: Final = 10
_POD_LINKS: Final = 1000
_EDGE_TABLES: Final = 0x10000
"""Routing tables of the edge: one a node."""
_LINKS_A_START, _MOST_STARTS = 1_000_000, 2_000
_NO_IPV6 = (("ipv6/conf/default/disable_ipv6", "1"),)
"""::1 stays. Each file costs a pod 0.2 ms, and programs run as root: no more is needed."""
_IPV6 = (("ipv6/conf/default/addr_gen_mode", "1"),)
"""Rule 5: no link-local addresses."""
_IPV6_FORWARDING = (("ipv6/conf/all/forwarding", "1"),)
_NODE_SYSCTLS = (
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "2"),
    ("ipv4/conf/default/rp_filter", "2"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/conf/all/route_localnet", "1"),
    ("netfilter/nf_conntrack_tcp_be_liberal", "1"),
)


_EDGE_SYSCTLS = (
    *_NO_IPV6,
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
)
"""At the edge packets leave by the interface they came in by."""


def host_link(cluster: str) -> str:
    """Name of the one interface a cluster has on the host (at most 15 bytes)."""
    return f"pw{stable_hash(cluster, size_bytes=4)}"


def host_address(fabric: str) -> str:
    """First address of the nodes' subnet."""
    return str(Cidr.parse_lenient(fabric).network.network_address + 1)


def edge_address(fabric: str) -> str:
    """The last address of the nodes' subnet: where the load balancer is, if it is outside of the nodes."""
    return str(Cidr.parse_lenient(fabric).network[-2])


def netns_of(cluster: str, pod: plan.Pod) -> str:
    """The namespace a pod's sockets belong to: its own, or its node's."""
    return node_netns(cluster, pod.node) if pod.host_network else pod_netns(cluster, pod.pod, pod.uid)


def _mac_of(address: str) -> bytes:
    return b"\x0a\x58" + ip_address(address).packed[-4:]


def _link_local(address: str) -> str:
    """With the last four bytes of ``address``."""
    return str(ip_address(b"\xfe\x80" + bytes(10) + ip_address(address).packed[-4:]))


def _like(addresses: Iterable[str], other: str) -> str:
    """The address of the same family as ``other``; empty when there is none."""
    return next((a for a in addresses if netlink.width_of(a) == netlink.width_of(other)), "")


class _NodeEnd(msgspec.Struct):
    """What a node's namespace needs to be talked to."""

    unit: plan.Node
    socket: netlink.Netlink
    port: str
    next_link: int = _POD_LINKS


class Fabric:
    """Builds and removes the wires of one cluster. Not thread safe."""

    def __init__(self, made_for: plan.NodePlan) -> None:
        """Nothing happens before :meth:`open`. What concerns the whole network is taken from the plan and stays."""
        self.plan = made_for
        self.cluster = made_for.cluster
        self.blocks = tuple(map(Cidr.parse_lenient, made_for.fabrics))
        self.hosts = tuple(map(host_address, made_for.fabrics))
        self._has_ipv6 = any(block.family == 6 for block in self.blocks)
        self._sysctls = _IPV6 if self._has_ipv6 else _NO_IPV6
        self.edge = edge_address(made_for.fabrics[0])
        self._edge: netlink.Netlink | None = None
        self._host: netlink.Netlink | None = None
        self._nodes: dict[str, _NodeEnd] = {}
        self._links: dict[str, tuple[netlink.Message, ...]] = {}
        self._routes: dict[str, str] = {}
        self._ways: dict[str, Mapping[str, overlay.Way]] = {}
        self._next_port = self._starts = 0
        self._adopted: set[str] = set()

    def open(self) -> None:
        """The edge namespace, its bridge and the host's link."""
        if self._edge is not None:
            return
        name = host_link(self.cluster)
        self._refuse_taken_fabric(name)
        self._host = netlink.Netlink()
        self._host.send([netlink.delete_link(name)])
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            with netns.created(edge_netns(self.cluster)):
                netns.set_sysctls(_EDGE_SYSCTLS if self.plan.edge else _NO_IPV6)
                self._edge = netlink.Netlink()
                host_end = netlink.Peer(name, 0, home, mtu=overlay.fabric_mtu(self.plan))
                bridge = netlink.add_bridge("br0", index=BRIDGE_INDEX)
                link = netlink.add_veth("host", host_end, index=11, master=BRIDGE_INDEX)
                self._edge.send([netlink.set_up(1), bridge, link])
                if self.plan.edge:
                    self._edge.send([netlink.add_address(BRIDGE_INDEX, self.edge, self.blocks[0].length)])
        finally:
            os.close(home)
        index = socket.if_nametoindex(name)
        if self._has_ipv6:  # also where the host's own default is to have none
            netns.set_sysctls(((f"ipv6/conf/{name}/disable_ipv6", "0"), (f"ipv6/conf/{name}/addr_gen_mode", "1")))
        hosts = zip(self.hosts, self.blocks, strict=True)
        self._host.send([netlink.set_up(index), *(netlink.add_address(index, a, b.length) for a, b in hosts)])

    @property
    def _shape(self) -> tuple[str, ...]:
        return self.cluster, *self.plan.fabrics, self.plan.network, str(self.plan.mtu), str(self.plan.edge)

    def record(self) -> Record:
        """What :meth:`adopt` needs."""
        nodes = {name: (end.unit, end.port) for name, end in self._nodes.items()}
        return Record(self._shape, nodes, dict(self._routes), self._next_port, self._starts)

    def adopt(self, record: Record) -> bool:
        """Go on with the wires of a process that has ended (instead of :meth:`open`): False when they are others.

        Its pods are gone with it; nodes, routes and the links of attached containers stay as they are.
        """
        spaces = [edge_netns(self.cluster), *(node_netns(self.cluster, name) for name in record.nodes)]
        present = set(netns.list_names(f"podwire.{self.cluster}@"))
        if record.shape != self._shape or not present.issuperset(spaces) or not _has_link(host_link(self.cluster)):
            return False
        for name in netns.list_names(f"podwire.{self.cluster}."):
            netns.delete(name)
        self._host, self._edge = netlink.Netlink(), _socket_in(edge_netns(self.cluster))
        self._starts, self._next_port = (record.starts + 1) % _MOST_STARTS, record.next_port
        self._routes = dict(record.routes)
        units = [unit for unit, _ in record.nodes.values()]
        for name, (unit, port) in record.nodes.items():
            first = _POD_LINKS + self._starts * _LINKS_A_START  # links of dead pods go when the kernel comes to it
            self._nodes[name] = _NodeEnd(unit, _socket_in(node_netns(self.cluster, name)), port, first)
            self._ways[name] = overlay.ways(self.plan.network, unit, [u for u in units if u.name != name])
        self._adopted = set(record.nodes)
        return True

    def nodes(self) -> tuple[str, ...]:
        """Nodes that have a namespace."""
        return tuple(self._nodes)

    def _refuse_taken_fabric(self, own: str) -> None:
        if self._has_ipv6 and not os.path.isdir("/proc/sys/net/ipv6"):
            raise EnvironmentUnfit("this kernel has no IPv6 (ipv6.disable=1?); use --ip-family ipv4")
        for block in self.blocks:
            for routed, link in _routed_blocks(block.family):
                if routed == block and link != own:
                    raise EnvironmentUnfit(f"the node subnet {block} is already routed to {link}; choose another one")

    def add_node(self, unit: plan.Node) -> None:
        """A node's namespace with its link to the bridge and its default route to the host."""
        assert self._edge is not None
        known = self._nodes.get(unit.name)
        if known is not None and unit.name in self._adopted and is_same_node(known.unit, unit):
            self._adopted.discard(unit.name)
            return
        if known is not None:
            self.remove_node(unit.name)
        self._next_port += 1
        port, port_index = f"n{self._next_port}", 100 + self._next_port
        name = node_netns(self.cluster, unit.name)
        with netns.created(name) as descriptor:
            forward = _IPV6_FORWARDING if self._has_ipv6 else ()
            netns.set_sysctls((*self._sysctls, *_NODE_SYSCTLS, *forward))
            peer = netlink.Peer(
                "eth0", ETH0_INDEX, descriptor, _mac_of(unit.addresses[0]), overlay.fabric_mtu(self.plan)
            )
            self._edge.send([netlink.add_veth(port, peer, index=port_index, master=BRIDGE_INDEX)])
            inside = netlink.Netlink()
            messages = [
                netlink.set_up(1),
                netlink.set_up(ETH0_INDEX),
                *self._fabric_entries(unit),
                *overlay.device(self.plan, unit),
            ]
            inside.send(messages)
        self._nodes[unit.name] = _NodeEnd(unit, inside, port)
        self._ways[unit.name] = {}
        if self.plan.edge:
            mark = edge_mark(unit)
            self._edge.send(
                [
                    netlink_rules.set_rule(mark, _EDGE_TABLES + mark),
                    netlink_rules.set_way_out(_EDGE_TABLES + mark, unit.addresses[0]),
                ]
            )

    def set_link(self, name: str, *, up: bool) -> None:
        """Cut a node off, or take it back: the bridge's end of its link."""
        end = self._nodes.get(name)
        if end is not None and self._edge is not None:
            self._edge.send([netlink.set_link(end.port, up=up)])

    def _fabric_entries(self, unit: plan.Node) -> Iterator[netlink.Message]:
        for address, block, host in zip(unit.addresses, self.blocks, self.hosts, strict=True):
            yield netlink.add_address(ETH0_INDEX, address, block.length)
            if block.family == 6:
                yield netlink.add_address(ETH0_INDEX, _link_local(address), 64)
            yield netlink.set_route(podlink.everywhere(host), via=host, index=ETH0_INDEX)

    def remove_node(self, name: str) -> None:
        """Remove a node's namespace; its pods must be gone."""
        end = self._nodes.pop(name, None)
        self._ways.pop(name, None)
        if end is None:
            return
        end.socket.close()
        if self._edge is not None:
            mark = edge_mark(end.unit)
            gone = [netlink_rules.delete_rule(mark, _EDGE_TABLES + mark)] if self.plan.edge else []
            self._edge.send([netlink.delete_link(end.port), *gone])
        netns.delete(node_netns(self.cluster, name))

    def set_node_routes(self) -> None:
        """Every node reaches every other node's pods."""
        for name, end in self._nodes.items():
            others = [e.unit for other, e in self._nodes.items() if other != name]
            desired, present = overlay.ways(self.plan.network, end.unit, others), self._ways[name]
            stale = [m for block, way in present.items() if desired.get(block) != way for m in way.delete]
            fresh = [m for block, way in desired.items() if present.get(block) != way for m in way.set]
            end.socket.send([*stale, *fresh])
            self._ways[name] = desired

    def set_host_routes(self, routes: Sequence[plan.ExternalRoute]) -> None:
        """Virtual addresses the host reaches through a node, or through the edge. Nodes that are not there are left
        out."""
        assert self._host is not None
        ends = {r.address: self._nodes.get(r.node) for r in routes}
        found = {address: _like(end.unit.addresses, address) for address, end in ends.items() if end is not None}
        desired = {address: via for address, via in found.items() if via}
        desired |= {r.address: self.edge for r in routes if r.entries is not None}
        stale = [netlink.delete_route(a, via=v) for a, v in self._routes.items() if a not in desired]
        fresh = [netlink.set_route(a, via=v) for a, v in desired.items() if self._routes.get(a) != v]
        self._host.send([*stale, *fresh])
        self._routes = desired

    def add_pod(self, pod: plan.Pod, addresses: tuple[str, ...]) -> None:
        """A pod's namespace, its link into the node and the routes of both ends."""
        end = self._nodes.get(pod.node)
        if end is None:
            raise PodwireError(f"node {pod.node} has no namespace")
        link, index = f"p{stable_hash(pod.uid, size_bytes=6)}", end.next_link
        end.next_link += 1
        mac = _mac_of(addresses[0])
        with netns.created(netns_of(self.cluster, pod)) as descriptor:
            netns.set_sysctls(self._sysctls)
            peer = netlink.Peer("eth0", ETH0_INDEX, descriptor, mac, self.plan.mtu)
            near = [
                netlink.delete_link(link),
                netlink.add_veth(link, peer, index=index, mac=podlink.GATEWAY_MAC),
                *podlink.node_entries(index, addresses, mac),
            ]
            end.socket.send(near)
            inside = netlink.Netlink()
            far = [netlink.set_up(1), netlink.set_up(ETH0_INDEX)]
            for address in addresses:
                everywhere, gateway = podlink.everywhere(address), podlink.gateway_of(address)
                far += podlink.pod_entries(ETH0_INDEX, address)
                far.append(netlink.set_route(everywhere, via=gateway, index=ETH0_INDEX, source=address))
            inside.send(far)
            inside.close()
        self._links[pod.uid] = tuple(netlink.delete_route(address, index=index) for address in addresses)

    def remove_pod(self, pod: plan.Pod) -> None:
        """Remove a pod's routes and namespace. The link goes with the namespace, when its last socket is closed.

        Deleting the link here would cost 25 ms of the kernel's time for each pod; it batches ended namespaces
        (docs/lab/2026-11-24-namespaces-and-links.md).
        """
        unroute = self._links.pop(pod.uid, ())
        end = self._nodes.get(pod.node)
        if unroute and end is not None:
            end.socket.send(unroute)
        netns.delete(pod_netns(self.cluster, pod.pod, pod.uid))

    def attach(self, node: str, key: Key, descriptor: int, addresses: tuple[str, ...]) -> str:
        """A link from a node into somebody's namespace; the hardware address of its far end. Blocks like the rest."""
        end = self._nodes[node]
        attach_link.refuse_taken(descriptor, key.interface)
        index, mac, link = end.next_link, _mac_of(addresses[0]), attach_link.link_name(key)
        end.next_link += 1
        peer = netlink.Peer(key.interface, 0, descriptor, mac, self.plan.mtu)
        end.socket.send(
            [
                netlink.delete_link(link),
                netlink.add_veth(link, peer, index=index, mac=podlink.GATEWAY_MAC),
                *podlink.node_entries(index, addresses, mac),
            ]
        )
        attach_link.configure(descriptor, key.interface, addresses)
        return ":".join(f"{byte:02x}" for byte in mac)

    def detach(self, node: str, link: str) -> None:
        """Remove the link, with both ends. What is not there is fine."""
        end = self._nodes.get(node)
        if end is not None:
            end.socket.send([netlink.delete_link(link)])

    def has_link(self, node: str, link: str) -> bool:
        """Whether a node has a link."""
        if node not in self._nodes:
            return False
        with netns.entered(node_netns(self.cluster, node)):
            return _has_link(link)

    def rest(self) -> None:
        """Leave the nodes and their wires to a later process, and remove what was only for pods."""
        for name in netns.list_names(f"podwire.{self.cluster}."):
            netns.delete(name)
        for end in (*(e.socket for e in self._nodes.values()), self._edge, self._host):
            if end is not None:
                end.close()
        self._edge = self._host = None

    def close(self) -> None:
        """Remove everything of this cluster, also on the host."""
        for name in list(self._nodes):
            with suppress(PodwireError):
                self.remove_node(name)
        for end in (self._edge, self._host):
            if end is not None:
                end.close()
        self._edge = self._host = None
        self._links.clear()
        self._routes.clear()
        remove_everything(self.cluster)


def is_same_node(one: plan.Node, other: plan.Node | None) -> bool:
    """Whether the wires of one do for the other."""
    return other is not None and (one.addresses, one.pod_cidrs) == (other.addresses, other.pod_cidrs)


def _has_link(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _socket_in(space: str) -> netlink.Netlink:
    with netns.entered(space):
        return netlink.Netlink()


def _routed_blocks(family: int) -> Iterator[tuple[Cidr, str]]:
    """What the host's main routing table has of one family, and by which link."""
    with suppress(FileNotFoundError), open(f"/proc/net/{'route' if family == 4 else 'ipv6_route'}", "rb") as table:
        rows = [line.decode().split() for line in table]
    for row in rows[1:] if family == 4 else ():
        base, mask = (socket.ntohl(int(row[column], 16)) for column in (1, 7))
        yield Cidr(4, base, mask.bit_count()), row[0]
    for row in rows if family == 6 else ():
        yield Cidr(6, int(row[0], 16), int(row[1], 16)), row[-1]


def remove_everything(cluster: str) -> None:
    """Remove every namespace of ``cluster`` and its host link (the routes through it go with it)."""
    host = netlink.Netlink()
    host.send([netlink.delete_link(host_link(cluster))])
    host.close()
    for prefix in (f"podwire.{cluster}@", f"podwire.{cluster}."):
        for name in netns.list_names(prefix):
            netns.delete(name)
