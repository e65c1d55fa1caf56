"""Events live for an hour after they were last seen (kube-apiserver ``--event-ttl``)."""

from datetime import datetime, timedelta
from typing import Any

from podwire.apiserver.chance import timestamp
from podwire.apiserver.reaper import DeleteOptions
from podwire.apiserver.verbs import Verbs
from podwire.kube.registry import KINDS

Json = dict[str, Any]

LIFETIME = timedelta(hours=1)


def expire_events(verbs: Verbs, now: datetime) -> int:
    """Delete Events last seen more than an hour ago; returns how many."""
    limit = timestamp(now - LIFETIME)
    old = [key for key, value in verbs.objects.store.heads("Event") if _last_seen(value) < limit]
    for key in old:
        verbs.delete(KINDS["Event"], key, DeleteOptions(grace_seconds=0))
    return len(old)


def _last_seen(event: Json) -> str:
    seen = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return max((moment for moment in seen if moment), default="")
