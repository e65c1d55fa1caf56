"""Ephemeral containers: what they may hold, and that they are only ever added.

Spec: k8s:pkg/apis/core/validation/validation.go validateEphemeralContainers, ValidatePodEphemeralContainersUpdate.
"""

from collections.abc import Container as Contains
from typing import Any

from podwire.kube.validate.errors import Errors, forbidden, not_found

Obj = dict[str, Any]

_ALLOWED = frozenset(
    (
        "name",
        "image",
        "command",
        "args",
        "workingDir",
        "envFrom",
        "env",
        "volumeMounts",
        "volumeDevices",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "targetContainerName",
    )
)
_DETAIL = "cannot be set for an Ephemeral Container"
_MIRROR = "kubernetes.io/config.mirror"


def check_ephemeral(container: Obj, path: str, others: Contains[str]) -> Errors:
    """One ephemeral container beside what holds for every container; ``others`` are the names that last."""
    target = container.get("targetContainerName") or ""
    if target and target not in others:
        yield not_found(f"{path}.targetContainerName", target)
    for key, value in container.items():
        if value and key not in _ALLOWED:
            yield forbidden(f"{path}.{key}", _DETAIL)
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        for key in ("subPath", "subPathExpr"):
            if mount.get(key):
                yield forbidden(f"{path}.volumeMounts[{index}].{key}", _DETAIL)


def check_additions(obj: Obj, old: Obj) -> Errors:
    """What an update through ``pods/ephemeralcontainers`` may not do."""
    if _MIRROR in (old["metadata"].get("annotations") or {}):
        yield forbidden("", "static pods do not support ephemeral containers")
        return
    after = {c.get("name"): c for c in (obj.get("spec") or {}).get("ephemeralContainers") or ()}
    for container in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = container.get("name")
        if name not in after:
            what = "removed"
        elif after[name] != container:
            what = "changed"
        else:
            continue
        yield forbidden("spec.ephemeralContainers", f'existing ephemeral containers "{name}" may not be {what}\n')
