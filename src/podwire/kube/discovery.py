"""discovery.k8s.io/v1: EndpointSlice."""

from typing import Annotated

from podwire.kube.core import ObjectReference
from podwire.kube.meta import KubeObject
from podwire.kube.struct import KubeStruct, api


class EndpointConditions(KubeStruct, frozen=True):
    """Absent ``ready`` and ``serving`` mean true, absent ``terminating`` means false (S35)."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(KubeStruct, frozen=True):
    """A zone that should use the endpoint."""

    name: Annotated[str, api(required=True)] = ""


class ForNode(KubeStruct, frozen=True):
    """A node that should use the endpoint."""

    name: Annotated[str, api(required=True)] = ""


class EndpointHints(KubeStruct, frozen=True):
    """Topology hints."""

    for_zones: Annotated[tuple[ForZone, ...], api(list_type="atomic")] = ()
    for_nodes: Annotated[tuple[ForNode, ...], api(list_type="atomic")] = ()


class Endpoint(KubeStruct, frozen=True):
    """One backend."""

    addresses: Annotated[tuple[str, ...], api(required=True, list_type="set")] = ()
    conditions: EndpointConditions = EndpointConditions()
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    deprecated_topology: dict[str, str] = {}
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None


class EndpointPort(KubeStruct, frozen=True):
    """A port all endpoints of the slice share."""

    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(KubeObject, frozen=True):
    """A part of the endpoints of a Service."""

    address_type: Annotated[str, api(required=True)] = ""
    endpoints: Annotated[tuple[Endpoint, ...], api(required=True, list_type="atomic")] = ()
    ports: Annotated[tuple[EndpointPort, ...], api(list_type="atomic")] = ()
