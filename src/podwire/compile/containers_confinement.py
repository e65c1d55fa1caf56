"""What is kept from a container: being root, capabilities, writing to its root, more rights by a program it starts.

Rules:

1. ``runAsNonRoot`` is checked before a container starts, in the kubelet's words; one that would be root waits
   (CreateContainerConfigError). Who an unknown image runs as cannot be told: for a stand-in nothing runs; a command
   mapped to it runs as root, which is said (PW6024).
2. Capabilities that are dropped are gone. What is not dropped stays, so ``add`` matters beside ``drop: [ALL]`` only.

Source: kubernetes ``pkg/kubelet/kuberuntime/security_context.go`` (verifyRunAsNonRoot); capabilities(7).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from podwire.base import FieldPath, Finding
from podwire.compile.images import TOOLS, repository_of
from podwire.kube import Pod
from podwire.kube.pods import Container
from podwire.plan.node import CAPABILITIES, ProcessWork, User, Work


class Confinement(msgspec.Struct, frozen=True):
    """What :func:`compile_confinement` found; ``capabilities`` None: all."""

    capabilities: tuple[str, ...] | None = None
    read_only_root: bool = False
    no_new_privileges: bool = False


def compile_confinement(container: Container, pod: Pod, path: str, findings: list[Finding]) -> Confinement:
    """Of one container."""
    context = container.security_context or {}
    kept, unknown = _capabilities(context)
    for name in unknown:
        where = FieldPath(f"{path}.securityContext.capabilities")
        message = f"there is no capability {name}"
        findings.append(
            Finding("PW6024", "warning", pod.ref, where, message, "write NET_ADMIN, SYS_PTRACE, ... or ALL")
        )
    return Confinement(
        capabilities=kept,
        read_only_root=bool(context.get("readOnlyRootFilesystem")),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False,
    )


def _capabilities(context: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, list[str]]:
    """What stays, and names that are none."""
    wanted = context.get("capabilities") or {}
    add, drop = ({_plain(name) for name in wanted.get(field) or ()} for field in ("add", "drop"))
    unknown = sorted((add | drop) - {*CAPABILITIES, "ALL"})
    if not drop or context.get("privileged"):
        return None, unknown
    kept = set() if "ALL" in drop else set(CAPABILITIES) - drop
    kept |= set(CAPABILITIES) if "ALL" in add else add & set(CAPABILITIES)
    return tuple(name for name in CAPABILITIES if name in kept), unknown


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def check_non_root(container: Container, pod: Pod, user: User, *, work: Work, own_root: bool) -> Iterator[str]:
    """Rule 1: why the container must not start. ``user`` is that of the pod, else of the image where it is known."""
    merged = {**(pod.spec.security_context or {}), **_set(container.security_context)}
    if not merged.get("runAsNonRoot"):
        return
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})", container: {container.name})'
    if merged.get("runAsUser") is not None:
        if merged["runAsUser"] == 0:
            yield f"container's runAsUser breaks non-root policy {where}"
    elif not isinstance(work, ProcessWork) or not (own_root or repository_of(container.image) in TOOLS):
        return
    elif user.user in ("", "0"):
        yield f"container has runAsNonRoot and image will run as root {where}"
    elif not user.user.isdigit():
        yield (
            f"container has runAsNonRoot and image has non-numeric user ({user.user}), "
            f"cannot verify user is non-root {where}"
        )


def unverified_root(container: Container, pod: Pod, user: User, *, work: Work, own_root: bool) -> bool:
    """Rule 1: whether a mapped command runs as root although the pod asks for another."""
    merged = {**(pod.spec.security_context or {}), **_set(container.security_context)}
    known = own_root or repository_of(container.image) in TOOLS
    return bool(merged.get("runAsNonRoot")) and isinstance(work, ProcessWork) and not known and not user.user


def _set(context: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return {key: value for key, value in (context or {}).items() if value is not None}
