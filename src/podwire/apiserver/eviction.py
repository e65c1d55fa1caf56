"""Eviction: deleting a pod as far as PodDisruptionBudgets allow (``kubectl drain``).

Rules:

1. A pod that is over, or not yet running, is deleted without asking a budget.
2. One budget may select the pod; two are an error, as in Kubernetes.
3. An allowed eviction takes one off ``status.disruptionsAllowed`` in the same turn as the deletion, and names the pod
   in ``status.disruptedPods``, so that two evictions never share one allowance.
4. A refusal is 429 with cause ``DisruptionBudget``; clients try again.

Spec: k8s pkg/registry/core/pod/storage/eviction.go; KEP-3017 (unhealthy pods).
"""

from datetime import datetime
from typing import Any

import msgspec

from podwire.apiserver.chance import timestamp
from podwire.apiserver.objects import Objects, key_of
from podwire.apiserver.reaper import Deleted, DeleteOptions, Reaper
from podwire.apiserver.status import StatusError, failure, internal, not_found
from podwire.kube.meta import LabelSelector, selects

Json = dict[str, Any]

RETRY_SECONDS = 10
MAX_DISRUPTED = 2000
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def evict(objects: Objects, reaper: Reaper, key: str, options: DeleteOptions, *, now: datetime) -> Deleted:
    """Delete the pod, or raise 404, 409, 429 or 500."""
    kind = objects.kinds.stored("Pod")
    namespace, _, name = key.rpartition("/")
    pod = objects.get("Pod", key)
    if pod is None:
        raise not_found(kind, name)
    budgets = [] if _is_free(pod) else _budgets(objects, namespace, pod)
    if len(budgets) > 1:
        raise internal(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    spent = _spend(budgets[0], pod, now) if budgets else None
    deleted = reaper.delete(kind, key, options)
    if spent is not None and not options.dry_run:
        item = objects.put("PodDisruptionBudget", key_of(namespace, spent["metadata"]["name"]), spent)
        return msgspec.structs.replace(deleted, rv=item.rv)
    return deleted


def _is_free(pod: Json) -> bool:
    """Rule 1."""
    phase = (pod.get("status") or {}).get("phase", "Pending")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


def _budgets(objects: Objects, namespace: str, pod: Json) -> list[Json]:
    labels = pod["metadata"].get("labels") or {}
    found = (value for key, value in objects.store.heads("PodDisruptionBudget") if key.startswith(f"{namespace}/"))
    return [budget for budget in found if _selects(budget, labels)]


def _selects(budget: Json, labels: Json) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    return selector is not None and selects(msgspec.convert(selector, LabelSelector), labels)


def _spend(budget: Json, pod: Json, now: datetime) -> Json | None:
    """The budget after the eviction; None when an unhealthy pod costs nothing. Raises 429."""
    status, name = budget.get("status") or {}, budget["metadata"]["name"]
    if not _is_ready(pod) and _unhealthy_may_go(budget):
        return None
    if int(status.get("observedGeneration") or 0) < int(budget["metadata"].get("generation") or 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", RETRY_SECONDS)
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed <= 0:
        needed, present = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {needed} healthy pods and has {present} currently")
    disrupted = dict(status.get("disruptedPods") or {})
    if len(disrupted) >= MAX_DISRUPTED:
        raise _too_many(f"DisruptedPods map too big - too many evictions not confirmed by PDB controller ({name})")
    disrupted[pod["metadata"]["name"]] = timestamp(now)
    return {**budget, "status": {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": disrupted}}


def _unhealthy_may_go(budget: Json) -> bool:
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = int(status.get("desiredHealthy") or 0)
    return desired > 0 and int(status.get("currentHealthy") or 0) >= desired


def _is_ready(pod: Json) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(entry.get("type") == "Ready" and entry.get("status") == "True" for entry in conditions)


def _too_many(why: str, retry_seconds: int = 0) -> StatusError:
    """429. Clients wait by themselves after a Retry-After; without one kubectl says why and asks again."""
    details: Json = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if retry_seconds:
        details["retryAfterSeconds"] = retry_seconds
    return failure(429, "TooManyRequests", _REFUSED, details=details)
