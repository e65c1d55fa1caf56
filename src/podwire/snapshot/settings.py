"""What a person chose, as data: defaults are kubeadm's."""

from typing import Literal

import msgspec

from podwire.base import Cidr


class ImageRun(msgspec.Struct, frozen=True):
    """A root file system (folders, topmost layer first) and how its image is run."""

    root: tuple[str, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    user: str = ""


class ImageRule(msgspec.Struct, frozen=True):
    """``--image GLOB=COMMAND``: containers whose image matches ``glob`` run ``argv`` (split, never a shell); with
    ``run`` they have a root file system of their own and run as their image says."""

    glob: str
    argv: tuple[str, ...]
    reason: str = "mapped by the user"
    binds: tuple[str, ...] = ()
    run: ImageRun | None = None


class Owned(msgspec.Struct, frozen=True):
    """Which derived objects podwire writes. Against a real cluster those the cluster owns are switched off."""

    workloads: bool = True
    scheduling: bool = True
    pod_status: bool = True
    endpoint_slices: bool = True
    load_balancers: bool = True
    ingress_status: bool = True
    events: bool = True


class DnsOptions(msgspec.Struct, frozen=True):
    """What cluster DNS does beyond Kubernetes; all of it off unless a person asks for it."""

    topology: bool = False
    """Addresses of a headless Service in the client's zone go first."""
    https: bool = False
    """HTTPS records (RFC 9460) for Service ports with appProtocol ``https``."""
    client_rate: int = 0
    """Questions per second of one client over UDP (an IPv6 client is its /64); 0: no limit."""


def parse_dns_options(words: tuple[str, ...]) -> DnsOptions:
    """``topology``, ``https``, ``rate=N``. Raises :class:`ValueError`."""
    fields: dict[str, bool | int] = {}
    for word in words:
        name, equals, number = word.partition("=")
        if word in ("topology", "https"):
            fields[word] = True
        elif name == "rate" and equals and number.isdecimal() and 0 < int(number) <= 1_000_000:
            fields["client_rate"] = int(number)
        else:
            raise ValueError(f"DNS option {word!r} (allowed: topology, https, rate=N with N questions per second)")
    return msgspec.convert(fields, DnsOptions)


class AddressRange(msgspec.Struct, frozen=True):
    """Addresses of one family, both ends included."""

    first: str
    last: str


class Settings(msgspec.Struct, frozen=True):
    """Everything that is neither an object nor an observation.

    ``fabrics``, ``cluster_cidrs``, ``service_cidrs`` and ``load_balancer_pools`` have one entry for each family of the
    cluster, in the same order; the first family is the primary one.
    """

    cluster: str = "podwire"
    domain: str = "cluster.local"
    fabrics: tuple[str, ...] = ("10.89.0.0/24",)
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    dns_address: str = "10.96.0.10"
    """Of the primary family, as kubeadm has it: one resolver in every pod, whatever families there are."""
    load_balancer_pools: tuple[AddressRange, ...] = (AddressRange("10.89.0.200", "10.89.0.250"),)
    upstreams: tuple[str, ...] = ()
    dns: DnsOptions = DnsOptions()
    images: tuple[ImageRule, ...] = ()
    owned: Owned = Owned()
    controller: str = "k8s.io/ingress-nginx"
    ingress_proxy: str = "ingress-nginx/ingress-nginx-controller"
    allow_external_ips: bool = False
    """Whether the API server takes Services with new ``externalIPs`` (CVE-2020-8554)."""
    established: Literal["cut", "keep"] = "cut"
    """What happens to connections that a changed policy forbids."""
    network: Literal["host-gw", "vxlan"] = "host-gw"
    """How pods of different nodes reach each other: by plain routes, or inside UDP from node to node."""
    mtu: int = 1500
    """The largest packet of a pod. A tunnel's overhead is on top of it, on the links between nodes."""
    load_balancer: Literal["node", "edge"] = "node"
    """Where load balancer addresses are: on the nodes, or on a hop outside of them that spreads over nodes."""
    node_grace_seconds: float = 50.0
    """How long a node may be silent before it counts as lost (kube-controller-manager's default)."""
    planes: bool = True
    """False where no packet plane exists (offline, simulated): nothing waits for a plane's confirmation."""

    @property
    def host_addresses(self) -> tuple[str, ...]:
        """The host's addresses on the fabric: the first of each subnet."""
        return tuple(str(Cidr.parse(fabric).network[1]) for fabric in self.fabrics)

    @property
    def families(self) -> tuple[str, ...]:
        """``IPv4`` and ``IPv6`` as the cluster has them, the primary one first."""
        return tuple(f"IPv{Cidr.parse(cidr).family}" for cidr in self.service_cidrs)
