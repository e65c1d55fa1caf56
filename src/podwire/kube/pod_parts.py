"""Parts of a pod podwire stores and shows but reads, if at all, as plain values: their shape for decoding and explain.

Fields of ``pods.py`` name these with ``api(parts=...)``: there the value stays a dict, here is its schema. Nothing
imports this module before the first schema is asked for.

Spec: k8s.io/api/core/v1 types of 1.36.
"""

from typing import Annotated, Any

from podwire.kube.core import LocalObjectReference
from podwire.kube.meta import LabelSelector, ObjectMeta
from podwire.kube.pods import (
    ExecAction,
    HTTPGetAction,
    KeyToPath,
    ObjectFieldSelector,
    ResourceFieldSelector,
    TCPSocketAction,
)
from podwire.kube.struct import KubeStruct, api

_ATOMIC = api(list_type="atomic")
_QUANTITY = api(format="quantity")


class Capabilities(KubeStruct, frozen=True):
    """Kernel capabilities added and dropped."""

    add: Annotated[tuple[str, ...], _ATOMIC] = ()
    drop: Annotated[tuple[str, ...], _ATOMIC] = ()


class SELinuxOptions(KubeStruct, frozen=True):
    """SELinux label."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SeccompProfile(KubeStruct, frozen=True):
    """Filter of system calls: RuntimeDefault, Localhost or Unconfined."""

    type: Annotated[str, api(required=True)] = ""
    localhost_profile: str | None = None


class AppArmorProfile(KubeStruct, frozen=True):
    """AppArmor profile: RuntimeDefault, Localhost or Unconfined."""

    type: Annotated[str, api(required=True)] = ""
    localhost_profile: str | None = None


class SecurityContext(KubeStruct, frozen=True):
    """User, capabilities and privileges of a container."""

    capabilities: Capabilities | None = None
    privileged: bool | None = None
    se_linux_options: SELinuxOptions | None = None
    windows_options: dict[str, Any] | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    allow_privilege_escalation: bool | None = None
    proc_mount: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None


class Sysctl(KubeStruct, frozen=True):
    """A kernel parameter."""

    name: Annotated[str, api(required=True)] = ""
    value: Annotated[str, api(required=True)] = ""


class PodSecurityContext(KubeStruct, frozen=True):
    """User, groups and kernel parameters of all containers."""

    se_linux_options: SELinuxOptions | None = None
    windows_options: dict[str, Any] | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    supplemental_groups: Annotated[tuple[int, ...], api(list_type="atomic", format="int64")] = ()
    supplemental_groups_policy: str | None = None
    fs_group: Annotated[int | None, api(format="int64")] = None
    sysctls: Annotated[tuple[Sysctl, ...], _ATOMIC] = ()
    fs_group_change_policy: str | None = None
    seccomp_profile: SeccompProfile | None = None
    app_armor_profile: AppArmorProfile | None = None
    se_linux_change_policy: str | None = None


class SleepAction(KubeStruct, frozen=True):
    """Wait."""

    seconds: Annotated[int, api(required=True, format="int64")] = 0


class LifecycleHandler(KubeStruct, frozen=True):
    """What to do at a moment of a container's life."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(KubeStruct, frozen=True):
    """Actions after start and before stop."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str | None = None


class NodeSelectorRequirement(KubeStruct, frozen=True):
    """One condition on a node's labels or fields."""

    key: Annotated[str, api(required=True)] = ""
    operator: Annotated[str, api(required=True)] = ""
    values: Annotated[tuple[str, ...], _ATOMIC] = ()


class NodeSelectorTerm(KubeStruct, frozen=True):
    """Conditions that must all hold."""

    match_expressions: Annotated[tuple[NodeSelectorRequirement, ...], _ATOMIC] = ()
    match_fields: Annotated[tuple[NodeSelectorRequirement, ...], _ATOMIC] = ()


class NodeSelector(KubeStruct, frozen=True):
    """Terms of which one must hold."""

    node_selector_terms: Annotated[tuple[NodeSelectorTerm, ...], api(required=True, list_type="atomic")] = ()


class PreferredSchedulingTerm(KubeStruct, frozen=True):
    """A wish about the node and its weight."""

    weight: Annotated[int, api(required=True)] = 0
    preference: Annotated[NodeSelectorTerm, api(required=True)] = NodeSelectorTerm()


