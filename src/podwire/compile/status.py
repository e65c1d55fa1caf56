"""What the drivers confirmed, as status of pods, nodes and Ingresses, and as Events.

Rules:

1. An Ingress shows an address only when the proxy has acknowledged everything the Ingress asks for.
2. ``settings.owned`` decides what is written.

Pods are in ``status_followed.py`` and ``status_pods.py``.
"""

from collections.abc import Iterator
from functools import partial

import msgspec

from podwire.compile.context import Context, Piece
from podwire.compile.events import compile_events, next_event_at
from podwire.compile.images import OWN_PLANES
from podwire.compile.ingress_views import is_ours
from podwire.compile.nodes_lost import compile_silence, compile_taints
from podwire.compile.routes import is_programmed
from podwire.compile.status_followed import NEVER, PodWrites
from podwire.compile.statuses import condition, merge_conditions, merge_status
from podwire.kube import Ingress, IngressClass, Node, Service
from podwire.kube.networking import IngressLoadBalancerIngress, IngressLoadBalancerStatus
from podwire.plan import Merge, NodeFact, Write

Writes = Iterator[tuple[str, Write]]


def compile_status(context: Context) -> Piece:
    """Status writes, final deletions and Events."""
    owned = context.snapshot.settings.owned
    writes: dict[str, Write] = {}
    wakes: list[float] = []
    if owned.pod_status:
        writes.update(_pods(context, wakes))
        for node in context.snapshot.nodes.values():
            writes.update(_node(context, node, wakes))
            writes.update(compile_taints(context, node))
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


def _pods(context: Context, wakes: list[float]) -> Writes:
    """Ends and status of pods."""
    followed = context.memo.unit("pod-writes", (), PodWrites)
    followed.update(context, _ready_planes(context))
    wakes.extend(at for at in followed.ends_at.values() if at != NEVER)
    yield from ((made.key, made.write) for made in followed.writes.values())


def _node(context: Context, node: Node, wakes: list[float]) -> Writes:
    fact = context.snapshot.facts.nodes.get(node.metadata.name)
    if fact is None:
        return
    if fact.silent_since:
        yield from compile_silence(context, node, fact, wakes)
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
