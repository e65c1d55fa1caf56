"""Patches: the four types Kubernetes serves, and who owns which field. Pure: values in, values out.

Objects are plain JSON values that are never changed in place; results share what did not change.
Spec: https://kubernetes.io/docs/reference/using-api/server-side-apply/, RFC 6902, RFC 7386, KEP-555.
"""

from podwire.apiserver.patch.errors import PatchError, PatchOptions
from podwire.apiserver.patch.patch import PATCH_TYPES, patch_object
from podwire.apiserver.patch.track import track_update

__all__ = ["PATCH_TYPES", "PatchError", "PatchOptions", "patch_object", "track_update"]
