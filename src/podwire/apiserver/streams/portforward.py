"""port-forward: TCP connections to a pod.

1. SPDY, plain or tunnelled in the binary messages of a WebSocket (``SPDY/3.1+portforward.k8s.io``): per connection two
   streams with one ``requestID``: ``error`` (text is a failure) and ``data``.
2. WebSocket ``v4.channel.k8s.io`` with ``?ports=80``: port number i has channels 2i (data) and 2i+1 (error); the first
   message on each is the port, little-endian. The socket closes when all connections are over.
3. A client that has ended its half gets the rest of the answer, for :data:`HALF_CLOSED_SECONDS`. kubectl does not tell
   half a close from a whole one (docs/lab/2026-11-24-kubectl-streams.md); containerd allows one second.

Spec: KEP-4006; kubernetes staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/{httpstream,websocket}.go.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from aiohttp import WSMsgType
from aiohttp.web import BaseRequest, StreamResponse, WebSocketResponse

from podwire.apiserver.status import bad_request
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.mux import Connection, Stream
from podwire.apiserver.streams.spdy import PROTOCOL_ERROR
from podwire.apiserver.streams.spdycommand import OPEN_SECONDS
from podwire.apiserver.streams.takeover import Taken, take_over
from podwire.apiserver.streams.websocket import check_offer, offered, socket_of
from podwire.base import PodwireError

TUNNEL = "SPDY/3.1+portforward.k8s.io"
SPDY_PROTOCOL = "portforward.k8s.io"
CHANNELS = ("v4.channel.k8s.io",)
COPY_BYTES = 32 * 1024
MAX_PORTS = 64
MAX_WAITING = 32
HALF_CLOSED_SECONDS = 30.0

Read = Callable[[], Awaitable[bytes]]
Write = Callable[[bytes], Awaitable[None]]


async def forward_spdy(request: BaseRequest, uid: str, backend: PodBackend) -> StreamResponse:
    """Serve ``Upgrade: SPDY/3.1``. Raises :class:`StatusError` before the upgrade."""
    names = request.headers.get("X-Stream-Protocol-Version", SPDY_PROTOCOL)
    if SPDY_PROTOCOL not in names:
        raise bad_request(f"unable to upgrade: the protocol {names} is not supported")
    headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": SPDY_PROTOCOL}
    wire = await take_over(request, headers)
    try:
        await _serve_connection(wire.write, wire.chunks(), uid, backend)
    finally:
        wire.close()
    return Taken()


async def forward_websocket(request: BaseRequest, uid: str, backend: PodBackend) -> StreamResponse:
    """Serve either WebSocket form. Raises :class:`StatusError` before the upgrade."""
    if TUNNEL in offered(request):
        socket = socket_of((TUNNEL,))
        await socket.prepare(request)
        await _serve_connection(socket.send_bytes, _messages(socket), uid, backend)
    else:
        check_offer(request, CHANNELS)
        ports = read_ports(request.query.getall("ports", []))
        socket = socket_of(CHANNELS)
        await socket.prepare(request)
        await _Channels(socket, uid, backend, ports).run()
    if not socket.closed:
        with suppress(ConnectionError, asyncio.TimeoutError):
            await socket.close()
    return socket


async def _messages(socket: WebSocketResponse) -> AsyncIterator[bytes]:
    while (message := await socket.receive()).type == WSMsgType.BINARY:
        yield message.data


def read_ports(values: list[str]) -> list[int]:
    """``?ports=80&ports=443`` or ``?ports=80,443``. Raises :class:`StatusError` 400."""
    texts = [text for value in values for text in value.split(",")]
    if not texts:
        raise bad_request('query parameter "port" is required')
    if len(texts) > MAX_PORTS:
        raise bad_request(f"at most {MAX_PORTS} ports can be forwarded over one connection")
    ports = [int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0 for text in texts]
    for text, port in zip(texts, ports, strict=True):
        if not 0 < port < 1 << 16:
            raise bad_request(f'unable to parse "{text}" as a port')
    return ports


async def copy_both(backend: PodBackend, uid: str, port: int, *, read: Read, write: Write) -> str:
    """Connect and carry bytes until the pod's side has ended (rule 3); the failure's text, empty when there was none.

    The client's end is passed on as the end of our sending half. Raises :class:`ConnectionError` when the client has
    gone.
    """
    try:
        reader, writer = await backend.connect(uid, port)
    except (PodwireError, OSError) as error:
        return f"error forwarding port {port} to pod {uid}: {error}"
    sending = asyncio.ensure_future(_send(read, writer))
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as limit:
                sending.add_done_callback(lambda _: _limit(limit))
                while data := await _receive(reader):
                    await write(data)
    except PodwireError as error:
        return f"error forwarding port {port} to pod {uid}: {error}"
    finally:
        sending.cancel()
        writer.close()
        await asyncio.gather(sending, return_exceptions=True)
    return ""


def _limit(limit: asyncio.Timeout) -> None:
    """Rule 3, from now on."""
    with suppress(RuntimeError):  # everything is over already
        limit.reschedule(asyncio.get_running_loop().time() + HALF_CLOSED_SECONDS)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    """Bytes from the pod. Raises :class:`PodwireError` when its connection breaks."""
    try:
        return await reader.read(COPY_BYTES)
    except OSError as error:
        raise PodwireError(str(error)) from error


async def _send(read: Read, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await read():
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _serve_connection(write: Write, source: AsyncIterator[bytes], uid: str, backend: PodBackend) -> None:
    """Forward every pair of streams the client opens, until it leaves."""
    connection = Connection(write)
    tasks: set[asyncio.Task[None]] = set()
    running = asyncio.ensure_future(connection.run(source))
    halves: dict[str, dict[str, Stream]] = {}
    try:
        while (stream := await connection.accept()) is not None:
            key = stream.headers.get("requestid", "") or str((stream.number - 1) // 4)
            kind = stream.headers.get("streamtype", "")
            if kind not in ("error", "data") or kind in halves.get(key, {}):
                await connection.reset(stream, PROTOCOL_ERROR)
                continue
            pair = halves.setdefault(key, {})
            pair[kind] = stream
            if len(pair) == 1:
                tasks.add(asyncio.ensure_future(_expire(connection, halves, key)))
            else:
                del halves[key]
                tasks.add(asyncio.ensure_future(_forward(connection, pair, uid, backend)))
            tasks = {task for task in tasks if not task.done()}
    except ConnectionError:
        pass
    finally:
        for task in (*tasks, running):
            task.cancel()
        await asyncio.gather(*tasks, running, return_exceptions=True)


async def _expire(connection: Connection, halves: dict[str, dict[str, Stream]], key: str) -> None:
    """A stream whose partner does not come is refused."""
    pair = halves[key]
    await asyncio.sleep(OPEN_SECONDS)
    if halves.get(key) is pair:
        del halves[key]
        for stream in pair.values():
            await connection.reset(stream, PROTOCOL_ERROR)


async def _forward(connection: Connection, pair: dict[str, Stream], uid: str, backend: PodBackend) -> None:
    error, data = pair["error"], pair["data"]
    text = data.headers.get("port", "")
    port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else 0
    failure = "" if 0 < port < 1 << 16 else f'unable to parse "{text}" as a port'
    if not failure:
        with suppress(ConnectionError):
            failure = await copy_both(backend, uid, port, read=data.read, write=data.write)
    with suppress(ConnectionError):
        # The client waits for the end of both, even of one it has reset.
        if failure:
            await error.write(failure.encode())
        await error.close()
        await data.close()
    connection.forget(error)
    connection.forget(data)


class _Channels:
    """Rule 2."""

    def __init__(self, socket: WebSocketResponse, uid: str, backend: PodBackend, ports: list[int]) -> None:
        self._socket, self._uid, self._backend, self._ports = socket, uid, backend, ports
        self._inputs: list[asyncio.Queue[bytes]] = [asyncio.Queue(MAX_WAITING) for _ in ports]

    async def run(self) -> None:
        """Until all connections are over or the client has left."""
        receiving = asyncio.ensure_future(self._receive())
        carrying = asyncio.ensure_future(self._carry_all())
        try:
            await asyncio.wait({receiving, carrying}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (receiving, carrying):
                task.cancel()
            await asyncio.gather(receiving, carrying, return_exceptions=True)

    async def _carry_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index in range(len(self._ports)):
                group.create_task(self._carry(index))

    async def _carry(self, index: int) -> None:
        port = self._ports[index]
        with suppress(ConnectionError):
            for channel in (2 * index, 2 * index + 1):
                await self._send(channel, struct.pack("<H", port))
            failure = await copy_both(
                self._backend,
                self._uid,
                port,
                read=self._inputs[index].get,
                write=lambda data: self._send(2 * index, data),
            )
            if failure:
                await self._send(2 * index + 1, failure.encode())

    async def _send(self, channel: int, data: bytes) -> None:
        await self._socket.send_bytes(bytes((channel,)) + data)

    async def _receive(self) -> None:
        async for message in _messages(self._socket):
            channel, data = (message[0], message[1:]) if message else (1, b"")
            if channel % 2 == 0 and channel // 2 < len(self._inputs) and data:
                await self._inputs[channel // 2].put(data)
