"""PodDisruptionBudgets: how many of the selected pods may be evicted now.

Rules:

1. Expected is what the controllers of the pods want (``spec.replicas``), for ``maxUnavailable`` and percentages; with a
   number in ``minAvailable`` it is the pods there are.
2. A pod that the eviction of the API server noted in ``disruptedPods`` does not count as healthy, for two minutes or
   until it is being deleted.
3. Only pods that are ready and not being deleted are healthy.

Source: kubernetes ``pkg/controller/disruption/disruption.go``.
"""

from functools import partial
from math import ceil

import msgspec

from podwire.base import Ref
from podwire.compile.context import Context
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
from podwire.kube import Deployment, KubeObject, Pod, PodDisruptionBudget, ReplicaSet, StatefulSet, selects
from podwire.plan import Merge, Write

EVICTION_SECONDS = 120.0


class _Counts(msgspec.Struct, frozen=True):
    expected: int
    desired: int
    healthy: int
    noted: tuple[tuple[str, str], ...]
    problem: str = ""


def compile_budgets(context: Context) -> tuple[dict[str, Write], float | None]:
    """The status writes, and when a noted eviction is forgotten."""
    writes: dict[str, Write] = {}
    wakes: list[float] = []
    for budget in context.snapshot.all(PodDisruptionBudget).values():
        counts = _count(context, budget, wakes)
        key = f"status/PodDisruptionBudget/{budget.key}"
        make = partial(_status, budget, counts, context.snapshot.now)
        inputs = (budget, counts.expected, counts.desired, counts.healthy, counts.noted, counts.problem)
        patch = context.memo.unit(f"write/{key}", inputs, make)
        if patch is not None:
            writes[key] = patch
    return writes, min(wakes, default=None)


def _count(context: Context, budget: PodDisruptionBudget, wakes: list[float]) -> _Counts:
    snapshot, selector = context.snapshot, budget.spec.selector
    found = snapshot.pods_by_namespace.get(budget.metadata.namespace, ())
    pods = [p for p in found if selector is not None and selects(selector, p.metadata.labels) and not p.is_finished]
    noted: dict[str, str] = {}
    for name, at in budget.status.disrupted_pods.items():
        pod = snapshot.get(Pod, budget.metadata.namespace, name)
        until = parse_time(at) + EVICTION_SECONDS
        if pod is None or pod.metadata.deletion_timestamp is not None or until <= snapshot.now:
            continue
        noted[name] = at
        wakes.append(until)
    healthy = sum(p.is_ready and p.metadata.deletion_timestamp is None and p.metadata.name not in noted for p in pods)
    expected, desired, problem = _expectation(context, budget, pods)
    return _Counts(expected, desired, healthy, tuple(sorted(noted.items())), problem)


def _expectation(context: Context, budget: PodDisruptionBudget, pods: list[Pod]) -> tuple[int, int, str]:
    """``(expected, desired healthy, why it cannot be said)``."""
    least, most = budget.spec.min_available, budget.spec.max_unavailable
    if most is None and not isinstance(least, str):
        return len(pods), least or 0, ""
    expected, problem = _scale(context, pods)
    if most is not None:
        return expected, max(0, expected - _share(most, expected)), problem
    return expected, _share(least or 0, expected), problem


def _share(value: int | str, total: int) -> int:
    """A number, or a percentage rounded up, as the controller does for both bounds."""
    return value if isinstance(value, int) else ceil(int(value.rstrip("%")) * total / 100)


def _scale(context: Context, pods: list[Pod]) -> tuple[int, str]:
    """What the controllers of the pods want together."""
    wanted: dict[str, int] = {}
    for pod in pods:
        owner = next((o for o in pod.metadata.owner_references if o.controller), None)
        value = context.snapshot.find(Ref(owner.kind, pod.metadata.namespace, owner.name)) if owner else None
        top = _top(context, value)
        if not isinstance(top, Deployment | ReplicaSet | StatefulSet):
            kind = owner.kind if owner else "no controller"
            return len(pods), f"{kind} does not implement the scale subresource" if owner else (
                f'found no controller ref for pod "{pod.metadata.name}"'
            )
        wanted[top.metadata.uid] = 1 if top.spec.replicas is None else top.spec.replicas
    return sum(wanted.values()), ""


def _top(context: Context, value: KubeObject | None) -> KubeObject | None:
    """The Deployment of a ReplicaSet that has one, else the object itself."""
    owner = next((o for o in value.metadata.owner_references if o.controller), None) if value else None
    if value is None or owner is None:
        return value
    return context.snapshot.find(Ref(owner.kind, value.metadata.namespace, owner.name)) or value


def _status(budget: PodDisruptionBudget, counts: _Counts, now: float) -> Merge | None:
    allowed = max(0, counts.healthy - counts.desired) if counts.expected > 0 and not counts.problem else 0
    if counts.problem:
        shown = condition("DisruptionAllowed", False, reason="SyncFailed", message=counts.problem)
    elif allowed:
        shown = condition("DisruptionAllowed", True, reason="SufficientPods")
    else:
        shown = condition("DisruptionAllowed", False, reason="InsufficientPods")
    shown = msgspec.structs.replace(shown, observed_generation=budget.metadata.generation)
    patch = merge_status(
        budget,
        {
            "observed_generation": budget.metadata.generation,
            "disruptions_allowed": allowed,
            "current_healthy": counts.healthy,
            "desired_healthy": counts.desired,
            "expected_pods": counts.expected,
            "disrupted_pods": dict(counts.noted),
            "conditions": merge_conditions(budget.status.conditions, [shown], now),
        },
    )
    if patch is not None and patch.patch["status"].get("disruptedPods"):
        # A merge patch goes into objects: what is forgotten must be named.
        kept = dict(counts.noted)
        patch.patch["status"]["disruptedPods"] = {name: kept.get(name) for name in budget.status.disrupted_pods}
    return patch
