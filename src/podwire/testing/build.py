"""Builders of objects and snapshots for unit tests: short, typed, with only what a test is about."""

from collections.abc import Iterable
from typing import Any

from podwire.snapshot import Settings, Snapshot, SnapshotBuilder

Json = dict[str, Any]
NOW = 1_800_000_000.0


def namespace(name: str, **labels: str) -> Json:
    """A Namespace with its name label."""
    labels = {"kubernetes.io/metadata.name": name, **labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"ns-{name}", "labels": labels}}


def node(name: str, *addresses: str, zone: str = "a", pod_cidr: str = "10.244.0.0/24") -> Json:
    """A ready Node; ``pod_cidr`` may hold several, with commas."""
    cidrs = pod_cidr.split(",")
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "uid": f"node-{name}", "labels": {"topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
        "status": {"addresses": [{"type": "InternalIP", "address": address} for address in addresses]},
    }


def pod(
    key: str, *addresses: str, labels: dict[str, str] | None = None, node: str = "node-1", ports: Iterable[Json] = ()
) -> Json:
    """A running, ready Pod; ``key`` is ``namespace/name``."""
    space, _, name = key.partition("/")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": space, "uid": f"pod-{space}-{name}", "labels": labels or {}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.com/x", "ports": list(ports)}]},
        "status": {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def policy(key: str, **spec: Any) -> Json:
    """A NetworkPolicy."""
    space, _, name = key.partition("/")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": space, "uid": f"np-{space}-{name}", "generation": 1},
        "spec": {"podSelector": {}, **spec},
    }


def service(key: str, cluster_ip: str, **spec: Any) -> Json:
    """A Service with one port 80 unless ``spec`` says otherwise."""
    space, _, name = key.partition("/")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": space, "uid": f"svc-{space}-{name}"},
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "ports": [{"port": 80, "protocol": "TCP"}],
            **spec,
        },
    }


def endpoint(address: str, *, node: str = "node-1", pod: str = "", **conditions: bool) -> Json:
    """An endpoint of a slice."""
    value: Json = {"addresses": [address], "nodeName": node, "conditions": {"ready": True, **conditions}}
    if pod:
        space, _, name = pod.partition("/")
        value["targetRef"] = {"kind": "Pod", "namespace": space, "name": name}
    return value


def endpoint_slice(service_key: str, *endpoints: Json, port: int = 8080, suffix: str = "a", **port_fields: Any) -> Json:
    """An EndpointSlice of a Service."""
    space, _, name = service_key.partition("/")
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{name}-{suffix}",
            "namespace": space,
            "uid": f"es-{space}-{name}-{suffix}",
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv6" if endpoints and ":" in endpoints[0]["addresses"][0] else "IPv4",
        "endpoints": list(endpoints),
        "ports": [{"port": port, "protocol": "TCP", **port_fields}],
    }


def snapshot(*objects: Json, settings: Settings | None = None, now: float = NOW) -> Snapshot:
    """The instant that holds ``objects``."""
    builder = SnapshotBuilder(settings or Settings(planes=False))
    for value in objects:
        builder.put(value)
    assert not builder.findings(), builder.findings()
    return builder.snapshot(now)
