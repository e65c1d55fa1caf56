"""What the drivers confirmed, as status of pods, nodes and Ingresses, and as Events.

Rules:

1. A pod that is being deleted goes for good when nothing of it is left: the runtime says so, it never had a node, or
   its node does not exist.
2. If the runtime says nothing, the object goes a little after its grace period: nothing can be running here.
3. An Ingress shows an address only when the proxy has acknowledged everything the Ingress asks for.
4. ``settings.owned`` decides what is written.
"""

from collections.abc import Iterator
from functools import partial

import msgspec

from podwire.base import FieldPath, Origin
from podwire.compile.containers import Problem
from podwire.compile.context import Context, Piece
from podwire.compile.events import compile_events, next_event_at
from podwire.compile.images import OWN_PLANES
from podwire.compile.ingress_views import is_ours
from podwire.compile.nodes_pods import compile_pod, find_names, port_index
from podwire.compile.routes import is_programmed
from podwire.compile.status_pods import Observed, compile_pod_status
from podwire.compile.statuses import condition, merge_conditions, merge_status, parse_time
from podwire.kube import Ingress, IngressClass, Node, Pod, Service
from podwire.kube.networking import IngressLoadBalancerIngress, IngressLoadBalancerStatus
from podwire.plan import Merge, NodeFact, PodFact, Remove, Write
from podwire.plan.node import Pod as PodUnit

SLACK_SECONDS = 5
Writes = Iterator[tuple[str, Write]]


def compile_status(context: Context) -> Piece:
    """Status writes, final deletions and Events."""
    owned = context.snapshot.settings.owned
    writes: dict[str, Write] = {}
    wakes: list[float] = []
    if owned.pod_status:
        writes.update(_pods(context, wakes))
        for node in context.snapshot.nodes.values():
            writes.update(_node(context, node))
    if owned.ingress_status:
        writes.update(_ingresses(context))
    if owned.events:
        writes.update(compile_events(context))
        due = next_event_at(context)
        wakes.extend([] if due is None else [due])
    return Piece(writes=writes, wake_at=min(wakes, default=None))


def _ready_planes(context: Context) -> tuple[str, ...]:
    """Which of podwire's own planes serve. Without planes (simulated) nobody waits for them."""
    snapshot = context.snapshot
    if not snapshot.settings.planes:
        return tuple(OWN_PLANES.values())
    facts = snapshot.facts.planes
    proxy = snapshot.settings.ingress_proxy
    keys = {"dns": ("dns",), "envoy": (f"envoy/{proxy}", proxy, "envoy")}
    return tuple(name for name, names in keys.items() if any(k in facts and facts[k].ready for k in names))


class _Known:
    """What the status of each pod was decided on last time, by key, and the decision. Lives in the memo.

    Only pods whose containers may run are kept: whether others may depends on more objects than are compared here.
    """

    def __init__(self) -> None:
        self.pods: dict[str, tuple[Pod, PodFact | None, Node | None, PodUnit | None, Merge | None]] = {}
        self.planes: tuple[str, ...] = ()


def _pods(context: Context, wakes: list[float]) -> Writes:
    """Ends and status of every pod; one that nothing happened to costs a comparison."""
    snapshot, known = context.snapshot, context.memo.unit("known-pods", (), _Known)
    planes = _ready_planes(context)
    before = known.pods if known.planes == planes else {}
    known.pods, known.planes = {}, planes
    facts, nodes, units = snapshot.facts.pods, snapshot.nodes, context.nodes.pods if context.nodes else {}
    for key, pod in snapshot.all(Pod).items():
        meta = pod.metadata
        if meta.deletion_timestamp is not None and _ends(context, pod, wakes):
            name = f"end/Pod/{key}"
            yield name, context.memo.unit(f"write/{name}", (meta.uid,), partial(_final, pod))
            continue
        if not pod.spec.node_name:
            continue
        fact, node, unit, last = facts.get(meta.uid), nodes.get(pod.spec.node_name), units.get(key), before.get(key)
        if last is not None and last[0] is pod and last[1] is fact and last[2] is node and last[3] is unit:
            known.pods[key] = last
            patch = last[4]
        else:
            patch = _pod(context, pod, planes)
            if unit is None or unit.run:
                known.pods[key] = (pod, fact, node, unit, patch)
        if patch is not None:
            yield f"status/Pod/{key}", patch


