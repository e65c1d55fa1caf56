"""The objects every embedded cluster has, under the names people look for.

``kube-system/coredns`` and ``ingress-nginx/ingress-nginx-controller`` are ordinary Deployments whose images are
podwire's own planes, so that ``kubectl logs``, selectors in NetworkPolicies and the usual commands work as written in
any tutorial.
"""

import platform
from ipaddress import ip_network
from itertools import islice
from typing import Any, Literal

import msgspec

from podwire.base import EnvironmentUnfit
from podwire.cluster.addresses import IpFamily
from podwire.compile.claims import DEFAULT_CLASS, DRIVER
from podwire.compile.corefile_blocks import default_corefile
from podwire.plan.node import ETHERNET_MTU, Network, vxlan_overhead
from podwire.snapshot import Settings

Json = dict[str, Any]
FIRST_NODE_HOST, MAX_NODES, MAX_MASK, IPV6_MASK = 10, 180, 28, 64
RESERVED_ADDRESSES = 3
"""Network, gateway and broadcast of a node's share."""
DNS_LABELS = {"k8s-app": "kube-dns"}
INGRESS_LABELS = {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}


LEAST_MTU, MOST_MTU = 1280, 65535
"""IPv6 needs the first; the second is a link's limit."""


class NodeLayout(msgspec.Struct, frozen=True):
    """How many nodes, the zones they are put in by turns, and the size of each one's share of the pod network
    (kube-controller-manager's ``--node-cidr-mask-size``); how pods of different nodes reach each other, and the largest
    packet of a pod (0: what Ethernet's 1500 bytes leave); which address families there are;
    where load balancer addresses are; and how long a node may be silent before it counts as lost."""

    nodes: int = 2
    zones: tuple[str, ...] = ("a", "b")
    mask: int = 24
    network: Network = "host-gw"
    mtu: int = 0
    ip_family: IpFamily = "ipv4"
    load_balancer: Literal["node", "edge"] = "node"
    grace_seconds: float = 50.0


def lay_out(settings: Settings, layout: NodeLayout) -> Settings:
    """``settings`` with the pod network that ``layout`` asks for. Raises :class:`EnvironmentUnfit` for an impossible
    MTU, or an edge without IPv4."""
    overhead = vxlan_overhead(settings.fabrics[0]) if layout.network == "vxlan" else 0
    mtu = layout.mtu or ETHERNET_MTU - overhead
    if not LEAST_MTU <= mtu <= MOST_MTU - overhead:
        raise EnvironmentUnfit(f"--mtu {mtu}: with --network {layout.network} use {LEAST_MTU} to {MOST_MTU - overhead}")
    if layout.load_balancer == "edge" and ":" in settings.fabrics[0]:
        raise EnvironmentUnfit("--load-balancer edge is IPv4: use it with --ip-family ipv4 or dual")
    return msgspec.structs.replace(
        settings,
        network=layout.network,
        mtu=mtu,
        load_balancer=layout.load_balancer,
        node_grace_seconds=layout.grace_seconds,
    )


def system_objects(settings: Settings, layout: NodeLayout, *, version: str) -> tuple[Json, ...]:
    """Nodes, DNS and the Ingress controller, in the order they must be created."""
    return (
        *node_objects(settings, layout, version=version),
        _storage_class(),
        _namespace("ingress-nginx", {"name": "ingress-nginx", "app.kubernetes.io/name": "ingress-nginx"}),
        _dns_config(settings),
        _dns_service(settings),
        _deployment("kube-system", "coredns", DNS_LABELS, _dns_pod()),
        _ingress_class(settings),
        _ingress_service(),
        _deployment("ingress-nginx", "ingress-nginx-controller", INGRESS_LABELS, _ingress_pod()),
    )


