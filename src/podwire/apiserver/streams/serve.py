"""From a request for a pod's subresource to the one that serves it."""

from typing import Any

from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.status import bad_request, failure, method_not_allowed
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.command import read_command
from podwire.apiserver.streams.logs import serve_logs
from podwire.apiserver.streams.target import check_assigned, check_running

Json = dict[str, Any]


async def handle(request: BaseRequest, pod: Json, subresource: str, backend: PodBackend | None) -> StreamResponse:
    """Serve ``log``, ``exec``, ``attach`` or ``portforward`` of a stored pod.

    Raises :class:`StatusError` for whatever goes wrong before the first byte: 400, 405, 422, 500, 501.
    """
    if request.method not in ("GET", "POST"):
        raise method_not_allowed()
    if backend is None:
        raise failure(501, "NotImplemented", "this server runs no pods: there is nothing to stream from")
    if subresource == "log":
        if request.method != "GET":
            raise method_not_allowed()
        return await serve_logs(request, pod, backend)
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade not in ("websocket", "spdy/3.1"):
        raise bad_request("Upgrade request required")
    if subresource == "portforward":
        return await _forward(request, pod, backend, spdy=upgrade != "websocket")
    return await _command(request, pod, backend, attach=subresource == "attach")


async def _command(request: BaseRequest, pod: Json, backend: PodBackend, *, attach: bool) -> StreamResponse:
    options = read_command(request, pod, attach=attach)
    uid = pod["metadata"]["uid"]
    if request.headers.get("Upgrade", "").lower() == "websocket":
        from podwire.apiserver.streams.websocket import serve_websocket

        return await serve_websocket(request, uid, backend, options)
    from podwire.apiserver.streams.spdycommand import serve_spdy

    return await serve_spdy(request, uid, backend, options)


async def _forward(request: BaseRequest, pod: Json, backend: PodBackend, *, spdy: bool) -> StreamResponse:
    check_assigned(pod)
    check_running(pod)
    uid = pod["metadata"]["uid"]
    if spdy:
        from podwire.apiserver.streams.portforward import forward_spdy

        return await forward_spdy(request, uid, backend)
    from podwire.apiserver.streams.portforward import forward_websocket

    return await forward_websocket(request, uid, backend)
