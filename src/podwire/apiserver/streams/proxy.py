"""``pods/proxy`` and ``services/proxy``: any HTTP request, and upgrades, carried to a pod as they are.

1. The name is ``[scheme:]name[:port]``. A pod without a port gets its first container's first; a Service needs one
   unless it has only one, by number or by name, and a ready endpoint of it answers.
2. The request goes on with its method, path, query, headers and body; what concerns one connection only, and the
   client's credentials, stay here. The answer comes back byte for byte, but for ``Location``, which leads through the
   proxy again, and for the connection, which ends with it.
3. Links inside HTML are not rewritten.

Spec: kubernetes pkg/registry/core/{pod,service} (ResourceLocation), apimachinery pkg/util/proxy/upgradeaware.go.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from aiohttp.web import BaseRequest, Response, StreamResponse

from podwire.apiserver.status import StatusError, bad_request, failure
from podwire.apiserver.streams.backend import PodBackend
from podwire.apiserver.streams.takeover import Taken, take_raw
from podwire.apiserver.streams.target import Json
from podwire.base import PodwireError

COPY_BYTES = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 60.0
_HOP = ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer")
_BODY = ("transfer-encoding", "upgrade", "expect")
_OURS = ("authorization", "content-length", "x-forwarded-")

Pods = Callable[[str], Json | None]
"""A pod of the request's namespace, by name."""


class Place(NamedTuple):
    """Where a request goes: a pod of ours (``uid``), or an address elsewhere."""

    uid: str
    address: str
    port: int
    secure: bool = False


class Named(NamedTuple):
    """``[scheme:]name[:port]``, taken apart."""

    secure: bool
    name: str
    port: str


def split_name(text: str) -> Named:
    """Rule 1. Raises :class:`StatusError` 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return Named(secure=False, name=parts[0], port="")
    scheme = parts.pop(0) if parts[0] in ("http", "https", "") and len(parts) > 2 else ""
    if len(parts) == 2 and parts[0] in ("http", "https") and not _is_port(parts[1]):
        scheme, parts = parts[0], [parts[1], ""]
    if len(parts) != 2 or not parts[0]:
        raise bad_request(f'invalid request "{text}": it must be [scheme:]name[:port]')
    return Named(secure=scheme == "https", name=parts[0], port=parts[1])


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16


def pod_place(pod: Json, named: Named) -> Place:
    """Where a pod is. Raises :class:`StatusError` 400 and 503."""
    declared = [p["containerPort"] for c in pod["spec"].get("containers", ()) for p in c.get("ports") or ()]
    port = named.port or str(next(iter(declared), 80))
    if not _is_port(port):
        raise bad_request(f'"{port}" is not a port of a pod: it must be a number')
    if not (pod.get("status") or {}).get("podIP"):
        raise bad_request("address not allowed: the pod has no address")
    return Place(pod["metadata"]["uid"], pod["status"]["podIP"], int(port), named.secure)


def service_place(service: Json, named: Named, slices: Iterable[Json], pods: Pods) -> Place:
    """A ready endpoint of a Service. Raises :class:`StatusError` 400 and 503."""
    port_name = _service_port(service, named.port)
    for entry in slices:
        ports = [port["port"] for port in entry.get("ports") or () if (port.get("name") or "") == port_name]
        for endpoint in entry.get("endpoints") or () if ports else ():
            if (endpoint.get("conditions") or {}).get("ready") is False or not endpoint.get("addresses"):
                continue
            target = endpoint.get("targetRef") or {}
            pod = pods(target.get("name", "")) if target.get("kind") == "Pod" else None
            return Place(pod["metadata"]["uid"] if pod else "", endpoint["addresses"][0], ports[0], named.secure)
    raise failure(503, "ServiceUnavailable", f'no endpoints available for service "{service["metadata"]["name"]}"')


def _service_port(service: Json, asked: str) -> str:
    ports: Sequence[Json] = service.get("spec", {}).get("ports") or ()
    for port in ports:
        if (not asked and len(ports) == 1) or asked in (port.get("name"), str(port["port"])):
            return port.get("name") or ""
    name = service["metadata"]["name"]
    raise failure(503, "ServiceUnavailable", f'no service port "{asked}" found for service "{name}"')


async def serve_proxy(request: BaseRequest, place: Place, backend: PodBackend | None) -> StreamResponse:
    """Carry one request to ``place``. Raises :class:`StatusError` 503 when nothing answers there."""
    prefix, path = _split_path(request.raw_path)
    if not path:
        return Response(status=301, headers={"Location": f"{prefix}/{request.raw_path[len(prefix) :]}"})
    try:
        reader, writer = await _connect(place, backend)
    except (PodwireError, OSError) as error:
        raise _unreachable(error) from error
    try:
        upgrade = request.headers.get("Upgrade", "")
        head, rest = await _ask(request, reader, writer, path=path, upgrade=upgrade)
        wire = await take_raw(request)
        try:
            await wire.write(_rewrite(head, prefix, place, request.host) + rest)
            switched = _code(head) == 101
            await _carry(reader, writer, wire.write, wire.chunks() if switched else None)
        finally:
            wire.close()
    finally:
        writer.close()
    return Taken()


def _unreachable(error: Exception) -> StatusError:
    return failure(503, "ServiceUnavailable", f"error trying to reach service: {error}")


def _split_path(raw: str) -> tuple[str, str]:
    """The path as far as ``/proxy``, and what follows with its query; no slash after it gives an empty second."""
    path, mark, query = raw.partition("?")
    parts = path.split("/")
    # /api/v1/namespaces/<ns>/<resource>/<name>/proxy/…
    prefix, rest = "/".join(parts[:8]), parts[8:]
    return prefix, "/" + "/".join(rest) + mark + query if rest else ""


async def dial(place: Place, backend: PodBackend | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection to a place. Raises :class:`PodwireError` and :class:`OSError`."""
    if place.uid and backend is not None:
        return await backend.connect(place.uid, place.port)
    if place.uid:
        raise PodwireError("this server runs no pods: there is nothing to connect to")
    return await asyncio.open_connection(place.address, place.port)


