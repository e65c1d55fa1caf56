"""Every field of a pod, and what podwire does with it: the table behind ``docs/reference/pod-fields.md``.

Rules:

1. A field is *enforced* (it does what Kubernetes documents, within the note), *reported* (stored, shown, and a finding
   PW6024 on the object says that nothing acts on it) or *refused*. A test walks the schema: there is no fourth kind.
2. A reported field is a finding only when it is set, and when what it asks for is not what happens anyway.
3. An information says that something is missing that changes no answer; a warning, that the pod may behave otherwise.

Volumes are reported by :mod:`podwire.compile.volumes` (PW6020).
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec

from podwire.base import FieldPath, Finding, Severity
from podwire.kube import Pod
from podwire.kube.pods import Container, PodSpec, ResourceRequirements, VolumeMount

How = Literal["enforced", "reported", "refused"]
CODE = "PW6024"


class Treatment(msgspec.Struct, frozen=True):
    """What happens to one field. ``idle``: values that ask for nothing but what happens anyway."""

    how: How = "enforced"
    note: str = ""
    severity: Severity = "warning"
    idle: tuple[object, ...] = ()


def _enforced(note: str = "") -> Treatment:
    return Treatment("enforced", note)


def _told(note: str, *idle: object) -> Treatment:
    return Treatment("reported", note, "info", idle)


def _warned(note: str, *idle: object) -> Treatment:
    return Treatment("reported", note, "warning", idle)


_E = Treatment()
_LINK = re.compile(r"[A-Z][A-Z0-9_]*_SERVICE_(?:HOST|PORT)\b")
_LINKS = "of the variables for Services only KUBERNETES_* are set"
_NO_PULL = _enforced("images are not pulled; the Event Pulled says what runs instead")
_NO_FILTER = _told("no filter of system calls and no profile is loaded")
_NO_LABELS = _told("processes carry no SELinux labels")
_WINDOWS = _enforced("ignored for Linux pods, as in Kubernetes")

FIELDS: Mapping[str, Mapping[str, Treatment]] = MappingProxyType(
    {
        "PodSpec": {
            **dict.fromkeys(
                [
                    "containers",
                    "initContainers",
                    "ephemeralContainers",
                    "restartPolicy",
                    "terminationGracePeriodSeconds",
                    "activeDeadlineSeconds",
                    "dnsPolicy",
                    "dnsConfig",
                    "nodeSelector",
                    "serviceAccountName",
                    "serviceAccount",
                    "nodeName",
                    "automountServiceAccountToken",
                    "hostNetwork",
                    "shareProcessNamespace",
                    "hostname",
                    "subdomain",
                    "affinity",
                    "schedulerName",
                    "tolerations",
                    "hostAliases",
                    "priorityClassName",
                    "priority",
                    "readinessGates",
                    "preemptionPolicy",
                    "topologySpreadConstraints",
                    "hostnameOverride",
                    "setHostnameAsFQDN",
                    "schedulingGates",
                ],
                _E,
            ),
            "volumes": _enforced("kinds that are not mounted are PW6020"),
            "securityContext": _enforced("see PodSecurityContext"),
            "overhead": _enforced("counted by the scheduler"),
            "imagePullSecrets": _NO_PULL,
            "hostIPC": _enforced("pods have no IPC namespace of their own"),
            "hostPID": _warned("a node has no processes of its own to show: the pod's containers see each other's"),
            "hostUsers": _warned("containers run in podwire's user namespace", True),
            "runtimeClassName": _warned("there is one runtime, whatever its class"),
            "enableServiceLinks": _told(f"{_LINKS}: a container that refers to another is told", True, False),
            "os": _warned("containers run on Linux", {"name": "linux"}),
            "resourceClaims": _warned("there are no devices to claim"),
            "resources": _told("counted for no container; set them on the containers"),
            "schedulingGroup": _warned("pods are scheduled one by one"),
            "evictionResponders": _warned("an eviction asks nobody"),
        },
        "Container": {
            **dict.fromkeys(
                [
                    "name",
                    "image",
                    "command",
                    "args",
                    "workingDir",
                    "ports",
                    "envFrom",
                    "env",
                    "restartPolicy",
                    "restartPolicyRules",
                    "livenessProbe",
                    "readinessProbe",
                    "startupProbe",
                    "terminationMessagePath",
                    "terminationMessagePolicy",
                    "stdin",
                    "stdinOnce",
                    "tty",
                    "targetContainerName",
                ],
                _E,
            ),
            "resources": _enforced("see ResourceRequirements"),
            "volumeMounts": _enforced("see VolumeMount"),
            "lifecycle": _enforced("see Lifecycle; a tcpSocket hook fails, as in Kubernetes (PW6024)"),
            "securityContext": _enforced("see SecurityContext"),
            "imagePullPolicy": _NO_PULL,
            "resizePolicy": _told("resources are not resized in place"),
            "volumeDevices": _warned("block devices are not attached"),
        },
        "ResourceRequirements": {
            "requests": _enforced("counted by the scheduler and by quotas"),
            "limits": _told("counted by quotas; no cgroup bounds the processes"),
            "claims": _warned("there are no devices to claim"),
        },
        "VolumeMount": {
            **dict.fromkeys(["name", "readOnly", "mountPath", "subPath", "subPathExpr", "recursiveReadOnly"], _E),
            "mountPropagation": _warned("mounts made later are not seen on the other side", "None"),
            "bindMountOptions": _warned("mounts have no options of their own"),
        },
        "Lifecycle": {"postStart": _E, "preStop": _E, "stopSignal": _enforced("of containers that run a program")},
        "SecurityContext": {
            **dict.fromkeys(["runAsUser", "runAsGroup", "readOnlyRootFilesystem", "allowPrivilegeEscalation"], _E),
            "runAsNonRoot": _enforced("a command mapped to an image of an unknown user is PW6024"),
            "capabilities": _enforced("what is dropped is gone; what is not dropped stays, also beyond the usual ones"),
            "privileged": _told("the machine's devices are not shown; nothing else is kept from a container", False),
            "seLinuxOptions": _NO_LABELS,
            "windowsOptions": _WINDOWS,
            "procMount": _told("/proc is shown whole", "Unmasked"),
            "seccompProfile": _NO_FILTER,
            "appArmorProfile": _NO_FILTER,
        },
        "PodSecurityContext": {
            **dict.fromkeys(["runAsUser", "runAsGroup", "supplementalGroups", "fsGroup"], _E),
            "runAsNonRoot": _enforced("as in SecurityContext"),
            "supplementalGroupsPolicy": _enforced("groups of the image are never merged: Strict"),
            "fsGroupChangePolicy": _enforced("volumes are new: nothing has to be changed"),
            "sysctls": _warned("kernel parameters of the pod's network stay as they are"),
            "seLinuxOptions": _NO_LABELS,
            "seLinuxChangePolicy": _NO_LABELS,
            "windowsOptions": _WINDOWS,
            "seccompProfile": _NO_FILTER,
            "appArmorProfile": _NO_FILTER,
        },
    }
)
"""By type and JSON name."""

_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        name: attribute
        for kind in (PodSpec, Container, ResourceRequirements, VolumeMount)
        for name, attribute in zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
    }
)
_REPORTED: Mapping[str, tuple[tuple[str, Treatment], ...]] = MappingProxyType(
    {kind: tuple((n, t) for n, t in fields.items() if t.how == "reported") for kind, fields in FIELDS.items()}
)


def pod_findings(pod: Pod) -> Iterator[Finding]:
    """What a pod asks for that nothing acts on, but for its containers."""
    yield from _report(pod, "PodSpec", pod.spec, "spec")
    yield from _report(pod, "PodSecurityContext", pod.spec.security_context, "spec.securityContext")
    links = pod.spec.enable_service_links is not False and next(filter(None, map(_links, pod.spec.containers)), "")
    if links:
        message = f"enableServiceLinks: {_LINKS}; {links} is not"
        yield Finding(CODE, "warning", pod.ref, FieldPath("spec.enableServiceLinks"), message, "use the Service's name")


def container_findings(pod: Pod, container: Container, path: str) -> Iterator[Finding]:
    """The same of one container."""
    yield from _report(pod, "Container", container, path)
    yield from _report(pod, "ResourceRequirements", container.resources, f"{path}.resources")
    yield from _report(pod, "SecurityContext", container.security_context, f"{path}.securityContext")
    for index, mount in enumerate(container.volume_mounts):
        yield from _report(pod, "VolumeMount", mount, f"{path}.volumeMounts[{index}]")


def _links(container: Container) -> str:
    """A variable of a Service that a container refers to; those of Service ``kubernetes`` are set."""
    texts = (*container.command, *container.args, *(variable.value for variable in container.env))
    found = (name for text in texts for name in _LINK.findall(text))
    return next((name for name in found if not name.startswith("KUBERNETES_")), "")


def _report(pod: Pod, kind: str, value: Any, path: str) -> Iterator[Finding]:
    """One finding for each field that is set and reported; ``value`` is typed or a JSON object."""
    if value is None:
        return
    for name, treatment in _REPORTED[kind]:
        found = value.get(name) if isinstance(value, dict) else getattr(value, _ATTRIBUTES[name])
        if found in (None, "", (), [], {}) or found in treatment.idle or (found is False and not treatment.idle):
            continue
        message = f"{name}: {treatment.note}"
        yield Finding(CODE, treatment.severity, pod.ref, FieldPath(f"{path}.{name}"), message, "do not rely on it here")
