"""Job, CronJob, PodDisruptionBudget, PriorityClass.

Spec: k8s:pkg/apis/{batch,policy,scheduling}/validation/validation.go.
"""

import re
from typing import Any

from podwire.kube.names import dns_subdomain_problems
from podwire.kube.validate.errors import (
    Errors,
    FieldError,
    forbidden,
    immutable,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)
from podwire.kube.validate.meta import check_selector, check_template_meta
from podwire.kube.validate.pod import check_pod_spec

Obj = dict[str, Any]

ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
MAX_INDEXED = 100_000
HIGHEST_USER_PRIORITY = 1_000_000_000
_COUNTS = ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
_PERCENT = re.compile(r"\d{1,9}%\Z")


def check_job(obj: Obj, old: Obj | None) -> Errors:
    """A Job; what its pods are like never changes."""
    spec = obj.get("spec") or {}
    yield from _check_job_spec(spec, "spec")
    if old is None:
        if not spec.get("selector"):
            yield required("spec.selector")
        return
    before = old.get("spec") or {}
    yield from immutable("spec.selector", spec.get("selector"), before.get("selector"))
    yield from immutable("spec.completionMode", spec.get("completionMode"), before.get("completionMode"))
    yield from immutable("spec.podFailurePolicy", spec.get("podFailurePolicy"), before.get("podFailurePolicy"))
    if spec.get("completionMode") != "Indexed" or spec.get("completions") != spec.get("parallelism"):
        yield from immutable("spec.completions", spec.get("completions"), before.get("completions"))
    if not (before.get("suspend") and not (old.get("status") or {}).get("startTime")):
        yield from immutable("spec.template", spec.get("template"), before.get("template"))


def _check_job_spec(spec: Obj, path: str) -> Errors:
    for key in _COUNTS:
        yield from non_negative(f"{path}.{key}", spec.get(key))
    if spec.get("selector"):
        yield from check_selector(spec["selector"], f"{path}.selector")
    if spec.get("completionMode") is not None:
        yield from one_of(f"{path}.completionMode", spec["completionMode"], ("Indexed", "NonIndexed"))
    if spec.get("completionMode") == "Indexed":
        yield from _check_indexed(spec, path)
    if spec.get("podReplacementPolicy"):
        policies = ("Failed", "TerminatingOrFailed")
        yield from one_of(f"{path}.podReplacementPolicy", spec["podReplacementPolicy"], policies)
    yield from _check_job_template(spec, path)
    yield from _check_failure_policy(spec, path)


def _check_indexed(spec: Obj, path: str) -> Errors:
    if spec.get("completions") is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    parallelism = spec.get("parallelism")
    if parallelism is not None and parallelism > MAX_INDEXED:
        detail = f"must be less than or equal to {MAX_INDEXED} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", parallelism, detail)


