"""What a Job's pods add up to, when it has ended, and its status.

Rule: a Job ends by the first of these that holds: a FailJob rule, the backoff limit, the deadline, enough successes.

Source: kubernetes ``pkg/controller/job/job_controller.go`` (syncJob, trackJobStatusAndRemoveFinalizers),
``pod_failure_policy.go``.
"""

from collections.abc import Iterable
from functools import partial
from typing import Literal

import msgspec

from podwire.compile.context import Context
from podwire.compile.statuses import condition, find_condition, format_time, merge_conditions, merge_status, parse_time
from podwire.kube import Job, Pod
from podwire.kube.batch import PodFailurePolicyRule, UncountedTerminatedPods
from podwire.kube.meta import Condition
from podwire.plan import Merge, Write

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
DEFAULT_BACKOFF_LIMIT = 6

Fate = Literal["succeeded", "failed", "ignored"]


class End(msgspec.Struct, frozen=True):
    """How a Job ends."""

    good: bool
    reason: str
    message: str


class JobView(msgspec.Struct, frozen=True):
    """The pods of a Job by what became of them; ``succeeded`` and ``failed`` count everything known, once."""

    active: tuple[Pod, ...]
    ending: tuple[Pod, ...]
    ended: tuple[Pod, ...]
    noted: tuple[Pod, ...]
    fresh_succeeded: tuple[str, ...]
    fresh_failed: tuple[str, ...]
    succeeded: int
    failed: int
    completed: frozenset[int]
    ready: int
    terminating: int
    verdict: str
    retries: int
    now: float


def view_job(value: Job, pods: tuple[Pod, ...], now: float) -> JobView:
    """Sort the pods. Nothing is counted twice: what is noted already is left out of the fresh ones."""
    uncounted = value.status.uncounted_terminated_pods or UncountedTerminatedPods()
    known = {*uncounted.succeeded, *uncounted.failed}
    active = tuple(p for p in pods if not p.is_finished and p.metadata.deletion_timestamp is None)
    ending = tuple(p for p in pods if not p.is_finished and p.metadata.deletion_timestamp is not None)
    fates = {p.metadata.uid: _fate(value, p) for p in pods if FINALIZER in p.metadata.finalizers}
    fresh = {uid: fate for uid, fate in fates.items() if fate is not None and uid not in known}
    good = tuple(sorted(uid for uid, fate in fresh.items() if fate == "succeeded"))
    bad = tuple(sorted(uid for uid, fate in fresh.items() if fate == "failed"))
    ignored = {uid for uid, fate in fresh.items() if fate == "ignored"}
    completed = parse_indexes(value.status.completed_indexes)
    limit = value.spec.completions or 0
    done = {index_of(p) for p in pods if p.status.phase == "Succeeded"}
    completed |= {index for index in done if index is not None and index < limit}
    indexed = value.spec.completion_mode == "Indexed"
    succeeded = len(completed) if indexed else value.status.succeeded + len(uncounted.succeeded) + len(good)
    failed = value.status.failed + len(uncounted.failed) + len(bad)
    return JobView(
        active=active,
        ending=ending,
        ended=tuple(p for p in pods if p.is_finished),
        noted=tuple(p for p in pods if p.metadata.uid in known or p.metadata.uid in ignored),
        fresh_succeeded=good,
        fresh_failed=bad,
        succeeded=succeeded,
        failed=failed,
        completed=completed,
        ready=sum(p.is_ready for p in active),
        terminating=len(ending),
        verdict=next((found for p in pods if (found := _fail_message(value, p))), ""),
        retries=sum(s.restart_count for p in active for s in p.status.container_statuses),
        now=now,
    )


def _fate(value: Job, pod: Pod) -> Fate | None:
    """What a pod counts as; None while it is under way."""
    if pod.status.phase == "Succeeded":
        return "succeeded"
    by_deletion = pod.metadata.deletion_timestamp is not None and value.spec.pod_replacement_policy != "Failed"
    if pod.status.phase != "Failed" and not by_deletion:
        return None
    rule = _matching_rule(value, pod)
    return "ignored" if rule is not None and rule.action == "Ignore" else "failed"


