"""LimitRange: fills in what a pod leaves out, and refuses what is out of bounds.

Rules:

1. Defaults first, then bounds; every LimitRange of the namespace, by name.
2. A container's request defaults to its limit before ``defaultRequest`` is looked at (the API's own default).
3. Bounds are looked at when a pod is created; its resources do not change here later.

Spec: k8s plugin/pkg/admission/limitranger/admission.go.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from podwire.apiserver.objects import Objects
from podwire.apiserver.status import forbidden
from podwire.apiserver.usage import amounts, containers_of, pod_amounts
from podwire.kube.quantity import parse_quantity
from podwire.kube.registry import Kind

Json = dict[str, Any]


def limit_pod(objects: Objects, kind: Kind, pod: Json) -> Json:
    """The pod with its namespace's defaults. Raises 403 when it is out of bounds."""
    items = [*_items(objects, pod["metadata"].get("namespace", ""))]
    if not items:
        return pod
    for item in items:
        if item.get("type") == "Container":
            pod = _with_defaults(pod, item)
    problems = [problem for item in items for problem in _problems(item, pod)]
    if problems:
        text = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise forbidden(kind, pod["metadata"].get("name", ""), text)
    return pod


def _items(objects: Objects, namespace: str) -> Iterator[Json]:
    for stored, key in objects.rules_in(namespace, "LimitRange"):
        found = objects.get(stored, key) or {}
        yield from (found.get("spec") or {}).get("limits") or ()


def _with_defaults(pod: Json, item: Json) -> Json:
    spec = dict(pod["spec"])
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_filled(container, item) for container in spec[field]]
    return {**pod, "spec": spec}


def _filled(container: Json, item: Json) -> Json:
    resources = container.get("resources") or {}
    limits = {**(item.get("default") or {}), **(resources.get("limits") or {})}
    requests = {**(item.get("defaultRequest") or {}), **(resources.get("requests") or {})}
    filled = {name: found for name, found in (("limits", limits), ("requests", requests)) if found}
    return {**container, "resources": {**resources, **filled}} if filled else container


def _problems(item: Json, pod: Json) -> Iterator[str]:
    match item.get("type"):
        case "Container":
            for container in containers_of(pod):
                yield from _bounds(item, amounts(container, "requests"), amounts(container, "limits"), "Container")
        case "Pod":
            found = pod_amounts(pod)
            requests = {n.removeprefix("requests."): a for n, a in found.items() if n.startswith("requests.")}
            limits = {n.removeprefix("limits."): a for n, a in found.items() if n.startswith("limits.")}
            yield from _bounds(item, requests, limits, "Pod")
        case _:
            return


def _bounds(item: Json, requests: dict[str, Decimal], limits: dict[str, Decimal], what: str) -> Iterator[str]:
    for name, bound in sorted((item.get("min") or {}).items()):
        lowest = requests.get(name)
        if lowest is None:
            yield f"minimum {name} usage per {what} is {bound}.  No request is specified"
        elif lowest < parse_quantity(bound):
            yield f"minimum {name} usage per {what} is {bound}, but request is {_shown(lowest)}"
    for name, bound in sorted((item.get("max") or {}).items()):
        highest = limits.get(name)
        if highest is None:
            yield f"maximum {name} usage per {what} is {bound}.  No limit is specified"
        elif highest > parse_quantity(bound):
            yield f"maximum {name} usage per {what} is {bound}, but limit is {_shown(highest)}"
    for name, ratio in sorted((item.get("maxLimitRequestRatio") or {}).items()):
        low, high = requests.get(name), limits.get(name)
        if not low or not high:
            yield f"{name} max limit to request ratio per {what} is {ratio}, but no request or limit is specified"
        elif high / low > parse_quantity(ratio):
            yield f"{name} max limit to request ratio per {what} is {ratio}, but provided ratio is {high / low:f}"


def _shown(amount: Decimal) -> str:
    from podwire.kube.quantity import canonical_quantity

    return canonical_quantity(str(int(amount)) if amount == amount.to_integral_value() else str(amount))
