"""core/v1 Pod and its parts: the template every workload kind shares."""

from typing import Annotated, Any

from podwire.kube.core import IntOrString, LocalObjectReference
from podwire.kube.meta import Condition, KubeObject, ObjectMeta
from podwire.kube.struct import KubeStruct, api

BY_NAME = api(merge_key="name", list_type="map", list_map_keys=("name",))
ATOMIC = api(list_type="atomic")


class HTTPHeader(KubeStruct, frozen=True):
    """A request header."""

    name: Annotated[str, api(required=True)] = ""
    value: Annotated[str, api(required=True)] = ""


class HTTPGetAction(KubeStruct, frozen=True):
    """GET; 200 to 399 passes."""

    path: str = ""
    port: Annotated[IntOrString, api(required=True)] = 0
    host: str = ""
    scheme: str = ""
    protocol: str | None = None
    http_headers: Annotated[tuple[HTTPHeader, ...], ATOMIC] = ()


class TCPSocketAction(KubeStruct, frozen=True):
    """A connection opens."""

    port: Annotated[IntOrString, api(required=True)] = 0
    host: str = ""


class ExecAction(KubeStruct, frozen=True):
    """A command exits 0."""

    command: Annotated[tuple[str, ...], ATOMIC] = ()


class GRPCAction(KubeStruct, frozen=True):
    """grpc.health.v1 answers SERVING."""

    port: Annotated[int, api(required=True)] = 0
    service: str | None = None
    mode: str | None = None


class Probe(KubeStruct, frozen=True):
    """A periodic check of a container."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0
    termination_grace_period_seconds: int | None = None


class ContainerPort(KubeStruct, frozen=True):
    """A port a container listens on; informational, but names are resolved by it."""

    name: str = ""
    host_port: int = 0
    container_port: Annotated[int, api(required=True)] = 0
    protocol: str = "TCP"
    host_ip: str = ""


class KeySelector(KubeStruct, frozen=True):
    """A key of a ConfigMap or Secret."""

    name: str = ""
    key: Annotated[str, api(required=True)] = ""
    optional: bool | None = None


class ObjectFieldSelector(KubeStruct, frozen=True):
    """A field of the pod."""

    api_version: str = ""
    field_path: Annotated[str, api(required=True)] = ""


class ResourceFieldSelector(KubeStruct, frozen=True):
    """A resource of a container."""

    container_name: str = ""
    resource: Annotated[str, api(required=True)] = ""
    divisor: Annotated[str | int | float | None, api(format="quantity")] = None


class EnvVarSource(KubeStruct, frozen=True):
    """Where a variable's value comes from."""

    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None
    file_key_ref: dict[str, Any] | None = None


