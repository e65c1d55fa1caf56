"""exec and attach over SPDY/3.1: one stream a channel.

1. The client opens the streams it wants within :data:`OPEN_SECONDS`, each with header ``streamType``.
2. Protocols v5 to v1 in ``X-Stream-Protocol-Version``; from v4 on the error stream carries a Status.

Spec: kubernetes staging/src/k8s.io/kubelet/pkg/cri/streaming/remotecommand/httpstream.go.
"""

import asyncio
from contextlib import suppress

from aiohttp.web import BaseRequest, StreamResponse

from podwire.apiserver.status import bad_request
from podwire.apiserver.streams.backend import ExecSession, PodBackend
from podwire.apiserver.streams.command import (
    STDOUT,
    CommandOptions,
    end,
    feed,
    finish_input,
    open_session,
    resize,
    run_session,
)
from podwire.apiserver.streams.mux import Connection, Stream
from podwire.apiserver.streams.outcome import encode
from podwire.apiserver.streams.takeover import Taken, take_over

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
OPEN_SECONDS = 30.0
Streams = dict[str, Stream]


async def serve_spdy(request: BaseRequest, uid: str, backend: PodBackend, options: CommandOptions) -> StreamResponse:
    """Serve one exec or attach. Raises :class:`StatusError` before the upgrade."""
    protocol = choose(request)
    session = await open_session(backend, uid, options)
    try:
        headers = {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
        wire = await take_over(request, headers)
    except BaseException:
        await end(session)
        raise
    connection = Connection(wire.write)
    running = asyncio.ensure_future(connection.run(wire.chunks()))
    try:
        await _serve(connection, session, options, protocol=protocol, running=running)
    finally:
        wire.close()
        running.cancel()
        await end(session)
        await asyncio.gather(running, return_exceptions=True)
    return Taken()


def choose(request: BaseRequest) -> str:
    """The newest protocol both speak. Raises :class:`StatusError` 400 when there is none."""
    values = request.headers.getall("X-Stream-Protocol-Version", [])
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if not names:
        return PROTOCOLS[-1]
    for protocol in PROTOCOLS:
        if protocol in names:
            return protocol
    raise bad_request(f"unable to upgrade: none of the protocols {names} is supported")


async def _serve(
    connection: Connection,
    session: ExecSession,
    options: CommandOptions,
    *,
    protocol: str,
    running: "asyncio.Future[None]",
) -> None:
    streams = await _open_streams(connection, options, protocol)
    if streams is None:
        return
    inputs = [asyncio.ensure_future(_take_input(streams.get("stdin"), session))]
    inputs.append(asyncio.ensure_future(_take_sizes(streams.get("resize"), session)))

    async def send(channel: int, data: bytes) -> None:
        await streams["stdout" if channel == STDOUT else "stderr"].write(data)

    try:
        outcome = await run_session(session, options, send, asyncio.shield(running))
        if outcome is not None:
            with suppress(ConnectionError):
                await streams["error"].write(encode(outcome, structured=protocol in PROTOCOLS[:2]))
                for stream in streams.values():
                    await stream.close()
                await _until_gone(running)
    finally:
        for task in inputs:
            task.cancel()


async def _until_gone(running: "asyncio.Future[None]") -> None:
    """The client closes once it has read the ends; until then nothing is cut off."""
    await asyncio.wait({running}, timeout=OPEN_SECONDS)


async def _open_streams(connection: Connection, options: CommandOptions, protocol: str) -> Streams | None:
    """All streams of the request; None when the client leaves or takes too long."""
    wanted = {"error"}
    wanted |= {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty and protocol in PROTOCOLS[:3]:
        wanted.add("resize")
    streams: Streams = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(OPEN_SECONDS):
            while wanted - streams.keys():
                stream = await connection.accept()
                if stream is None:
                    return None
                streams[stream.headers.get("streamtype", "")] = stream
            return streams
    return None


async def _take_input(stream: Stream | None, session: ExecSession) -> None:
    if stream is None:
        return
    while data := await stream.read():
        await feed(session, data)
    await finish_input(session)


async def _take_sizes(stream: Stream | None, session: ExecSession) -> None:
    """Each size is one JSON object; the client writes one at a time."""
    if stream is None:
        return
    while data := await stream.read():
        resize(session, data.strip().rpartition(b"\n")[2])
