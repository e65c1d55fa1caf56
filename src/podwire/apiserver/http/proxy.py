"""From a ``pods/proxy`` or ``services/proxy`` request to the place that answers it."""

from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.http.ask import Target
from podwire.apiserver.http.read import read_one
from podwire.apiserver.store import Store
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.proxy import Place, pod_place, serve_proxy, split_name
from podwire.apiserver.streams.resolve import endpoint_of


async def serve(store: Store, request: BaseRequest, target: Target, backend: PodBackend | None) -> StreamResponse:
    """Answer. Raises :class:`StatusError` 400, 404, 503."""
    return await serve_proxy(request, _place(store, target), backend)


def _place(store: Store, target: Target) -> Place:
    named = split_name(target.name)
    found = read_one(store, Target(target.kind, namespace=target.namespace, name=named.name), {}).value
    return pod_place(found, named) if target.kind.stored == "Pod" else endpoint_of(store, found, named)
