"""A pod as Services see it.

A view leaves out everything that does not change endpoints, so a status update of a pod that changes none of it
changes no index and no slice.
"""

from collections.abc import Iterable

import msgspec

from podwire.kube import Pod, Service, ServicePort
from podwire.kube.pods import Container


class NamedPort(msgspec.Struct, frozen=True, order=True):
    """A named port of a container."""

    name: str
    protocol: str
    number: int


class PodView(msgspec.Struct, frozen=True):
    """What EndpointSlices need to know of a pod with an address (S34)."""

    namespace: str
    name: str
    uid: str
    labels: tuple[tuple[str, str], ...]
    addresses: tuple[str, ...]
    node: str
    hostname: str
    subdomain: str
    ready: bool
    terminating: bool
    ports: tuple[NamedPort, ...]


def view_pod(pod: Pod) -> PodView | None:
    """None for pods that are no endpoint: without an address, or finished (S34)."""
    if not pod.addresses or pod.is_finished:
        return None
    return PodView(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        labels=tuple(sorted(pod.metadata.labels.items())),
        addresses=pod.addresses,
        node=pod.spec.node_name,
        hostname=pod.spec.hostname,
        subdomain=pod.spec.subdomain,
        ready=pod.is_ready,
        terminating=pod.metadata.deletion_timestamp is not None,
        ports=named_ports(pod),
    )


def named_ports(pod: Pod) -> tuple[NamedPort, ...]:
    """Named ports of containers, then of restartable init containers (S30)."""
    sidecars = tuple(c for c in pod.spec.init_containers if c.restart_policy == "Always")
    return tuple(p for c in (*pod.spec.containers, *sidecars) for p in _named(c))


def _named(container: Container) -> Iterable[NamedPort]:
    for port in container.ports:
        if port.name:
            yield NamedPort(port.name, port.protocol or "TCP", port.container_port)


def resolve_port(port: ServicePort, ports: tuple[NamedPort, ...]) -> int | None:
    """The number behind ``targetPort``; None for a name the pod does not have."""
    target = port.target_port
    if target is None or target in ("", 0):
        return port.port
    if isinstance(target, int):
        return target
    if target.isdigit():
        return int(target)
    return next((p.number for p in ports if p.name == target and p.protocol == port.protocol), None)


def has_derived_endpoints(service: Service) -> bool:
    """Whether endpoints are podwire's to write: there is a selector, and an address of this cluster."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"
