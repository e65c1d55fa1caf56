"""``pods/log``: a container's lines as text.

1. ``tailLines`` counts lines that pass ``sinceSeconds``/``sinceTime`` and ``stream``; ``limitBytes`` cuts what is sent.
2. Following ends when the container's log ends or the client leaves.

Spec: kubernetes pkg/apis/core/validation (ValidatePodLogOptions), pkg/kubelet/kuberuntime/logs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import msgspec
from aiohttp.web import BaseRequest, Response, StreamResponse

from podwire.apiserver.status import bad_request, failure
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.target import Json, check_logged, container_of, unavailable
from podwire.base import PodwireError

BATCH_BYTES = 64 * 1024
LOOK_SECONDS = 1.0
"""How often a silent follower looks whether its client is still there."""

_STREAMS = {"": "", "All": "", "Stdout": "stdout", "Stderr": "stderr"}
Line = tuple[float, str, bytes]


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A log request, read. ``since`` is a Unix time, ``stream`` empty for both."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: float | None = None
    tail: int | None = None
    limit_bytes: int | None = None
    stream: str = ""


async def serve_logs(request: BaseRequest, pod: Json, backend: PodBackend) -> StreamResponse:
    """Answer ``GET pods/log``. Raises :class:`StatusError` before the first byte."""
    options = read_options(request.query, time.time())
    container = container_of(pod, options.container)
    if not pod.get("spec", {}).get("nodeName"):
        return Response(text="")
    check_logged(pod, container, previous=options.previous)
    source = _Source(backend, pod["metadata"]["uid"], container, options)
    try:
        skip, lines = await source.counted() if options.tail is not None or options.follow else (0, None)
        response = StreamResponse(headers={"Content-Type": "text/plain"})
        sink = _Sink(request, response, options)
        if options.follow:
            await sink.follow(source.lines(skip, None, follow=True))
        else:
            await sink.copy(source.lines(skip, lines, follow=False))
    except PodwireError as error:
        raise unavailable(error) from error
    return response


class _Source:
    """The lines of one container that the request wants."""

    def __init__(self, backend: PodBackend, uid: str, container: str, options: LogOptions) -> None:
        self._backend, self._uid, self._container, self._options = backend, uid, container, options

    async def counted(self) -> tuple[int, int | None]:
        """How many lines to skip for ``tail``, and how many then to send. Raises :class:`PodwireError` early."""
        count = 0
        async for _ in self.lines(0, None, follow=False):
            count += 1
        tail = self._options.tail
        return (0, None) if tail is None else (max(0, count - tail), min(count, tail))

    async def lines(self, skip: int, most: int | None, *, follow: bool) -> AsyncIterator[Line]:
        """The lines after the first ``skip``, at most ``most``."""
        wanted, since = self._options.stream, self._options.since
        source = self._backend.logs(self._uid, self._container, follow=follow, previous=self._options.previous)
        sent = 0
        async for line in source:
            if (wanted and line[1] != wanted) or (since is not None and line[0] < since):
                continue
            if skip:
                skip -= 1
                continue
            if most is not None and sent >= most:
                return
            sent += 1
            yield line


class _Sink:
    """Sends lines, as far as ``limitBytes`` lets it. The response begins with the first batch."""

    def __init__(self, request: BaseRequest, response: StreamResponse, options: LogOptions) -> None:
        self._request, self._response, self._options = request, response, options
        self._left = options.limit_bytes

    async def copy(self, lines: AsyncIterator[Line]) -> None:
        """Send all of a log that ends."""
        batch, size = [], 0
        first = await anext(lines, None)
        await self._response.prepare(self._request)
        if first is not None:
            batch, size = [self._text(first)], len(first[2])
            async for line in lines:
                batch.append(self._text(line))
                size += len(line[2])
                if size >= BATCH_BYTES:
                    await self._send(b"".join(batch))
                    batch, size = [], 0
                if self._left == 0:
                    break
        await self._send(b"".join(batch))
        await self._response.write_eof()

    async def follow(self, lines: AsyncIterator[Line]) -> None:
        """Send each line as it comes, until the log ends or the client leaves."""
        await self._response.prepare(self._request)
        coming: asyncio.Task[Line | None] = asyncio.ensure_future(_next(lines))
        try:
            while self._left != 0 and not self._client_left():
                done, _ = await asyncio.wait({coming}, timeout=LOOK_SECONDS)
                if not done:
                    continue
                line = coming.result()
                if line is None:
                    break
                await self._send(self._text(line))
                coming = asyncio.ensure_future(_next(lines))
            await self._response.write_eof()
        except (ConnectionError, PodwireError):
            # The client has left, or the log has gone with its pod: in both cases the text ends here.
            return
        finally:
            coming.cancel()

    def _client_left(self) -> bool:
        transport = self._request.transport
        return transport is None or transport.is_closing()

    def _text(self, line: Line) -> bytes:
        return format_time(line[0]) + b" " + line[2] if self._options.timestamps else line[2]

    async def _send(self, data: bytes) -> None:
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        if data:
            await self._response.write(data)


async def _next(lines: AsyncIterator[Line]) -> Line | None:
    return await anext(lines, None)


def format_time(at: float) -> bytes:
    """RFC 3339 with nanoseconds, UTC."""
    whole, rest = divmod(round(at * 1_000_000), 1_000_000)
    day = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{rest * 1000:09d}Z".encode()


def read_options(query: Mapping[str, str], now: float) -> LogOptions:
    """The options of a query. Raises :class:`StatusError` 400 (not readable) and 422 (contradictory)."""
    seconds = _number(query, "sinceSeconds", least=1)
    since_time = query.get("sinceTime", "")
    if seconds is not None and since_time:
        raise _invalid("sinceSeconds", "Forbidden: at most one of sinceTime or sinceSeconds may be specified")
    stream, tail = query.get("stream", ""), _number(query, "tailLines", least=0)
    if stream not in _STREAMS:
        raise _invalid("stream", f'Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"')
    if _STREAMS[stream] and tail is not None:
        raise _invalid("tailLines", "Forbidden: `tailLines` and specific `stream` are mutually exclusive for now")
    return LogOptions(
        container=query.get("container", ""),
        follow=_flag(query, "follow"),
        previous=_flag(query, "previous"),
        timestamps=_flag(query, "timestamps"),
        since=now - seconds if seconds is not None else _moment(since_time),
        tail=tail,
        limit_bytes=_number(query, "limitBytes", least=1),
        stream=_STREAMS[stream],
    )


def _flag(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "")
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f", ""):
        return False
    raise bad_request(f'invalid value for {name}: strconv.ParseBool: parsing "{value}": invalid syntax')


def _number(query: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return None
    if not text.removeprefix("-").isdecimal() or not text.isascii() or len(text) > 18:
        raise bad_request(f'invalid value for {name}: strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < least:
        raise _invalid(name, f"Invalid value: {int(text)}: must be greater than or equal to {least}")
    return int(text)


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f'invalid value for sinceTime: parsing time "{text}"') from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _invalid(field: str, message: str) -> Exception:
    reason = "FieldValueForbidden" if message.startswith("Forbidden") else "FieldValueInvalid"
    details = {"kind": "PodLogOptions", "causes": [{"reason": reason, "message": message, "field": field}]}
    return failure(422, "Invalid", f'PodLogOptions "" is invalid: {field}: {message}', details=details)
