"""Plans in the other address family: IPv4 embedded in ``fd00::/96``, so that one test serves IPv4, IPv6 and both.

``10.244.1.2`` is ``fd00::af4:102`` there, ``10.244.0.0/16`` is ``fd00::af4:0/112``.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

import msgspec

from podwire.base import Cidr
from podwire.plan import Endpoint, PolicyPlan, PolicyPod, ServiceNode, ServicePlan, ServicePort
from podwire.planes.nft import NftPlan

Families = tuple[int, ...]

_BASE = int(IPv6Address("fd00::"))


def six(address: str) -> str:
    """An IPv4 address in IPv6; what is no address stays none."""
    try:
        return str(IPv6Address(_BASE + int(IPv4Address(address))))
    except ValueError:
        return f"fd00::{address}"


def four(address: str) -> str:
    """The inverse of :func:`six`; an IPv4 address is itself."""
    return str(IPv4Address(int(IPv6Address(address)) - _BASE)) if ":" in address else address


def six_cidr(cidr: Cidr) -> Cidr:
    """A block in IPv6; everything stays everything."""
    return Cidr(6, _BASE + cidr.base, cidr.length + 96) if cidr.length else Cidr(6, 0, 0)


def in_family(address: str, family: int) -> str:
    """``address`` (IPv4) as ``family`` has it."""
    return six(address) if family == 6 else address


def spread(addresses: Iterable[str], families: Families) -> tuple[str, ...]:
    """Every address in every family."""
    return tuple(in_family(a, f) for a in addresses for f in families)


def _cidrs(cidrs: Iterable[Cidr], families: Families) -> tuple[Cidr, ...]:
    return tuple(six_cidr(c) if f == 6 else c for c in cidrs for f in families)


def translate_plan(plan: NftPlan, families: Families) -> NftPlan:
    """An IPv4 plan with its addresses in these families."""
    if families == (4,):
        return plan
    return NftPlan(translate_services(plan.services, families), translate_policy(plan.policy, families))


def translate_services(plan: ServicePlan, families: Families) -> ServicePlan:
    return msgspec.structs.replace(
        plan,
        ports={key: translate_port(port, families) for key, port in plan.ports.items()},
        nodes={name: _node(node, families) for name, node in plan.nodes.items()},
        service_cidrs=_cidrs(plan.service_cidrs, families),
        cluster_cidrs=_cidrs(plan.cluster_cidrs, families),
        proxy=msgspec.structs.replace(plan.proxy, node_port_ranges=_cidrs(plan.proxy.node_port_ranges, families)),
    )


def _node(node: ServiceNode, families: Families) -> ServiceNode:
    addresses, pod_cidrs = spread(node.addresses, families), _cidrs(node.pod_cidrs, families)
    return msgspec.structs.replace(node, addresses=addresses, pod_cidrs=pod_cidrs)


def translate_port(port: ServicePort, families: Families) -> ServicePort:
    return msgspec.structs.replace(
        port,
        cluster_ips=spread(port.cluster_ips, families),
        load_balancer_ips=spread(port.load_balancer_ips, families),
        external_ips=spread(port.external_ips, families),
        source_ranges=_cidrs(port.source_ranges, families),
        endpoints=tuple(_endpoint(e, f) for e in port.endpoints for f in families),
    )


def _endpoint(endpoint: Endpoint, family: int) -> Endpoint:
    return msgspec.structs.replace(endpoint, address=in_family(endpoint.address, family))


def translate_policy(plan: PolicyPlan, families: Families) -> PolicyPlan:
    return msgspec.structs.replace(
        plan,
        pods={key: _pod(pod, families) for key, pod in plan.pods.items()},
        cidrs={block: number for cidr, number in plan.cidrs.items() for block in _cidrs((cidr,), families)},
    )


def _pod(pod: PolicyPod, families: Families) -> PolicyPod:
    return msgspec.structs.replace(
        pod, addresses=spread(pod.addresses, families), identities=tuple(n for n in pod.identities for _ in families)
    )
