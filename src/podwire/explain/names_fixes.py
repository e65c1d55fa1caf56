"""Why a name fails, and what to write instead: typos, wrong namespaces, missing endpoints and governing Services."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import msgspec

from podwire.base import Ref
from podwire.explain.steps import Party
from podwire.explain.world import World
from podwire.kube import Service, StatefulSet

CLOSE = 0.6


class Fix(msgspec.Struct, frozen=True):
    """One sentence that says what to do; ``code`` is the finding's, ``ref`` the object to look at."""

    code: str
    text: str
    ref: Ref | None = None


class _Wanted(msgspec.Struct, frozen=True):
    """How a name reads as one of a Service: ``host`` left of it, and whether the namespace was written."""

    host: str
    service: str
    namespace: str
    written: bool


def find_fixes(world: World, source: Party, name: str, *, outside: bool) -> Iterator[Fix]:
    """What would make the name work, the best first."""
    wanted = _read(world, source, name)
    if wanted is None:
        return
    services = world.snapshot.all(Service)
    service = services.get(f"{wanted.namespace}/{wanted.service}")
    if service is not None:
        yield from _for_service(world, service, wanted)
        return
    if outside and not _looks_local(world, wanted):
        return
    yield from _for_governing(world, wanted)
    known = {key.partition("/")[0] for key in services} | set(world.snapshot.objects.get("Namespace", {}))
    if wanted.written and wanted.namespace not in known:
        near = get_close_matches(wanted.namespace, sorted(known), 2, CLOSE)
        options = f": did you mean {' or '.join(near)}?" if near else f" (there are: {', '.join(sorted(known)[:8])})"
        yield Fix("PW1210", f"namespace {wanted.namespace} does not exist{options}")
    yield from _elsewhere(services, wanted)
    here = [s.metadata.name for s in services.values() if s.metadata.namespace == wanted.namespace]
    for near_name in get_close_matches(wanted.service, here, 3, CLOSE):
        ref = Ref("Service", wanted.namespace, near_name)
        yield Fix("PW1210", f"no Service {wanted.service} in {wanted.namespace}: did you mean {near_name}?", ref)


def _read(world: World, source: Party, name: str) -> _Wanted | None:
    """The name as ``[host.]service[.namespace[.svc[.domain]]]``."""
    domain = world.plans.zone.domain
    text = name.rstrip(".")
    own = source.pod.namespace if source.pod else "default"
    full = text.removesuffix(f".{domain}").removesuffix(".svc")
    labels = full.split(".")
    spaces = {key.partition("/")[0] for key in world.snapshot.all(Service)}
    services = world.snapshot.all(Service)
    if full != text:
        match labels:
            case [*hosts, service, namespace]:
                return _Wanted(".".join(hosts), service, namespace, True)
            case _:
                return None
    governing = {o.spec.service_name for o in world.snapshot.all(StatefulSet).values() if o.metadata.namespace == own}
    match labels:
        case [service]:
            return _Wanted("", service, own, False)
        case [*hosts, service] if service not in spaces and (f"{own}/{service}" in services or service in governing):
            return _Wanted(".".join(hosts), service, own, False)
        case [*hosts, service, namespace] if len(labels) < 5:
            return _Wanted(".".join(hosts), service, namespace, True)
    return None


def _looks_local(world: World, wanted: _Wanted) -> bool:
    """Whether a name with a dot that nobody in the cluster has is likely meant for the cluster."""
    services = world.snapshot.all(Service)
    namespaces = {key.partition("/")[0] for key in services}
    names = {key.partition("/")[2] for key in services}
    if not wanted.written or wanted.namespace in namespaces or wanted.service in names:
        return True
    return bool(wanted.written and get_close_matches(wanted.namespace, sorted(namespaces), 1, 0.75))


def _elsewhere(services: Mapping[str, Service], wanted: _Wanted) -> Iterator[Fix]:
    for service in services.values():
        meta = service.metadata
        if meta.name == wanted.service and meta.namespace != wanted.namespace:
            prefix = f"{wanted.host}." if wanted.host else ""
            text = f"Service {meta.name} is in namespace {meta.namespace}: ask {prefix}{meta.name}.{meta.namespace}"
            yield Fix("PW1210", text, service.ref)


def _for_service(world: World, service: Service, wanted: _Wanted) -> Iterator[Fix]:
    """The Service is there; something below it is not."""
    key = f"{service.metadata.namespace}/{service.metadata.name}"
    if service.spec.type == "ExternalName":
        yield Fix(
            "PW1201", f"{key} is an alias of {service.spec.external_name}: an upstream resolver decides", service.ref
        )
        return
    endpoints = [
        (e.hostname or "", e.conditions.ready is not False)
        for part in world.snapshot.slices_by_service.get(key, ())
        for e in part.endpoints
    ]
    ready = [host for host, is_ready in endpoints if is_ready]
    if not ready:
        more = f"{len(endpoints)} endpoints, none ready" if endpoints else "its selector matches no pod with an address"
        text = (
            f"headless Service {key} has no ready endpoint ({more}): make its pods ready, or publishNotReadyAddresses"
        )
        if service.spec.cluster_ip == "None" or wanted.host:
            yield Fix("PW1213", text, service.ref)
        return
    if wanted.host:
        yield from _for_host(world, service, wanted, endpoints)


def _for_host(world: World, service: Service, wanted: _Wanted, endpoints: list[tuple[str, bool]]) -> Iterator[Fix]:
    names = sorted({host for host, _ in endpoints if host})
    state = dict(endpoints)
    if wanted.host in state and not state[wanted.host]:
        yield Fix(
            "PW1213", f"pod {wanted.host} of {service.ref.key} is not ready: its name appears when it is", service.ref
        )
        return
    near = get_close_matches(wanted.host, names, 2, CLOSE)
    if near:
        yield Fix("PW1210", f"no pod of {service.ref.key} has the hostname {wanted.host}: there is {', '.join(near)}")
        return
    governed = [
        s for s in world.snapshot.all(StatefulSet).values()
        if s.metadata.namespace == service.metadata.namespace and wanted.host.startswith(f"{s.metadata.name}-")
    ]  # fmt: skip
    for owner in governed:
        if owner.spec.service_name != service.metadata.name:
            text = f"pods of StatefulSet {owner.ref.key} have their names below its serviceName"
            yield Fix("PW1214", f"{text} {owner.spec.service_name or '(none)'}, not {service.metadata.name}", owner.ref)
            return
    text = "set hostname and subdomain in the pod's spec, or use a StatefulSet with this serviceName"
    yield Fix("PW1210", f"no pod of {service.ref.key} has the hostname {wanted.host}: {text}", service.ref)


def _for_governing(world: World, wanted: _Wanted) -> Iterator[Fix]:
    """A StatefulSet whose governing Service is missing: its pods have no names."""
    for owner in world.snapshot.all(StatefulSet).values():
        if owner.metadata.namespace == wanted.namespace and owner.spec.service_name == wanted.service:
            text = f"StatefulSet {owner.ref.key} names the Service {wanted.service}, which does not exist"
            yield Fix("PW1214", f"{text}: create it, headless (clusterIP: None), with the same selector", owner.ref)
