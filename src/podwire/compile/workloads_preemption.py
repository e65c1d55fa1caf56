"""Which pods must make room for one of higher priority that fits nowhere.

Rules:

1. On a node where a misfit can be helped, all pods of lower priority are thought away; if the pod fits then, as many
   as possible are taken back: first those whose PodDisruptionBudget would be broken, the more important first. Pods
   that end already are given up first. What is left are the victims.
2. The best node breaks the fewest budgets, then has the lowest highest priority, the lowest sum of priorities, the
   fewest victims, the latest start of its most important victims, and the first name.
3. A pod that waits for victims on its nominated node does not look for more. ``preemptionPolicy: Never`` waits.
4. The victims get the condition DisruptionTarget and are deleted with their own grace period; the pod is nominated to
   the node, which counts for the pods after it.

Source: kubernetes ``pkg/scheduler/framework/preemption``, ``.../plugins/defaultpreemption`` (words kept).
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import msgspec

from podwire.base import FieldPath, Origin
from podwire.compile.affinity import Place, Placement
from podwire.compile.context import Context
from podwire.compile.scheduling_fit import Fit, can_be_helped
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
from podwire.compile.workloads_pods import removal_key
from podwire.kube import Pod, PodDisruptionBudget, selects
from podwire.plan import Remove, Write

NOT_HELPFUL = "Preemption is not helpful for scheduling"
NO_VICTIMS = "No preemption victims found for incoming pod"
PREEMPTED_BY = FieldPath("spec.priority")
"""Where the origin of a victim's removal points to, in the pod it makes room for."""

Rank = Callable[[Pod], int]


class Outcome(msgspec.Struct, frozen=True):
    """The node the pod waits for (or nothing), whom it pushes out, and what to say beside the scheduler's reason."""

    node: str = ""
    victims: tuple[Pod, ...] = ()
    said: str = ""


class _Candidate(msgspec.Struct, frozen=True):
    node: str
    victims: tuple[Pod, ...]
    broken: int


def preempt(context: Context, pod: Pod, placement: Placement, misfits: Mapping[str, str], rank: Rank) -> Outcome:
    """What ``pod``, which fits nowhere for the reasons in ``misfits`` by node, does about it."""
    waits = _waits(pod, placement, rank)
    if waits is not None:
        return waits
    lowest = min((rank(p) for place in placement.places for p in placement.pods_on(place.name)), default=rank(pod))
    reasons = dict.fromkeys(misfits, NOT_HELPFUL)
    found: list[_Candidate] = []
    for place in placement.places:
        if not can_be_helped(misfits[place.name], Fit(pod, placement).requests, place):
            continue
        candidate = _dry_run(context, pod, placement, place, rank) if lowest < rank(pod) else None
        if candidate is None:
            reasons[place.name] = NO_VICTIMS
        else:
            found.append(candidate)
    if not found:
        return Outcome(said=_summary(reasons))
    best = min(found, key=partial(_cost, rank=rank))
    return Outcome(best.node, tuple(v for v in best.victims if v.metadata.deletion_timestamp is None))


def _waits(pod: Pod, placement: Placement, rank: Rank) -> Outcome | None:
    """Rule 3."""
    if pod.spec.preemption_policy == "Never":
        return Outcome(said=" preemption: not eligible due to preemptionPolicy=Never.")
    node = pod.status.nominated_node_name
    ending = (p for p in placement.pods_on(node) if p.metadata.deletion_timestamp is not None) if node else ()
    if any(rank(p) < rank(pod) for p in ending):
        return Outcome(node, said=" preemption: not eligible due to a terminating pod on the nominated node.")
    return None


def _summary(reasons: Mapping[str, str]) -> str:
    counts = sorted(f"{list(reasons.values()).count(text)} {text}" for text in set(reasons.values()))
    return f" preemption: 0/{len(reasons)} nodes are available: {', '.join(counts)}."


