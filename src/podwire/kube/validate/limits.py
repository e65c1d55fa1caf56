"""LimitRange and ResourceQuota.

Spec: k8s:pkg/apis/core/validation/validation.go (ValidateLimitRange, ValidateResourceQuota).
"""

from typing import Any

from podwire.kube.names import label_value_problems, qualified_name_problems
from podwire.kube.quantity import parse_quantity
from podwire.kube.validate.errors import Errors, each_invalid, forbidden, immutable, invalid, not_supported, required

Obj = dict[str, Any]

TYPES = ("Container", "PersistentVolumeClaim", "Pod")
SCOPES = ("BestEffort", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating")
_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")


def check_limit_range(obj: Obj, old: Obj | None) -> Errors:
    """Each item: min <= defaultRequest <= default <= max."""
    seen: set[str] = set()
    for index, item in enumerate((obj.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type") or ""
        if kind not in TYPES:
            yield not_supported(f"{path}.type", kind, TYPES)
        if kind in seen:
            yield invalid(f"{path}.type", kind, "each type may be given once")
        seen.add(kind)
        if kind == "Pod":
            for field in ("default", "defaultRequest"):
                if item.get(field):
                    yield forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
        yield from _ordered(item, path)


def _ordered(item: Obj, path: str) -> Errors:
    order = ("min", "defaultRequest", "default", "max")
    names = sorted({name for field in order for name in item.get(field) or {}})
    for name in names:
        yield from each_invalid(f"{path}.{name}", name, qualified_name_problems(name))
        values = [(field, parse_quantity(item[field][name])) for field in order if name in (item.get(field) or {})]
        for position, (field, value) in enumerate(values):
            for later, bound in values[position + 1 :]:
                if value > bound:
                    shown = item[field][name]
                    why = f"{field} value {shown} is greater than {later} value {item[later][name]}"
                    yield invalid(f"{path}.{field}[{name}]", shown, why)
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        if parse_quantity(ratio) < 1:
            yield invalid(f"{path}.maxLimitRequestRatio[{name}]", ratio, "ratio is less than 1")


def check_resource_quota(obj: Obj, old: Obj | None) -> Errors:
    """Names, amounts, scopes; scopes never change."""
    spec = obj.get("spec") or {}
    for name, amount in (spec.get("hard") or {}).items():
        path = f"spec.hard[{name}]"
        yield from each_invalid(path, name, qualified_name_problems(name))
        if parse_quantity(amount) < 0:
            yield invalid(path, amount, "must be greater than or equal to 0")
    for index, scope in enumerate(spec.get("scopes") or ()):
        if scope not in SCOPES:
            yield not_supported(f"spec.scopes[{index}]", scope, SCOPES)
    for index, term in enumerate((spec.get("scopeSelector") or {}).get("matchExpressions") or ()):
        yield from _term(term, f"spec.scopeSelector.matchExpressions[{index}]")
    if old is not None:
        before = old.get("spec") or {}
        yield from immutable("spec.scopes", spec.get("scopes") or [], before.get("scopes") or [])


def _term(term: Obj, path: str) -> Errors:
    scope, operator, values = term.get("scopeName") or "", term.get("operator") or "", term.get("values") or ()
    if scope not in SCOPES:
        yield not_supported(f"{path}.scopeName", scope, SCOPES)
    if operator not in _OPERATORS:
        yield not_supported(f"{path}.operator", operator, _OPERATORS)
    if operator in ("In", "NotIn") and not values:
        yield required(f"{path}.values", "must be at least one value when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield invalid(f"{path}.values", values, "must be no value when `operator` is 'Exists' or 'DoesNotExist'")
    if scope != "PriorityClass" and operator in ("In", "NotIn", "DoesNotExist"):
        yield invalid(f"{path}.operator", operator, "must be 'Exist' when scope is any of the fixed scopes")
    for value in values:
        yield from each_invalid(f"{path}.values", value, label_value_problems(value))
