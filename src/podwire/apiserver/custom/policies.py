"""ValidatingAdmissionPolicies in force: which writes they look at, and what a violation does.

1. A policy is in force where a binding says so: both must match the request (rules, selectors, match conditions).
2. A violation is refused (Deny), told in a warning (Warn), or passes (Audit: there is no audit log).
3. What goes wrong while evaluating counts as a violation, unless ``failurePolicy`` is Ignore.
4. podwire's own writes are not asked, nor are writes of policies and bindings.
5. All policies of a request share a budget.

Spec: KEP-3488; k8s apiserver/pkg/admission/plugin/policy/validating.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from podwire.apiserver.attempt import Attempt, fits, has_labels, in_namespace, request_of, selected
from podwire.apiserver.objects import Objects
from podwire.apiserver.status import StatusError, forbidden
from podwire.kube.cel_env import CompileError
from podwire.kube.cel_policy import compiled
from podwire.kube.cel_values import CelError

Json = dict[str, Any]

POLICY, BINDING = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
BUDGET = 2_000_000
_CODES = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}


class _Violation(msgspec.Struct, frozen=True):
    message: str
    reason: str = "Invalid"


def judge(objects: Objects, attempt: Attempt) -> tuple[str, ...]:
    """The warnings of the policies in force. Raises :class:`StatusError` when one denies."""
    if attempt.kind.stored in (POLICY, BINDING):
        return ()
    warnings: list[str] = []
    left = [BUDGET]
    for _, binding in objects.store.heads(BINDING):
        spec = binding.get("spec") or {}
        policy = objects.get(POLICY, spec.get("policyName") or "")
        if policy is None or not _concerns(objects, policy, spec, attempt):
            continue
        names = (policy["metadata"]["name"], binding["metadata"]["name"])
        for found in _violations(objects, policy["spec"], spec, attempt, left):
            actions = spec.get("validationActions") or ()
            if "Deny" in actions:
                raise _denied(attempt, names, found)
            if "Warn" in actions:
                text = f"Validation failed for ValidatingAdmissionPolicy '{names[0]}' with binding '{names[1]}'"
                warnings.append(f"{text}: {found.message}")
    return tuple(warnings)


def _denied(attempt: Attempt, names: tuple[str, str], found: _Violation) -> StatusError:
    why = f"ValidatingAdmissionPolicy '{names[0]}' with binding '{names[1]}' denied request: {found.message}"
    error = forbidden(attempt.kind, attempt.name, why, causes=[{"message": why}])
    error.code = _CODES.get(found.reason, 422)
    error.status["reason"], error.status["code"] = found.reason, error.code
    return error


# --- which requests ---


def _concerns(objects: Objects, policy: Json, binding: Json, attempt: Attempt) -> bool:
    constraints = (policy.get("spec") or {}).get("matchConstraints") or {}
    if not _selected(objects, constraints, attempt, needs_rules=True):
        return False
    return _selected(objects, binding.get("matchResources") or {}, attempt, needs_rules=False)


def _selected(objects: Objects, match: Json, attempt: Attempt, *, needs_rules: bool) -> bool:
    rules = match.get("resourceRules") or []
    if any(fits(rule, attempt) for rule in match.get("excludeResourceRules") or ()):
        return False
    if (rules or needs_rules) and not any(fits(rule, attempt) for rule in rules):
        return False
    return in_namespace(objects, match.get("namespaceSelector"), attempt) and has_labels(
        match.get("objectSelector"), attempt
    )


# --- what they say ---


def _violations(
    objects: Objects, policy: Json, binding: Json, attempt: Attempt, left: list[int]
) -> Iterator[_Violation]:
    ignore = policy.get("failurePolicy") == "Ignore"
    space = objects.get("Namespace", attempt.namespace) if attempt.namespace else None
    base = {
        "object": attempt.new,
        "oldObject": attempt.old,
        "request": request_of(attempt),
        "namespaceObject": space,
        "params": None,
        "variables": {},
    }
    found = _params(objects, policy, binding, attempt)
    if isinstance(found, _Violation):
        yield found
        return
    for params in found:
        scope: Json = {**base, "params": params}
        try:
            concerned = all(_value(check["expression"], scope, left) for check in policy.get("matchConditions") or ())
        except (CelError, CompileError) as error:
            if not ignore:
                yield _Violation(str(error))
            continue
        if concerned:
            yield from _failed(policy, scope, left, ignore=ignore)


def _failed(policy: Json, scope: Json, left: list[int], *, ignore: bool) -> Iterator[_Violation]:
    named: Json = {}
    for entry in policy.get("variables") or ():
        try:
            named[entry["name"]] = _value(entry["expression"], {**scope, "variables": named}, left)
        except (CelError, CompileError):
            continue  # using it is the error
    scope = {**scope, "variables": named}
    for check in policy.get("validations") or ():
        text = check["expression"]
        try:
            holds = _value(text, scope, left)
        except (CelError, CompileError) as error:
            if not ignore:
                yield _Violation(f"expression '{text.strip()}' resulted in error: {error}")
            continue
        if holds is not True:
            message = _message(check, scope, left) or check.get("message") or f"failed expression: {text.strip()}"
            yield _Violation(message, check.get("reason") or "Invalid")


def _message(check: Json, scope: Json, left: list[int]) -> str:
    if not check.get("messageExpression"):
        return ""
    try:
        found = _value(check["messageExpression"], scope, left)
    except (CelError, CompileError):
        return ""
    return found.strip() if isinstance(found, str) and "\n" not in found else ""


def _value(text: str, scope: Json, left: list[int]) -> Any:
    """An expression's value, paid from the shared budget."""
    value, rest = compiled(text).evaluate(scope, left[0])
    left[0] = rest
    return value


def _params(objects: Objects, policy: Json, binding: Json, attempt: Attempt) -> list[Json | None] | _Violation:
    """The objects a policy is evaluated with, one after the other; one None when it has no parameters."""
    wanted, reference = policy.get("paramKind"), binding.get("paramRef")
    if not wanted or not reference:
        return [None]
    row = objects.kinds.of(wanted.get("apiVersion") or "", wanted.get("kind") or "")
    if row is None:
        return _Violation(f"failed to find resource referenced by paramKind: '{wanted.get('kind')}'")
    namespace = (reference.get("namespace") or attempt.namespace) if row.namespaced else ""
    prefix = f"{namespace}/" if namespace else ""
    found: list[Json | None] = []
    if reference.get("name"):
        value = objects.get(row.stored, prefix + reference["name"])
        found = [] if value is None else [value]
    else:
        heads = sorted(objects.store.heads(row.stored))
        found = [v for key, v in heads if key.startswith(prefix) and selected(reference.get("selector") or {}, v)]
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        return _Violation("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found
