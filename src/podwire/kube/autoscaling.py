"""autoscaling/v2: HorizontalPodAutoscaler. Charts bring them; nothing here scales by metrics, and each says so."""

from typing import Annotated, Any

from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class CrossVersionObjectReference(KubeStruct, frozen=True):
    """What is scaled, or measured."""

    api_version: str = ""
    kind: Annotated[str, api(required=True)] = ""
    name: Annotated[str, api(required=True)] = ""


class MetricTarget(KubeStruct, frozen=True):
    """The value that is aimed at."""

    type: Annotated[str, api(required=True)] = ""
    value: Annotated[str | int | float | None, api(format="quantity")] = None
    average_value: Annotated[str | int | float | None, api(format="quantity")] = None
    average_utilization: int | None = None


class MetricIdentifier(KubeStruct, frozen=True):
    """A metric by name and selector."""

    name: Annotated[str, api(required=True)] = ""
    selector: LabelSelector | None = None


class ResourceMetricSource(KubeStruct, frozen=True):
    """cpu or memory of pods."""

    name: Annotated[str, api(required=True)] = ""
    target: Annotated[MetricTarget, api(required=True)] = MetricTarget()


class ContainerResourceMetricSource(KubeStruct, frozen=True):
    """cpu or memory of one container of each pod."""

    name: Annotated[str, api(required=True)] = ""
    target: Annotated[MetricTarget, api(required=True)] = MetricTarget()
    container: Annotated[str, api(required=True)] = ""


class PodsMetricSource(KubeStruct, frozen=True):
    """A metric of pods."""

    metric: Annotated[MetricIdentifier, api(required=True)] = MetricIdentifier()
    target: Annotated[MetricTarget, api(required=True)] = MetricTarget()


class ObjectMetricSource(KubeStruct, frozen=True):
    """A metric of one object."""

    described_object: Annotated[CrossVersionObjectReference, api(required=True)] = CrossVersionObjectReference()
    target: Annotated[MetricTarget, api(required=True)] = MetricTarget()
    metric: Annotated[MetricIdentifier, api(required=True)] = MetricIdentifier()


class ExternalMetricSource(KubeStruct, frozen=True):
    """A metric from elsewhere."""

    metric: Annotated[MetricIdentifier, api(required=True)] = MetricIdentifier()
    target: Annotated[MetricTarget, api(required=True)] = MetricTarget()


class MetricSpec(KubeStruct, frozen=True):
    """One thing to measure."""

    type: Annotated[str, api(required=True)] = ""
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None
    container_resource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None


class HPAScalingPolicy(KubeStruct, frozen=True):
    """How much in how long."""

    type: Annotated[str, api(required=True)] = ""
    value: Annotated[int, api(required=True)] = 0
    period_seconds: Annotated[int, api(required=True)] = 0


class HPAScalingRules(KubeStruct, frozen=True):
    """How fast in one direction."""

    stabilization_window_seconds: int | None = None
    select_policy: str | None = None
    policies: Annotated[tuple[HPAScalingPolicy, ...], api(list_type="atomic")] = ()
    tolerance: Annotated[str | int | float | None, api(format="quantity")] = None


class HorizontalPodAutoscalerBehavior(KubeStruct, frozen=True):
    """How fast."""

    scale_up: HPAScalingRules | None = None
    scale_down: HPAScalingRules | None = None


class HorizontalPodAutoscalerSpec(KubeStruct, frozen=True):
    """What is scaled, between what, by what."""

    scale_target_ref: Annotated[CrossVersionObjectReference, api(required=True)] = CrossVersionObjectReference()
    min_replicas: int | None = None
    max_replicas: Annotated[int, api(required=True)] = 0
    metrics: Annotated[tuple[MetricSpec, ...], api(list_type="atomic")] = ()
    behavior: HorizontalPodAutoscalerBehavior | None = None


class HorizontalPodAutoscalerStatus(KubeStruct, frozen=True):
    """What is known of it."""

    observed_generation: int | None = None
    last_scale_time: Annotated[str | None, api(format="date-time")] = None
    current_replicas: int = 0
    desired_replicas: Annotated[int, api(required=True)] = 0
    current_metrics: Annotated[tuple[dict[str, Any], ...], api(list_type="atomic")] = ()
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class HorizontalPodAutoscaler(KubeObject, frozen=True):
    """A wish to scale a workload by metrics."""

    spec: HorizontalPodAutoscalerSpec = HorizontalPodAutoscalerSpec()
    status: HorizontalPodAutoscalerStatus = HorizontalPodAutoscalerStatus()