class EnvVar(KubeStruct, frozen=True):
    """An environment variable."""

    name: Annotated[str, api(required=True)] = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class EnvSource(KubeStruct, frozen=True):
    """A ConfigMap or Secret taken whole."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(KubeStruct, frozen=True):
    """All keys of a ConfigMap or Secret as variables."""

    prefix: str = ""
    config_map_ref: EnvSource | None = None
    secret_ref: EnvSource | None = None


class VolumeMount(KubeStruct, frozen=True):
    """A volume inside a container."""

    name: Annotated[str, api(required=True)] = ""
    read_only: bool = False
    recursive_read_only: str | None = None
    mount_path: Annotated[str, api(required=True)] = ""
    sub_path: str = ""
    mount_propagation: str | None = None
    sub_path_expr: str = ""
    bind_mount_options: Any = None


class ResourceRequirements(KubeStruct, frozen=True):
    """Requests and limits; quantities are text or numbers."""

    limits: dict[str, str | int | float] = {}
    requests: dict[str, str | int | float] = {}
    claims: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()


class Container(KubeStruct, frozen=True):
    """One container."""

    name: Annotated[str, api(required=True)] = ""
    image: str = ""
    command: Annotated[tuple[str, ...], ATOMIC] = ()
    args: Annotated[tuple[str, ...], ATOMIC] = ()
    working_dir: str = ""
    ports: Annotated[
        tuple[ContainerPort, ...],
        api(merge_key="containerPort", list_type="map", list_map_keys=("containerPort", "protocol")),
    ] = ()
    env_from: Annotated[tuple[EnvFromSource, ...], ATOMIC] = ()
    env: Annotated[tuple[EnvVar, ...], BY_NAME] = ()
    resources: ResourceRequirements = ResourceRequirements()
    resize_policy: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()
    restart_policy: str | None = None
    restart_policy_rules: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()
    volume_mounts: Annotated[
        tuple[VolumeMount, ...], api(merge_key="mountPath", list_type="map", list_map_keys=("mountPath",))
    ] = ()
    volume_devices: Annotated[
        tuple[dict[str, Any], ...],
        api(merge_key="devicePath", list_type="map", list_map_keys=("devicePath",)),
    ] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Annotated[dict[str, Any] | None, api(parts="Lifecycle")] = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    image_pull_policy: str = ""
    security_context: Annotated[dict[str, Any] | None, api(parts="SecurityContext")] = None
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class EphemeralContainer(Container, frozen=True):
    """A container added to a running pod for looking into it; never restarted, never removed."""

    target_container_name: str = ""


class KeyToPath(KubeStruct, frozen=True):
    """A key and the file it becomes."""

    key: Annotated[str, api(required=True)] = ""
    path: Annotated[str, api(required=True)] = ""
    mode: int | None = None
    user: int | None = None


class ConfigMapVolumeSource(KubeStruct, frozen=True):
    """Files from a ConfigMap."""

    name: str = ""
    items: Annotated[tuple[KeyToPath, ...], ATOMIC] = ()
    default_mode: int | None = None
    default_user: int | None = None
    optional: bool | None = None


class SecretVolumeSource(KubeStruct, frozen=True):
    """Files from a Secret."""

    secret_name: str = ""
    items: Annotated[tuple[KeyToPath, ...], ATOMIC] = ()
    default_mode: int | None = None
    default_user: int | None = None
    optional: bool | None = None


class Volume(KubeStruct, frozen=True):
    """A named volume; kinds of source podwire does not mount are kept as they are and reported."""

    name: Annotated[str, api(required=True)] = ""
    empty_dir: Annotated[dict[str, Any] | None, api(parts="EmptyDirVolumeSource")] = None
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    projected: Annotated[dict[str, Any] | None, api(parts="ProjectedVolumeSource")] = None
    downward_api: Annotated[dict[str, Any] | None, api(parts="DownwardAPIVolumeSource")] = None
    host_path: Annotated[dict[str, Any] | None, api(parts="HostPathVolumeSource")] = None
    persistent_volume_claim: Annotated[dict[str, Any] | None, api(parts="PersistentVolumeClaimVolumeSource")] = None
    ephemeral: Annotated[dict[str, Any] | None, api(parts="EphemeralVolumeSource")] = None
    csi: Annotated[dict[str, Any] | None, api(parts="CSIVolumeSource")] = None
    nfs: Annotated[dict[str, Any] | None, api(parts="NFSVolumeSource")] = None
    image: dict[str, Any] | None = None
    aws_elastic_block_store: dict[str, Any] | None = None
    azure_disk: dict[str, Any] | None = None
    azure_file: dict[str, Any] | None = None
    cephfs: dict[str, Any] | None = None
    cinder: dict[str, Any] | None = None
    fc: dict[str, Any] | None = None
    flex_volume: dict[str, Any] | None = None
    flocker: dict[str, Any] | None = None
    gce_persistent_disk: dict[str, Any] | None = None
    git_repo: dict[str, Any] | None = None
    glusterfs: dict[str, Any] | None = None
    iscsi: dict[str, Any] | None = None
    photon_persistent_disk: dict[str, Any] | None = None
    portworx_volume: dict[str, Any] | None = None
    quobyte: dict[str, Any] | None = None
    rbd: dict[str, Any] | None = None
    scale_io: dict[str, Any] | None = None
    storageos: dict[str, Any] | None = None
    vsphere_volume: dict[str, Any] | None = None


class Toleration(KubeStruct, frozen=True):
    """Lets a pod onto tainted nodes."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    toleration_seconds: int | None = None


class HostAlias(KubeStruct, frozen=True):
    """A line of the hosts file."""

    ip: Annotated[str, api(required=True)] = ""
    hostnames: Annotated[tuple[str, ...], ATOMIC] = ()