def _matching_rule(value: Job, pod: Pod) -> PodFailurePolicyRule | None:
    if value.spec.pod_failure_policy is None or pod.status.phase != "Failed":
        return None
    return next((rule for rule in value.spec.pod_failure_policy.rules if _matches(rule, pod)), None)


def _matches(rule: PodFailurePolicyRule, pod: Pod) -> bool:
    if rule.on_exit_codes is not None:
        return _failing_container(rule, pod) is not None
    held = {(c.type, c.status) for c in pod.status.conditions}
    return any((pattern.type, pattern.status or "True") in held for pattern in rule.on_pod_conditions)


def _failing_container(rule: PodFailurePolicyRule, pod: Pod) -> tuple[str, int] | None:
    codes = rule.on_exit_codes
    if codes is None:
        return None
    for status in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        code = int(status.state.get("terminated", {}).get("exitCode", 0))
        if code == 0 or codes.container_name not in (None, status.name):
            continue
        if (code in codes.values) == (codes.operator == "In"):
            return status.name, code
    return None


def _fail_message(value: Job, pod: Pod) -> str:
    """Why a FailJob rule ends the Job, or nothing."""
    rule = _matching_rule(value, pod)
    if rule is None or rule.action != "FailJob" or value.spec.pod_failure_policy is None:
        return ""
    index = value.spec.pod_failure_policy.rules.index(rule)
    where = f"matching FailJob rule at index {index}"
    found = _failing_container(rule, pod)
    if found is not None:
        return f"Container {found[0]} for pod {pod.key} failed with exit code {found[1]} {where}"
    kind = next((p.type for p in rule.on_pod_conditions), "")
    return f"Pod {pod.key} has condition {kind} {where}"