def _pod(context: Context, pod: Pod, planes: tuple[str, ...]) -> Merge | None:
    snapshot = context.snapshot
    node = snapshot.nodes.get(pod.spec.node_name)
    fact = snapshot.facts.pods.get(pod.metadata.uid)
    problems = _problems(context, pod)
    forgets = snapshot.settings.planes and context.nodes is not None and pod.key in context.nodes.pods
    if fact is None and not problems and not forgets:
        return None
    seen = Observed(pod, fact, node, problems, planes, forgets)
    inputs = (pod, fact, node, problems, planes, forgets)
    return context.memo.unit(f"write/status/Pod/{pod.key}", inputs, partial(compile_pod_status, seen, snapshot.now))


def _problems(context: Context, pod: Pod) -> tuple[Problem, ...]:
    """Why the pod's containers cannot start; looked at only while they are held."""
    unit = context.nodes.pods.get(pod.key) if context.nodes else None
    if unit is None or (unit.run and len(unit.ephemeral_containers) == len(pod.spec.ephemeral_containers)):
        return ()
    return compile_pod(context, pod, find_names(pod), port_index(context, pod.metadata.namespace)).problems


def _ends(context: Context, pod: Pod, wakes: list[float]) -> bool:
    """Rules 1 and 2; a pod still waited for adds the time when it is not any more."""
    snapshot = context.snapshot
    if pod.metadata.finalizers:
        return False
    if pod.spec.node_name not in snapshot.nodes:
        return True
    fact = snapshot.facts.pods.get(pod.metadata.uid)
    if fact is not None:
        return fact.gone
    if pod.is_finished:
        return True
    until = parse_time(pod.metadata.deletion_timestamp) + SLACK_SECONDS
    if until > snapshot.now:
        wakes.append(until)
    return until <= snapshot.now


def _final(pod: Pod) -> Write:
    origin = Origin(pod.ref, FieldPath("metadata.deletionTimestamp"))
    return Remove(origin, pod.ref, "v1", pod.metadata.uid, grace_seconds=0)


def _node(context: Context, node: Node) -> Writes:
    fact = context.snapshot.facts.nodes.get(node.metadata.name)
    if fact is None:
        return
    key = f"status/Node/{node.metadata.name}"
    make = partial(_node_status, node, fact, context.snapshot.now)
    patch = context.memo.unit(f"write/{key}", (node, fact), make)
    if patch is not None:
        yield key, patch


def _node_status(node: Node, fact: NodeFact, now: float) -> Merge | None:
    if fact.ready:
        message = fact.message or "the node's network namespace is up"
        ready = condition("Ready", True, reason="KubeletReady", message=message)
    else:
        ready = condition("Ready", False, reason="KubeletNotReady", message=fact.message or "the node is not up")
    old = {c.type: c for c in node.status.conditions}
    (timed,) = merge_conditions([old["Ready"]] if "Ready" in old else [], [ready], now)
    timed = msgspec.structs.replace(timed, last_heartbeat_time=_beat(node, timed.last_transition_time))
    rest = tuple(c for c in node.status.conditions if c.type != "Ready")
    return merge_status(node, {"conditions": (timed, *rest)})


def _beat(node: Node, since: str | None) -> str | None:
    """The heartbeat of the last write: it changes with the status only, an idle cluster writes nothing."""
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    return ready.last_heartbeat_time if ready is not None and ready.last_transition_time == since else since


def _ingresses(context: Context) -> Writes:
    snapshot = context.snapshot
    classes = snapshot.all(IngressClass)
    namespace = snapshot.settings.ingress_proxy.partition("/")[0]
    service = snapshot.get(Service, namespace, "ingress-nginx-controller")
    balancer = service.status.load_balancer.ingress if service else ()
    points = tuple(IngressLoadBalancerIngress(ip=i.ip, hostname=i.hostname) for i in balancer)
    for key, ingress in snapshot.all(Ingress).items():
        ours, _ = is_ours(ingress, classes, snapshot.settings.controller)
        if not ours:
            continue
        programmed = context.routes is not None and is_programmed(snapshot, context.routes, ingress.ref)[0]
        wanted = IngressLoadBalancerStatus(ingress=points if programmed else ())
        name = f"status/Ingress/{key}"
        make = partial(merge_status, ingress, {"load_balancer": wanted})
        patch = context.memo.unit(f"write/{name}", (ingress, programmed, points), make)
        if patch is not None:
            yield name, patch
