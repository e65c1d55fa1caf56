"""How many pods each ReplicaSet of a Deployment should have: arithmetic only, no objects.

Rules:

1. maxSurge percentages round up, maxUnavailable percentages round down; both zero becomes one unavailable.
2. A rolling update first grows the new set as far as maxSurge allows, and in a later step shrinks old ones, unhealthy
   pods first, never below the minimum of available pods.
3. Recreate shrinks old sets to zero, waits for their pods to be gone, then grows the new one.
4. When only the size changed, sets grow and shrink in proportion to their share.

Source: kubernetes ``pkg/controller/deployment`` (rolling.go, recreate.go, sync.go, util/deployment_util.go).
"""

from collections.abc import Mapping
from math import ceil, floor

import msgspec

from podwire.kube import Deployment


class Share(msgspec.Struct, frozen=True):
    """One ReplicaSet as the arithmetic sees it. ``desired`` and ``maximum`` are what its annotations remember of the
    Deployment when it was last sized (None: never); ``age`` orders sets, oldest first."""

    name: str
    replicas: int
    available: int
    existing: int
    age: tuple[float, str]
    desired: int | None = None
    maximum: int | None = None


def resolve_bounds(deployment: Deployment) -> tuple[int, int]:
    """``(maxSurge, maxUnavailable)`` in pods; ``(0, 0)`` for Recreate."""
    spec = deployment.spec
    total = wanted_replicas(deployment)
    if spec.strategy.type == "Recreate":
        return 0, 0
    rolling = spec.strategy.rolling_update
    surge = resolve_share(rolling.max_surge if rolling and rolling.max_surge is not None else "25%", total, up=True)
    missing = rolling.max_unavailable if rolling and rolling.max_unavailable is not None else "25%"
    unavailable = resolve_share(missing, total, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total)


def wanted_replicas(deployment: Deployment) -> int:
    """``spec.replicas``, default 1."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def resolve_share(value: int | str, total: int, *, up: bool) -> int:
    """A number of pods, from a number or a percentage of ``total``."""
    if isinstance(value, int):
        return value
    try:
        share = int(value.rstrip("%")) * total / 100
    except ValueError:
        return 0
    return ceil(share) if up else floor(share)


def decide_new_size(wanted: int, surge: int, new: int, others: int, *, rolling: bool) -> int:
    """Size of the new set, ``new`` pods now, beside ``others`` pods of old sets."""
    if not rolling or new > wanted:
        return wanted
    room = wanted + surge - new - others
    return new if room <= 0 else new + min(room, wanted - new)


def decide_rolling(wanted: int, bounds: tuple[int, int], new: Share, old: list[Share]) -> dict[str, int]:
    """New sizes by name, of the sets that change in this step (rule 2)."""
    surge, unavailable = bounds
    others = sum(s.replicas for s in old)
    size = decide_new_size(wanted, surge, new.replicas, others, rolling=True)
    if size != new.replicas:
        return {new.name: size}
    minimum = wanted - unavailable
    budget = others + new.replicas - minimum - (new.replicas - new.available)
    if others == 0 or budget <= 0:
        return {}
    ordered = sorted(old, key=lambda s: s.age)
    sizes = _drop_unhealthy(ordered, budget)
    spare = new.available + sum(s.available for s in ordered) - minimum
    for share in ordered:
        take = min(sizes[share.name], spare)
        if take > 0:
            sizes[share.name] -= take
            spare -= take
    return {s.name: sizes[s.name] for s in ordered if sizes[s.name] != s.replicas}


def _drop_unhealthy(ordered: list[Share], budget: int) -> dict[str, int]:
    sizes = {}
    for share in ordered:
        drop = min(budget, share.replicas - share.available)
        sizes[share.name] = share.replicas - drop
        budget -= drop
    return sizes


def decide_recreate(wanted: int, new: Share | None, old: list[Share]) -> dict[str, int]:
    """Rule 3. ``new`` is None while the set does not exist yet."""
    shrinking = {s.name: 0 for s in old if s.replicas > 0}
    if shrinking or any(s.existing for s in old) or new is None:
        return shrinking
    return {new.name: wanted} if new.replicas != wanted else {}


def is_scaling(wanted: int, shares: list[Share]) -> bool:
    """Whether the Deployment was resized since its sets were sized."""
    return any(s.replicas > 0 and s.desired is not None and s.desired != wanted for s in shares)


def decide_scale(
    wanted: int, surge: int, new: Share | None, shares: list[Share], *, rolling: bool
) -> Mapping[str, int]:
    """New sizes by name when only the size changed (rule 4)."""
    active = [s for s in shares if s.replicas > 0]
    if len(active) <= 1:
        only = active[0] if active else new
        return {only.name: wanted} if only is not None else {}
    if new is not None and new.replicas == new.desired == new.available:
        return {s.name: 0 for s in active if s is not new}
    return _proportional(wanted, surge, active) if rolling else {}


def _proportional(wanted: int, surge: int, active: list[Share]) -> dict[str, int]:
    allowed = wanted + surge if wanted > 0 else 0
    to_add = allowed - sum(s.replicas for s in active)
    direction = -1 if to_add > 0 else 1
    ordered = sorted(active, key=lambda s: (-s.replicas, direction * s.age[0], s.name))
    sizes, added = {}, 0
    for share in ordered:
        fraction = _fraction(share, allowed)
        left = to_add - added
        part = min(fraction, left) if to_add > 0 else max(fraction, left)
        sizes[share.name] = max(0, share.replicas + part)
        added += part
    if ordered and to_add != added:
        first = ordered[0].name
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _fraction(share: Share, allowed: int) -> int:
    before = share.maximum or allowed
    return round(share.replicas * allowed / before) - share.replicas if before else 0
