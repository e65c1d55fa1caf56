"""Two nodes, a fabric and pods as network namespaces, for the tests of the nft plane; servers and probes in them.

Addresses: the host (outside the cluster) 10.89.0.1, nodes 10.89.0.2 and .3, pods 10.244.<node>.<n>, load balancer
addresses 10.89.9.0/24. Every pod answers on TCP and UDP ``PORTS`` with its name and the client address it saw.

A world has one address family or both. Tests are written in IPv4; plans, probes and what is seen are translated
(:mod:`nft_families`), so the same test holds for IPv6.
"""

import asyncio
import errno
import itertools
import os
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec

import msgspec
from tests.kernel.nft_families import Families, four, in_family, six, translate_plan

from podwire.base import NOWHERE, Cidr, Origin, Ref
from podwire.plan import Endpoint, PolicyPlan, ServiceNode, ServicePlan, ServicePort, node_netns
from podwire.planes.nft import NftPlan
from podwire.planes.nft.netns import run_in_netns

PORTS = (80, 443, 8080, 9000)
HOST = "10.89.0.1"
NODES = {"node-a": "10.89.0.2", "node-b": "10.89.0.3"}
ZONES = {"node-a": "a", "node-b": "b"}
PATIENCE_SECONDS = 0.7

NO_POLICY = PolicyPlan(pods={}, cidrs={}, ports=(), rule_sets={}, decisions={})

P = ParamSpec("P")

_SOCKETS = {4: socket.AF_INET, 6: socket.AF_INET6}
_numbers = itertools.count()


class Probe(NamedTuple):
    """One connection to try: from a place (pod, node or ``host``) to an address."""

    place: str
    address: str
    port: int
    protocol: str = "TCP"
    family: int = 0
    """0: the first of the world."""


class Seen(NamedTuple):
    """What came back: ``answer`` (by whom, and the client they saw), ``refuse`` or ``drop``."""

    what: str
    by: str = ""
    client: str = ""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run an async test in a loop of its own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def change_netns(verb: str, name: str) -> None:
    """``ip netns add`` or ``del``; deleting what is not there is fine."""
    subprocess.run(["ip", "netns", verb, name], check=verb == "add", capture_output=verb != "add")


def service(name: str, address: str, *endpoints: Endpoint, **fields: Any) -> ServicePort:
    """A Service port 80/TCP with one cluster IP, unless ``fields`` say otherwise."""
    ref = Ref("Service", "t", name)
    plain = ServicePort(
        origin=Origin(ref),
        service=ref,
        port_name="",
        protocol="TCP",
        port=80,
        node_port=0,
        cluster_ips=(address,),
        load_balancer_ips=(),
        external_ips=(),
        affinity_seconds=0,
        internal_local=False,
        external_local=False,
        source_ranges=(),
        endpoints=endpoints,
    )
    return msgspec.structs.replace(plain, **fields)


