"""Services and pods to EndpointSlices and Endpoints, and addresses to LoadBalancer Services, as writes.

Rules:

1. Only slices labelled as managed by the endpoint slice or the mirroring controller are touched.
2. Pods are looked up by label in an index per namespace, rebuilt only when a pod changes in a way Services see.
3. Endpoints of Services without selector are mirrored to slices (:mod:`podwire.compile.endpoints_mirror`).
4. Slices go with their Service through their owner reference; Endpoints, which have none, are removed here.

Source: ``docs/design/services.md`` S30 to S38.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

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
from podwire.compile.memo import is_same
from podwire.compile.nodes import is_ready
from podwire.compile.tables import Table
from podwire.compile.topology import Topology, compile_topology
from podwire.compile.touched import ServiceTable
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
    state = context.memo.unit("endpoint-state", (), _State)
    state.update(context)
    for key, made in state.busy.items():
        writes.update(made.writes)
        for said in made.said if context.snapshot.settings.owned.events else ():
            service = context.snapshot.all(Service)[key]
            writes.update(compile_said(context, service, said, component=HINTS_COMPONENT))
    writes.update(_orphans(context))


class _State:
    """What every Service needs written, from compile to compile; only touched Services are looked at."""

    def __init__(self) -> None:
        self.busy: dict[str, Sliced] = {}
        self._table: ServiceTable[Sliced] = ServiceTable()
        self._indexes: dict[str, PodIndex] = {}
        self._made: dict[str, tuple[tuple[Any, ...], Sliced]] = {}

    def update(self, context: Context) -> None:
        """Bring ``busy`` up to date: the Services with something to write or to say."""
        snapshot, table = context.snapshot, context.snapshot.all(Service)
        grouped = context.memo.unit("services-by-namespace", (table,), lambda: snapshot.services_by_namespace)
        indexes = {ns: _index(context, ns) for ns in grouped}
        stale = {s.key for ns, index in indexes.items() if self._indexes.get(ns) is not index for s in grouped[ns]}
        self._indexes = indexes
        topology, legacy = _topology(context), snapshot.all(Endpoints)

        def make(service: Service, slices: tuple[EndpointSlice, ...]) -> Sliced:
            index = indexes[service.metadata.namespace]
            return self._make(service, index, slices, legacy.get(service.key), topology)

        results = self._table.update(snapshot, (topology,), make, also=stale)
        for key in self._table.changed:
            made = results.get(key)
            if made is not None and (made.writes or made.said):
                self.busy[key] = made
            else:
                self.busy.pop(key, None)
            if made is None:
                self._made.pop(key, None)
        self.busy = dict(sorted(self.busy.items())) if self._table.changed else self.busy

    def _make(
        self,
        service: Service,
        index: PodIndex,
        slices: tuple[EndpointSlice, ...],
        known: Endpoints | None,
        topology: Topology,
    ) -> Sliced:
        """The result of last time while nothing it was made from is another object."""
        if service.metadata.deletion_timestamp is not None:
            return Sliced({})
        if not has_derived_endpoints(service):
            return Sliced(compile_mirrors(service, known, slices))
        pods = index.select(service.spec.selector)
        inputs = (service, pods, slices, known, topology)
        before = self._made.get(service.key)
        if before is not None and is_same(before[0], inputs):
            return before[1]
        made = _compile_service(service, pods, slices, known, topology)
        self._made[service.key] = (inputs, made)
        return made


def _orphans(context: Context) -> Iterator[tuple[str, Write]]:
    """Rule 4: removals of what deleted Services leave behind."""
    snapshot, memo = context.snapshot, context.memo
    legacy, services = snapshot.all(Endpoints), snapshot.all(Service)
    for key in sorted(legacy.keys() - services.keys()):
        old = legacy[key]
        yield from remove_mirrors(snapshot.slices_by_service.get(key, ()))
        if old.metadata.labels.get(LEGACY_LABEL) == LEGACY_MANAGER:
            name = f"endpoints/Endpoints/{key}"
            make_removal = partial(Remove, Origin(old.ref), old.ref, "v1", old.metadata.uid)
            yield name, memo.unit(f"write/{name}", (old,), make_removal)


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