def _storage_class() -> Json:
    """The class of claims that name none, with the name kind and minikube give it."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": DEFAULT_CLASS, "annotations": annotations},
        "provisioner": DRIVER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def node_objects(settings: Settings, layout: NodeLayout, *, version: str) -> tuple[Json, ...]:
    """Node objects with addresses on the fabric and shares of the pod network.

    Raises :class:`EnvironmentUnfit` when the pod network has no room for them.
    """
    fabrics = tuple(map(ip_network, settings.fabrics))
    if layout.nodes > MAX_NODES:
        raise EnvironmentUnfit(f"{layout.nodes} nodes do not fit into the fabric {fabrics[0]}: at most {MAX_NODES}")
    shares = zip(*(_shares(cidr, layout) for cidr in settings.cluster_cidrs), strict=True)
    resources = {"cpu": "8", "memory": "16Gi", "pods": str((1 << (32 - layout.mask)) - RESERVED_ADDRESSES)}
    return tuple(
        _node(
            f"node-{index + 1}",
            zone=layout.zones[index % len(layout.zones)] if layout.zones else "",
            addresses=[str(fabric[FIRST_NODE_HOST + index]) for fabric in fabrics],
            pod_cidrs=list(share),
            resources=resources,
            version=version,
        )
        for index, share in enumerate(shares)
    )


def _shares(cidr: str, layout: NodeLayout) -> list[str]:
    """A block for each node. Of IPv6 it is a /64, whatever the mask: nobody counts its addresses."""
    network = ip_network(cidr)
    mask = layout.mask if network.version == 4 else IPV6_MASK
    if not network.prefixlen <= mask or layout.mask > MAX_MASK or layout.nodes > 1 << (mask - network.prefixlen):
        room = f"{layout.nodes} nodes with a /{mask} each do not fit into {network}"
        raise EnvironmentUnfit(f"{room}: use fewer --nodes, or another --node-cidr-mask-size")
    return [str(share) for share in islice(network.subnets(new_prefix=mask), layout.nodes)]


def _node(
    name: str, *, zone: str, addresses: list[str], pod_cidrs: list[str], resources: dict[str, str], version: str
) -> Json:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
    if zone:
        labels["topology.kubernetes.io/zone"] = zone
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": pod_cidrs, "providerID": f"podwire://{name}"},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                *({"type": "InternalIP", "address": address} for address in addresses),
                {"type": "Hostname", "address": name},
            ],
            "nodeInfo": {
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
                "kernelVersion": platform.release(),
                "osImage": "podwire",
                "containerRuntimeVersion": f"podwire://{version}",
                "kubeletVersion": f"podwire-{version}",
                "kubeProxyVersion": f"podwire-{version}",
                "operatingSystem": "linux",
                "architecture": _architecture(),
            },
        },
    }


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def _namespace(name: str, labels: dict[str, str]) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _deployment(namespace: str, name: str, labels: dict[str, str], spec: Json) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _dns_pod() -> Json:
    return {
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [
            {
                "name": "coredns",
                "image": "podwire/dns",
                "ports": [
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
                ],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}},
                "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
            }
        ],
    }


def _dns_config(settings: Settings) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "data": {"Corefile": default_corefile(settings.domain)},
    }


def _dns_service(settings: Settings) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                **DNS_LABELS,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": settings.dns_address,
            "selector": DNS_LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
            ],
        },
    }


def _ingress_class(settings: Settings) -> Json:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": "nginx", "labels": {"app.kubernetes.io/name": "ingress-nginx"}},
        "spec": {"controller": settings.controller},
    }


def _ingress_service() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "ingress-nginx-controller",
            "namespace": "ingress-nginx",
            "labels": INGRESS_LABELS,
        },
        "spec": {
            "type": "LoadBalancer",
            "ipFamilyPolicy": "PreferDualStack",
            "externalTrafficPolicy": "Local",
            "selector": INGRESS_LABELS,
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
                {"name": "https", "port": 443, "targetPort": "https", "appProtocol": "https"},
            ],
        },
    }


def _ingress_pod() -> Json:
    return {
        "containers": [
            {
                "name": "controller",
                "image": "podwire/envoy",
                "ports": [
                    {"name": "http", "containerPort": 80},
                    {"name": "https", "containerPort": 443},
                ],
                "readinessProbe": {"httpGet": {"path": "/healthz", "port": 10254}},
            }
        ],
    }
