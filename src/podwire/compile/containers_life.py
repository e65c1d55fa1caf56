"""A container's life: hooks, its own restart policy, its last words, and who it runs as.

Rules:

1. A ``tcpSocket`` hook is accepted by the API and fails when it runs; so does a hook that names a port the container
   does not have. Both are findings.
2. The container's security context overrides the pod's.

Source: core/v1 Lifecycle, Container.restartPolicy, SecurityContext; kubernetes ``pkg/kubelet/lifecycle/handlers.go``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec

from podwire.base import FieldPath, Finding, Ref
from podwire.compile.probes import resolve_port
from podwire.kube import Pod
from podwire.kube.pods import Container
from podwire.plan.node import ExecCheck, Hook, HttpCheck, RestartRule, Sleep, TcpCheck, User


class Life(msgspec.Struct, frozen=True):
    """What :func:`compile_life` found."""

    post_start: Hook | None = None
    pre_stop: Hook | None = None
    restart_policy: Literal["", "Always", "OnFailure", "Never"] = ""
    restart_rules: tuple[RestartRule, ...] = ()
    user: User = User()


def compile_life(container: Container, pod: Pod, path: str, findings: list[Finding]) -> Life:
    """Hooks, restart rules and user of one container."""
    lifecycle = container.lifecycle or {}
    return Life(
        post_start=_hook(container, "postStart", lifecycle, (pod.ref, path), findings),
        pre_stop=_hook(container, "preStop", lifecycle, (pod.ref, path), findings),
        restart_policy=cast(Literal["", "Always", "OnFailure", "Never"], container.restart_policy or ""),
        restart_rules=tuple(_rules(container)),
        user=_user(container, pod),
    )


def _rules(container: Container) -> Iterator[RestartRule]:
    for rule in container.restart_policy_rules:
        codes = rule.get("exitCodes") or {}
        if rule.get("action") == "Restart" and codes:
            yield RestartRule(tuple(sorted(codes.get("values") or ())), codes.get("operator") != "NotIn")


def _hook(
    container: Container, name: str, lifecycle: Mapping[str, Any], where: tuple[Ref, str], findings: list[Finding]
) -> Hook | None:
    handler = lifecycle.get(name)
    if not handler:
        return None
    ref, path = where[0], FieldPath(f"{where[1]}.lifecycle.{name}")
    if "exec" in handler:
        return Hook(ExecCheck(tuple(handler["exec"].get("command") or ())))
    if "sleep" in handler:
        return Hook(Sleep(handler["sleep"].get("seconds", 0)))
    if "httpGet" in handler:
        get = handler["httpGet"]
        port = resolve_port(container, get.get("port", 80))
        if port is None:
            message = f"the hook names port {get.get('port')!r}, which the container does not have: it fails"
            findings.append(Finding("PW6023", "error", ref, path, message, "name one of its ports"))
        headers = tuple((h.get("name", ""), h.get("value", "")) for h in get.get("httpHeaders") or ())
        check = HttpCheck(port or 0, get.get("path") or "/", get.get("scheme") or "HTTP", get.get("host", ""), headers)
        return Hook(check)
    if "tcpSocket" in handler:
        message = "Kubernetes accepts tcpSocket hooks and fails them when they run; so does podwire"
        findings.append(Finding("PW6024", "warning", ref, path, message, "use exec, httpGet or sleep"))
        return Hook(TcpCheck(0))
    return None


def _user(container: Container, pod: Pod) -> User:
    of_pod = pod.spec.security_context or {}
    merged = of_pod | {k: v for k, v in (container.security_context or {}).items() if v is not None}
    user, group = merged.get("runAsUser"), merged.get("runAsGroup")
    groups = [*(of_pod.get("supplementalGroups") or ())]
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    return User(
        user="" if user is None else str(user),
        group="" if group is None else str(group),
        groups=tuple(dict.fromkeys(groups)),
    )


def user_of(asked: User, image_user: str) -> User:
    """The image's user (``name``, ``id``, either with ``:group``) where the pod asks for none."""
    if asked.user or not image_user:
        return asked
    user, _, group = image_user.partition(":")
    return msgspec.structs.replace(asked, user=user, group=asked.group or group)
