"""The embedded API server as a source, without HTTP in between.

The engine may not import the API server; this is where the two meet. Every write runs the same admission, validation
and durable commit as a request of kubectl.
"""

from typing import Any, assert_never

from podwire.apiserver.server import ApiServer
from podwire.apiserver.status import StatusError
from podwire.client import ApiError, Change
from podwire.plan import Bind, Create, Merge, Remove, Replace, Write

MANAGER = "podwire-controllers"


class EmbeddedSource:
    """A :class:`podwire.client.Source` over an :class:`ApiServer` in this process."""

    def __init__(self, server: ApiServer) -> None:
        """The feed starts at the first :meth:`changes`."""
        self._server = server
        self._feed = server.subscribe()
        self._primed = False

    async def changes(self) -> tuple[Change, ...]:
        """Everything there is first, then what changed."""
        if not self._primed:
            self._primed = True
            return tuple(_change("ADDED", value) for value in self._feed.initial)
        return tuple(_change(kind, value) for kind, value in await self._feed.next())

    async def write(self, write: Write) -> None:
        """Carry out one write in process."""
        try:
            await self._dispatch(write)
        except StatusError as error:
            raise ApiError(error.status) from error

    async def close(self) -> None:
        """Stop watching."""
        self._feed.close()

    async def _dispatch(self, write: Write) -> None:
        server, ref = self._server, write.ref
        match write:
            case Create():
                try:
                    await server.create(write.body, manager=MANAGER)
                except StatusError as error:
                    if error.reason != "AlreadyExists":
                        raise
            case Replace():
                await server.update(write.body, subresource=write.subresource, manager=MANAGER)
            case Merge():
                await server.merge(
                    ref.kind,
                    ref.namespace,
                    ref.name,
                    write.patch,
                    subresource=write.subresource,
                    resource_version=write.based_on,
                    manager=MANAGER,
                )
            case Remove():
                await server.delete(ref.kind, ref.namespace, ref.name, uid=write.uid, grace_seconds=write.grace_seconds)
            case Bind():
                await server.bind(ref.namespace, ref.name, uid=write.uid, node=write.node)
            case other:
                assert_never(other)


def _change(event: str, value: dict[str, Any]) -> Change:
    meta = value["metadata"]
    namespace = meta.get("namespace", "")
    key = f"{namespace}/{meta['name']}" if namespace else meta["name"]
    return Change(value["kind"], key, None if event == "DELETED" else value)
