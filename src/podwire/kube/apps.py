"""apps/v1: Deployment, ReplicaSet, StatefulSet, DaemonSet, ControllerRevision."""

from typing import Annotated, Any

from podwire.kube.core import IntOrString
from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.pods import PodTemplateSpec
from podwire.kube.struct import KubeStruct, api

CONDITIONS = api(merge_key="type", list_type="map", list_map_keys=("type",))


class RollingUpdateDeployment(KubeStruct, frozen=True):
    """How many pods may be missing or surplus during a roll."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DeploymentStrategy(KubeStruct, frozen=True):
    """RollingUpdate or Recreate."""

    type: str = ""
    rolling_update: RollingUpdateDeployment | None = None


class DeploymentSpec(KubeStruct, frozen=True):
    """Desired state of a Deployment."""

    replicas: int | None = None
    selector: Annotated[LabelSelector, api(required=True)] = LabelSelector()
    template: Annotated[PodTemplateSpec, api(required=True)] = PodTemplateSpec()
    strategy: Annotated[DeploymentStrategy, api(retain_keys=True)] = DeploymentStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None
    paused: bool = False
    progress_deadline_seconds: int | None = None


class DeploymentStatus(KubeStruct, frozen=True):
    """Observed state of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    terminating_replicas: int | None = None
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    collision_count: int | None = None


class Deployment(KubeObject, frozen=True):
    """Rolls ReplicaSets."""

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class ReplicaSetSpec(KubeStruct, frozen=True):
    """Desired state of a ReplicaSet."""

    replicas: int | None = None
    min_ready_seconds: int = 0
    selector: Annotated[LabelSelector, api(required=True)] = LabelSelector()
    template: PodTemplateSpec = PodTemplateSpec()


class ReplicaSetStatus(KubeStruct, frozen=True):
    """Observed state of a ReplicaSet."""

    replicas: Annotated[int, api(required=True)] = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int | None = None
    observed_generation: int = 0
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()


class ReplicaSet(KubeObject, frozen=True):
    """Keeps a number of equal pods."""

    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdateStatefulSet(KubeStruct, frozen=True):
    """Which ordinals are updated."""

    partition: int | None = None
    max_unavailable: IntOrString | None = None


class StatefulSetUpdateStrategy(KubeStruct, frozen=True):
    """RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateStatefulSet | None = None


class StatefulSetOrdinals(KubeStruct, frozen=True):
    """First ordinal."""

    start: int = 0


class StatefulSetSpec(KubeStruct, frozen=True):
    """Desired state of a StatefulSet."""

    replicas: int | None = None
    selector: Annotated[LabelSelector, api(required=True)] = LabelSelector()
    template: Annotated[PodTemplateSpec, api(required=True)] = PodTemplateSpec()
    volume_claim_templates: Annotated[
        tuple[dict[str, Any], ...], api(list_type="atomic", parts="PersistentVolumeClaimTemplate")
    ] = ()
    service_name: str = ""
    pod_management_policy: str = ""
    update_strategy: StatefulSetUpdateStrategy = StatefulSetUpdateStrategy()
    revision_history_limit: int | None = None
    min_ready_seconds: int = 0
    persistent_volume_claim_retention_policy: dict[str, Any] | None = None
    ordinals: StatefulSetOrdinals | None = None


class StatefulSetStatus(KubeStruct, frozen=True):
    """Observed state of a StatefulSet."""

    observed_generation: int = 0
    replicas: Annotated[int, api(required=True)] = 0
    ready_replicas: int = 0
    current_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""
    collision_count: int | None = None
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()
    available_replicas: int = 0


class StatefulSet(KubeObject, frozen=True):
    """Keeps pods with stable names."""

    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class RollingUpdateDaemonSet(KubeStruct, frozen=True):
    """How many nodes may be without an available pod, or have two, during a roll."""

    max_unavailable: IntOrString | None = None
    max_surge: IntOrString | None = None


class DaemonSetUpdateStrategy(KubeStruct, frozen=True):
    """RollingUpdate or OnDelete."""

    type: str = ""
    rolling_update: RollingUpdateDaemonSet | None = None


class DaemonSetSpec(KubeStruct, frozen=True):
    """Desired state of a DaemonSet."""

    selector: Annotated[LabelSelector, api(required=True)] = LabelSelector()
    template: Annotated[PodTemplateSpec, api(required=True)] = PodTemplateSpec()
    update_strategy: DaemonSetUpdateStrategy = DaemonSetUpdateStrategy()
    min_ready_seconds: int = 0
    revision_history_limit: int | None = None


class DaemonSetStatus(KubeStruct, frozen=True):
    """Observed state of a DaemonSet."""

    current_number_scheduled: Annotated[int, api(required=True)] = 0
    number_misscheduled: Annotated[int, api(required=True)] = 0
    desired_number_scheduled: Annotated[int, api(required=True)] = 0
    number_ready: Annotated[int, api(required=True)] = 0
    observed_generation: int = 0
    updated_number_scheduled: int = 0
    number_available: int = 0
    number_unavailable: int = 0
    collision_count: int | None = None
    conditions: Annotated[tuple[Condition, ...], CONDITIONS] = ()


class DaemonSet(KubeObject, frozen=True):
    """Keeps one pod on every node that fits."""

    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class ControllerRevision(KubeObject, frozen=True):
    """A template a StatefulSet or DaemonSet had, for rollbacks."""

    data: dict[str, Any] | None = None
    revision: Annotated[int, api(required=True, format="int64")] = 0
