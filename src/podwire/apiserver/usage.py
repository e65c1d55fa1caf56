"""How much of a quota's resources an object uses, and the pod arithmetic of limits. Pure.

Spec: k8s pkg/quota/v1/evaluator/core/{pods,services}.go; component-helpers resource/helpers.go (PodRequests).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from podwire.kube.quantity import parse_quantity
from podwire.kube.registry import Kind

Json = dict[str, Any]
Amounts = Mapping[str, Decimal]

COUNTED = frozenset(
    {"pods", "services", "configmaps", "secrets", "persistentvolumeclaims", "resourcequotas", "replicationcontrollers"}
)
"""Core resources that may be counted under their bare name."""
COMPUTE = ("cpu", "memory", "ephemeral-storage")
_ONE = Decimal(1)


def usage_of(kind: Kind, value: Json) -> dict[str, Decimal]:
    """What one object adds to each quota resource."""
    name = f"count/{kind.plural}.{kind.group}" if kind.group else f"count/{kind.plural}"
    found: dict[str, Decimal] = {name: _ONE}
    if not kind.group and kind.plural in COUNTED:
        found[kind.plural] = _ONE
    match kind.stored:
        case "Service":
            found |= _service(value.get("spec") or {})
        case "Pod":
            if (value.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                del found["pods"]
                return found
            found |= pod_amounts(value)
        case _:
            pass
    return found


def _service(spec: Json) -> dict[str, Decimal]:
    kind, ports = spec.get("type"), len(spec.get("ports") or ())
    if kind == "NodePort":
        return {"services.nodeports": Decimal(ports)}
    if kind == "LoadBalancer":
        found = {"services.loadbalancers": _ONE}
        # With allocateLoadBalancerNodePorts: false only ports that name a node port count.
        allocates = spec.get("allocateLoadBalancerNodePorts") is not False
        named = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
        return found | {"services.nodeports": Decimal(ports if allocates else named)}
    return {}


def pod_amounts(pod: Json) -> dict[str, Decimal]:
    """``requests.cpu`` and ``cpu``, ``limits.cpu`` ...: sums of containers, or the biggest init container."""
    spec = pod.get("spec") or {}
    found: dict[str, Decimal] = {}
    for field in ("requests", "limits"):
        for name, amount in _pod_total(spec, field).items():
            found[f"{field}.{name}"] = amount
            if field == "requests" and name in COMPUTE:
                found[name] = amount
    return found


def _pod_total(spec: Json, field: str) -> Amounts:
    total: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        _add(total, amounts(container, field))
    for container in spec.get("initContainers") or ():
        own = amounts(container, field)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, own)
            own = dict(sidecars)
            _add(total, amounts(container, field))
        else:
            own = {name: amount + sidecars.get(name, Decimal(0)) for name, amount in own.items()}
        for name, amount in own.items():
            peak[name] = max(peak.get(name, Decimal(0)), amount)
    result = total
    for name, amount in peak.items():
        result[name] = max(result.get(name, Decimal(0)), amount)
    if result:
        for name, amount in (spec.get("overhead") or {}).items():
            result[name] = result.get(name, Decimal(0)) + parse_quantity(amount)
    return result


def _add(total: dict[str, Decimal], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def amounts(container: Json, field: str) -> dict[str, Decimal]:
    """``requests`` or ``limits`` of a container as numbers."""
    found = (container.get("resources") or {}).get(field) or {}
    return {name: parse_quantity(amount) for name, amount in found.items()}


def containers_of(pod: Json) -> list[Json]:
    """Init containers first."""
    spec = pod.get("spec") or {}
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def in_scopes(quota: Json, pod: Json) -> bool:
    """Whether a quota counts the pod."""
    spec = quota.get("spec") or {}
    terms = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    terms += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_in_scope(term, pod) for term in terms)


def _in_scope(term: Json, pod: Json) -> bool:
    spec = pod.get("spec") or {}
    match term.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _is_best_effort(pod)
        case "NotBestEffort":
            return not _is_best_effort(pod)
        case _:
            return _has_priority_class(term, spec.get("priorityClassName") or "")


def _is_best_effort(pod: Json) -> bool:
    every: Iterable[Json] = containers_of(pod)
    return not any(amounts(one, field).keys() & {"cpu", "memory"} for one in every for field in ("requests", "limits"))


def _has_priority_class(term: Json, name: str) -> bool:
    values = term.get("values") or ()
    match term.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
        case _:
            return bool(name)
