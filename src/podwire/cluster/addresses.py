"""Which addresses a cluster has, by address family: kubeadm's numbers for IPv4, kind's for IPv6.

IPv4 only unless asked otherwise, as kubeadm and kind have it: a second family costs every pod addresses, routes and
neighbour entries at both ends of its link, every node a second set of rules, and programs that try the other family
first.
"""

from ipaddress import ip_network
from typing import Final, Literal

import msgspec

from podwire.snapshot import AddressRange, Settings

IpFamily = Literal["ipv4", "ipv6", "dual"]
"""kind's words (``networking.ipFamily``). Of ``dual``, IPv4 is the primary family."""


class _Numbers(msgspec.Struct, frozen=True):
    """Of one family; ``{}`` is the cluster's number on this machine."""

    fabric: str
    cluster: str
    services: str
    dns: str
    first: str
    last: str


_NUMBERS: Final = {
    "ipv4": _Numbers("10.89.{}.0/24", "10.244.0.0/16", "10.96.0.0/12", "10.96.0.10", "10.89.{}.200", "10.89.{}.250"),
    "ipv6": _Numbers(
        "fd00:10:89:{}::/64",
        "fd00:10:244::/56",
        "fd00:10:96::/112",
        "fd00:10:96::a",
        "fd00:10:89:{}::200",
        "fd00:10:89:{}::250",
    ),
}


def fabrics_of(family: IpFamily, number: int) -> tuple[str, ...]:
    """The subnets of nodes and host."""
    return tuple(str(ip_network(n.fabric.format(number))) for n in _numbers(family))


def give_addresses(settings: Settings, family: IpFamily, number: int = 0) -> Settings:
    """``settings`` with the addresses of the ``number``-th cluster of this machine (0 to 255)."""
    numbers = _numbers(family)
    return msgspec.structs.replace(
        settings,
        fabrics=fabrics_of(family, number),
        cluster_cidrs=tuple(n.cluster for n in numbers),
        service_cidrs=tuple(n.services for n in numbers),
        dns_address=numbers[0].dns,
        load_balancer_pools=tuple(AddressRange(n.first.format(number), n.last.format(number)) for n in numbers),
    )


def _numbers(family: IpFamily) -> tuple[_Numbers, ...]:
    return tuple(n for name, n in _NUMBERS.items() if family in (name, "dual"))
