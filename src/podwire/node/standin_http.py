"""What a stand-in answers over HTTP/1.1 and WebSocket. Loaded with the first request (aiohttp is big)."""

from typing import TYPE_CHECKING, Final

from aiohttp import WSMsgType, web
from aiohttp.web_request import BaseRequest

from podwire.node.sockets import format_peer
from podwire.node.standin import BODY_BYTES, decide_status, render_answer

if TYPE_CHECKING:
    from podwire.node.standin import StandIn

_FAIL: Final = "/_podwire/fail"


async def respond(owner: "StandIn", request: BaseRequest) -> web.StreamResponse:
    """Answer one request."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await _echo_websocket(owner, request)
    if request.path == _FAIL:
        return _set_failure(owner, request)
    status = decide_status(owner.failing, request.path, request.query.get("status", ""))
    body = await _read_body(request)
    values = describe(owner, request)
    if body:
        values["body"] = body.decode(errors="replace")
    if not request.headers.get("User-Agent", "").startswith("kube-probe/"):
        owner.log(f"{values['caller']} {request.method} {request.path_qs} {status}")
    headers = {"Server": "podwire-stand-in", "X-Podwire-Pod": owner.identity.pod}
    if status in {204, 304}:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=render_answer(values), content_type="application/json", headers=headers)


def describe(owner: "StandIn", request: BaseRequest) -> dict[str, object]:
    """Who answers and what it saw."""
    extra = request.transport.get_extra_info if request.transport is not None else lambda _: None
    here = extra("sockname") or ("", 0)
    identity = owner.identity
    return {
        "pod": identity.pod,
        "namespace": identity.namespace,
        "node": identity.node,
        "address": identity.address,
        "port": here[1],
        "protocol": f"HTTP/{request.version.major}.{request.version.minor}",
        "tls": extra("ssl_object") is not None,
        "method": request.method,
        "path": request.path,
        "query": request.query_string,
        "host": request.headers.get("Host", ""),
        "caller": format_peer(extra("peername")),
        "headers": {name: ", ".join(request.headers.getall(name)) for name in request.headers},
    }


async def _read_body(request: BaseRequest) -> bytes:
    """The first bytes of the body; the rest is read and forgotten."""
    kept = b""
    async for chunk in request.content.iter_any():
        kept += chunk[: BODY_BYTES - len(kept)]
    return kept


def _set_failure(owner: "StandIn", request: BaseRequest) -> web.Response:
    path, status = request.query.get("path", ""), request.query.get("status", "500")
    if request.method in {"PUT", "POST"}:
        if not path.startswith("/") or not status.isdigit() or not 200 <= int(status) <= 599:
            text = f"PUT {_FAIL}?path=/healthz&status=500: path must begin with '/', status be 200 to 599\n"
            return web.Response(status=400, text=text)
        owner.failing[path] = int(status)
    elif request.method == "DELETE":
        owner.failing = {p: s for p, s in owner.failing.items() if path and p != path}
    elif request.method != "GET":
        return web.Response(status=405, text="use PUT, POST, DELETE or GET\n")
    return web.Response(body=render_answer({"failing": owner.failing}), content_type="application/json")


async def _echo_websocket(owner: "StandIn", request: BaseRequest) -> web.StreamResponse:
    """Echo messages until the client closes; the first subprotocol offered is accepted."""
    offered = [p.strip() for p in request.headers.get("Sec-WebSocket-Protocol", "").split(",") if p.strip()]
    channel = web.WebSocketResponse(protocols=offered)
    try:
        await channel.prepare(request)
    except web.HTTPException as error:
        return web.Response(status=error.status, text=f"{error.text}\n")
    owner.log(f"{describe(owner, request)['caller']} WEBSOCKET {request.path_qs} 101")
    async for message in channel:
        if message.type is WSMsgType.TEXT:
            await channel.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await channel.send_bytes(message.data)
    return channel
