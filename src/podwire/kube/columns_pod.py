"""Cells of a Pod: above all the STATUS word.

STATUS is the phase, then ``status.reason``, then what keeps an init container busy, then the worst container, then
deletion. A restartable init container (sidecar) counts as a container in READY.

Spec: k8s:pkg/printers/internalversion/printers.go printPod.
"""

from typing import Any

import msgspec

from podwire.kube.columns_text import age, human_duration, name, seconds_of

Obj = dict[str, Any]


class _Progress(msgspec.Struct):
    """What the walk over the containers has found so far."""

    reason: str
    ready: int = 0
    total: int = 0
    restarts: int = 0
    sidecar_restarts: int = 0
    last_restart: float | None = None
    last_sidecar_restart: float | None = None


def pod(obj: Obj, now: float) -> list[Any]:
    """READY STATUS RESTARTS AGE, and IP NODE NOMINATED-NODE READINESS-GATES."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    progress = pod_progress(obj)
    restarts = str(progress.restarts)
    if progress.restarts and progress.last_restart is not None:
        restarts = f"{restarts} ({human_duration(now - progress.last_restart)} ago)"
    return [
        name(obj),
        f"{progress.ready}/{progress.total}",
        progress.reason,
        restarts,
        age(obj, now),
        _address(status),
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def pod_status(obj: Obj) -> str:
    """The STATUS word alone (Running, CrashLoopBackOff, Init:0/1, Terminating, ...)."""
    return pod_progress(obj).reason


def pod_progress(obj: Obj) -> _Progress:
    """Everything the READY, STATUS and RESTARTS cells need."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    progress = _Progress(reason=status.get("reason") or status.get("phase") or "")
    progress.total = len(spec.get("containers") or ())
    if any(c.get("type") == "PodScheduled" and c.get("reason") == "SchedulingGated" for c in _conditions(status)):
        progress.reason = "SchedulingGated"
    initializing = _walk_init(spec, status, progress)
    if not initializing or _condition(status, "Initialized"):
        has_running = _walk_containers(status, progress)
        if progress.reason == "Completed" and has_running:
            progress.reason = "Running" if _condition(status, "Ready") else "NotReady"
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        if status.get("reason") == "NodeLost":
            progress.reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            progress.reason = "Terminating"
    return progress


def _walk_init(spec: Obj, status: Obj, progress: _Progress) -> bool:
    """Init containers in order, up to the first that is not done. True while the pod initializes."""
    declared = {c.get("name"): c for c in spec.get("initContainers") or ()}
    sidecars = {key for key, c in declared.items() if c.get("restartPolicy") == "Always"}
    progress.total += len(sidecars)
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        state = container.get("state") or {}
        sidecar = container.get("name") in sidecars
        _count_restarts(container, progress, sidecar=sidecar)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if sidecar and container.get("started"):
            progress.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            progress.reason = "Init:" + (terminated.get("reason") or _exit(terminated))
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            progress.reason = f"Init:{waiting['reason']}"
        else:
            progress.reason = f"Init:{index}/{len(declared)}"
        return True
    return False


def _walk_containers(status: Obj, progress: _Progress) -> bool:
    """Containers from last to first, so that the first one's reason wins. True when one is running."""
    progress.restarts, progress.last_restart = progress.sidecar_restarts, progress.last_sidecar_restart
    has_running = False
    for container in reversed(status.get("containerStatuses") or ()):
        state = container.get("state") or {}
        _count_restarts(container, progress, sidecar=False)
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            progress.reason = waiting["reason"]
        elif terminated is not None:
            progress.reason = terminated.get("reason") or _exit(terminated)
        elif container.get("ready") and state.get("running") is not None:
            has_running = True
            progress.ready += 1
    return has_running


def _count_restarts(container: Obj, progress: _Progress, *, sidecar: bool) -> None:
    count = container.get("restartCount", 0)
    last = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    finished = seconds_of(last)
    progress.restarts += count
    progress.last_restart = _later(progress.last_restart, finished)
    if sidecar:
        progress.sidecar_restarts += count
        progress.last_sidecar_restart = _later(progress.last_sidecar_restart, finished)


def _later(one: float | None, other: float | None) -> float | None:
    known = [value for value in (one, other) if value is not None]
    return max(known) if known else None


def _exit(terminated: Obj) -> str:
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _conditions(status: Obj) -> list[Obj]:
    return status.get("conditions") or []


def _condition(status: Obj, wanted: str) -> bool:
    return any(c.get("type") == wanted and c.get("status") == "True" for c in _conditions(status))


def _address(status: Obj) -> str:
    ips = status.get("podIPs") or []
    return (ips[0].get("ip") if ips else status.get("podIP")) or "<none>"


def _gates(spec: Obj, status: Obj) -> str:
    gates = spec.get("readinessGates") or []
    if not gates:
        return "<none>"
    return f"{sum(_condition(status, gate.get('conditionType', '')) for gate in gates)}/{len(gates)}"
