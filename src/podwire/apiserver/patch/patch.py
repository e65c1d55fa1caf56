"""One door for the four patch types."""

from typing import Any

from podwire.apiserver.patch.apply import apply_object
from podwire.apiserver.patch.decode import decode_json, decode_yaml
from podwire.apiserver.patch.errors import Json, PatchError, PatchOptions, bad_request, unprocessable
from podwire.apiserver.patch.jsonpatch import json_patch
from podwire.apiserver.patch.mergepatch import merge_patch
from podwire.apiserver.patch.strategic import strategic_merge
from podwire.apiserver.patch.target import Patched, patch_kind

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)


def patch_object(
    kind_name: Patched, content_type: str, body: bytes, *, current: Json | None, options: PatchOptions
) -> Json:
    """``current`` patched: the whole new object, before defaults, validation and ownership of plain writes.

    ``current`` is never changed; it is returned itself when nothing changes. Only apply may create (``current`` None),
    and only apply sets managedFields; callers track the other types as any update.

    Raises :class:`PatchError`: 400 malformed, 404 nothing to patch, 409 conflicts of apply, 413 too many operations,
    415 another type or a kind that type does not serve, 422 does not fit the object.
    """
    media = content_type.split(";")[0].strip().lower()
    if media == APPLY_PATCH:
        return apply_object(kind_name, decode_yaml(body), current=current, options=options)
    if media not in PATCH_TYPES or (media == STRATEGIC_PATCH and not patch_kind(kind_name).strategic):
        accepted = ", ".join(PATCH_TYPES)
        wrong = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise PatchError(415, "UnsupportedMediaType", wrong)
    if current is None:
        raise PatchError(404, "NotFound", f"there is no {patch_kind(kind_name).name} to patch")
    if media == JSON_PATCH:
        return _object(current, json_patch(current, decode_json(body)))
    patch = decode_json(body)
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: the patch must be one object")
    if media == MERGE_PATCH:
        return _object(current, merge_patch(current, patch))
    return _object(current, strategic_merge(patch_kind(kind_name).schema, current, patch))


def _object(current: Json, result: Any) -> Json:
    """What is stored must still be an object with metadata."""
    if not isinstance(result, dict) or not isinstance(result.get("metadata"), dict):
        raise unprocessable("the result of the patch is no object with metadata")
    return current if result == current else result