class PodDNSConfigOption(KubeStruct, frozen=True):
    """An option of resolv.conf."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(KubeStruct, frozen=True):
    """Additions to resolv.conf."""

    nameservers: Annotated[tuple[str, ...], ATOMIC] = ()
    searches: Annotated[tuple[str, ...], ATOMIC] = ()
    options: Annotated[tuple[PodDNSConfigOption, ...], ATOMIC] = ()


class PodSpec(KubeStruct, frozen=True):
    """Desired state of a pod."""

    volumes: Annotated[
        tuple[Volume, ...], api(merge_key="name", list_type="map", list_map_keys=("name",), retain_keys=True)
    ] = ()
    init_containers: Annotated[tuple[Container, ...], BY_NAME] = ()
    containers: Annotated[
        tuple[Container, ...], api(required=True, merge_key="name", list_type="map", list_map_keys=("name",))
    ] = ()
    ephemeral_containers: Annotated[tuple[EphemeralContainer, ...], BY_NAME] = ()
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    dns_policy: str = ""
    node_selector: Annotated[dict[str, str], api(map_type="atomic")] = {}
    service_account_name: str = ""
    service_account: str = ""
    automount_service_account_token: bool | None = None
    node_name: str = ""
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool | None = None
    share_process_namespace: bool | None = None
    security_context: Annotated[dict[str, Any] | None, api(parts="PodSecurityContext")] = None
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], BY_NAME] = ()
    hostname: str = ""
    subdomain: str = ""
    affinity: Annotated[dict[str, Any] | None, api(parts="Affinity")] = None
    scheduler_name: str = ""
    tolerations: Annotated[tuple[Toleration, ...], ATOMIC] = ()
    host_aliases: Annotated[tuple[HostAlias, ...], api(merge_key="ip", list_type="map", list_map_keys=("ip",))] = ()
    priority_class_name: str = ""
    priority: int | None = None
    dns_config: PodDNSConfig | None = None
    readiness_gates: Annotated[tuple[dict[str, Any], ...], api(list_type="atomic", parts="PodReadinessGate")] = ()
    runtime_class_name: str | None = None
    enable_service_links: bool | None = None
    preemption_policy: str | None = None
    overhead: dict[str, str | int | float] = {}
    topology_spread_constraints: Annotated[
        tuple[dict[str, Any], ...],
        api(
            merge_key="topologyKey",
            list_type="map",
            list_map_keys=("topologyKey", "whenUnsatisfiable"),
            parts="TopologySpreadConstraint",
        ),
    ] = ()
    hostname_override: str | None = None
    set_hostname_as_fqdn: bool | None = None
    os: dict[str, Any] | None = None
    scheduling_gates: Annotated[
        tuple[dict[str, Any], ...],
        api(merge_key="name", list_type="map", list_map_keys=("name",), parts="PodSchedulingGate"),
    ] = ()
    resource_claims: Annotated[tuple[dict[str, Any], ...], BY_NAME] = ()
    resources: ResourceRequirements | None = None
    scheduling_group: dict[str, Any] | None = None
    eviction_responders: tuple[dict[str, Any], ...] = ()


class PodIP(KubeStruct, frozen=True):
    """One address of a pod."""

    ip: Annotated[str, api(required=True)] = ""


class ContainerStatus(KubeStruct, frozen=True):
    """Observed state of a container; ``state`` has one of waiting, running, terminated."""

    name: Annotated[str, api(required=True)] = ""
    state: Annotated[dict[str, dict[str, Any]], api(parts="ContainerState")] = {}
    last_state: Annotated[dict[str, dict[str, Any]], api(parts="ContainerState")] = {}
    ready: Annotated[bool, api(required=True)] = False
    restart_count: Annotated[int, api(required=True)] = 0
    image: Annotated[str, api(required=True)] = ""
    image_id: Annotated[str, api(required=True)] = ""
    container_id: str = ""
    started: bool | None = None
    allocated_resources: dict[str, str | int | float] = {}
    resources: ResourceRequirements | None = None
    volume_mounts: Annotated[
        tuple[dict[str, Any], ...], api(merge_key="mountPath", list_type="map", list_map_keys=("mountPath",))
    ] = ()
    user: dict[str, Any] | None = None
    allocated_resources_status: Annotated[tuple[dict[str, Any], ...], BY_NAME] = ()
    stop_signal: str | None = None


class PodStatus(KubeStruct, frozen=True):
    """Observed state of a pod."""

    observed_generation: int = 0
    phase: str = ""
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()
    message: str = ""
    reason: str = ""
    nominated_node_name: str = ""
    host_ip: str = ""
    host_ips: Annotated[tuple[PodIP, ...], ATOMIC] = ()
    pod_ip: str = ""
    pod_ips: Annotated[tuple[PodIP, ...], api(merge_key="ip", list_type="map", list_map_keys=("ip",))] = ()
    start_time: str | None = None
    init_container_statuses: Annotated[tuple[ContainerStatus, ...], ATOMIC] = ()
    container_statuses: Annotated[tuple[ContainerStatus, ...], ATOMIC] = ()
    qos_class: str = ""
    ephemeral_container_statuses: Annotated[tuple[ContainerStatus, ...], ATOMIC] = ()
    resize: str = ""
    resource_claim_statuses: Annotated[tuple[dict[str, Any], ...], BY_NAME] = ()
    extended_resource_claim_status: dict[str, Any] | None = None
    node_allocatable_resource_claim_statuses: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()
    allocated_resources: dict[str, str | int | float] = {}
    resources: ResourceRequirements | None = None
    volume_health: Annotated[tuple[dict[str, Any], ...], ATOMIC] = ()


class Pod(KubeObject, frozen=True):
    """Containers that share a network namespace."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses, one of each family, the primary one first; none before it has a sandbox."""
        status = self.status
        return tuple(a.ip for a in status.pod_ips) or ((status.pod_ip,) if status.pod_ip else ())

    @property
    def is_finished(self) -> bool:
        """Succeeded or Failed: its address may be in use again (N9)."""
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def is_ready(self) -> bool:
        """The Ready condition is True."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class PodTemplateSpec(KubeStruct, frozen=True):
    """What pods of a workload look like."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
