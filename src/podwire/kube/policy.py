"""policy/v1: PodDisruptionBudget."""

from typing import Annotated

from podwire.kube.core import IntOrString
from podwire.kube.meta import Condition, KubeObject, LabelSelector
from podwire.kube.struct import KubeStruct, api


class PodDisruptionBudgetSpec(KubeStruct, frozen=True):
    """How many of the selected pods must stay, or may be missing."""

    min_available: IntOrString | None = None
    selector: LabelSelector | None = None
    max_unavailable: IntOrString | None = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(KubeStruct, frozen=True):
    """How many evictions are allowed now."""

    observed_generation: int = 0
    disrupted_pods: Annotated[dict[str, str], api(format="date-time")] = {}
    disruptions_allowed: Annotated[int, api(required=True)] = 0
    current_healthy: Annotated[int, api(required=True)] = 0
    desired_healthy: Annotated[int, api(required=True)] = 0
    expected_pods: Annotated[int, api(required=True)] = 0
    conditions: Annotated[tuple[Condition, ...], api(merge_key="type", list_type="map", list_map_keys=("type",))] = ()


class PodDisruptionBudget(KubeObject, frozen=True):
    """Limits voluntary evictions."""

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()
