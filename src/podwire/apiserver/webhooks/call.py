"""One HTTPS POST to a webhook.

Rules:

1. A Service is reached at a ready endpoint of it, in the pod's network, as kube-apiserver's resolver picks one; a URL
   from the host. The certificate must be for ``<service>.<namespace>.svc`` or the URL's host, and from the caBundle
   (without one: from an authority of this machine).
2. Redirects are not followed; an answer is at most :data:`MAX_BYTES` long. The caller sets the deadline.
3. HTTP/1.1, one connection a question.

Spec: k8s apiserver/pkg/util/webhook/client.go, pkg/util/proxy (ResolveEndpoint).
"""

import asyncio
import base64
import binascii
import ssl
from collections.abc import Awaitable, Callable
from http.client import HTTPException, parse_headers
from io import BytesIO
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from podwire.apiserver.status import StatusError
from podwire.base import PodwireError

Json = dict[str, Any]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
ServiceDial = Callable[[str, str, int], Awaitable[Streams]]
"""Namespace, name and port of a Service, to a connection to one of its pods."""

MAX_BYTES = 3 * 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
SHOWN_BYTES = 200


class CallError(Exception):
    """No usable answer; the text says why."""


class Address(NamedTuple):
    """Where a webhook is."""

    host: str
    port: int
    path: str
    url: str
    """As errors show it."""


def address_of(config: Json) -> Address:
    """The address in a ``clientConfig`` that was validated."""
    service = config.get("service")
    if service is None:
        parts = urlsplit(config["url"])
        return Address(parts.hostname or "", parts.port or 443, parts.path or "/", config["url"])
    host, port = f"{service['name']}.{service['namespace']}.svc", int(service.get("port") or 443)
    path = service.get("path") or "/"
    return Address(host, port, path, f"https://{host}:{port}{path}")


async def ask(config: Json, body: bytes, *, timeout_seconds: int, dial_service: ServiceDial) -> bytes:
    """The body of the answer. Raises :class:`CallError`."""
    where, service = address_of(config), config.get("service")
    shown = f'Post "{where.url}?timeout={timeout_seconds}s"'

    async def dial() -> Streams:
        if service is None:
            return await asyncio.open_connection(where.host, where.port)
        return await dial_service(service["namespace"], service["name"], where.port)

    try:
        async with asyncio.timeout(timeout_seconds):
            code, answer = await _exchange(dial, where, _request(where, body, timeout_seconds), config)
    except TimeoutError:
        raise CallError(f"{shown}: context deadline exceeded") from None
    except ssl.SSLCertVerificationError as error:
        raise CallError(f"{shown}: tls: failed to verify certificate: {error.verify_message}") from error
    except (OSError, EOFError, PodwireError, HTTPException, ValueError) as error:
        raise CallError(f"{shown}: {_words(error)}") from error
    except StatusError as error:
        raise CallError(f"{shown}: {error}") from error
    if code == 404:
        raise CallError("the server could not find the requested resource")
    if not 200 <= code < 300:
        text = answer[:SHOWN_BYTES].decode("utf-8", "replace").strip() or f"unknown (status {code})"
        raise CallError(f'an error on the server ("{text}") has prevented the request from succeeding')
    return answer


def _words(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or "the connection was closed before an answer came")


def _request(where: Address, body: bytes, timeout_seconds: int) -> bytes:
    host = where.host if where.port == 443 else f"{where.host}:{where.port}"
    lines = [
        f"POST {where.path}?timeout={timeout_seconds}s HTTP/1.1",
        f"Host: {host}",
        "User-Agent: kube-apiserver-admission",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def _exchange(dial: Dial, where: Address, request: bytes, config: Json) -> tuple[int, bytes]:
    context = _context(config.get("caBundle") or "")
    reader, writer = await dial()
    try:
        await writer.start_tls(context, server_hostname=where.host)
        writer.write(request)
        await writer.drain()
        return await _answer(reader)
    finally:
        writer.close()


def _context(bundle: str) -> ssl.SSLContext:
    if not bundle:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cadata=base64.b64decode(bundle, validate=True).decode("ascii"))
    except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
        raise ValueError(f"unable to load root certificates: caBundle is not PEM: {error}") from error
    # As Go does: a certificate of the bundle is trusted itself, authority or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise HTTPException("the head of the answer is too long") from error
    status, _, rest = head.partition(b"\r\n")
    words = status.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise HTTPException("malformed HTTP response")
    headers = parse_headers(BytesIO(rest))
    if "chunked" in headers.get("Transfer-Encoding", "").lower():
        return int(words[1]), await _chunks(reader)
    length = headers.get("Content-Length")
    if length is None:
        return int(words[1]), await _rest(reader)
    if not length.strip().isdecimal() or int(length) > MAX_BYTES:
        raise HTTPException(f"the answer is longer than {MAX_BYTES} bytes")
    return int(words[1]), await reader.readexactly(int(length))


async def _rest(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await reader.read(MAX_HEAD_BYTES):
        parts.append(part)
        size += len(part)
        if size > MAX_BYTES:
            raise HTTPException(f"the answer is longer than {MAX_BYTES} bytes")
    return b"".join(parts)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        text = (await reader.readuntil(b"\r\n")).split(b";")[0].strip()
        length = int(text, 16)
        size += length
        if not 0 <= size <= MAX_BYTES:
            raise HTTPException(f"the answer is longer than {MAX_BYTES} bytes")
        if not length:
            return b"".join(parts)
        parts.append(await reader.readexactly(length))
        await reader.readexactly(2)
