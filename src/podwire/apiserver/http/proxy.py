"""From a ``pods/proxy`` or ``services/proxy`` request to the place that answers it."""

from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.http.ask import Target
from podwire.apiserver.http.read import read_one
from podwire.apiserver.objects import key_of
from podwire.apiserver.store import Store
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.proxy import Place, pod_place, serve_proxy, service_place, split_name

Json = dict[str, Any]


async def serve(store: Store, request: BaseRequest, target: Target, backend: PodBackend | None) -> StreamResponse:
    """Answer. Raises :class:`StatusError` 400, 404, 503."""
    return await serve_proxy(request, _place(store, target), backend)


def _place(store: Store, target: Target) -> Place:
    named = split_name(target.name)
    found = read_one(store, Target(target.kind, namespace=target.namespace, name=named.name), {}).value
    if target.kind.stored == "Pod":
        return pod_place(found, named)

    def pod(name: str) -> Json | None:
        item = store.get("Pod", key_of(target.namespace, name))
        return item.value if item else None

    prefix = f"{target.namespace}/"
    slices = [
        item.value
        for key, item in store.items("EndpointSlice")
        if key.startswith(prefix)
        and (item.value["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == named.name
    ]
    return service_place(found, named, slices, pod)
