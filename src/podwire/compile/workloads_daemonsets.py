"""DaemonSet to pods: one on every node that fits.

Rules:

1. A node fits when the template's selector, affinity and tolerations allow it; a pod already there stays until an
   untolerated NoExecute taint or the selector sends it away.
2. Pods get the tolerations Kubernetes gives them and are bound by the scheduler: their node affinity names the node.
3. A roll replaces pods on as many nodes as ``maxUnavailable`` leaves, unavailable ones first; with ``maxSurge`` the new
   pod is made beside the old one, which goes when the new one is available.
4. Finished pods are replaced; of several pods on a node the oldest stays.

Source: kubernetes ``pkg/controller/daemon`` (daemon_controller.go, update.go), ``daemon/util/daemonset_util.go``.
"""

from collections.abc import Iterator
from functools import cached_property, partial

from podwire.base import FieldPath, Origin
from podwire.compile.affinity import Place, selection_holds, untolerated
from podwire.compile.context import Context
from podwire.compile.names import child_name, content_of, suffix_of
from podwire.compile.roster import roster_of
from podwire.compile.statuses import merge_status, parse_time, to_json
from podwire.compile.workloads_history import REVISION_LABEL, compile_history
from podwire.compile.workloads_pods import available_at, create_pod, removal_key
from podwire.compile.workloads_rollout import resolve_share
from podwire.kube import DaemonSet, Pod, PodSpec
from podwire.kube.pods import Toleration
from podwire.plan import Create, Json, Remove, Write

_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK = ("node.kubernetes.io/network-unavailable", "NoSchedule")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


class _Work:
    """One DaemonSet at one instant: which nodes want a pod, and which have which."""

    def __init__(self, context: Context, value: DaemonSet, digest: str) -> None:
        self.context, self.value, self.digest = context, value, digest
        self.now = context.snapshot.now
        self.tolerations = (*value.spec.template.spec.tolerations, *added_tolerations(value.spec.template.spec))
        self.pods: dict[str, list[Pod]] = {}
        for pod in sorted(roster_of(context).pods_of(value), key=_age):
            self.pods.setdefault(target_node(pod), []).append(pod)

    @cached_property
    def wanted(self) -> tuple[str, ...]:
        """Nodes that should have a pod."""
        return tuple(name for name, (run, _) in self._decisions.items() if run)

    def may_stay(self, node: str) -> bool:
        """Whether a pod on ``node`` may go on running."""
        return self._decisions.get(node, (False, False))[1]

    @cached_property
    def _decisions(self) -> dict[str, tuple[bool, bool]]:
        return {node.metadata.name: self._decide(Place.of(node)) for node in self.context.snapshot.nodes.values()}

    def _decide(self, place: Place) -> tuple[bool, bool]:
        spec = self.value.spec.template.spec
        if spec.node_name and spec.node_name != place.name:
            return False, False
        if not selection_holds(Pod(spec=spec), place):
            return False, False
        blocking = untolerated(self.tolerations, place.taints)
        if blocking is None:
            return True, True
        hard = tuple(t for t in place.taints if t.effect == "NoExecute")
        return False, untolerated(self.tolerations, hard) is None

    def is_available(self, pod: Pod) -> bool:
        since = self.available_since(pod)
        return since is not None and since <= self.now and pod.metadata.deletion_timestamp is None

    def available_since(self, pod: Pod) -> float | None:
        return available_at(pod, self.value.spec.min_ready_seconds)

    def is_new(self, pod: Pod) -> bool:
        return pod.metadata.labels.get(REVISION_LABEL) == self.digest

    @property
    def bounds(self) -> tuple[int, int]:
        """``(maxSurge, maxUnavailable)`` in nodes; nothing moves with OnDelete."""
        strategy = self.value.spec.update_strategy
        if strategy.type == "OnDelete":
            return 0, 0
        rolling, total = strategy.rolling_update, len(self.wanted)
        surge = resolve_share((rolling.max_surge if rolling else None) or 0, total, up=True)
        missing = rolling.max_unavailable if rolling and rolling.max_unavailable is not None else 1
        unavailable = resolve_share(missing, total, up=True)
        return surge, max(1, unavailable) if not surge else unavailable


