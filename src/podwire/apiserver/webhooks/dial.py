"""Connections to the pods behind a Service, for webhooks."""

from collections.abc import Callable

from podwire.apiserver.objects import key_of
from podwire.apiserver.status import not_found
from podwire.apiserver.store import Store
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.proxy import Named, dial
from podwire.apiserver.streams.resolve import endpoint_of
from podwire.apiserver.webhooks.call import ServiceDial, Streams
from podwire.kube.registry import KINDS


def service_dial(store: Store, backend: Callable[[], PodBackend | None]) -> ServiceDial:
    """A dialer by the stored Services; ``backend`` is looked at when it is used: it comes after the server."""

    async def connect(namespace: str, name: str, port: int) -> Streams:
        service = store.get("Service", key_of(namespace, name))
        if service is None:
            raise not_found(KINDS["Service"], name)
        place = endpoint_of(store, service.value, Named(secure=True, name=name, port=str(port)))
        return await dial(place, backend())

    return connect