async def _connect(place: Place, backend: PodBackend | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await dial(place, backend)
    if place.secure:
        # A pod's certificate names no address of ours; the API server does not verify it either.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await writer.start_tls(context)
    return reader, writer


async def _ask(
    request: BaseRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, path: str, upgrade: str
) -> tuple[bytes, bytes]:
    """Send the request; the head of the answer, and what came with it."""
    length = request.headers.get("Content-Length", "")
    chunked = not length and request.body_exists
    writer.write(_head(request, path, upgrade=upgrade, length=length, chunked=chunked))
    with suppress(ConnectionError):  # a server may answer before it has read everything
        async for part in request.content.iter_chunked(COPY_BYTES):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            await writer.drain()
        if chunked:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            return await _read_head(reader)
    except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise _unreachable(error if str(error) else PodwireError("no answer")) from error


def _head(request: BaseRequest, path: str, *, upgrade: str, length: str, chunked: bool) -> bytes:
    lines = [f"{request.method} {path} HTTP/1.1"]
    for name, value in request.headers.items():
        low = name.lower()
        if low not in _HOP and low not in _BODY and not low.startswith((*_OURS, "impersonate-")):
            lines.append(f"{name}: {value}")
    lines.append(f"Connection: {'Upgrade' if upgrade else 'close'}")
    lines += [f"Upgrade: {upgrade}"] if upgrade else []
    lines += [f"Content-Length: {length}"] if length else ["Transfer-Encoding: chunked"] if chunked else []
    lines += [f"X-Forwarded-Uri: {request.raw_path}", f"X-Forwarded-Host: {request.host}", "X-Forwarded-Proto: https"]
    lines.append(f"X-Forwarded-For: {request.remote or 'unknown'}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")


async def _read_head(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The head of the first answer that is not ``100 Continue``, and the bytes after it."""
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and not head.startswith(b"HTTP/1."):
            raise ConnectionError("it did not answer in HTTP/1")
        if end and _code(head) != 100:
            return head, rest
        if end:
            data = rest
            continue
        part = await reader.read(COPY_BYTES)
        if not part or len(data) > MAX_HEAD_BYTES:
            raise ConnectionError("it did not answer in HTTP")
        data += part


def _code(head: bytes) -> int:
    found = head[9:12]
    return int(found) if found.isdigit() else 0


def _rewrite(head: bytes, prefix: str, place: Place, host: str) -> bytes:
    """Rule 2 on the answer's head."""
    status, *lines = head.split(b"\r\n")
    switched = _code(status) == 101
    kept = []
    for line in lines:
        name, _, value = line.partition(b":")
        low = name.strip().lower()
        if low == b"location":
            line = b"Location: " + _location(value.strip().decode("latin-1"), prefix, place, host).encode("latin-1")
        if switched or low not in (b"connection", b"keep-alive"):
            kept.append(line)
    if not switched:
        kept.append(b"Connection: close")
    return b"\r\n".join([status, *kept]) + b"\r\n\r\n"


def _location(value: str, prefix: str, place: Place, host: str) -> str:
    for scheme in ("http", "https"):
        for base in (f"{scheme}://{host}", f"{scheme}://{place.address}:{place.port}", f"{scheme}://{place.address}"):
            if value == base or value.startswith(base + "/"):
                return prefix + (value[len(base) :] or "/")
    return prefix + value if value.startswith("/") and not value.startswith("//") else value


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, send: Any, source: Any) -> None:
    """The pod's bytes to the client until they end; after an upgrade also the client's to the pod."""

    async def back() -> None:
        with suppress(OSError):
            async for data in source:
                writer.write(data)
                await writer.drain()

    sending = asyncio.ensure_future(back()) if source is not None else None
    try:
        with suppress(OSError):
            while data := await reader.read(COPY_BYTES):
                await send(data)
    finally:
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
