"""Carrying out one probe: HTTP, TCP, gRPC and commands, from the node as a kubelet does.

Rules:

1. A check never raises for a workload's fault; it returns why it failed, or an empty text.
2. Sockets are created in the node's namespace, so probes are packets that cross the pod's link like a kubelet's.
3. At most :data:`AT_ONCE` checks run at a time and a check's timeout begins when it does, so a burst of starting pods
   cannot time out on itself.

Source: kubernetes ``pkg/probe/{http,tcp,grpc,exec}``.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Final, assert_never

from podwire.base import PodwireError, join_port
from podwire.node import sockets
from podwire.plan.node import ExecCheck, GrpcCheck, HttpCheck, Probe, TcpCheck

AT_ONCE: Final = 64
_AGENT: Final = "kube-probe/1.32"
RunCommand = Callable[[tuple[str, ...], float], Awaitable[str]]


class Checker:
    """Runs checks of pods. ``run_command`` of :meth:`check` executes in the container."""

    def __init__(self) -> None:
        """Nothing is opened."""
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def check(self, probe: Probe, *, space: str, address: str, run_command: RunCommand) -> str:
        """Empty when ``probe`` passes, else the reason in a kubelet's words. ``space`` is the node's namespace."""
        async with self._slots:
            try:
                async with asyncio.timeout(probe.timeout_seconds):
                    return await self._dispatch(probe, space, address, run_command)
            except TimeoutError:
                return f"no answer within {probe.timeout_seconds:g}s"
            except PodwireError as error:
                return str(error)

    async def _dispatch(self, probe: Probe, space: str, address: str, run_command: RunCommand) -> str:
        match probe.check:
            case HttpCheck() as check:
                return await check_http(check, space, address)
            case TcpCheck() as check:
                return await check_tcp(space, check.host or address, check.port)
            case ExecCheck() as check:
                return await run_command(check.argv, probe.timeout_seconds)
            case GrpcCheck() as check:
                return await check_grpc(check, space, address)
            case _ as never:
                assert_never(never)


async def _address_of(host: str) -> str:
    """Kubelets resolve a probe's host name on the node, not in the pod."""
    try:
        return str(ip_address(host))
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


async def check_tcp(space: str, host: str, port: int) -> str:
    """A connection opens."""
    try:
        (await sockets.connect(space, await _address_of(host), port)).close()
    except OSError as error:
        return f"dial tcp {join_port(host, port)}: {_reason(error)}"
    return ""


async def check_grpc(check: GrpcCheck, space: str, address: str) -> str:
    """grpc.health.v1 answers SERVING, without TLS as with a kubelet."""
    from podwire.node.grpchealth import check_health

    place = join_port(address, check.port)
    try:
        connection = await sockets.connect(space, address, check.port)
        return await check_health(connection, check.service, place)
    except OSError as error:
        return f'timeout: failed to connect service "{place}": {_reason(error)}'


async def check_http(check: HttpCheck, space: str, address: str) -> str:
    """GET answers with a status from 200 to 399."""
    host = check.host or address
    url = f"{check.scheme.lower()}://{join_port(host, check.port)}{check.path}"
    try:
        connection = await sockets.connect(space, await _address_of(host), check.port)
        fetch = _fetch_tls if check.scheme.upper() == "HTTPS" else _fetch
        line = await fetch(connection, render_request(check, host))
    except OSError as error:
        return f'Get "{url}": {_reason(error)}'
    words = line.split(None, 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        return f'Get "{url}": malformed HTTP response {line[:40]!r}'
    status = int(words[1])
    return "" if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


def render_request(check: HttpCheck, host: str) -> bytes:
    """The request's bytes; the manifest's headers replace ours, also ``Host``."""
    headers = {"host": join_port(host, check.port), "user-agent": _AGENT, "accept": "*/*", "connection": "close"}
    own = {name.lower() for name, _ in check.headers}
    lines = [f"{n}: {v}" for n, v in (*((n, v) for n, v in headers.items() if n not in own), *check.headers)]
    path = check.path if check.path.startswith("/") else f"/{check.path}"
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


async def _fetch(connection: socket.socket, request: bytes) -> bytes:
    """The status line, over plain TCP."""
    loop = asyncio.get_running_loop()
    with connection:
        await loop.sock_sendall(connection, request)
        answer = b""
        while b"\n" not in answer and len(answer) < 4096:
            data = await loop.sock_recv(connection, 4096)
            if not data:
                break
            answer += data
        return answer.split(b"\n", 1)[0].strip()


async def _fetch_tls(connection: socket.socket, request: bytes) -> bytes:
    """The status line, over TLS; as with a kubelet no certificate is verified."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname="")
    try:
        writer.write(request)
        return (await reader.readline()).strip()
    finally:
        writer.transport.abort()


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connect: connection refused"
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else str(error)
