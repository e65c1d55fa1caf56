"""What the node runtime must run: nodes and pods as network namespaces, containers as processes or stand-ins.

Rules:

1. A pod unit is complete: everything a container sees (command, environment, files, resolv.conf, hosts) is in it.
2. A pod's sandbox (namespace, link, address) exists as soon as its unit does; its containers start only when
   ``run`` is true. The compiler sets it once every policy plane has confirmed the pod's address, so no packet leaves
   an isolated pod early (N20).
3. Addresses are allocated by the runtime, one from each of the node's pod CIDRs and in their order, and reported as
   facts; ``addresses`` asks for those that the pod already had (restart of podwire).
4. Where there is one value for each address family (addresses, pod CIDRs, fabrics), the order is the cluster's.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final, Literal

import msgspec

from podwire.base import Origin, Ref


class ProcessWork(msgspec.Struct, frozen=True):
    """Run a program of this machine. ``argv`` is complete: command and arguments after expansion.

    ``binds`` are folders of the machine the program shares (sockets work across a bind mount, not across an overlay).
    ``root``: folders of its root file system, topmost first; none: the machine's.
    """

    argv: tuple[str, ...]
    reason: str
    working_dir: str = ""
    binds: tuple[str, ...] = ()
    root: tuple[str, ...] = ()


class StandInPort(msgspec.Struct, frozen=True, order=True):
    """A port a stand-in listens on. ``tls`` only tells what a client will speak first; the port accepts both."""

    port: int
    protocol: str = "TCP"
    name: str = ""


class StandInWork(msgspec.Struct, frozen=True):
    """The echo workload: answers on every port with who it is and what it saw."""

    ports: tuple[StandInPort, ...]
    reason: str


Work = ProcessWork | StandInWork


class HttpCheck(msgspec.Struct, frozen=True):
    """GET ``scheme://host:port/path``; 200 to 399 passes. ``host`` empty: the pod's address."""

    port: int
    path: str = "/"
    scheme: str = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()


class TcpCheck(msgspec.Struct, frozen=True):
    """A TCP connection opens."""

    port: int
    host: str = ""


class ExecCheck(msgspec.Struct, frozen=True):
    """The command exits 0."""

    argv: tuple[str, ...]


class GrpcCheck(msgspec.Struct, frozen=True):
    """grpc.health.v1 answers SERVING."""

    port: int
    service: str = ""


Check = HttpCheck | TcpCheck | ExecCheck | GrpcCheck


class Probe(msgspec.Struct, frozen=True):
    """A check and its rhythm, in seconds and counts, defaults already applied."""

    check: Check
    initial_delay_seconds: float = 0
    timeout_seconds: float = 1
    period_seconds: float = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_seconds: float | None = None
    """How long a container that this probe ends has to stop; None: as long as the pod."""


class Sleep(msgspec.Struct, frozen=True):
    """Wait."""

    seconds: float


class Hook(msgspec.Struct, frozen=True):
    """What to do after a container's start or before its stop. A TcpCheck fails, as Kubernetes has it."""

    action: ExecCheck | HttpCheck | TcpCheck | Sleep


class RestartRule(msgspec.Struct, frozen=True):
    """Restart whatever the policy says when the exit code is ``among`` the codes (or is not)."""

    codes: tuple[int, ...]
    among: bool = True


class File(msgspec.Struct, frozen=True):
    """A file placed inside the container."""

    path: str
    content: bytes
    mode: int = 0o644


class Dir(msgspec.Struct, frozen=True):
    """An empty, writable directory. Directories of one pod with the same ``volume`` are one directory."""

    path: str
    volume: str


class TokenFile(msgspec.Struct, frozen=True):
    """A token of the pod's ServiceAccount, bound to the pod and renewed in time."""

    path: str
    audience: str = ""
    expiration_seconds: int = 3600
    mode: int = 0o644


class FileVolume(msgspec.Struct, frozen=True):
    """Files by path within the volume, replaced as a whole while containers run. ``tokens`` come from the runtime's
    token source."""

    name: str
    files: tuple[File, ...] = ()
    tokens: tuple[TokenFile, ...] = ()


class EmptyVolume(msgspec.Struct, frozen=True):
    """A directory that lives as long as the pod."""

    name: str


class HostVolume(msgspec.Struct, frozen=True):
    """A path of the node: read-only where this machine has it, else a writable one of the node's own. ``type`` as in
    HostPathVolumeSource."""

    name: str
    path: str
    type: str = ""


class ClaimVolume(msgspec.Struct, frozen=True):
    """A directory of the cluster that outlives pods. ``folder`` is its name."""

    name: str
    folder: str


Volume = FileVolume | EmptyVolume | HostVolume | ClaimVolume


class Mount(msgspec.Struct, frozen=True):
    """A volume of the pod, or a part of it, inside a container."""

    path: str
    volume: str
    part: str = ""
    read_only: bool = False


CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""Names without ``CAP_``; the place of a name is its number (linux/capability.h)."""


class User(msgspec.Struct, frozen=True):
    """Who a program runs as: ids, or names looked up in its own ``/etc/passwd`` and ``/etc/group``; empty: root."""

    user: str = ""
    group: str = ""
    groups: tuple[int, ...] = ()


class Container(msgspec.Struct, frozen=True):
    """One container of a pod. ``stdin`` keeps its input open for attach (``stdin_once``: until the first one ends);
    ``tty`` gives it a terminal. ``restart_policy`` replaces the pod's; Always on an init container makes a sidecar."""

    origin: Origin
    name: str
    image: str
    work: Work
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[File, ...] = ()
    readiness: Probe | None = None
    liveness: Probe | None = None
    startup: Probe | None = None
    dirs: tuple[Dir, ...] = ()
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    mounts: tuple[Mount, ...] = ()
    post_start: Hook | None = None
    pre_stop: Hook | None = None
    restart_policy: Literal["", "Always", "OnFailure", "Never"] = ""
    restart_rules: tuple[RestartRule, ...] = ()
    message_path: str = ""
    message_from_logs: bool = False
    user: User = User()
    capabilities: tuple[str, ...] | None = None
    """Those it may have; None: all."""
    read_only_root: bool = False
    no_new_privileges: bool = False
    stop_signal: str = ""
    """``SIGTERM`` when empty."""
    target: str = ""
    """Of an ephemeral container: the container of the pod whose processes it shares."""


ATTACHED, BY_USER = "podwire.dev/attached", "true"
"""The annotation of pods whose containers another runtime attaches (CNI). Its value: ``true`` where a person wrote it,
else the container that the pod was made for."""


class Pod(msgspec.Struct, frozen=True):
    """One pod bound to a node. Key: ``namespace/name``."""

    origin: Origin
    pod: Ref
    uid: str
    node: str
    hostname: str
    run: bool
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    ephemeral_containers: tuple[Container, ...] = ()
    addresses: tuple[str, ...] = ()
    host_network: bool = False
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    grace_seconds: float = 30
    terminating: bool = False
    resolv_conf: str = ""
    hosts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    service_account: str = ""
    volumes: tuple[Volume, ...] = ()
    deadline_seconds: float | None = None
    fs_group: int | None = None
    share_processes: bool = False
    """All containers see and signal each other's processes."""
    attached: bool = False
    """Its namespace and containers belong to another runtime, which joins it to its node (CNI)."""


Network = Literal["host-gw", "vxlan"]
"""How pods of different nodes reach each other: by plain routes, or inside UDP from node to node."""
ETHERNET_MTU = 1500


def vxlan_overhead(fabric: str) -> int:
    """Bytes that a tunnel across ``fabric`` adds to a packet: IPv4 20 or IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14."""
    return (40 if ":" in fabric else 20) + 30


class Node(msgspec.Struct, frozen=True):
    """A node namespace: its addresses on the fabric and its shares of the pod network."""

    origin: Origin
    name: str
    zone: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    cut: bool = False
    """Without its link: nothing leaves or reaches it."""


class ExternalRoute(msgspec.Struct, frozen=True, order=True):
    """An address outside the pod network that the host reaches through a node (LoadBalancer VIP).

    ``entries``: the nodes among which the load balancer outside of the nodes spreads connections, those whose health
    check passes; none: nobody answers. None: there is no such hop, ``node`` takes everything.
    """

    address: str
    node: str
    origin: Origin
    entries: tuple[str, ...] | None = None


class NodePlan(msgspec.Struct, frozen=True):
    """Everything that must exist on this machine. ``fabrics`` are the nodes' subnets, one for each family; the
    host has the first address of each."""

    cluster: str
    fabrics: tuple[str, ...]
    nodes: Mapping[str, Node]
    pods: Mapping[str, Pod]
    routes: Mapping[str, ExternalRoute]
    service_cidrs: tuple[str, ...]
    cluster_cidrs: tuple[str, ...]
    network: Network = "host-gw"
    mtu: int = ETHERNET_MTU
    """The largest packet of a pod. Links between nodes have room for the tunnel besides."""
    edge: bool = False
    """Whether load balancer addresses are outside of the nodes, on a hop of their own."""


def edge_netns(cluster: str) -> str:
    """Name of the namespace outside of the nodes that holds the fabric's bridge, and the load balancer."""
    return node_netns(cluster, ".edge")


def edge_mark(node: Node) -> int:
    """The number of a node at the edge, never 0: what is left of its address within the fabric."""
    return int(ip_address(node.addresses[0])) & 0xFFFF


def node_netns(cluster: str, node: str) -> str:
    """Name under /run/netns of a node's namespace; neither cluster nor node names hold ``@``."""
    return f"podwire.{cluster}@{node}"


def pod_netns(cluster: str, pod: Ref, uid: str) -> str:
    """Name under /run/netns of a pod's namespace; long names keep their uid only (file names end at 255 bytes)."""
    name = f"podwire.{cluster}.{pod.namespace}.{pod.name}"
    return name if len(name) <= 200 else f"podwire.{cluster}..{uid}"
