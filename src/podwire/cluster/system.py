"""The objects every embedded cluster has, under the names people look for.

``kube-system/coredns`` and ``ingress-nginx/ingress-nginx-controller`` are ordinary Deployments whose images are
podwire's own planes, so that ``kubectl logs``, selectors in NetworkPolicies and the usual commands work as written in
any tutorial.
"""

import platform
from ipaddress import IPv4Network, ip_network
from typing import Any

import msgspec

from podwire.base import EnvironmentUnfit
from podwire.compile.claims import DEFAULT_CLASS, DRIVER
from podwire.compile.corefile_blocks import default_corefile
from podwire.plan.node import ETHERNET_MTU, VXLAN_OVERHEAD, Network
from podwire.snapshot import Settings

Json = dict[str, Any]
FIRST_NODE_HOST, MAX_NODES, MAX_MASK = 10, 180, 28
RESERVED_ADDRESSES = 3
"""Network, gateway and broadcast of a node's share."""
DNS_LABELS = {"k8s-app": "kube-dns"}
INGRESS_LABELS = {"app.kubernetes.io/name": "ingress-nginx", "app.kubernetes.io/component": "controller"}


LEAST_MTU, MOST_MTU = 1280, 65535
"""IPv6 needs the first; the second is a link's limit."""


class NodeLayout(msgspec.Struct, frozen=True):
    """How many nodes, the zones they are put in by turns, and the size of each one's share of the pod network
    (kube-controller-manager's ``--node-cidr-mask-size``); how pods of different nodes reach each other, and the largest
    packet of a pod (0: what Ethernet's 1500 bytes leave)."""

    nodes: int = 2
    zones: tuple[str, ...] = ("a", "b")
    mask: int = 24
    network: Network = "host-gw"
    mtu: int = 0


def lay_out(settings: Settings, layout: NodeLayout) -> Settings:
    """``settings`` with the pod network that ``layout`` asks for. Raises :class:`EnvironmentUnfit` for an impossible
    MTU."""
    overhead = VXLAN_OVERHEAD if layout.network == "vxlan" else 0
    mtu = layout.mtu or ETHERNET_MTU - overhead
    if not LEAST_MTU <= mtu <= MOST_MTU - overhead:
        raise EnvironmentUnfit(f"--mtu {mtu}: with --network {layout.network} use {LEAST_MTU} to {MOST_MTU - overhead}")
    return msgspec.structs.replace(settings, network=layout.network, mtu=mtu)


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
    fabric, network = ip_network(settings.fabrics[0]), ip_network(settings.cluster_cidrs[0])
    assert isinstance(network, IPv4Network)
    if not network.prefixlen <= layout.mask <= MAX_MASK or layout.nodes > 1 << (layout.mask - network.prefixlen):
        room = f"{layout.nodes} nodes with a /{layout.mask} each do not fit into {network}"
        raise EnvironmentUnfit(f"{room}: use fewer --nodes, or another --node-cidr-mask-size")
    if layout.nodes > MAX_NODES:
        raise EnvironmentUnfit(f"{layout.nodes} nodes do not fit into the fabric {fabric}: at most {MAX_NODES}")
    shares = network.subnets(new_prefix=layout.mask)
    return tuple(
        _node(
            f"node-{index + 1}",
            zone=layout.zones[index % len(layout.zones)] if layout.zones else "",
            address=str(fabric[FIRST_NODE_HOST + index]),
            pod_cidr=share,
            version=version,
        )
        for index, share in zip(range(layout.nodes), shares, strict=False)
    )


def _node(name: str, *, zone: str, address: str, pod_cidr: IPv4Network, version: str) -> Json:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture()}
    if zone:
        labels["topology.kubernetes.io/zone"] = zone
    resources = {"cpu": "8", "memory": "16Gi", "pods": str(pod_cidr.num_addresses - RESERVED_ADDRESSES)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": str(pod_cidr), "podCIDRs": [str(pod_cidr)], "providerID": f"podwire://{name}"},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": address},
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
