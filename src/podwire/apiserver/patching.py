"""The seam to the patch folder: its errors become Statuses, and it is imported when the first patch comes."""

from typing import TYPE_CHECKING, Any

import msgspec

from podwire.apiserver.status import failure

if TYPE_CHECKING:
    from podwire.apiserver.patch.target import PatchKind

Json = dict[str, Any]


class By(msgspec.Struct, frozen=True, kw_only=True):
    """Who writes, through what, and when."""

    manager: str
    subresource: str
    now: str
    force: bool = False


def apply_patch(kind: "str | PatchKind", content_type: str, body: bytes, *, current: Json | None, by: By) -> Json:
    """``current`` patched; None creates (apply only). Raises :class:`StatusError`."""
    from podwire.apiserver.patch import PatchError, PatchOptions, patch_object

    options = PatchOptions(field_manager=by.manager, force=by.force, subresource=by.subresource, now=by.now)
    try:
        return patch_object(kind, content_type, body, current=current, options=options)
    except PatchError as error:
        details: Json = {"causes": list(error.causes)} if error.causes else {}
        raise failure(error.code, error.reason, error.message, details=details) from error


def track_update(kind: "str | PatchKind", old: Json | None, new: Json, *, by: By) -> Json:
    """``new`` with managedFields as a plain write leaves them."""
    from podwire.apiserver.patch import track_update as track

    return track(kind, old, new, by.manager, by.now, by.subresource)