class World:
    """Namespaces, links, servers. Use as a context manager."""

    def __init__(self, pods_per_node: int = 3, families: Families = (4,)) -> None:
        self.families = families
        self.cluster = f"nft{os.getpid()}x{next(_numbers)}"
        self.fabric = f"podwire.{self.cluster}.fabric"
        self.pods = {
            f"{node[-1]}{n}": (node, f"10.244.{index}.{n + 1}")
            for index, node in enumerate(NODES)
            for n in range(1, pods_per_node + 1)
        }
        self._servers = Servers()

    def __enter__(self) -> "World":
        try:
            self._build()
            places = {**dict.fromkeys(self.pods, PORTS), **dict.fromkeys((*NODES, "host"), (8080,))}
            for name, ports in places.items():
                for port in ports:
                    for family in self.families:
                        self._servers.listen(self.netns(name), name, port, _SOCKETS[family])
            self._servers.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.stop()
        _batch([f"netns del {name}" for name in self._namespaces()], force=True)

    def netns(self, place: str) -> str:
        """Namespace of a pod, a node or ``host``."""
        if place == "host":
            return self.fabric
        return node_netns(self.cluster, place) if place in NODES else f"podwire.{self.cluster}.{place}"

    def address(self, place: str) -> str:
        """First address of a pod, a node or ``host``."""
        return HOST if place == "host" else NODES.get(place) or self.pods[place][1]

    def plan(self, *units: ServicePort, policy: PolicyPlan = NO_POLICY) -> NftPlan:
        """A plan of these Service ports on the two nodes, in the world's families."""
        return translate_plan(self.plain_plan(*units, policy=policy), self.families)

    def plain_plan(self, *units: ServicePort, policy: PolicyPlan = NO_POLICY) -> NftPlan:
        """The same before translation."""
        services = ServicePlan(
            ports={u.key: u for u in units},
            nodes=self.nodes,
            service_cidrs=(Cidr.parse("10.96.0.0/12"),),
            cluster_cidrs=(Cidr.parse("10.244.0.0/16"),),
        )
        return NftPlan(services, policy)

    def real(self, address: str, family: int = 0) -> str:
        """An IPv4 address as this world has it."""
        return in_family(address, family or self.families[0])

    @property
    def nodes(self) -> dict[str, ServiceNode]:
        """The nodes as the Service plan has them."""
        return {
            name: ServiceNode(
                name=name,
                zone=ZONES[name],
                addresses=(address,),
                pod_cidrs=(Cidr.parse(f"10.244.{index}.0/24"),),
                origin=Origin(Ref("Node", "", name)),
            )
            for index, (name, address) in enumerate(NODES.items())
        }

    def endpoint(self, pod: str, port: int = 8080, state: str = "ready") -> Endpoint:
        """``pod`` as an endpoint: ``ready``, ``terminating`` (still serving) or ``unready``."""
        node, address = self.pods[pod]
        return Endpoint(
            address=address,
            port=port,
            node=node,
            zone=ZONES[node],
            ready=state == "ready",
            serving=state != "unready",
            terminating=state == "terminating",
            pod=Ref("Pod", "t", pod),
            origin=Origin(Ref("EndpointSlice", "t", "s"), NOWHERE),
        )

    def probe(self, *probes: Probe) -> list[Seen]:
        """All connections at once; an answer that does not come counts as dropped."""
        return self.probe_patiently(probes, PATIENCE_SECONDS)

    def probe_patiently(self, probes: Sequence[Probe], patience: float) -> list[Seen]:
        """As :meth:`probe`, with other patience."""
        real = [(self.netns(p.place), p._replace(address=self.real(p.address, p.family))) for p in probes]
        return [seen._replace(client=seen.client and four(seen.client)) for seen in probe_all(real, patience)]

    def socket(self, place: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket in a place."""
        family = _SOCKETS[self.families[0]]
        return run_in_netns(self.netns(place), lambda: socket.socket(family, kind))

    def _namespaces(self) -> list[str]:
        return [self.fabric, *(self.netns(n) for n in NODES), *(self.netns(p) for p in self.pods)]

    def _build(self) -> None:
        _batch([f"netns add {name}" for name in self._namespaces()])
        for name in self._namespaces():
            run_in_netns(name, _set_sysctls)
        links = ["link set lo up", "link add br0 type bridge", "link set br0 up"]
        for index, name in enumerate(NODES):
            links += [
                f"link add n{index} type veth peer name eth0 netns {self.netns(name)}",
                f"link set n{index} master br0 up",
            ]
        routes = [f"10.244.{index}.0/24 via {address}" for index, address in enumerate(NODES.values())]
        routes += ["10.96.0.0/12 via 10.89.0.2", "10.89.9.0/24 via 10.89.0.3"]
        _batch([*links, *self._addressed((f"{HOST}/24 dev br0",), routes)], self.fabric)
        for index, name in enumerate(NODES):
            self._build_node(index, name)

    def _build_node(self, index: int, name: str) -> None:
        other = 1 - index
        mine = [(pod, address) for pod, (where, address) in self.pods.items() if where == name]
        addresses = [f"{NODES[name]}/24 dev eth0", *(f"169.254.1.1/32 dev {pod}" for pod, _ in mine)]
        routes = [f"default via {HOST}", f"10.244.{other}.0/24 via {list(NODES.values())[other]}"]
        routes += [f"{address}/32 dev {pod} src {NODES[name]}" for pod, address in mine]
        links = ["link set lo up", "link set eth0 up"]
        for pod, _ in mine:
            links += [f"link add {pod} type veth peer name eth0 netns {self.netns(pod)}", f"link set {pod} up"]
        _batch([*links, *self._addressed(addresses, routes)], self.netns(name))
        for pod, address in mine:
            inside = self._addressed(
                (f"{address}/32 dev eth0",), ("169.254.1.1/32 dev eth0", "default via 169.254.1.1 dev eth0")
            )
            _batch(["link set lo up", "link set eth0 up", *inside], self.netns(pod))

    def _addressed(self, addresses: Iterable[str], routes: Iterable[str]) -> list[str]:
        """``ip`` commands that add addresses and routes in every family."""
        lines = []
        for family in self.families:
            nodad = " nodad" if family == 6 else ""
            lines += [f"addr add {_in_family(a, family)}{nodad}" for a in addresses]
            lines += [f"route add {_in_family(route, family)}" for route in routes]
        return lines


def _in_family(words: str, family: int) -> str:
    """A command's words with their addresses in a family."""
    return words if family == 4 else " ".join(map(_word_in_six, words.split()))


def _word_in_six(word: str) -> str:
    address, slash, length = word.partition("/")
    if not address[0].isdigit():
        return word
    return f"{six(address)}/{int(length) + 96}" if slash else six(address)


def _set_sysctls() -> None:
    ipv4 = (("ip_forward", "1"), ("conf/all/rp_filter", "0"), ("conf/all/send_redirects", "0"))
    ipv6 = (("conf/all/forwarding", "1"), ("conf/all/accept_dad", "0"), ("conf/default/accept_dad", "0"))
    for folder, settings in (("ipv4", ipv4), ("ipv6", ipv6)):
        for name, value in settings:
            with open(f"/proc/sys/net/{folder}/{name}", "w") as file:
                file.write(value)


def _batch(lines: Sequence[str], netns: str = "", *, force: bool = False) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".batch") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        argv = ["ip", *(["-n", netns] if netns else []), *(["-force"] if force else []), "-batch", file.name]
        subprocess.run(argv, check=not force, capture_output=force)


