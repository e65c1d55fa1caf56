"""Cells of Job, CronJob, PodDisruptionBudget and PriorityClass."""

from typing import Any

from podwire.kube.columns_text import age, human_duration, name, seconds_of, selector, since

Obj = dict[str, Any]


def job(obj: Obj, now: float) -> list[Any]:
    """STATUS is the condition that holds; COMPLETIONS counts successes."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    return [
        name(obj),
        _job_status(obj),
        _completions(spec, status),
        _duration(status, now),
        age(obj, now),
        *_containers(spec),
        selector(spec.get("selector")),
    ]


def _job_status(obj: Obj) -> str:
    held = {c.get("type") for c in (obj.get("status") or {}).get("conditions") or () if c.get("status") == "True"}
    if "Complete" in held:
        return "Complete"
    if "Failed" in held:
        return "Failed"
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    if "Suspended" in held:
        return "Suspended"
    if "FailureTarget" in held:
        return "FailureTarget"
    if "SuccessCriteriaMet" in held:
        return "SuccessCriteriaMet"
    return "Running"


def _completions(spec: Obj, status: Obj) -> str:
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(status: Obj, now: float) -> str:
    started, ended = seconds_of(status.get("startTime")), seconds_of(status.get("completionTime"))
    if started is None:
        return ""
    return human_duration((now if ended is None else ended) - started)


def cron_job(obj: Obj, now: float) -> list[Any]:
    """Schedule and what it did."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    inner = (spec.get("jobTemplate") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        name(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        since(last, now) if last else "<none>",
        age(obj, now),
        *_containers(inner),
        selector(inner.get("selector")),
    ]


def disruption_budget(obj: Obj, now: float) -> list[Any]:
    """The bound and what is allowed now."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    shown = [str(spec[key]) if spec.get(key) is not None else "N/A" for key in ("minAvailable", "maxUnavailable")]
    return [name(obj), *shown, status.get("disruptionsAllowed", 0), age(obj, now)]


def priority(obj: Obj, now: float) -> list[Any]:
    """The value and whether it is the default."""
    default = bool(obj.get("globalDefault"))
    return [name(obj), obj.get("value", 0), default, age(obj, now), obj.get("preemptionPolicy", "")]


def _containers(spec: Obj) -> list[str]:
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    return [",".join(c.get("name", "") for c in containers), ",".join(c.get("image", "") for c in containers)]