def index_of(pod: Pod) -> int | None:
    """The completion index of a pod."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdigit() else None


def finished_at(pod: Pod) -> float:
    """When the last container of a pod ended; its deletion or creation when nobody says."""
    times = [parse_time(s.state.get("terminated", {}).get("finishedAt")) for s in pod.status.container_statuses]
    ready = find_condition(pod.status.conditions, "Ready")
    said = max(times, default=0.0) or (parse_time(ready.last_transition_time) if ready else 0.0)
    return said or parse_time(pod.metadata.creation_timestamp)


def ended_condition(value: Job) -> Condition | None:
    """Complete or Failed, when the Job has ended."""
    held = (c for c in value.status.conditions if c.type in ("Complete", "Failed") and c.status == "True")
    return next(held, None)


def decide_end(value: Job, view: JobView) -> End | None:
    """How the Job ends, once decided; None while it goes on."""
    for kind, good in (("FailureTarget", False), ("SuccessCriteriaMet", True)):
        known = find_condition(value.status.conditions, kind)
        if known is not None and known.status == "True":
            return End(good, known.reason, known.message)
    spec = value.spec
    if view.verdict:
        return End(False, "PodFailurePolicy", view.verdict)
    limit = DEFAULT_BACKOFF_LIMIT if spec.backoff_limit is None else spec.backoff_limit
    restarts = view.retries if spec.template.spec.restart_policy == "OnFailure" else 0
    if view.failed > limit or (restarts and restarts >= max(limit, 1)):
        return End(False, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    started = value.status.start_time
    deadline = spec.active_deadline_seconds
    if deadline is not None and started and not spec.suspend and parse_time(started) + deadline <= view.now:
        return End(False, "DeadlineExceeded", "Job was active longer than specified deadline")
    return _success(value, view)


def _success(value: Job, view: JobView) -> End | None:
    wanted = value.spec.completions
    enough = view.succeeded > 0 and not view.active if wanted is None else view.succeeded >= wanted
    return End(True, "CompletionsReached", "Reached expected number of succeeded pods") if enough else None


def compile_job_status(context: Context, value: Job, view: JobView, end: End | None) -> dict[str, Write]:
    """The status write, if one is needed."""
    key = f"status/Job/{value.key}"
    inputs = (
        value,
        view.fresh_succeeded,
        view.fresh_failed,
        tuple(p.metadata.uid for p in view.noted if FINALIZER in p.metadata.finalizers),
        (len(view.active), view.ready, view.terminating),
        end,
    )
    patch = context.memo.unit(f"write/{key}", inputs, partial(_status, value, view, end))
    return {key: patch} if patch is not None else {}


def _status(value: Job, view: JobView, end: End | None) -> Merge | None:
    uncounted = value.status.uncounted_terminated_pods or UncountedTerminatedPods()
    held = {p.metadata.uid for p in view.noted if FINALIZER in p.metadata.finalizers}
    good = _moved(uncounted.succeeded, held)
    bad = _moved(uncounted.failed, held)
    left = UncountedTerminatedPods(
        succeeded=(*(u for u in uncounted.succeeded if u in held), *view.fresh_succeeded),
        failed=(*(u for u in uncounted.failed if u in held), *view.fresh_failed),
    )
    indexed = value.spec.completion_mode == "Indexed"
    finished = end is not None and not (left.succeeded or left.failed or view.active or view.ending)
    conditions = merge_conditions(value.status.conditions, _conditions(value, end, finished=finished), view.now)
    fields = {
        "active": len(view.active),
        "ready": view.ready,
        "terminating": view.terminating,
        "succeeded": len(view.completed) if indexed else value.status.succeeded + good,
        "failed": value.status.failed + bad,
        "completed_indexes": format_indexes(view.completed) if indexed else "",
        "uncounted_terminated_pods": left if left.succeeded or left.failed else None,
        "conditions": conditions,
        "start_time": _start_time(value, view.now),
    }
    if finished and end is not None and end.good:
        fields["completion_time"] = format_time(view.now)
    patch = merge_status(value, fields)
    if patch is not None and patch.patch["status"].get("uncountedTerminatedPods"):
        # A merge patch goes into objects: an emptied list must be named.
        written = {"succeeded": list(left.succeeded) or None, "failed": list(left.failed) or None}
        patch.patch["status"]["uncountedTerminatedPods"] = written
    return patch


def _moved(noted: tuple[str, ...], held: set[str]) -> int:
    """How many noted pods lost their finalizer, or are gone: they move into the counter."""
    return sum(uid not in held for uid in noted)


def _start_time(value: Job, now: float) -> str | None:
    if value.spec.suspend:
        return value.status.start_time
    resumed = _was_suspended(value)
    return format_time(now) if value.status.start_time is None or resumed else value.status.start_time


def _was_suspended(value: Job) -> bool:
    known = find_condition(value.status.conditions, "Suspended")
    return known is not None and known.status == "True"


def _conditions(value: Job, end: End | None, *, finished: bool) -> list[Condition]:
    if end is not None:
        kinds = ("SuccessCriteriaMet", "Complete") if end.good else ("FailureTarget", "Failed")
        shown = kinds if finished else kinds[:1]
        return [condition(kind, True, reason=end.reason, message=end.message) for kind in shown]
    known = find_condition(value.status.conditions, "Suspended")
    if value.spec.suspend:
        return [condition("Suspended", True, reason="JobSuspended", message="Job suspended")]
    if known is not None:
        return [condition("Suspended", False, reason="JobResumed", message="Job resumed")]
    return []


def format_indexes(indexes: Iterable[int]) -> str:
    """``0,2-4``: ranges of three or more with a dash, as Kubernetes writes them."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = []
    for run in runs:
        if len(run) > 1:
            parts.append(f"{run[0]}-{run[-1]}" if len(run) > 2 else f"{run[0]},{run[1]}")
        else:
            parts.append(str(run[0]))
    return ",".join(parts)


def parse_indexes(text: str) -> frozenset[int]:
    """The indexes ``format_indexes`` wrote."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)
