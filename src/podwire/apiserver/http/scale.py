"""The scale subresource: a workload seen as autoscaling/v1 Scale, and written through it."""

from typing import Any

import msgspec

from podwire.apiserver.http.ask import Target
from podwire.apiserver.http.body import parse_json
from podwire.apiserver.patching import By, apply_patch
from podwire.apiserver.status import bad_request, cause, invalid, not_found, unsupported_media
from podwire.apiserver.verbs import Outcome, Verbs, WriteOptions, merge_values
from podwire.kube.scale import replicas_of, scale_errors

Json = dict[str, Any]

_MERGE = ("application/merge-patch+json", "application/strategic-merge-patch+json")
_JSON = "application/json-patch+json"


def replace(verbs: Verbs, target: Target, wanted: Json, options: WriteOptions) -> Outcome:
    """PUT of a Scale. Raises 400, 404, 409, 422."""
    if verbs.objects.get(target.kind.stored, target.key) is None:
        raise not_found(target.kind, target.name)
    try:
        replicas = replicas_of(wanted)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if errors := scale_errors(replicas):
        causes = [cause(error.reason, error.message, error.field) for error in errors]
        raise invalid(target.kind, target.name, causes)
    change: Json = target.meaning.scale_change(target.kind, replicas)
    meta = wanted.get("metadata")
    if isinstance(meta, dict) and meta.get("resourceVersion"):
        change["metadata"] = {"resourceVersion": meta["resourceVersion"]}
    return verbs.merge(target.kind, target.key, change, msgspec.structs.replace(options, through="scale"))


def patch(verbs: Verbs, target: Target, media: str, body: bytes, *, options: WriteOptions) -> Outcome:
    """Patch of a Scale; a strategic merge is a merge, for a Scale has no lists."""
    current = verbs.objects.get(target.kind.stored, target.key)
    if current is None:
        raise not_found(target.kind, target.name)
    shown = target.meaning.scale(target.kind, current)
    if media == _JSON:
        by = By(manager="", subresource="scale", now="")
        wanted = apply_patch("Scale", media, body, current=shown, by=by)
    elif media in _MERGE:
        change = parse_json(body)[0]
        if not isinstance(change, dict):
            raise bad_request("the patch must be an object")
        wanted = merge_values(shown, change)
    else:
        raise unsupported_media(media, ", ".join((_JSON, *_MERGE)))
    return replace(verbs, target, wanted, options)
