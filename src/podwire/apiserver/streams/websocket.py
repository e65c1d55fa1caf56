"""exec and attach over WebSocket: numbered channels in messages.

1. The first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize. From v5 on, 255 closes
   the channel named by the second byte.
2. At the end a Status goes out on channel 3 (v4 and v5), then a normal close.
3. The ``base64`` subprotocols carry the same in text: the channel as a digit, the rest in base64.
4. Text messages of the others are taken as their bytes, as Kubernetes does: the official Python client sends text
   whenever its input is a ``str`` (docs/lab/2026-11-24-python-clients.md).
5. Nothing is sent within the first :data:`CLIENT_SECONDS`: kubectl reads before it has made its streams, and discards
   what arrives for one it does not know yet (docs/lab/2026-11-24-kubectl-streams.md).

Spec: KEP-4006; apimachinery pkg/util/remotecommand/constants.go; apiserver pkg/util/wsstream.
"""

import asyncio
import base64
import binascii
from contextlib import suppress

from aiohttp import WSMessage, WSMsgType
from aiohttp.web import BaseRequest, StreamResponse, WebSocketResponse

from podwire.apiserver.status import bad_request
from podwire.apiserver.streams.backend import ExecSession, PodBackend
from podwire.apiserver.streams.command import (
    ERROR,
    RESIZE,
    STDIN,
    CommandOptions,
    end,
    feed,
    finish_input,
    open_session,
    resize,
    run_session,
)
from podwire.apiserver.streams.outcome import encode

V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
V4_BASE64, V1_BASE64 = "v4.base64.channel.k8s.io", "base64.channel.k8s.io"
KNOWN = (V5, V4, V1, V4_BASE64, V1_BASE64)
CLOSE = 255
MAX_MESSAGE_BYTES = 1024 * 1024
MAX_WAITING_MESSAGES = 32
CLOSE_SECONDS = 5.0
CLIENT_SECONDS = 0.05
_UNSUPPORTED_DATA = 1003


def offered(request: BaseRequest) -> list[str]:
    """The subprotocols the client offers."""
    values = request.headers.getall("Sec-WebSocket-Protocol", [])
    return [name.strip() for value in values for name in value.split(",") if name.strip()]


def check_offer(request: BaseRequest, known: tuple[str, ...]) -> None:
    """Raise 400 when the client offers subprotocols and none is known."""
    names = offered(request)
    if names and not set(names) & set(known):
        raise bad_request(
            f"unable to upgrade: none of the subprotocols {names} is supported; supported are {list(known)}"
        )


def socket_of(known: tuple[str, ...]) -> WebSocketResponse:
    """A socket that speaks one of the subprotocols."""
    return WebSocketResponse(
        protocols=known, compress=False, max_msg_size=MAX_MESSAGE_BYTES, timeout=CLOSE_SECONDS, autoclose=True
    )


async def serve_websocket(
    request: BaseRequest, uid: str, backend: PodBackend, options: CommandOptions
) -> StreamResponse:
    """Serve one exec or attach. Raises :class:`StatusError` before the upgrade."""
    check_offer(request, KNOWN)
    session = await open_session(backend, uid, options)
    socket = socket_of(KNOWN)
    try:
        await socket.prepare(request)
    except BaseException:
        await end(session)
        raise

    loop = asyncio.get_running_loop()
    quiet_until = loop.time() + CLIENT_SECONDS

    async def send(channel: int, data: bytes) -> None:
        if loop.time() < quiet_until:
            await asyncio.sleep(quiet_until - loop.time())
        if socket.ws_protocol in (V4_BASE64, V1_BASE64):
            await socket.send_str(f"{channel}{base64.b64encode(data).decode()}")
        else:
            await socket.send_bytes(bytes((channel,)) + data)

    outcome = await run_session(session, options, send, _take_input(socket, session, options))
    if outcome is not None:
        with suppress(ConnectionError):
            structured = socket.ws_protocol in (V5, V4, V4_BASE64)
            data = encode(outcome, structured=structured)
            if data:
                await send(ERROR, data)
    if not socket.closed:
        with suppress(ConnectionError, asyncio.TimeoutError):
            await socket.close()
    return socket


async def _take_input(socket: WebSocketResponse, session: ExecSession, options: CommandOptions) -> None:
    """Handle the client's messages until it leaves.

    Input waits in a queue of its own: a process that does not read must not keep pings unanswered.
    """
    waiting: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_WAITING_MESSAGES)
    feeding = asyncio.ensure_future(_feed_all(session, waiting))
    try:
        while True:
            message = await socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            try:
                channel, data = _read(message, in_base64=socket.ws_protocol in (V4_BASE64, V1_BASE64))
            except ValueError as error:
                await socket.close(code=_UNSUPPORTED_DATA, message=str(error)[:100].encode())
                return
            if channel == RESIZE and options.tty:
                resize(session, data)
            elif channel == STDIN and options.stdin and data:
                await waiting.put(data)
            elif channel == CLOSE and socket.ws_protocol == V5 and data[:1] == bytes((STDIN,)) and options.stdin:
                await waiting.put(None)
    finally:
        feeding.cancel()


def _read(message: WSMessage, *, in_base64: bool) -> tuple[int, bytes]:
    """Channel and bytes of a message; channel -1 when it is empty. Raises :class:`ValueError` for bad base64."""
    data: bytes = message.data.encode() if message.type == WSMsgType.TEXT else message.data
    if not data:
        return -1, b""
    if not in_base64:
        return data[0], data[1:]
    try:
        return data[0] - ord("0"), base64.b64decode(data[1:], validate=True)
    except binascii.Error as error:
        raise ValueError(f"the message is not base64: {error}") from error


async def _feed_all(session: ExecSession, waiting: "asyncio.Queue[bytes | None]") -> None:
    while (data := await waiting.get()) is not None:
        await feed(session, data)
    await finish_input(session)
