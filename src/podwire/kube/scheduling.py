"""scheduling.k8s.io/v1: PriorityClass."""

from typing import Annotated

from podwire.kube.meta import KubeObject
from podwire.kube.struct import api


class PriorityClass(KubeObject, frozen=True):
    """Names a priority of pods; a higher value is scheduled first."""

    value: Annotated[int, api(required=True)] = 0
    global_default: bool = False
    description: str = ""
    preemption_policy: str | None = None
