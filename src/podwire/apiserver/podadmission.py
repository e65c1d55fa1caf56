"""Admission of new pods: their priority, and for how long they stay on a node that is lost.

Rules:

1. The class is the one named, else the default one, else none with priority 0. Numbers are never the writer's: one that
   differs from the class's is refused.
2. A pod that says nothing of nodes that are not ready, or unreachable, tolerates each for 300 seconds.

Spec: k8s plugin/pkg/admission/{priority,defaulttolerationseconds}/admission.go.
"""

from typing import Any, Final

from podwire.apiserver.objects import Objects
from podwire.apiserver.status import forbidden
from podwire.kube.registry import KINDS, Kind

Json = dict[str, Any]

TOLERATION_SECONDS: Final = 300
SYSTEM_CLASSES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_LOST: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def admit_pod(objects: Objects, kind: Kind, pod: Json) -> Json:
    """The pod as it is stored. Raises 403."""
    return _tolerating(_ranked(objects, kind, pod))


def _ranked(objects: Objects, kind: Kind, pod: Json) -> Json:
    """Rule 1."""
    spec, name = pod["spec"], pod["metadata"].get("name", "")
    wanted = spec.get("priorityClassName") or ""
    found = objects.get("PriorityClass", wanted) if wanted else _default_class(objects)
    if wanted and found is None:
        raise forbidden(kind, name, f"no PriorityClass with name {wanted} was found")
    value = int(found.get("value", 0)) if found else 0
    policy = (found.get("preemptionPolicy") if found else None) or "PreemptLowerPriority"
    if spec.get("priority") not in (None, value):
        why = "the integer value of priority ({}) must not be provided in pod spec; priority admission controller "
        raise forbidden(kind, name, f"{why.format(spec['priority'])}computed {value} from the given PriorityClass name")
    if spec.get("preemptionPolicy") not in (None, policy):
        why = (
            "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission controller "
        )
        raise forbidden(
            kind, name, f"{why.format(spec['preemptionPolicy'])}computed {policy} from the given PriorityClass name"
        )
    ranked = {**spec, "priority": value, "preemptionPolicy": policy}
    if found:
        ranked["priorityClassName"] = found["metadata"]["name"]
    return {**pod, "spec": ranked}


def _default_class(objects: Objects) -> Json | None:
    """The class for pods that name none; of several the lowest."""
    defaults = [value for _, value in objects.store.heads("PriorityClass") if value.get("globalDefault")]
    return min(defaults, key=lambda value: int(value.get("value", 0)), default=None)


def check_class(objects: Objects, value: Json) -> None:
    """One PriorityClass may be the default. Raises 403."""
    name = value["metadata"].get("name", "")
    if not value.get("globalDefault"):
        return
    for _, other in objects.store.heads("PriorityClass"):
        if other.get("globalDefault") and other["metadata"]["name"] != name:
            why = f"PriorityClass {other['metadata']['name']} is already marked as default. Only one default can exist"
            raise forbidden(KINDS["PriorityClass"], name, why)


def system_classes() -> list[Json]:
    """The classes every cluster has."""
    words = {
        "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
        "another node if necessary.",
        "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
    }
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": words[name],
            "preemptionPolicy": "PreemptLowerPriority",
        }
        for name, value in SYSTEM_CLASSES.items()
    ]


def _tolerating(pod: Json) -> Json:
    """Rule 2."""
    tolerations = pod["spec"].get("tolerations") or []
    missing = [key for key in _LOST if not any(_covers(toleration, key) for toleration in tolerations)]
    added = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
        for key in missing
    ]
    return {**pod, "spec": {**pod["spec"], "tolerations": [*tolerations, *added]}} if added else pod


def _covers(toleration: Json, key: str) -> bool:
    effect = toleration.get("effect") or "NoExecute"
    return (toleration.get("key") or "") in ("", key) and effect == "NoExecute"