class Servers:
    """One thread that answers on every listening socket, in whatever namespace it was made."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name="nft-world-servers")

    def listen(self, netns: str, name: str, port: int, family: int) -> None:
        def make() -> tuple[socket.socket, socket.socket]:
            tcp, udp = socket.socket(family), socket.socket(family, socket.SOCK_DGRAM)
            for made in (tcp, udp):
                if family == socket.AF_INET6:
                    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(("", port))
            tcp.listen(128)
            return tcp, udp

        for made in run_in_netns(netns, make):
            made.setblocking(False)
            self._selector.register(made, selectors.EVENT_READ, name)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._wake.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._wake.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._woken:
                    return
                self._answer(key.fileobj, key.data)

    def _answer(self, ready: socket.socket, name: str) -> None:
        try:
            if ready.type == socket.SOCK_DGRAM:
                _, client = ready.recvfrom(100)
                ready.sendto(f"{name} {client[0]}".encode(), client)
            elif ready.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                connection, client = ready.accept()
                connection.setblocking(False)
                connection.send(f"{name} {client[0]}".encode())
                self._selector.register(connection, selectors.EVENT_READ, name)
            else:
                data = ready.recv(100)
                if data:
                    ready.send(f"{name} again".encode())
                else:
                    self._selector.unregister(ready)
                    ready.close()
        except OSError:
            if ready.type == socket.SOCK_STREAM and not ready.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._selector.unregister(ready)
                ready.close()


def probe_all(probes: Sequence[tuple[str, Probe]], patience: float) -> list[Seen]:
    """Start every connection, then collect until all answered or nothing came for ``patience`` seconds."""
    results: dict[int, Seen] = {}
    with selectors.DefaultSelector() as selector:
        for index, made in _start(probes):
            if isinstance(made, Seen):
                results[index] = made
            else:
                selector.register(made, selectors.EVENT_READ, index)
        until = time.monotonic() + patience
        while selector.get_map() and (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                results[key.data] = _collect(key.fileobj)
                selector.unregister(key.fileobj)
                key.fileobj.close()
                until = time.monotonic() + patience
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    return [results.get(index, Seen("drop")) for index in range(len(probes))]


def _start(probes: Sequence[tuple[str, Probe]]) -> Iterable[tuple[int, socket.socket | Seen]]:
    by_netns: dict[str, list[tuple[int, Probe]]] = {}
    for index, (netns, probe) in enumerate(probes):
        by_netns.setdefault(netns, []).append((index, probe))
    for netns, members in by_netns.items():
        sockets = run_in_netns(netns, partial(_make_all, [p for _, p in members]))
        for (index, probe), made in zip(members, sockets, strict=True):
            code = made.connect_ex((probe.address, probe.port))
            if probe.protocol == "UDP" and code == 0:
                # Dropped or refused in a node's own output is "not permitted"; the refusal itself comes as ICMP.
                with suppress(PermissionError):
                    made.send(b"hello")
            if code in (0, errno.EINPROGRESS):
                yield index, made
            else:
                made.close()
                yield index, Seen("refuse" if code == errno.ECONNREFUSED else errno.errorcode[code])


def _make_all(probes: Iterable[Probe]) -> list[socket.socket]:
    return [_make(probe) for probe in probes]


def _make(probe: Probe) -> socket.socket:
    family = socket.AF_INET6 if ":" in probe.address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM if probe.protocol == "TCP" else socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def _collect(ready: socket.socket) -> Seen:
    try:
        by, _, client = ready.recv(100).decode().partition(" ")
    except ConnectionRefusedError:
        return Seen("refuse")
    except OSError as error:
        return Seen(errno.errorcode[error.errno or 0])
    return Seen("answer", by, client)
