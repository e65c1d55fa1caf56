"""Services and pods to EndpointSlices and Endpoints, and addresses to LoadBalancer Services, as writes.

Rules:

1. Only slices labelled as managed by the endpoint slice or the mirroring controller are touched.
2. Only Services that changed, or whose pods, slices or Endpoints did, are looked at.
3. Endpoints of Services without selector are mirrored to slices (:mod:`podwire.compile.endpoints_mirror`).
4. Slices go with their Service through their owner reference; Endpoints, which have none, are removed here.

Source: ``docs/design/services.md`` S30 to S38.
"""

from functools import partial

from podwire.base import Edition, Origin
from podwire.compile.context import Context, Piece
from podwire.compile.endpoints_legacy import MANAGED_LABEL as LEGACY_LABEL
from podwire.compile.endpoints_legacy import MANAGER as LEGACY_MANAGER
from podwire.compile.endpoints_legacy import compile_legacy
from podwire.compile.endpoints_mirror import compile_mirrors, remove_mirrors
from podwire.compile.endpoints_selection import Selections
from podwire.compile.endpoints_slices import MANAGED_LABEL, MANAGER, Sliced, compile_slices
from podwire.compile.endpoints_views import PodView, has_derived_endpoints
from podwire.compile.events import compile_said
from podwire.compile.loadbalancers import compile_load_balancers
from podwire.compile.nodes import is_ready
from podwire.compile.topology import Topology, compile_topology
from podwire.compile.touched import Results
from podwire.kube import Endpoints, EndpointSlice, Service
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


class _State:
    """What every Service needs written, from compile to compile; only touched Services are looked at."""

    def __init__(self) -> None:
        self.busy: Edition[str, Sliced] = Edition()
        self._selections = Selections()
        self._table: Results[Sliced] = Results()

    def update(self, context: Context) -> None:
        """Bring ``busy`` up to date: the Services with something to write or to say."""
        snapshot = context.snapshot
        services, slices, legacy = snapshot.all(Service), snapshot.slices_by_service, snapshot.all(Endpoints)
        stale, topology = self._selections.update(snapshot), _topology(context)

        def make(key: str) -> Sliced | None:
            if key in services:
                return self._make(services[key], slices.get(key, ()), legacy.get(key), topology)
            return _orphan(legacy.get(key), slices.get(key, ()))

        results = self._table.update((services, slices, legacy), (topology,), make, also=stale)
        found = {key: results.get(key) for key in self._table.changed}
        self.busy = self.busy.revise(
            {k: made if made and (made.writes or made.said) else None for k, made in found.items()}
        )

    def _make(
        self, service: Service, slices: tuple[EndpointSlice, ...], known: Endpoints | None, topology: Topology
    ) -> Sliced | None:
        """The result of last time while nothing it was made from is another object."""
        if service.metadata.deletion_timestamp is not None:
            return Sliced({})
        if not has_derived_endpoints(service):
            return Sliced(compile_mirrors(service, known, slices))
        pods = self._selections.select(service)
        inputs = (service, pods, slices, known, topology)
        return self._table.unit(service.key, inputs, lambda: _compile_service(service, pods, slices, known, topology))


def _busy(made: Sliced | None) -> Sliced | None:
    return made if made is not None and (made.writes or made.said) else None


def _orphan(known: Endpoints | None, slices: tuple[EndpointSlice, ...]) -> Sliced | None:
    """Rule 4: removals of what a deleted Service leaves behind."""
    if known is None:
        return None
    writes: dict[str, Write] = dict(remove_mirrors(slices))
    if known.metadata.labels.get(LEGACY_LABEL) == LEGACY_MANAGER:
        writes[f"endpoints/Endpoints/{known.key}"] = Remove(Origin(known.ref), known.ref, "v1", known.metadata.uid)
    return Sliced(writes) if writes else None


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


def _topology(context: Context) -> Topology:
    """Zones and their CPU: the same object while nodes change in other ways only."""
    nodes = context.snapshot.nodes
    ready = tuple(name for name, node in nodes.items() if is_ready(context, node))
    inputs = (*nodes.values(), ready)
    return context.memo.unit("topology", inputs, partial(compile_topology, nodes, ready))
