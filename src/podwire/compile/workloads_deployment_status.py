"""Status of a Deployment: counts, Available, Progressing with its deadline.

Source: kubernetes ``pkg/controller/deployment/progress.go``, ``sync.go`` (calculateStatus).
"""

import msgspec

from podwire.compile.context import Context
from podwire.compile.statuses import condition, find_condition, merge_conditions, merge_status, parse_time
from podwire.compile.workloads_pods import PodCounts
from podwire.compile.workloads_rollout import resolve_bounds, wanted_replicas
from podwire.kube import Deployment, ReplicaSet
from podwire.kube.meta import Condition
from podwire.plan import Merge, Write

NO_DEADLINE = 2**31 - 1


class Rollout(msgspec.Struct, frozen=True):
    """The sets of a Deployment: the new one if it exists, the counts of all, the counts of the new one."""

    new: ReplicaSet | None
    all: tuple[PodCounts, ...]
    updated: PodCounts


class _Totals(msgspec.Struct, frozen=True):
    replicas: int
    updated: int
    ready: int
    available: int


def compile_deployment_status(
    context: Context, value: Deployment, rollout: Rollout
) -> tuple[dict[str, Write], float | None]:
    """The status write, if one is needed, and when the progress deadline passes."""
    totals = _Totals(
        sum(c.replicas for c in rollout.all),
        rollout.updated.replicas,
        sum(c.ready for c in rollout.all),
        sum(c.available for c in rollout.all),
    )
    now = context.snapshot.now
    deadline = _deadline(value)
    late = deadline is not None and deadline <= now
    key = f"status/Deployment/{value.key}"

    def make() -> Merge | None:
        return _status(value, rollout.new, totals, now=now, late=late)

    inputs = (value, rollout.new, totals.replicas, totals.updated, totals.ready, totals.available, late)
    patch = context.memo.unit(f"write/{key}", inputs, make)
    wake_at = None if late or _is_complete(value, totals) else deadline
    return ({key: patch} if patch is not None else {}), wake_at


def _status(value: Deployment, new: ReplicaSet | None, totals: _Totals, *, now: float, late: bool) -> Merge | None:
    old = value.status
    wanted = [_available(value, totals)]
    progressing = _progressing(value, new, totals, now=now, late=late)
    if progressing is not None:
        wanted.append(progressing)
    known = find_condition(old.conditions, "Progressing")
    kept = old.conditions
    if progressing is None and known is not None:
        kept = tuple(c for c in kept if c.type != "Progressing")
    return merge_status(
        value,
        {
            "observed_generation": value.metadata.generation,
            "replicas": totals.replicas,
            "updated_replicas": totals.updated,
            "ready_replicas": totals.ready,
            "available_replicas": totals.available,
            "unavailable_replicas": max(0, max(totals.replicas, wanted_replicas(value)) - totals.available),
            "conditions": merge_conditions(kept, wanted, now, updates=True),
        },
    )


def _available(value: Deployment, totals: _Totals) -> Condition:
    enough = totals.available >= wanted_replicas(value) - resolve_bounds(value)[1]
    if enough:
        message = "Deployment has minimum availability."
        return condition("Available", True, reason="MinimumReplicasAvailable", message=message)
    message = "Deployment does not have minimum availability."
    return condition("Available", False, reason="MinimumReplicasUnavailable", message=message)


def _progressing(
    value: Deployment, new: ReplicaSet | None, totals: _Totals, *, now: float, late: bool
) -> Condition | None:
    """The condition after this step; None when there is no deadline or nothing has begun."""
    from podwire.compile.statuses import format_time

    known = find_condition(value.status.conditions, "Progressing")
    if value.spec.paused:
        paused = condition("Progressing", True, reason="DeploymentPaused", message="Deployment is paused")
        return msgspec.structs.replace(paused, status="Unknown")
    if value.spec.progress_deadline_seconds in (None, NO_DEADLINE):
        return None
    if known is not None and known.reason == "NewReplicaSetAvailable" and totals.replicas == totals.updated:
        return known
    name = f'ReplicaSet "{new.metadata.name}"' if new else f'Deployment "{value.metadata.name}"'
    if _is_complete(value, totals):
        message = f"{name} has successfully progressed."
        return condition("Progressing", True, reason="NewReplicaSetAvailable", message=message)
    if _has_progressed(value, totals) or (known is not None and known.reason == "NewReplicaSetAvailable"):
        moving = condition("Progressing", True, reason="ReplicaSetUpdated", message=f"{name} is progressing.")
        return msgspec.structs.replace(moving, last_update_time=format_time(now))
    if late:
        message = f"{name} has timed out progressing."
        return condition("Progressing", False, reason="ProgressDeadlineExceeded", message=message)
    if known is None and new is not None:
        message = f'Created new replica set "{new.metadata.name}"'
        return condition("Progressing", True, reason="NewReplicaSetCreated", message=message)
    return known


def _is_complete(value: Deployment, totals: _Totals) -> bool:
    wanted = wanted_replicas(value)
    return totals.updated == wanted == totals.replicas and totals.available == wanted


def _has_progressed(value: Deployment, totals: _Totals) -> bool:
    old = value.status
    return (
        totals.updated > old.updated_replicas
        or totals.replicas - totals.updated < old.replicas - old.updated_replicas
        or totals.ready > old.ready_replicas
        or totals.available > old.available_replicas
    )


def _deadline(value: Deployment) -> float | None:
    seconds = value.spec.progress_deadline_seconds
    known = find_condition(value.status.conditions, "Progressing")
    if seconds in (None, NO_DEADLINE) or known is None or known.reason == "NewReplicaSetAvailable":
        return None
    return parse_time(known.last_update_time) + (seconds or 0)