def compile_daemon_set(context: Context, value: DaemonSet) -> tuple[dict[str, Write], float | None]:
    """The writes of one DaemonSet and when a pod becomes available by time alone."""
    if value.metadata.deletion_timestamp is not None:
        return {}, None
    digest = context.memo.unit(f"template/DaemonSet/{value.key}", (value,), partial(template_digest, value))
    work = _Work(context, value, digest)
    name = value.metadata.name
    live = {f"{name}-{p.metadata.labels.get(REVISION_LABEL, '')}" for pods in work.pods.values() for p in pods}
    writes = compile_history(context, value, digest, live)
    for pod in _surplus(work):
        meta = pod.metadata
        key = removal_key("Pod", meta.namespace, meta.name)
        writes[key] = context.memo.unit(f"write/{key}", (meta.uid,), partial(_remove, value, pod))
    for node in _missing(work):
        key, create = _creation(work, node)
        writes[key] = create
    key = f"status/DaemonSet/{value.key}"
    status = _status(work)
    patch = context.memo.unit(f"write/{key}", (value, *status.values()), partial(merge_status, value, status))
    if patch is not None:
        writes[key] = patch
    waits = [work.available_since(pod) for pods in work.pods.values() for pod in pods]
    return writes, min((t for t in waits if t is not None and t > work.now), default=None)


def template_digest(value: DaemonSet) -> str:
    """The revision's name: a function of the template's content."""
    return suffix_of(content_of(value.spec.template), length=10)


def target_node(pod: Pod) -> str:
    """The node a daemon pod is on or made for."""
    if pod.spec.node_name:
        return pod.spec.node_name
    affinity = (pod.spec.affinity or {}).get("nodeAffinity") or {}
    for term in (affinity.get(REQUIRED) or {}).get("nodeSelectorTerms") or ():
        for field in term.get("matchFields") or ():
            if field.get("key") == "metadata.name" and field.get("values"):
                return str(field["values"][0])
    return ""


def _missing(work: _Work) -> Iterator[str]:
    """Nodes without any pod, and those a surge adds a second one to."""
    yield from (node for node in work.wanted if not work.pods.get(node))
    surge = work.bounds[0]
    if not surge:
        return
    rolling = [node for node in work.wanted if work.pods.get(node)]
    olds, both = [], 0
    for node in rolling:
        new, old = _new_and_old(work, node)
        if old is not None and new is None:
            olds.append((work.is_available(old), node))
        both += old is not None and new is not None and not work.is_available(new)
    urgent = [node for available, node in olds if not available]
    patient = [node for available, node in olds if available]
    yield from (*urgent, *patient[: max(0, surge - both)])


def _surplus(work: _Work) -> Iterator[Pod]:
    """Pods to delete in this step."""
    for node, pods in work.pods.items():
        for pod in pods:
            if pod.metadata.deletion_timestamp is None and (pod.is_finished or not work.may_stay(node)):
                yield pod
    surge, unavailable = work.bounds
    staying = [node for node in work.wanted if work.pods.get(node)]
    for node in staying:
        yield from _doubles(work, node, surging=surge > 0)
    if surge or not unavailable:
        return
    replaceable: list[Pod] = []
    urgent: list[Pod] = []
    missing = sum(not work.pods.get(node) for node in work.wanted)
    for node in staying:
        new, old = _new_and_old(work, node)
        chosen = new or old
        down = chosen is None or not work.is_available(chosen)
        missing += down
        if new is None and old is not None and old.metadata.deletion_timestamp is None:
            (urgent if down else replaceable).append(old)
    yield from (*urgent, *replaceable[: max(0, unavailable - missing)])


