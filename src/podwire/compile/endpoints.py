"""Services and pods to EndpointSlices and Endpoints, and addresses to LoadBalancer Services, as writes.

Rules:

1. Only slices labelled as managed by the endpoint slice or the mirroring controller are touched.
2. Pods are looked up by label in an index per namespace, rebuilt only when a pod changes in a way Services see.
3. Endpoints of Services without selector are mirrored to slices (:mod:`podwire.compile.endpoints_mirror`).
4. Slices go with their Service through their owner reference; Endpoints, which have none, are removed here.

Source: ``docs/design/services.md`` S30 to S38.
"""

from functools import partial

from podwire.base import Origin
from podwire.compile.context import Context, Piece
from podwire.compile.endpoints_legacy import MANAGED_LABEL as LEGACY_LABEL
from podwire.compile.endpoints_legacy import MANAGER as LEGACY_MANAGER
from podwire.compile.endpoints_legacy import compile_legacy
from podwire.compile.endpoints_mirror import compile_mirrors, remove_mirrors
from podwire.compile.endpoints_slices import MANAGED_LABEL, MANAGER, Sliced, compile_slices
from podwire.compile.endpoints_views import PodIndex, PodView, has_derived_endpoints, view_pod
from podwire.compile.events import compile_said
from podwire.compile.loadbalancers import compile_load_balancers
from podwire.compile.nodes import is_ready
from podwire.compile.tables import Table
from podwire.compile.topology import Topology, compile_topology
from podwire.kube import Endpoints, EndpointSlice, Pod, Service
from podwire.plan import Remove, Write

HINTS_COMPONENT = "endpoint-slice-controller"


def compile_endpoints(context: Context) -> Piece:
    """Slices, Endpoints and LoadBalancer addresses."""
    owned = context.snapshot.settings.owned
    writes: dict[str, Write] = {}
    if owned.endpoint_slices:
        _services(context, writes)
    if not owned.load_balancers:
        return Piece(writes=writes)
    balancers = compile_load_balancers(context)
    return Piece(writes={**writes, **balancers.writes}, findings=balancers.findings)


def _services(context: Context, writes: dict[str, Write]) -> None:
    snapshot, memo = context.snapshot, context.memo
    indexes = {ns: _index(context, ns) for ns in snapshot.services_by_namespace}
    topology = _topology(context)
    legacy = snapshot.all(Endpoints)
    for key, service in snapshot.all(Service).items():
        if service.metadata.deletion_timestamp is not None:
            continue
        if not has_derived_endpoints(service):
            every, known = snapshot.slices_by_service.get(key, ()), legacy.get(key)
            if every or known is not None:
                make_mirrors = partial(compile_mirrors, service, known, every)
                writes.update(memo.unit(f"mirrors/{key}", (service, known, every), make_mirrors))
            continue
        index = indexes[service.metadata.namespace]
        pods = memo.unit(f"selected/{key}", (service, index), partial(index.select, service.spec.selector))
        slices = snapshot.slices_by_service.get(key, ())
        known = legacy.get(key)
        inputs = (service, pods, slices, known, topology)
        make = partial(_compile_service, service, pods, slices, known, topology)
        made = memo.unit(f"endpoints/{key}", inputs, make)
        writes.update(made.writes)
        for said in made.said if snapshot.settings.owned.events else ():
            writes.update(compile_said(context, service, said, component=HINTS_COMPONENT))
    for key, old in legacy.items():
        if key not in snapshot.all(Service):
            writes.update(remove_mirrors(snapshot.slices_by_service.get(key, ())))
        if old.metadata.labels.get(LEGACY_LABEL) == LEGACY_MANAGER and key not in snapshot.all(Service):
            name = f"endpoints/Endpoints/{key}"
            make_removal = partial(Remove, Origin(old.ref), old.ref, "v1", old.metadata.uid)
            writes[name] = memo.unit(f"write/{name}", (old,), make_removal)


def _compile_service(
    service: Service,
    pods: tuple[PodView, ...],
    slices: tuple[EndpointSlice, ...],
    known: Endpoints | None,
    topology: Topology,
) -> Sliced:
    made = compile_slices(service, pods, tuple(s for s in slices if _is_managed(s)), topology)
    made.writes.update(remove_mirrors(slices))
    legacy = compile_legacy(service, pods, known)
    if legacy is not None:
        made.writes[f"endpoints/Endpoints/{service.key}"] = legacy
    return made


def _is_managed(part: EndpointSlice) -> bool:
    return part.metadata.labels.get(MANAGED_LABEL) == MANAGER


def _index(context: Context, namespace: str) -> PodIndex:
    memo = context.memo
    pods = context.snapshot.pods_by_namespace.get(namespace, ())
    table: Table[Pod, PodView | None] = memo.unit(f"endpoint-pods/{namespace}", (), partial(Table, view_pod))
    views = tuple(view for view in table.update(pods) if view is not None)
    return memo.unit(f"endpoint-index/{namespace}", views, partial(PodIndex, views))


def _topology(context: Context) -> Topology:
    """Zones and their CPU: the same object while nodes change in other ways only."""
    nodes = context.snapshot.nodes
    ready = tuple(name for name, node in nodes.items() if is_ready(context, node))
    inputs = (*nodes.values(), ready)
    return context.memo.unit("topology", inputs, partial(compile_topology, nodes, ready))
