"""What makes a ValidatingAdmissionPolicy or a binding invalid, and their expressions, compiled once.

Spec: k8s pkg/apis/admissionregistration/validation/validation.go; KEP-3488.
"""

import functools
from collections.abc import Iterator
from typing import Any

from podwire.kube.cel_compile import Program, compile_expression
from podwire.kube.cel_env import CompileError
from podwire.kube.cel_types import DYN, Decl
from podwire.kube.validate.errors import FieldError, invalid, not_supported, required
from podwire.kube.validate.meta import check_selector

Json = dict[str, Any]
Errors = Iterator[FieldError]

OPERATIONS = ("*", "CREATE", "DELETE", "UPDATE")
"""CONNECT (exec, attach, proxy) is not looked at, and so refused."""
ACTIONS = ("Audit", "Deny", "Warn")
REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized")
VARIABLES = ("namespaceObject", "object", "oldObject", "params", "request", "variables")


@functools.lru_cache(maxsize=2048)
def compiled(text: str) -> Program:
    """An expression over what admission knows. Raises :class:`CompileError`."""
    return compile_expression(text, {name: DYN if name != "variables" else Decl("map", DYN) for name in VARIABLES})


def check_policy(value: Json, old: Json | None) -> Errors:
    """Everything wrong with a policy."""
    spec = value.get("spec") or {}
    if old is not None and (old.get("spec") or {}) == spec:
        return
    if not spec.get("validations") and not spec.get("auditAnnotations"):
        yield required("spec.validations", "validations or auditAnnotations must be non-empty")
    rules = (spec.get("matchConstraints") or {}).get("resourceRules") or []
    if not rules:
        yield required("spec.matchConstraints.resourceRules")
    yield from _resources(spec.get("matchConstraints") or {}, "spec.matchConstraints")
    if spec.get("failurePolicy") not in (None, "Fail", "Ignore"):
        yield not_supported("spec.failurePolicy", spec["failurePolicy"], ("Fail", "Ignore"))
    for index, check in enumerate(spec.get("validations") or ()):
        where = f"spec.validations[{index}]"
        yield from check_expression(check.get("expression") or "", f"{where}.expression", "bool")
        if check.get("messageExpression"):
            yield from check_expression(check["messageExpression"], f"{where}.messageExpression", "string")
        if check.get("reason") and check["reason"] not in REASONS:
            yield not_supported(f"{where}.reason", check["reason"], REASONS)
    for index, check in enumerate(spec.get("matchConditions") or ()):
        yield from check_expression(check.get("expression") or "", f"spec.matchConditions[{index}].expression", "bool")
    for index, named in enumerate(spec.get("variables") or ()):
        yield from check_expression(named.get("expression") or "", f"spec.variables[{index}].expression", "")


def check_expression(text: str, where: str, kind: str) -> Errors:
    """What is wrong with an expression; ``kind`` is what it must give (empty: anything)."""
    if not text.strip():
        yield required(where, "expression is not specified")
        return
    try:
        program = compiled(text)
    except CompileError as error:
        yield invalid(where, text, f"compilation failed: {error}")
        return
    if kind and program.type.kind not in (kind, "dyn"):
        yield invalid(where, text, f"compilation failed: must evaluate to {kind}")


def _resources(match: Json, where: str) -> Errors:
    yield from check_selector(match.get("namespaceSelector"), f"{where}.namespaceSelector")
    yield from check_selector(match.get("objectSelector"), f"{where}.objectSelector")
    for name in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(match.get(name) or ()):
            field = f"{where}.{name}[{index}]"
            for key in ("operations", "apiGroups", "apiVersions", "resources"):
                if not rule.get(key):
                    yield required(f"{field}.{key}")
            for at, operation in enumerate(rule.get("operations") or ()):
                if operation not in OPERATIONS:
                    yield not_supported(f"{field}.operations[{at}]", operation, OPERATIONS)


def check_binding(value: Json, old: Json | None) -> Errors:
    """Everything wrong with a binding."""
    spec = value.get("spec") or {}
    if not spec.get("policyName"):
        yield required("spec.policyName")
    actions = spec.get("validationActions") or []
    if not actions:
        yield required("spec.validationActions", "at least one validation action is required")
    for index, action in enumerate(actions):
        if action not in ACTIONS:
            yield not_supported(f"spec.validationActions[{index}]", action, ACTIONS)
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response"
        )
        yield invalid("spec.validationActions", actions, f"{why} and headers serves no purpose)")
    reference = spec.get("paramRef")
    if reference is not None:
        yield from check_selector(reference.get("selector"), "spec.paramRef.selector")
        if bool(reference.get("name")) == bool(reference.get("selector") is not None):
            yield invalid("spec.paramRef", reference, "exactly one of name and selector must be set")
        action = reference.get("parameterNotFoundAction")
        if action not in ("Allow", "Deny"):
            yield required("spec.paramRef.parameterNotFoundAction", "must be Allow or Deny")
    yield from _resources(spec.get("matchResources") or {}, "spec.matchResources")