def _check_job_template(spec: Obj, path: str) -> Errors:
    template = spec.get("template")
    if not template:
        yield required(f"{path}.template")
        return
    inner = template.get("spec") or {}
    yield from check_template_meta(template.get("metadata") or {}, f"{path}.template.metadata")
    yield from check_pod_spec(inner, f"{path}.template.spec")
    policy = inner.get("restartPolicy")
    where = f"{path}.template.spec.restartPolicy"
    if policy == "Always" or not policy:
        yield FieldError("Required", where, 'valid values: "OnFailure", "Never"')
    elif spec.get("podFailurePolicy") and policy != "Never":
        yield invalid(where, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _check_failure_policy(spec: Obj, path: str) -> Errors:
    rules = (spec.get("podFailurePolicy") or {}).get("rules") or ()
    for index, rule in enumerate(rules):
        where = f"{path}.podFailurePolicy.rules[{index}]"
        yield from one_of(f"{where}.action", rule.get("action") or "", ACTIONS)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            yield invalid(f"{where}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes and conditions:
            yield invalid(where, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
        elif not codes and not conditions:
            yield invalid(where, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        elif codes:
            yield from one_of(f"{where}.onExitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
            if not codes.get("values"):
                yield invalid(f"{where}.onExitCodes.values", [], "at least one value is required")
            elif codes.get("operator") == "In" and 0 in codes["values"]:
                yield invalid(f"{where}.onExitCodes.values[0]", 0, "must not be 0 for the In operator")


def check_cron_job(obj: Obj, old: Obj | None) -> Errors:
    """A CronJob; its name leaves room for the times in the names of its Jobs."""
    spec = obj.get("spec") or {}
    name = (obj.get("metadata") or {}).get("name") or ""
    if len(name) > 52 and old is None:
        yield invalid("metadata.name", name, "must be no more than 52 characters")
    if not spec.get("schedule"):
        yield required("spec.schedule")
    else:
        yield from _check_schedule(spec, old)
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    yield from one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy") or "", ("Allow", "Forbid", "Replace"))
    yield from _check_job_spec((spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec")


def _check_schedule(spec: Obj, old: Obj | None) -> Errors:
    from podwire.kube.cron import CronError, find_zone, parse_schedule  # time zones load when there is a use for them

    schedule, zone = spec["schedule"], spec.get("timeZone")
    if "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        yield invalid("spec.schedule", schedule, detail)
        return
    try:
        parse_schedule(schedule)
    except CronError as error:
        yield invalid("spec.schedule", schedule, str(error))
    if zone is None or (old or {}).get("spec", {}).get("timeZone") == zone:
        return
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
        return
    try:
        if zone.lower() == "local":
            raise CronError("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
        find_zone(zone)
    except CronError as error:
        yield invalid("spec.timeZone", zone, str(error))


def check_disruption_budget(obj: Obj, old: Obj | None) -> Errors:
    """A PodDisruptionBudget has one bound."""
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")
    for key in ("minAvailable", "maxUnavailable"):
        value, path = spec.get(key), f"spec.{key}"
        if isinstance(value, int):
            yield from non_negative(path, value)
        elif value is not None and not _PERCENT.match(value):
            detail = (
                "a valid percent string must be a numeric string followed by an ending '%' "
                "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            )
            yield invalid(path, value, detail)
        elif value is not None and int(value[:-1]) > 100:
            yield invalid(path, value, "must not be greater than 100%")
    if spec.get("selector"):
        yield from check_selector(spec["selector"], "spec.selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None and policy not in ("AlwaysAllow", "IfHealthyBudget"):
        yield not_supported("spec.unhealthyPodEvictionPolicy", policy, ("AlwaysAllow", "IfHealthyBudget"))


def check_priority_class(obj: Obj, old: Obj | None) -> Errors:
    """A PriorityClass; its value never changes, and high values belong to the system."""
    name, value = (obj.get("metadata") or {}).get("name") or "", obj.get("value", 0)
    if name.startswith("system-"):
        if name not in ("system-cluster-critical", "system-node-critical"):
            yield forbidden(
                "metadata.name", "priority class names with 'system-' prefix are reserved for system use only"
            )
    elif value > HIGHEST_USER_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        yield forbidden("value", detail)
    if obj.get("preemptionPolicy"):
        policies = ("Never", "PreemptLowerPriority")
        yield from one_of("preemptionPolicy", obj["preemptionPolicy"], policies)
    if old is not None:
        if value != old.get("value", 0):
            yield forbidden("value", "may not be changed in an update.")
        yield from immutable("preemptionPolicy", obj.get("preemptionPolicy"), old.get("preemptionPolicy"))


def check_controller_revision(obj: Obj, old: Obj | None) -> Errors:
    """A ControllerRevision; its data never changes."""
    if obj.get("data") is None:
        yield required("data", "data is mandatory")
    revision = obj.get("revision", 0)
    yield from non_negative("revision", revision)
    name = (obj.get("metadata") or {}).get("name") or ""
    for problem in dns_subdomain_problems(name) if name else ():
        yield invalid("metadata.name", name, problem)
    if old is not None:
        yield from immutable("data", obj.get("data"), old.get("data"))