def _doubles(work: _Work, node: str, *, surging: bool) -> Iterator[Pod]:
    """All but the pod that stays; while surging, the old one beside a new one stays until that is available."""
    alive = [p for p in work.pods[node] if p.metadata.deletion_timestamp is None and not p.is_finished]
    new, old = _new_and_old(work, node)
    kept = {p.metadata.uid for p in (new, old) if p is not None} if surging else {p.metadata.uid for p in alive[:1]}
    if surging and new is not None and old is not None and work.is_available(new):
        kept.discard(old.metadata.uid)
    yield from (p for p in alive if p.metadata.uid not in kept)


def _new_and_old(work: _Work, node: str) -> tuple[Pod | None, Pod | None]:
    """The pod of the newest revision and the one of an older revision, if they are alive."""
    alive = [p for p in work.pods.get(node, ()) if not p.is_finished]
    new = next((p for p in alive if work.is_new(p)), None)
    return new, next((p for p in alive if not work.is_new(p)), None)


def _creation(work: _Work, node: str) -> tuple[str, Create]:
    value, taken = work.value, work.context.snapshot.all(Pod)
    namespace, number = value.metadata.namespace, 0
    while True:
        name = child_name(value.metadata.name, f"{value.metadata.uid}/{node}/{work.digest}/{number}")
        if f"{namespace}/{name}" not in taken:
            break
        number += 1
    key = f"create/Pod/{namespace}/{name}"
    make = partial(_new_pod, value, work.digest, name, node)
    return key, work.context.memo.unit(f"write/{key}", (value, node), make)


def _new_pod(value: DaemonSet, digest: str, name: str, node: str) -> Create:
    create = create_pod(value, value.spec.template, name, labels={REVISION_LABEL: digest})
    spec: Json = create.body["spec"]
    added = [to_json(t) for t in added_tolerations(value.spec.template.spec)]
    spec["tolerations"] = [*(spec.get("tolerations") or ()), *added]
    spec["affinity"] = _pinned(spec.get("affinity") or {}, node)
    return create


def _pinned(affinity: Json, node: str) -> Json:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {**affinity, "nodeAffinity": {**(affinity.get("nodeAffinity") or {}), REQUIRED: required}}


def added_tolerations(spec: PodSpec) -> tuple[Toleration, ...]:
    """What every daemon pod tolerates, beyond its template."""
    pairs = (*_TOLERATED, _HOST_NETWORK) if spec.host_network else _TOLERATED
    made = tuple(Toleration(key=key, operator="Exists", effect=effect) for key, effect in pairs)
    return tuple(t for t in made if t not in spec.tolerations)


def _remove(value: DaemonSet, pod: Pod) -> Remove:
    return Remove(Origin(value.ref, FieldPath("spec.template")), pod.ref, "v1", pod.metadata.uid)


def _age(pod: Pod) -> tuple[float, str]:
    return parse_time(pod.metadata.creation_timestamp), pod.metadata.name


def _status(work: _Work) -> dict[str, int]:
    wanted = set(work.wanted)
    current = ready = available = updated = 0
    for node in wanted:
        pods = work.pods.get(node)
        if not pods:
            continue
        current += 1
        pod = next((p for p in pods if not p.is_finished), pods[0])
        ready += pod.is_ready
        available += pod.is_ready and work.is_available(pod)
        updated += any(work.is_new(p) for p in pods)
    misplaced = sum(
        any(p.metadata.deletion_timestamp is None for p in v) for n, v in work.pods.items() if n not in wanted
    )
    return {
        "current_number_scheduled": current,
        "number_misscheduled": misplaced,
        "desired_number_scheduled": len(wanted),
        "number_ready": ready,
        "observed_generation": work.value.metadata.generation,
        "updated_number_scheduled": updated,
        "number_available": available,
        "number_unavailable": len(wanted) - available,
    }
