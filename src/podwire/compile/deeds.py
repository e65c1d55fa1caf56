"""What the controllers and the scheduler did, as things to say in Events.

Rules:

1. A deed is read off the writes of a compile: a created pod, a deleted one, another size, a binding. It is noted when
   the write first appears, and said a second later, unless the API refused the write: then that is said.
2. The texts are those of Kubernetes' controllers, word for word.
3. Notes are kept for a minute: by then they are Events.
4. The more there is to say, the later it is said (a second for every 200 deeds, at most half a minute): making a
   thousand pods ready comes before telling of it.

Source: kubernetes ``pkg/controller/controller_utils.go`` (RealPodControl), ``pkg/controller/deployment/sync.go``,
``pkg/controller/statefulset/stateful_pod_control.go``, ``pkg/controller/tainteviction``, ``pkg/scheduler``.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal

from podwire.base import Ref
from podwire.compile.context import Context
from podwire.compile.workloads_preemption import PREEMPTED_BY
from podwire.kube import Pod, ReplicaSet
from podwire.plan import Bind, Create, EventFact, Merge, Remove, Write

KEEP_SECONDS = 60.0
COMPONENTS: Mapping[str, str] = MappingProxyType(
    {
        "CronJob": "cronjob-controller",
        "DaemonSet": "daemonset-controller",
        "Deployment": "deployment-controller",
        "Job": "job-controller",
        "Pod": "taint-eviction-controller",
        "ReplicaSet": "replicaset-controller",
        "StatefulSet": "statefulset-controller",
    }
)
Kind = Literal["Normal", "Warning"]
Said = tuple[Ref, Kind, str, str, str]
"""About what, type, reason, message, component."""


class Deeds:
    """Notes of the last minute, and which writes are noted. Lives in the memo."""

    def __init__(self) -> None:
        """Nothing was done yet."""
        self._noted: dict[str, Said] = {}
        self._notes: list[tuple[str, EventFact]] = []
        self.facts: tuple[EventFact, ...] = ()

    @property
    def delay_seconds(self) -> float:
        """Rule 4."""
        return min(30.0, max(1.0, len(self.facts) / 200))

    def note(self, context: Context, writes: Mapping[str, Write]) -> None:
        """Take in the writes of one compile."""
        now = context.snapshot.now
        plane = context.snapshot.facts.planes.get("api")
        refused = plane.rejected if plane else {}
        fresh: dict[str, Said] = {}
        added: list[tuple[str, EventFact]] = []
        for key, write in writes.items():
            said = _failure(write, refused[key]) if key in refused else _deed(context, write)
            if said is None:
                continue
            fresh[key] = said
            if self._noted.get(key) != said and (fact := _fact(context, said, now)) is not None:
                added.append((key, fact))
        self._noted = fresh
        if added or (self._notes and self._notes[0][1].at < now - KEEP_SECONDS):
            self._replace(added, refused, now)

    def _replace(self, added: list[tuple[str, EventFact]], refused: Mapping[str, str], now: float) -> None:
        kept = [
            (key, fact)
            for key, fact in self._notes
            if fact.at >= now - KEEP_SECONDS and not (key in refused and fact.reason == "SuccessfulCreate")
        ]
        self._notes = [*kept, *added]
        self.facts = tuple(fact for _, fact in self._notes)


def deeds_of(context: Context) -> Deeds:
    """The notes of a compiler."""
    return context.memo.unit("deeds", (), Deeds)


def _fact(context: Context, said: Said, now: float) -> EventFact | None:
    ref, kind, reason, message, component = said
    value = context.snapshot.find(ref)
    if value is None:
        return None
    uid = value.metadata.uid
    return EventFact(ref.kind, ref.namespace, ref.name, uid, kind, reason, message, component, now)


def _deed(context: Context, write: Write) -> Said | None:
    match write:
        case Bind(ref=ref, node=node):
            message = f"Successfully assigned {ref.namespace}/{ref.name} to {node}"
            return ref, "Normal", "Scheduled", message, "default-scheduler"
        case Create(ref=Ref(kind="Pod" | "Job")):
            return _created(write)
        case Create(ref=Ref(kind="ReplicaSet")):
            size = int(write.body["spec"].get("replicas", 0))
            return _scaled(write.origin.ref, write.ref.name, 0, size)
        case Merge(ref=Ref(kind="ReplicaSet")) if "replicas" in (write.patch.get("spec") or {}):
            value = context.snapshot.get(ReplicaSet, write.ref.namespace, write.ref.name)
            before = 1 if value is None or value.spec.replicas is None else value.spec.replicas
            return _scaled(write.origin.ref, write.ref.name, before, int(write.patch["spec"]["replicas"]))
        case Merge(ref=Ref(kind="Job"), subresource="status"):
            return next(_ended(write), None)
        case Remove(ref=Ref(kind="Pod")) if write.origin.path == PREEMPTED_BY:
            return _preempted(context, write)
        case Remove(ref=Ref(kind="Pod" | "Job")) if write.origin.ref.kind in COMPONENTS:
            return _removed(write)
        case _:
            return None


def _created(write: Create) -> Said:
    owner, name = write.origin.ref, write.ref.name
    message = f"Created {write.ref.kind.lower()}{' ' if owner.kind == 'CronJob' else ': '}{name}"
    if owner.kind == "StatefulSet":
        message = f"create Pod {name} in StatefulSet {owner.name} successful"
    return owner, "Normal", "SuccessfulCreate", message, COMPONENTS.get(owner.kind, "")


def _preempted(context: Context, write: Remove) -> Said | None:
    victim = context.snapshot.get(Pod, write.ref.namespace, write.ref.name)
    by = context.snapshot.get(Pod, write.origin.ref.namespace, write.origin.ref.name)
    if victim is None or by is None:
        return None
    message = f"Preempted by pod {by.metadata.uid} on node {victim.spec.node_name}"
    return write.ref, "Normal", "Preempted", message, "default-scheduler"


def _removed(write: Remove) -> Said | None:
    owner, name = write.origin.ref, write.ref.name
    component = COMPONENTS[owner.kind]
    match owner.kind:
        case "Pod":
            message = f"Marking for deletion Pod {write.ref.namespace}/{name}"
            return owner, "Normal", "TaintManagerEviction", message, component
        case "StatefulSet":
            message = f"delete Pod {name} in StatefulSet {owner.name} successful"
            return owner, "Normal", "SuccessfulDelete", message, component
        case "CronJob":
            return owner, "Normal", "SuccessfulDelete", f"Deleted job {name}", component
        case "Job" if write.ref == owner:
            return None
        case _:
            return owner, "Normal", "SuccessfulDelete", f"Deleted pod: {name}", component


def _scaled(owner: Ref, name: str, before: int, after: int) -> Said | None:
    if before == after:
        return None
    way = "up" if after > before else "down"
    message = f"Scaled {way} replica set {name} from {before} to {after}"
    return owner, "Normal", "ScalingReplicaSet", message, COMPONENTS["Deployment"]


def _ended(write: Merge) -> Iterator[Said]:
    for condition in (write.patch.get("status") or {}).get("conditions") or ():
        if condition.get("status") != "True":
            continue
        if condition.get("type") == "Complete":
            yield write.ref, "Normal", "Completed", "Job completed", COMPONENTS["Job"]
        elif condition.get("type") == "Failed":
            reason, message = condition.get("reason", "Failed"), condition.get("message", "")
            yield write.ref, "Warning", reason, message, COMPONENTS["Job"]
        elif condition.get("type") == "Suspended":
            yield write.ref, "Normal", "Suspended", "Job suspended", COMPONENTS["Job"]


def _failure(write: Write, message: str) -> Said | None:
    """What is said of a refused creation."""
    owner = write.origin.ref
    if not isinstance(write, Create) or write.ref.kind not in ("Pod", "Job") or owner.kind not in COMPONENTS:
        return None
    text = f"Error creating: {message}"
    if owner.kind == "StatefulSet":
        text = f"create Pod {write.ref.name} in StatefulSet {owner.name} failed error: {message}"
    return owner, "Warning", "FailedCreate", text, COMPONENTS[owner.kind]
