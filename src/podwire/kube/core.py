"""Core v1: Namespace, Node, Service, Endpoints, ConfigMap, Secret, ServiceAccount, Event."""

from typing import Annotated, Any

from podwire.kube.meta import Condition, KubeObject
from podwire.kube.struct import KubeStruct, api

IntOrString = int | str


class NamespaceSpec(KubeStruct, frozen=True):
    """Desired state of a namespace."""

    finalizers: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class NamespaceStatus(KubeStruct, frozen=True):
    """Observed state of a namespace."""

    phase: str = ""
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class Namespace(KubeObject, frozen=True):
    """A scope for names."""

    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class Taint(KubeStruct, frozen=True):
    """Keeps pods without a matching toleration away."""

    key: Annotated[str, api(required=True)] = ""
    value: str = ""
    effect: Annotated[str, api(required=True)] = ""
    time_added: str | None = None


class NodeSpec(KubeStruct, frozen=True):
    """Desired state of a node."""

    pod_cidr: str = ""
    pod_cidrs: Annotated[tuple[str, ...], api(list_type="set", patch_merge=True)] = ()
    provider_id: str = ""
    unschedulable: bool = False
    taints: Annotated[tuple[Taint, ...], api(list_type="atomic")] = ()
    config_source: Annotated[dict[str, Any] | None, api(deprecated=True)] = None
    external_id: Annotated[str, api(deprecated=True)] = ""
    pod_preemption_policy: dict[str, Any] | None = None


class NodeAddress(KubeStruct, frozen=True):
    """One address of a node, by type (InternalIP, Hostname)."""

    type: Annotated[str, api(required=True)] = ""
    address: Annotated[str, api(required=True)] = ""


class NodeSystemInfo(KubeStruct, frozen=True):
    """What the node runs."""

    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    container_runtime_version: str = ""
    kubelet_version: str = ""
    kube_proxy_version: str = ""
    operating_system: str = ""
    architecture: str = ""
    swap: dict[str, Any] | None = None
    running_in_user_namespace: bool | None = None


