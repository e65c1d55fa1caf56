"""metrics.k8s.io/v1beta1: what pods and nodes use (``kubectl top``). Nothing is stored: a source is asked.

Rules:

1. The group is served only while there is a source; without one clients say that the metrics API is not available.
2. A pod that is not running, or was not measured yet, is missing from lists and a 404 by name.
3. Labels, for selectors, are those of the pod or node.

Spec: kubernetes-sigs/metrics-server pkg/api; k8s staging/src/k8s.io/metrics/pkg/apis/metrics/v1beta1/types.go.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from podwire.apiserver.chance import timestamp
from podwire.apiserver.meaning import BUILT_IN
from podwire.kube.meta import KubeObject
from podwire.kube.registry import Kind
from podwire.kube.selectors import parse_field_selector
from podwire.kube.validate import FieldError

if TYPE_CHECKING:
    from podwire.apiserver.patch.target import PatchKind
    from podwire.kube.columns import Column

Json = dict[str, Any]

GROUP = "metrics.k8s.io"
_READ = ("get", "list")
NODE_METRICS = Kind("NodeMetrics", GROUP, "v1beta1", "nodes", KubeObject, False, verbs=_READ)
POD_METRICS = Kind("PodMetrics", GROUP, "v1beta1", "pods", KubeObject, True, verbs=_READ)


class Usage(NamedTuple):
    """What something used in the ``window_seconds`` before ``at`` (Unix time); memory is the working set."""

    at: float
    window_seconds: float
    cpu_nanocores: int
    memory_bytes: int


class MetricsSource(Protocol):
    """Who measures. Both answer at once, from what was measured last."""

    def node_usage(self, name: str) -> Usage | None:
        """A node; None when it was not measured."""
        ...

    def pod_usage(self, uid: str) -> dict[str, Usage]:
        """The running containers of a pod, by name; empty when it was not measured."""
        ...


def node_metrics(source: MetricsSource, node: Json) -> Json | None:
    """The NodeMetrics of a Node; None: not measured."""
    found = source.node_usage(node["metadata"]["name"])
    return None if found is None else {**_head(NODE_METRICS, node, found), "usage": _amounts(found)}


def pod_metrics(source: MetricsSource, pod: Json) -> Json | None:
    """The PodMetrics of a Pod; None: not measured."""
    found = source.pod_usage(pod["metadata"]["uid"])
    if not found:
        return None
    containers = [{"name": name, "usage": _amounts(usage)} for name, usage in sorted(found.items())]
    oldest = min(found.values(), key=lambda usage: usage.at)
    return {**_head(POD_METRICS, pod, oldest), "containers": containers}


def _head(kind: Kind, of: Json, usage: Usage) -> Json:
    at = timestamp(datetime.fromtimestamp(usage.at, UTC))
    meta = {key: of["metadata"][key] for key in ("name", "namespace", "labels") if of["metadata"].get(key)}
    return {
        "kind": kind.name,
        "apiVersion": kind.api_version,
        "metadata": {**meta, "creationTimestamp": at},
        "timestamp": at,
        "window": f"{round(usage.window_seconds, 3):g}s",
    }


def _amounts(usage: Usage) -> Json:
    return {"cpu": f"{usage.cpu_nanocores}n", "memory": f"{usage.memory_bytes // 1024}Ki"}


_QUANTITY: Json = {"type": "string", "description": "A number with a unit suffix: 500m, 2, 128Mi, 1.5G."}
_USAGE: Json = {"type": "object", "description": "cpu and memory.", "additionalProperties": _QUANTITY}
_TIMES: Json = {
    "timestamp": {"type": "string", "format": "date-time", "description": "End of the interval that was measured."},
    "window": {"type": "string", "description": "Length of the interval."},
}
_NAMED: Json = {"type": "string", "description": "Name of the container."}
_CONTAINERS: Json = {
    "type": "array",
    "description": "What each container used.",
    "items": {"type": "object", "properties": {"name": _NAMED, "usage": _USAGE}},
}


class MetricsMeaning:
    """The meaning of both kinds: they are only read."""

    def type_errors(self, kind: Kind, value: Json) -> str:
        """Not asked: nothing is written."""
        return f"{kind.name} is read-only"

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        """None."""
        return ()

    def prune(self, kind: Kind, value: Json) -> Json:
        """The same."""
        return value

    def default(self, kind: Kind, value: Json) -> Json:
        """The same."""
        return value

    def present(self, kind: Kind, value: Json) -> Json:
        """The same."""
        return value

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        """Nothing is wrong."""
        return ()

    def has_generation(self, kind: Kind) -> bool:
        """No."""
        return False

    def columns(self, kind: Kind) -> "Iterable[Column]":
        """Name, cpu, memory, window, as metrics-server has them."""
        from podwire.kube.columns import Column  # tables are asked for later than the server starts

        name = Column("Name", "string", "name", "Name must be unique within a namespace.")
        return (name, Column("cpu"), Column("memory"), Column("Window"))

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        """One row; a pod's containers are added up."""
        used = [part["usage"] for part in value.get("containers") or (value,)]
        cpu = sum(int(usage["cpu"].removesuffix("n")) for usage in used)
        memory = sum(int(usage["memory"].removesuffix("Ki")) for usage in used)
        return [value["metadata"]["name"], f"{cpu}n", f"{memory}Ki", value["window"]]

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        """metadata.name and metadata.namespace."""
        return parse_field_selector(kind.name, text)

    def patch_kind(self, kind: Kind) -> "str | PatchKind":
        """Not asked."""
        return BUILT_IN.patch_kind(kind)

    def scale(self, kind: Kind, value: Json) -> Json:
        """Not asked."""
        return {}

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        """Not asked."""
        return {}

    def openapi_schema(self, kind: Kind) -> Json:
        """What ``kubectl explain`` reads."""
        whose = "a node" if kind is NODE_METRICS else "a pod's containers"
        parts = {"usage": _USAGE} if kind is NODE_METRICS else {"containers": _CONTAINERS}
        return {"description": f"What {whose} used lately.", "properties": {**_TIMES, **parts}}


def measured(kind: Kind, source: MetricsSource, values: Iterable[Json]) -> Iterator[Json]:
    """The metrics of Nodes or Pods, in their order."""
    make = node_metrics if kind == NODE_METRICS else pod_metrics
    yield from (found for value in values if (found := make(source, value)) is not None)
