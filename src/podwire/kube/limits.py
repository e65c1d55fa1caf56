"""core/v1 LimitRange and ResourceQuota."""

from typing import Annotated

from podwire.kube.meta import KubeObject
from podwire.kube.struct import KubeStruct, api

Quantity = str | int | float


class LimitRangeItem(KubeStruct, frozen=True):
    """Limits of one type of object: Pod, Container or PersistentVolumeClaim."""

    type: Annotated[str, api(required=True)] = ""
    max: dict[str, Quantity] = {}
    min: dict[str, Quantity] = {}
    default: dict[str, Quantity] = {}
    default_request: dict[str, Quantity] = {}
    max_limit_request_ratio: dict[str, Quantity] = {}


class LimitRangeSpec(KubeStruct, frozen=True):
    """The limits."""

    limits: Annotated[tuple[LimitRangeItem, ...], api(required=True, list_type="atomic")] = ()


class LimitRange(KubeObject, frozen=True):
    """Defaults and bounds of resources in a namespace."""

    spec: LimitRangeSpec = LimitRangeSpec()


class ScopedResourceSelectorRequirement(KubeStruct, frozen=True):
    """One scope with its values."""

    scope_name: Annotated[str, api(required=True)] = ""
    operator: Annotated[str, api(required=True)] = ""
    values: Annotated[tuple[str, ...], api(list_type="atomic")] = ()


class ScopeSelector(KubeStruct, frozen=True):
    """Which pods a quota counts."""

    match_expressions: Annotated[tuple[ScopedResourceSelectorRequirement, ...], api(list_type="atomic")] = ()


class ResourceQuotaSpec(KubeStruct, frozen=True):
    """How much there may be."""

    hard: dict[str, Quantity] = {}
    scopes: Annotated[tuple[str, ...], api(list_type="atomic")] = ()
    scope_selector: ScopeSelector | None = None


class ResourceQuotaStatus(KubeStruct, frozen=True):
    """How much there is."""

    hard: dict[str, Quantity] = {}
    used: dict[str, Quantity] = {}


class ResourceQuota(KubeObject, frozen=True):
    """Bounds what a namespace may hold."""

    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()
