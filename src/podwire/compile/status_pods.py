"""Pod status from what the runtime observed.

Rules:

1. Nothing is written before there is something to say: a fact, a reason why the pod does not start, or that a pod shown
   as ready is not running (podwire was restarted).
2. A finished phase is final.
3. A container of podwire's own plane is ready when that plane is.
4. Restarts never count backwards: a runtime that was itself restarted begins at zero.

Source: kubernetes ``pkg/kubelet/kubelet_pods.go`` (getPhase), ``pkg/kubelet/status/generate.go``,
``pkg/apis/core/v1/helper/qos``.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from podwire.compile.containers import Problem
from podwire.compile.images import OWN_PLANES, repository_of
from podwire.compile.nodes_lost import is_lost
from podwire.compile.statuses import condition, find_condition, format_time, merge_conditions, merge_status
from podwire.kube import Node, Pod
from podwire.kube.meta import Condition
from podwire.kube.pods import Container, ContainerStatus, PodIP
from podwire.plan import ContainerFact, Json, Merge, PodFact

_FINISHED = ("Succeeded", "Failed")
LOST, LOST_CODE = "The container could not be located when the pod was terminated", 137


class Observed(msgspec.Struct, frozen=True):
    """Everything a pod's status is made of. ``planes``: which of podwire's own planes are ready; ``forgets``: a pod
    without a fact is not running (there is a runtime, and it does not know the pod)."""

    pod: Pod
    fact: PodFact | None
    node: Node | None
    problems: tuple[Problem, ...]
    planes: tuple[str, ...]
    forgets: bool = False


def compile_pod_status(seen: Observed, now: float) -> Merge | None:
    """The status write of one bound pod; None when the API shows it already."""
    pod, fact = seen.pod, seen.fact
    if fact is not None and fact.gone:
        return None
    if is_lost(seen.node):
        return _unreachable(pod, now)
    if fact is None and not seen.problems:
        return _forgotten(seen, now) if seen.forgets else None
    main = _statuses(pod.spec.containers, fact.containers if fact else (), pod.status.container_statuses, seen)
    init_facts = fact.init_containers if fact else ()
    init = _statuses(pod.spec.init_containers, init_facts, pod.status.init_container_statuses, seen)
    guests = _guests(seen)
    phase = "Failed" if fact is not None and fact.reason else _phase(pod, main, init)
    wanted: dict[str, Any] = {
        "phase": phase,
        **({"reason": fact.reason, "message": fact.message} if fact is not None and fact.reason else {}),
        "conditions": merge_conditions(pod.status.conditions, _conditions(seen, phase, main, init), now),
        "container_statuses": main,
        "init_container_statuses": init,
        **({"ephemeral_container_statuses": guests} if guests else {}),
        "qos_class": qos_class(pod),
        "start_time": pod.status.start_time or format_time((fact.started_at if fact else 0) or now),
        "observed_generation": pod.metadata.generation,
        **_addresses(seen),
    }
    patch = merge_status(pod, wanted)
    return _spelled_out(patch) if patch is not None else None


def _unreachable(pod: Pod, now: float) -> Merge | None:
    """On a node that is lost: not Ready. Nobody knows more."""
    if not pod.is_ready:
        return None
    conditions = merge_conditions(pod.status.conditions, [condition("Ready", False)], now)
    return merge_status(pod, {"conditions": conditions})


def _forgotten(seen: Observed, now: float) -> Merge | None:
    """A pod shown as ready that no runtime knows: podwire was restarted, and the pod has to start again."""
    pod = seen.pod
    if not pod.is_ready:
        return None
    contained = condition("ContainersReady", False, reason="ContainersNotReady", message="the pod is starting again")
    wanted = [_ready(pod, contained), contained]
    return merge_status(pod, {"conditions": merge_conditions(pod.status.conditions, wanted, now)})


def _addresses(seen: Observed) -> Mapping[str, Any]:
    addresses = seen.fact.addresses if seen.fact else ()
    hosts = seen.node.internal_addresses if seen.node else ()
    found: dict[str, Any] = {}
    if hosts:
        found |= {"host_ip": hosts[0], "host_ips": tuple(PodIP(ip=h) for h in hosts)}
        if seen.pod.spec.host_network and not addresses:
            addresses = hosts
    if addresses:
        found |= {"pod_ip": addresses[0], "pod_ips": tuple(PodIP(ip=a) for a in addresses)}
    return found


def _statuses(
    containers: tuple[Container, ...],
    facts: Iterable[ContainerFact],
    old: Iterable[ContainerStatus],
    seen: Observed,
) -> tuple[ContainerStatus, ...]:
    by_name = {fact.name: fact for fact in facts}
    before = {status.name: status for status in old}
    return tuple(_container(c, by_name.get(c.name), before.get(c.name), seen) for c in containers)


def _guests(seen: Observed) -> tuple[ContainerStatus, ...]:
    """Ephemeral containers: never ready, and one that ran under a podwire that is gone has ended."""
    pod, fact = seen.pod, seen.fact
    facts = fact.ephemeral_containers if fact else ()
    known = {f.name for f in facts}
    old = pod.status.ephemeral_container_statuses
    kept = {s.name: s for s in old if s.name not in known and s.state.keys() & {"running", "terminated"}}
    found = _statuses(pod.spec.ephemeral_containers, facts, old, seen)
    return tuple(_visiting(kept.get(s.name, s), lost=s.name in kept) for s in found)


def _visiting(status: ContainerStatus, *, lost: bool) -> ContainerStatus:
    state = status.state
    if lost and "running" in state:
        ended = {"exitCode": LOST_CODE, "reason": "ContainerStatusUnknown", "message": LOST}
        state = {"terminated": state["running"] | ended}
    return msgspec.structs.replace(status, ready=False, state=state)


def _container(
    container: Container, fact: ContainerFact | None, old: ContainerStatus | None, seen: Observed
) -> ContainerStatus:
    restarts = max(fact.restarts if fact else 0, old.restart_count if old else 0)
    status = ContainerStatus(
        name=container.name,
        state=_state(container, fact, seen),
        restart_count=restarts,
        image=container.image,
        image_id=f"podwire://{container.image}" if fact is not None and fact.state != "waiting" else "",
        started=False,
    )
    if fact is None:
        return status
    plane = OWN_PLANES.get(repository_of(container.image))
    ready = fact.ready and (plane is None or plane in seen.planes)
    last = _last_state(fact) or (old.last_state if old is not None and not fact.restarts else {})
    return msgspec.structs.replace(
        status, ready=ready, started=fact.started, container_id=fact.container_id, last_state=last
    )


def _state(container: Container, fact: ContainerFact | None, seen: Observed) -> dict[str, Json]:
    problem = next((p for p in seen.problems if p.container == container.name), None)
    if problem is not None and (fact is None or fact.state == "waiting"):
        return {"waiting": {"reason": "CreateContainerConfigError", "message": problem.message}}
    if fact is None:
        detail = {"reason": "PodInitializing" if seen.pod.spec.init_containers else "ContainerCreating"}
        if seen.fact is not None and seen.fact.message:  # the sandbox cannot be made
            detail["message"] = seen.fact.message
        return {"waiting": detail}
    match fact.state:
        case "waiting":
            detail = {"reason": fact.reason or "ContainerCreating", "message": fact.message}
            return {"waiting": {k: v for k, v in detail.items() if v}}
        case "running":
            return {"running": {"startedAt": format_time(fact.started_at)}}
        case "terminated":
            return {"terminated": _terminated(fact)}


def _terminated(fact: ContainerFact) -> Json:
    ended: Json = {
        "exitCode": fact.exit_code,
        "reason": fact.reason or ("Completed" if fact.exit_code == 0 else "Error"),
        "startedAt": format_time(fact.started_at),
        "finishedAt": format_time(fact.finished_at),
    }
    optional = {"message": fact.message, "containerID": fact.container_id}
    return ended | {k: v for k, v in optional.items() if v}


def _last_state(fact: ContainerFact) -> dict[str, Json]:
    if fact.last_exit_code is None:
        return {}
    reason = fact.last_reason or ("Completed" if fact.last_exit_code == 0 else "Error")
    return {
        "terminated": {
            "exitCode": fact.last_exit_code,
            "reason": reason,
            "startedAt": format_time(fact.last_started_at),
            "finishedAt": format_time(fact.last_finished_at),
        }
    }


def _phase(pod: Pod, main: tuple[ContainerStatus, ...], init: tuple[ContainerStatus, ...]) -> str:
    if pod.status.phase in _FINISHED:
        return pod.status.phase
    policy = pod.spec.restart_policy or "Always"
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    failed = [s for s in init if _exit_code(s) not in (None, 0) and s.name not in sidecars]
    if failed and policy == "Never":
        return "Failed"
    ended = [_exit_code(s) for s in main]
    if main and all(code is not None for code in ended):
        if all(code == 0 for code in ended):
            return "Running" if policy == "Always" else "Succeeded"
        return "Failed" if policy == "Never" else "Running"
    begun = any("running" in s.state or "terminated" in s.state or s.restart_count for s in main)
    return "Running" if begun else "Pending"


def _exit_code(status: ContainerStatus) -> int | None:
    ended = status.state.get("terminated")
    return None if ended is None else int(ended.get("exitCode", 0))


def _conditions(
    seen: Observed, phase: str, main: tuple[ContainerStatus, ...], init: tuple[ContainerStatus, ...]
) -> list[Condition]:
    pod, fact = seen.pod, seen.fact
    initialized = _initialized(pod, main, init)
    contained = _containers_ready(phase, main)
    return [
        condition("PodReadyToStartContainers", fact is not None and bool(fact.addresses or pod.spec.host_network)),
        initialized,
        _ready(pod, contained),
        contained,
        condition("PodScheduled", True),
    ]


def _initialized(pod: Pod, main: tuple[ContainerStatus, ...], init: tuple[ContainerStatus, ...]) -> Condition:
    sidecars = {c.name for c in pod.spec.init_containers if c.restart_policy == "Always"}
    pending = [s.name for s in init if not (s.started if s.name in sidecars else _exit_code(s) == 0)]
    if not pending or any("waiting" not in s.state for s in main):
        return condition("Initialized", True)
    names = " ".join(pending)
    message = f"containers with incomplete status: [{names}]"
    return condition("Initialized", False, reason="ContainersNotInitialized", message=message)


def _containers_ready(phase: str, main: tuple[ContainerStatus, ...]) -> Condition:
    if phase == "Succeeded":
        return condition("ContainersReady", False, reason="PodCompleted")
    if phase == "Failed":
        return condition("ContainersReady", False, reason="PodFailed")
    unready = [s.name for s in main if not s.ready]
    if not unready:
        return condition("ContainersReady", True)
    message = f"containers with unready status: [{' '.join(unready)}]"
    return condition("ContainersReady", False, reason="ContainersNotReady", message=message)


def _ready(pod: Pod, contained: Condition) -> Condition:
    if contained.status != "True":
        return msgspec.structs.replace(contained, type="Ready")
    for gate in pod.spec.readiness_gates:
        kind = gate.get("conditionType", "")
        found = find_condition(pod.status.conditions, kind)
        if found is None or found.status != "True":
            message = f'the status of pod readiness gate "{kind}" is not "True"'
            return condition("Ready", False, reason="ReadinessGatesNotReady", message=message)
    return condition("Ready", True)


def qos_class(pod: Pod) -> str:
    """BestEffort without any cpu or memory request or limit, Guaranteed when every container limits both and requests
    the same, else Burstable."""
    if pod.status.qos_class:
        return pod.status.qos_class
    guaranteed, anything = True, False
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        limits, requests = container.resources.limits, container.resources.requests
        for name in ("cpu", "memory"):
            limit, request = limits.get(name), requests.get(name, limits.get(name))
            anything = anything or limit is not None or request is not None
            guaranteed = guaranteed and limit is not None and request == limit
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _spelled_out(patch: Merge) -> Merge:
    """Typed values leave out false and zero, which the API requires of container statuses."""
    status = patch.patch["status"]
    for field in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for item in status.get(field) or ():
            for name, value in (("ready", False), ("restartCount", 0), ("imageID", "")):
                item.setdefault(name, value)
    return patch
