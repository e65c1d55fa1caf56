"""Which container a stream request means, and why it cannot be served.

Spec: kubernetes pkg/registry/core/pod/strategy.go (LogLocation, streamLocation, containerKeys) and
pkg/kubelet/kubelet_pods.go (validateContainerLogStatus) for the words.
"""

from typing import Any

from podwire.apiserver.status import StatusError, bad_request, failure
from podwire.base import PodwireError

Json = dict[str, Any]

_PULLS = {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}


def container_of(pod: Json, asked: str) -> str:
    """The container's name. Raises :class:`StatusError` 400 when the request does not say, or names none."""
    name = pod["metadata"]["name"]
    spec = pod.get("spec", {})
    groups = [
        [str(container.get("name", "")) for container in spec.get(field) or ()]
        for field in ("containers", "initContainers", "ephemeralContainers")
    ]
    if asked:
        if not any(asked in names for names in groups):
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    containers, init, ephemeral = groups
    if len(containers) == 1:
        return containers[0]
    if not containers:
        raise bad_request(f"a container name must be specified for pod {name}")
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        text += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise bad_request(text)


def check_assigned(pod: Json) -> None:
    """Raise 400 when the pod is on no node, so that nothing of it can run."""
    if not pod.get("spec", {}).get("nodeName"):
        raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")


def check_running(pod: Json) -> None:
    """Raise 400 when the pod has finished."""
    phase = (pod.get("status") or {}).get("phase", "")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot open streams to a completed pod; current phase is {phase}")


def check_logged(pod: Json, container: str, *, previous: bool) -> None:
    """Raise 400 when the container has no log yet, as the kubelet words it."""
    where = f'container "{container}" in pod "{pod["metadata"]["name"]}"'
    status = _status_of(pod, container)
    if status is None:
        raise bad_request(f"{where} is waiting to start: ContainerCreating")
    state, last = status.get("state") or {}, status.get("lastState") or {}
    if previous:
        if last.get("terminated") is None:
            raise bad_request(f"previous terminated {where} not found")
        return
    if any(found is not None for found in (state.get("running"), state.get("terminated"), last.get("terminated"))):
        return
    reason = (state.get("waiting") or {}).get("reason") or "ContainerCreating"
    raise bad_request(f"{where} is waiting to start: {_PULLS.get(reason, reason)}")


def _status_of(pod: Json, container: str) -> Json | None:
    status = pod.get("status") or {}
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(field) or ():
            if entry.get("name") == container:
                found: Json = entry
                return found
    return None


def unavailable(error: PodwireError) -> StatusError:
    """500 in the words of whoever runs the pod."""
    return failure(500, "InternalError", f"Internal error occurred: {error}")
