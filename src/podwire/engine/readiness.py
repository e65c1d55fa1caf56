"""What networking still waits for, as words: empty means requests made now are served as the plans say. Pure."""

from collections.abc import Iterator

import msgspec

from podwire.kube import Deployment, Ingress, Pod, Service, StatefulSet
from podwire.plan import Plans, digest
from podwire.snapshot import Snapshot


class Waiting(msgspec.Struct, frozen=True, order=True):
    """One thing that is not there yet."""

    what: str
    why: str

    def __str__(self) -> str:
        """``what: why``."""
        return f"{self.what}: {self.why}"


def waiting_for(snapshot: Snapshot, plans: Plans) -> tuple[Waiting, ...]:
    """Everything networking waits for, in a fixed order."""
    return tuple(_everything(snapshot, plans))


def is_ready(snapshot: Snapshot, plans: Plans) -> bool:
    """Whether networking waits for nothing. Cheap while it does: asked after every compile of a start."""
    return next(_everything(snapshot, plans), None) is None


def _everything(snapshot: Snapshot, plans: Plans) -> Iterator[Waiting]:
    yield from _workloads(snapshot)
    yield from _pods(snapshot)
    yield from _addresses(snapshot)
    yield from _planes(snapshot, plans)
    yield from _ingresses(snapshot, plans)


def _workloads(snapshot: Snapshot) -> Iterator[Waiting]:
    values: tuple[Deployment | StatefulSet, ...] = (
        *snapshot.all(Deployment).values(),
        *snapshot.all(StatefulSet).values(),
    )
    for value in values:
        wanted = 1 if value.spec.replicas is None else value.spec.replicas
        have, status = len(_pods_below(snapshot, value)), value.status
        if status.observed_generation < value.metadata.generation:
            yield Waiting(str(value.ref), "not observed yet")
        elif have < wanted or status.ready_replicas < wanted:
            yield Waiting(str(value.ref), f"{status.ready_replicas} of {wanted} replicas ready")


def _pods_below(snapshot: Snapshot, value: Deployment | StatefulSet) -> tuple[Pod, ...]:
    children = snapshot.children.get(value.metadata.uid, ())
    direct = tuple(c for c in children if isinstance(c, Pod))
    return direct + tuple(pod for c in children if not isinstance(c, Pod) for pod in snapshot.pods_of(c))


def _pods(snapshot: Snapshot) -> Iterator[Waiting]:
    for pod in snapshot.all(Pod).values():
        if not pod.is_ready and not pod.is_finished:
            yield Waiting(str(pod.ref), pod.status.phase or "Pending")


def _addresses(snapshot: Snapshot) -> Iterator[Waiting]:
    for service in snapshot.all(Service).values():
        spec = service.spec  # another controller's class: it may never come
        balanced = spec.type == "LoadBalancer" and spec.load_balancer_class is None
        if balanced and not service.status.load_balancer.ingress:
            yield Waiting(str(service.ref), "no load balancer address yet")


def _planes(snapshot: Snapshot, plans: Plans) -> Iterator[Waiting]:
    if not snapshot.settings.planes:
        return
    facts = snapshot.facts.planes
    dns = facts.get("dns")
    if dns is None or not dns.ready:
        yield Waiting("dns", "no worker serves the zone yet")
    for name in plans.services.nodes:
        fact = facts.get(f"nft/{name}")
        if fact is None or not fact.ready:
            yield Waiting(f"nft/{name}", "rules are not loaded yet")
            continue
        stale = [k for k, unit in plans.services.ports.items() if fact.applied.get(k) != digest(unit)]
        if stale:
            yield Waiting(f"nft/{name}", f"{len(stale)} Service ports are not in the kernel yet, e.g. {stale[0]}")
        pods = [p for p in plans.policy.pods.values() if p.node == name and fact.applied.get(p.uid) != digest(p)]
        if pods:
            yield Waiting(f"nft/{name}", f"policies of {len(pods)} pods are not in the kernel yet, e.g. {pods[0].pod}")


def _ingresses(snapshot: Snapshot, plans: Plans) -> Iterator[Waiting]:
    from podwire.compile.routes import is_programmed

    for ingress in snapshot.all(Ingress).values():
        programmed, why = is_programmed(snapshot, plans.routes, ingress.ref)
        if not programmed:
            yield Waiting(str(ingress.ref), why)
