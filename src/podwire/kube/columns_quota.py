"""Cells of ResourceQuota: used of hard, requests and limits apart."""

from typing import Any

from podwire.kube.columns_text import age, name

Obj = dict[str, Any]


def quota(obj: Obj, now: float) -> list[Any]:
    """``pods: 1/4, requests.cpu: 0/2``."""
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    words = {key: f"{key}: {used.get(key, '0')}/{amount}" for key, amount in sorted(hard.items())}
    limits = [text for key, text in words.items() if key.startswith("limits.")]
    requests = [text for key, text in words.items() if not key.startswith("limits.")]
    return [name(obj), ", ".join(requests), ", ".join(limits), age(obj, now)]