class NodeAffinity(KubeStruct, frozen=True):
    """Conditions and wishes about the node."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: Annotated[tuple[PreferredSchedulingTerm, ...], _ATOMIC] = ()


class PodAffinityTerm(KubeStruct, frozen=True):
    """Pods to be near to, or away from, and what near means."""

    label_selector: LabelSelector | None = None
    namespaces: Annotated[tuple[str, ...], _ATOMIC] = ()
    topology_key: Annotated[str, api(required=True)] = ""
    namespace_selector: LabelSelector | None = None
    match_label_keys: Annotated[tuple[str, ...], _ATOMIC] = ()
    mismatch_label_keys: Annotated[tuple[str, ...], _ATOMIC] = ()


class WeightedPodAffinityTerm(KubeStruct, frozen=True):
    """A wish about other pods and its weight."""

    weight: Annotated[int, api(required=True)] = 0
    pod_affinity_term: Annotated[PodAffinityTerm, api(required=True)] = PodAffinityTerm()


class PodAffinity(KubeStruct, frozen=True):
    """Conditions and wishes about other pods."""

    required_during_scheduling_ignored_during_execution: Annotated[tuple[PodAffinityTerm, ...], _ATOMIC] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[tuple[WeightedPodAffinityTerm, ...], _ATOMIC] = ()


class Affinity(KubeStruct, frozen=True):
    """Conditions and wishes about nodes and other pods."""

    node_affinity: NodeAffinity | None = None
    pod_affinity: PodAffinity | None = None
    pod_anti_affinity: PodAffinity | None = None


class TopologySpreadConstraint(KubeStruct, frozen=True):
    """How evenly pods spread over a topology."""

    max_skew: Annotated[int, api(required=True)] = 0
    topology_key: Annotated[str, api(required=True)] = ""
    when_unsatisfiable: Annotated[str, api(required=True)] = ""
    label_selector: LabelSelector | None = None
    min_domains: int | None = None
    node_affinity_policy: str | None = None
    node_taints_policy: str | None = None
    match_label_keys: Annotated[tuple[str, ...], _ATOMIC] = ()


class EmptyDirVolumeSource(KubeStruct, frozen=True):
    """A directory that lives as long as the pod."""

    medium: str = ""
    size_limit: Annotated[str | int | float | None, _QUANTITY] = None
    mode: int | None = None


class HostPathVolumeSource(KubeStruct, frozen=True):
    """A directory or file of the node."""

    path: Annotated[str, api(required=True)] = ""
    type: str | None = None


class PersistentVolumeClaimVolumeSource(KubeStruct, frozen=True):
    """A claim of the same namespace."""

    claim_name: Annotated[str, api(required=True)] = ""
    read_only: bool = False


class DownwardAPIVolumeFile(KubeStruct, frozen=True):
    """A file with a field of the pod or a resource of a container."""

    path: Annotated[str, api(required=True)] = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None
    user: int | None = None


class DownwardAPIVolumeSource(KubeStruct, frozen=True):
    """Files with facts about the pod."""

    items: Annotated[tuple[DownwardAPIVolumeFile, ...], _ATOMIC] = ()
    default_mode: int | None = None
    default_user: int | None = None


class KeyProjection(KubeStruct, frozen=True):
    """Keys of a ConfigMap or Secret as files."""

    name: str = ""
    items: Annotated[tuple[KeyToPath, ...], _ATOMIC] = ()
    optional: bool | None = None


class ServiceAccountTokenProjection(KubeStruct, frozen=True):
    """A token of the pod's ServiceAccount."""

    audience: str = ""
    expiration_seconds: Annotated[int | None, api(format="int64")] = None
    path: Annotated[str, api(required=True)] = ""
    user: int | None = None


class VolumeProjection(KubeStruct, frozen=True):
    """One source of a projected volume."""

    secret: KeyProjection | None = None
    config_map: KeyProjection | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    service_account_token: ServiceAccountTokenProjection | None = None
    cluster_trust_bundle: dict[str, Any] | None = None
    pod_certificate: dict[str, Any] | None = None


class ProjectedVolumeSource(KubeStruct, frozen=True):
    """Several sources in one directory."""

    sources: Annotated[tuple[VolumeProjection, ...], _ATOMIC] = ()
    default_mode: int | None = None
    default_user: int | None = None


class NFSVolumeSource(KubeStruct, frozen=True):
    """A directory of an NFS server."""

    server: Annotated[str, api(required=True)] = ""
    path: Annotated[str, api(required=True)] = ""
    read_only: bool = False


class CSIVolumeSource(KubeStruct, frozen=True):
    """A volume a driver makes for the pod."""

    driver: Annotated[str, api(required=True)] = ""
    read_only: bool | None = None
    fs_type: str | None = None
    volume_attributes: dict[str, str] = {}
    node_publish_secret_ref: LocalObjectReference | None = None


class PersistentVolumeClaimTemplate(KubeStruct, frozen=True):
    """A claim to make."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[dict[str, Any] | None, api(required=True)] = None
    status: dict[str, Any] | None = None


class EphemeralVolumeSource(KubeStruct, frozen=True):
    """A claim made for the pod alone."""

    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class PodReadinessGate(KubeStruct, frozen=True):
    """A condition that must be true for the pod to be ready."""

    condition_type: Annotated[str, api(required=True)] = ""


class PodSchedulingGate(KubeStruct, frozen=True):
    """Holds back scheduling while it is there."""

    name: Annotated[str, api(required=True)] = ""


class ContainerStateWaiting(KubeStruct, frozen=True):
    """Not running yet, or between restarts."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(KubeStruct, frozen=True):
    """Running."""

    started_at: Annotated[str | None, api(format="date-time")] = None


class ContainerStateTerminated(KubeStruct, frozen=True):
    """Ended."""

    exit_code: Annotated[int, api(required=True)] = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: Annotated[str | None, api(format="date-time")] = None
    finished_at: Annotated[str | None, api(format="date-time")] = None
    container_id: str = ""


class ContainerState(KubeStruct, frozen=True):
    """One of waiting, running, terminated."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None
