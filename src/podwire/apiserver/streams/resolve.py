"""From a Service to a place that answers for it, by the stored EndpointSlices."""

from typing import Any

from podwire.apiserver.objects import key_of
from podwire.apiserver.store import Store
from podwire.apiserver.streams.proxy import Named, Place, service_place

Json = dict[str, Any]


def endpoint_of(store: Store, service: Json, named: Named) -> Place:
    """A ready endpoint of a Service. Raises :class:`StatusError` 503."""
    namespace = service["metadata"]["namespace"]

    def pod(name: str) -> Json | None:
        item = store.get("Pod", key_of(namespace, name))
        return item.value if item else None

    prefix = f"{namespace}/"
    slices = [
        item.value
        for key, item in store.items("EndpointSlice")
        if key.startswith(prefix)
        and (item.value["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == named.name
    ]
    return service_place(service, named, slices, pod)
