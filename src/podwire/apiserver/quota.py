"""ResourceQuota: refuses what would exceed one, and reports what is used.

Rules:

1. What is used is counted from the objects of the namespace, never remembered: a quota cannot drift.
2. Only growth is refused: an update that uses less, or the same, always passes.
3. A quota on a compute resource demands that every new pod says how much it wants (unless a LimitRange filled it in).
4. Status follows a moment after the namespace changed (one write for all changes of a turn).

Spec: k8s staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go; pkg/controller/resourcequota.
"""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from podwire.apiserver.objects import Objects, Place, key_of
from podwire.apiserver.status import forbidden
from podwire.apiserver.usage import COMPUTE, amounts, containers_of, in_scopes, usage_of
from podwire.kube.quantity import canonical_quantity, parse_quantity
from podwire.kube.registry import Kind

Json = dict[str, Any]
_NOTHING = Decimal(0)


class Quotas:
    """Looks at the head of the store."""

    def __init__(self, objects: Objects) -> None:
        """Follow the changes of ``objects``."""
        self._objects = objects
        self._waiting: set[str] = set()
        objects.observers.append(self._changed)

    def check(self, kind: Kind, new: Json, old: Json | None) -> None:
        """Raise 403 when ``new`` exceeds a quota of its namespace."""
        namespace = new["metadata"].get("namespace", "")
        if not namespace or kind.stored == "ResourceQuota":
            return
        for quota in self._of(namespace):
            self._check(quota, kind, new, old)

    def _of(self, namespace: str) -> list[Json]:
        keys = [key for _, key in self._objects.rules_in(namespace, "ResourceQuota")]
        found = (self._objects.get("ResourceQuota", key) for key in keys)
        return [quota for quota in found if quota is not None]

    def _check(self, quota: Json, kind: Kind, new: Json, old: Json | None) -> None:
        if kind.stored == "Pod" and not in_scopes(quota, new):
            return
        if kind.stored != "Pod" and _has_scopes(quota):
            return
        hard = (quota.get("spec") or {}).get("hard") or {}
        if kind.stored == "Pod" and old is None:
            _require_amounts(kind, quota, hard, new)
        before = usage_of(kind, old) if old is not None else {}
        grown = {
            name: amount - before.get(name, _NOTHING)
            for name, amount in usage_of(kind, new).items()
            if name in hard and amount > before.get(name, _NOTHING)
        }
        if not grown:
            return
        used = self._used(quota, new["metadata"]["namespace"], grown.keys())
        over = [name for name in sorted(grown) if used[name] + grown[name] > parse_quantity(hard[name])]
        if over:
            raise _exceeded(kind, quota, new, over=over, grown=grown, used=used)

    def _used(self, quota: Json, namespace: str, names: Any) -> dict[str, Decimal]:
        total = dict.fromkeys(names, _NOTHING)
        scoped = _has_scopes(quota)
        for stored, key in self._objects.members(namespace):
            value = self._objects.get(stored, key)
            if value is None or (scoped and (stored != "Pod" or not in_scopes(quota, value))):
                continue
            for name, amount in usage_of(self._objects.kinds.stored(stored), value).items():
                if name in total:
                    total[name] += amount
        return total

    # --- status ---

    def _changed(self, place: Place, old: Json | None, new: Json | None) -> None:
        namespace = ((new or old or {}).get("metadata") or {}).get("namespace", "")
        if not namespace or namespace in self._waiting or not self._objects.rules_in(namespace, "ResourceQuota"):
            return
        self._waiting.add(namespace)
        asyncio.get_running_loop().call_soon(self._recount, namespace)

    def _recount(self, namespace: str) -> None:
        for quota in self._of(namespace):
            hard = (quota.get("spec") or {}).get("hard") or {}
            used = {name: _text(amount) for name, amount in self._used(quota, namespace, hard.keys()).items()}
            status = {"hard": {name: canonical_quantity(amount) for name, amount in hard.items()}, "used": used}
            if quota.get("status") != status:
                key = key_of(namespace, quota["metadata"]["name"])
                self._objects.put("ResourceQuota", key, {**quota, "status": status})
        self._waiting.discard(namespace)


def _has_scopes(quota: Json) -> bool:
    spec = quota.get("spec") or {}
    return bool(spec.get("scopes") or (spec.get("scopeSelector") or {}).get("matchExpressions"))


def _require_amounts(kind: Kind, quota: Json, hard: Json, pod: Json) -> None:
    """Rule 3."""
    words = sorted(f"{name} for: {','.join(found)}" for name in hard if (found := [*_silent(name, pod)]))
    if words:
        why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(words)}"
        raise forbidden(kind, pod["metadata"].get("name", ""), why)


def _silent(name: str, pod: Json) -> Iterator[str]:
    """Containers that do not say how much of the resource they want."""
    field, _, bare = name.rpartition(".")
    if bare not in COMPUTE or field not in ("", "requests", "limits"):
        return
    for container in containers_of(pod):
        if bare not in amounts(container, field or "requests"):
            yield container.get("name", "")


def _exceeded(
    kind: Kind, quota: Json, value: Json, *, over: list[str], grown: dict[str, Decimal], used: dict[str, Decimal]
) -> Exception:
    hard = quota["spec"]["hard"]

    def words(of: Any) -> str:
        return ",".join(f"{name}={of(name)}" for name in over)

    why = (
        f"exceeded quota: {quota['metadata']['name']}, requested: {words(lambda name: _text(grown[name]))},"
        f" used: {words(lambda name: _text(used[name]))}, limited: {words(lambda name: hard[name])}"
    )
    return forbidden(kind, value["metadata"].get("name", ""), why)


def _text(amount: Decimal) -> str:
    whole = amount == amount.to_integral_value()
    text = str(int(amount)) if whole else str(amount)
    big = whole and amount >= 1024 and int(amount) % 1024 == 0
    return canonical_quantity(f"{int(amount) // 1024}Ki") if big else canonical_quantity(text)
