"""Services and pods to EndpointSlices and Endpoints, and addresses to LoadBalancer Services, as writes.

Rules:

1. Only slices labelled as managed by the endpoint slice controller are touched.
2. Pods are looked up by label in an index per namespace, rebuilt only when a pod changes in a way Services see.
3. Slices go with their Service through their owner reference; Endpoints, which have none, are removed here.

Source: ``docs/design/services.md`` S30 to S38.
"""

from functools import partial

from podwire.base import Origin
from podwire.compile.context import Context, Piece
from podwire.compile.endpoints_legacy import MANAGED_LABEL as LEGACY_LABEL
from podwire.compile.endpoints_legacy import MANAGER as LEGACY_MANAGER
from podwire.compile.endpoints_legacy import compile_legacy
from podwire.compile.endpoints_slices import MANAGED_LABEL, MANAGER, compile_slices
from podwire.compile.endpoints_views import PodIndex, PodView, has_derived_endpoints, view_pod
from podwire.compile.loadbalancers import compile_load_balancers
from podwire.compile.tables import Table
from podwire.kube import Endpoints, EndpointSlice, Pod, Service
from podwire.plan import Remove, Write

ZONE_LABEL = "topology.kubernetes.io/zone"


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
    zones = memo.unit("zones", tuple(snapshot.nodes.values()), partial(_zones, context))
    legacy = snapshot.all(Endpoints)
    for key, service in snapshot.all(Service).items():
        if not has_derived_endpoints(service) or service.metadata.deletion_timestamp is not None:
            continue
        index = indexes[service.metadata.namespace]
        pods = memo.unit(f"selected/{key}", (service, index), partial(index.select, service.spec.selector))
        slices = tuple(s for s in snapshot.slices_by_service.get(key, ()) if _is_managed(s))
        known = legacy.get(key)
        inputs = (service, pods, slices, known, zones)
        make = partial(_compile_service, service, pods, slices, known, zones)
        writes.update(memo.unit(f"endpoints/{key}", inputs, make))
    for key, old in legacy.items():
        if old.metadata.labels.get(LEGACY_LABEL) == LEGACY_MANAGER and key not in snapshot.all(Service):
            name = f"endpoints/Endpoints/{key}"
            make_removal = partial(Remove, Origin(old.ref), old.ref, "v1", old.metadata.uid)
            writes[name] = memo.unit(f"write/{name}", (old,), make_removal)


def _compile_service(
    service: Service,
    pods: tuple[PodView, ...],
    slices: tuple[EndpointSlice, ...],
    known: Endpoints | None,
    zones: dict[str, str],
) -> dict[str, Write]:
    writes = compile_slices(service, pods, slices, zones)
    legacy = compile_legacy(service, pods, known)
    if legacy is not None:
        writes[f"endpoints/Endpoints/{service.key}"] = legacy
    return writes


def _is_managed(part: EndpointSlice) -> bool:
    return part.metadata.labels.get(MANAGED_LABEL) == MANAGER


def _index(context: Context, namespace: str) -> PodIndex:
    memo = context.memo
    pods = context.snapshot.pods_by_namespace.get(namespace, ())
    table: Table[Pod, PodView | None] = memo.unit(f"endpoint-pods/{namespace}", (), partial(Table, view_pod))
    views = tuple(view for view in table.update(pods) if view is not None)
    return memo.unit(f"endpoint-index/{namespace}", views, partial(PodIndex, views))


def _zones(context: Context) -> dict[str, str]:
    """Zone by node name; a node without the label has the empty zone."""
    return {name: node.metadata.labels.get(ZONE_LABEL, "") for name, node in context.snapshot.nodes.items()}