class NodeStatus(KubeStruct, frozen=True):
    """Observed state of a node."""

    capacity: Annotated[dict[str, str], api(format="quantity")] = {}
    allocatable: Annotated[dict[str, str], api(format="quantity")] = {}
    phase: str = ""
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()
    addresses: Annotated[tuple[NodeAddress, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()
    node_info: NodeSystemInfo | None = None
    daemon_endpoints: dict[str, Any] | None = None
    images: Annotated[tuple[dict[str, Any], ...], api(list_type="atomic")] = ()
    volumes_in_use: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    volumes_attached: Annotated[tuple[dict[str, Any], ...], api(list_type="atomic")] = ()
    config: Annotated[dict[str, Any] | None, api(deprecated=True)] = None
    runtime_handlers: Annotated[tuple[dict[str, Any], ...], api(list_type="atomic")] = ()
    features: dict[str, Any] | None = None
    declared_features: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class Node(KubeObject, frozen=True):
    """A worker."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def internal_addresses(self) -> tuple[str, ...]:
        """Where the cluster reaches it: at most one address of each family, the first of each."""
        found: dict[bool, str] = {}
        for entry in self.status.addresses:
            if entry.type == "InternalIP":
                found.setdefault(":" in entry.address, entry.address)
        return tuple(found.values())

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        """Its shares of the pod network."""
        return self.spec.pod_cidrs or ((self.spec.pod_cidr,) if self.spec.pod_cidr else ())


class ServicePort(KubeStruct, frozen=True):
    """A port of a Service."""

    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    port: Annotated[int, api(required=True)] = 0
    target_port: IntOrString | None = None
    node_port: int = 0


class ClientIPConfig(KubeStruct, frozen=True):
    """Timeout of client IP affinity."""

    timeout_seconds: int | None = None


class SessionAffinityConfig(KubeStruct, frozen=True):
    """Settings of session affinity."""

    client_ip: ClientIPConfig | None = None


class ServiceSpec(KubeStruct, frozen=True):
    """Desired state of a Service."""

    ports: Annotated[
        tuple[ServicePort, ...], api(merge_key="port", list_type="map", list_map_keys=("port", "protocol"))
    ] = ()
    selector: Annotated[dict[str, str], api(map_type="atomic")] = {}
    cluster_ip: str = ""
    cluster_ips: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    type: str = "ClusterIP"
    external_ips: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    session_affinity: str = "None"
    load_balancer_ip: str = ""
    load_balancer_source_ranges: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    external_name: str = ""
    external_traffic_policy: str = ""
    health_check_node_port: int = 0
    publish_not_ready_addresses: bool = False
    session_affinity_config: SessionAffinityConfig | None = None
    ip_families: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    ip_family_policy: str | None = None
    allocate_load_balancer_node_ports: bool | None = None
    load_balancer_class: str | None = None
    internal_traffic_policy: str | None = None
    traffic_distribution: str | None = None


class PortStatus(KubeStruct, frozen=True):
    """A port of an ingress point."""

    port: int = 0
    protocol: str = "TCP"
    error: str | None = None


class LoadBalancerIngress(KubeStruct, frozen=True):
    """One ingress point of a load balancer."""

    ip: str = ""
    hostname: str = ""
    ip_mode: str | None = None
    ports: Annotated[tuple[PortStatus, ...], api(list_type="atomic")] = ()


class LoadBalancerStatus(KubeStruct, frozen=True):
    """All ingress points."""

    ingress: Annotated[tuple[LoadBalancerIngress, ...], api(list_type="atomic")] = ()


class ServiceStatus(KubeStruct, frozen=True):
    """Observed state of a Service."""

    load_balancer: LoadBalancerStatus = LoadBalancerStatus()
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class Service(KubeObject, frozen=True):
    """A name and a virtual address for a set of pods."""

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ObjectReference(KubeStruct, frozen=True):
    """A reference to another object."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class EndpointAddress(KubeStruct, frozen=True):
    """An address of the legacy Endpoints object."""

    ip: Annotated[str, api(required=True)] = ""
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointPort(KubeStruct, frozen=True):
    """A port of the legacy Endpoints object."""

    name: str = ""
    port: Annotated[int, api(required=True)] = 0
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSubset(KubeStruct, frozen=True):
    """Addresses that share ports."""

    addresses: Annotated[tuple[EndpointAddress, ...], api(list_type="atomic")] = ()
    not_ready_addresses: Annotated[tuple[EndpointAddress, ...], api(list_type="atomic")] = ()
    ports: Annotated[tuple[EndpointPort, ...], api(list_type="atomic")] = ()


class Endpoints(KubeObject, frozen=True):
    """Legacy endpoints of a Service (deprecated since 1.33, still written)."""

    subsets: Annotated[tuple[EndpointSubset, ...], api(list_type="atomic")] = ()


class ConfigMap(KubeObject, frozen=True):
    """Configuration data."""

    data: dict[str, str] = {}
    binary_data: Annotated[dict[str, str], api(format="byte")] = {}
    immutable: bool | None = None


class Secret(KubeObject, frozen=True):
    """Secret data, base64 in ``data``."""

    data: Annotated[dict[str, str], api(format="byte")] = {}
    string_data: dict[str, str] = {}
    type: str = ""
    immutable: bool | None = None


class LocalObjectReference(KubeStruct, frozen=True):
    """A reference by name in the same namespace."""

    name: str = ""


class ServiceAccount(KubeObject, frozen=True):
    """An identity for pods."""

    secrets: Annotated[
        tuple[ObjectReference, ...], api(merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], api(list_type="atomic")] = ()
    automount_service_account_token: bool | None = None


class EventSource(KubeStruct, frozen=True):
    """Who reported an event."""

    component: str = ""
    host: str = ""


class Event(KubeObject, frozen=True):
    """Something that happened to an object."""

    involved_object: Annotated[ObjectReference, api(required=True)] = ObjectReference()
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    count: int = 0
    type: str = ""
    event_time: str | None = None
    series: dict[str, Any] | None = None
    action: str = ""
    related: ObjectReference | None = None
    reporting_component: str = ""
    reporting_instance: str = ""