def _dry_run(context: Context, pod: Pod, placement: Placement, place: Place, rank: Rank) -> _Candidate | None:
    """Rule 1, on one node; the placement is afterwards as before."""
    node = place.name
    lower = [p for p in placement.pods_on(node) if rank(p) < rank(pod)]
    for other in lower:
        placement.remove(other, node)
    gone = {p.key for p in lower}
    try:
        if Fit(pod, placement).misfit(place) is not None:
            return None
        lower.sort(key=partial(_importance, rank=rank))
        breaking = _breaking(context, lower)
        for other in sorted(lower, key=lambda p: (p.metadata.deletion_timestamp is not None, p.key not in breaking)):
            placement.add(other, node)
            if Fit(pod, placement).misfit(place) is None:
                gone.discard(other.key)
            else:
                placement.remove(other, node)
        victims = tuple(p for p in lower if p.key in gone)
        return _Candidate(node, victims, sum(p.key in breaking for p in victims))
    finally:
        for other in lower:
            if other.key in gone:
                placement.add(other, node)


def _importance(pod: Pod, rank: Rank) -> tuple[int, float, str]:
    """The more important first."""
    return -rank(pod), _started(pod), pod.key


def _started(pod: Pod) -> float:
    return parse_time(pod.status.start_time or pod.metadata.creation_timestamp)


def _breaking(context: Context, pods: Iterable[Pod]) -> set[str]:
    """Keys of the pods that a PodDisruptionBudget does not let go, were all of ``pods`` to leave in this order."""
    allowed: dict[str, int] = {}
    found: set[str] = set()
    budgets = context.snapshot.all(PodDisruptionBudget).values()
    for pod in pods:
        for budget in budgets:
            if not _protects(budget, pod):
                continue
            allowed[budget.key] = allowed.get(budget.key, budget.status.disruptions_allowed) - 1
            if allowed[budget.key] < 0:
                found.add(pod.key)
    return found


def _protects(budget: PodDisruptionBudget, pod: Pod) -> bool:
    selector, same = budget.spec.selector, budget.metadata.namespace == pod.metadata.namespace
    noted = pod.metadata.name in budget.status.disrupted_pods
    return same and not noted and selector is not None and selects(selector, pod.metadata.labels)


def _cost(candidate: _Candidate, rank: Rank) -> tuple[int, int, int, int, float, str]:
    """Rule 2."""
    ranks = [rank(p) for p in candidate.victims]
    highest = max(ranks, default=-(2**31))
    latest = min((_started(p) for p in candidate.victims if rank(p) == highest), default=0.0)
    return candidate.broken, highest, sum(r + 2**31 for r in ranks), len(ranks), -latest, candidate.node


def compile_removals(context: Context, pod: Pod, victims: Iterable[Pod]) -> dict[str, Write]:
    """Rule 4, for the victims."""
    writes: dict[str, Write] = {}
    for victim in victims:
        key = removal_key("Pod", victim.metadata.namespace, victim.metadata.name)
        make = partial(_remove, pod, victim)
        writes[key] = context.memo.unit(f"write/preempt/{key}", (pod.metadata.uid, victim.metadata.uid), make)
        told = context.memo.unit(f"write/disrupt/{key}", (victim,), partial(_tell, victim, context.snapshot.now))
        if told is not None:
            writes[f"disrupt/Pod/{victim.key}"] = told
    return writes


def _remove(pod: Pod, victim: Pod) -> Write:
    return Remove(Origin(pod.ref, PREEMPTED_BY), victim.ref, "v1", victim.metadata.uid)


def _tell(victim: Pod, now: float) -> Write | None:
    message = "default-scheduler: preempting to accommodate a higher priority pod"
    shown = condition("DisruptionTarget", True, reason="PreemptionByScheduler", message=message)
    return merge_status(victim, {"conditions": merge_conditions(victim.status.conditions, [shown], now)})
