"""Sockets that belong to a pod's or a node's network namespace, used from the event loop.

A socket keeps the namespace it was created in (network_namespaces(7)), so the loop's thread enters for the length of
one ``socket()`` call, without awaiting anything in between, and the socket then works like any other.
"""

import asyncio
import socket

from podwire.base import PodwireError, join_port
from podwire.node import netns


def open_socket(space: str, kind: socket.SocketKind, *, family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    """A non-blocking socket inside the namespace ``space``."""
    with netns.entered(space):
        opened = socket.socket(family, kind)
    opened.setblocking(False)
    return opened


def listen(space: str, port: int, protocol: str, *, ipv6: bool = False) -> socket.socket:
    """A socket bound to every address of the namespace; with ``ipv6`` those of both families, as most servers do it.

    Raises :class:`OSError` when the port is taken.
    """
    stream = protocol == "TCP"
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    opened = open_socket(space, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM, family=family)
    try:
        if stream:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ipv6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind(("::" if ipv6 else "0.0.0.0", port))  # noqa: S104
        if stream:
            opened.listen(128)
    except OSError:
        opened.close()
        raise
    return opened


async def connect(space: str, address: str, port: int) -> socket.socket:
    """A TCP connection from inside the namespace. Raises :class:`OSError` when it is not accepted."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = open_socket(space, socket.SOCK_STREAM, family=family)
    try:
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    return opened


async def connect_local(space: str, addresses: tuple[str, ...], port: int) -> socket.socket:
    """A TCP connection as ``kubectl port-forward`` makes it: to localhost, else to the pod's own addresses.

    Raises :class:`PodwireError` when nobody listens.
    """
    problem: OSError | None = None
    for address in ("127.0.0.1", "::1", *addresses):
        try:
            return await connect(space, address, port)
        except OSError as error:
            problem = error
    why = problem.strerror if problem else ""
    raise PodwireError(f"cannot connect to port {port} inside the pod: {why}") from problem


def format_peer(place: tuple[object, ...] | None) -> str:
    """``10.0.0.1:80`` or ``[fd00::1]:80`` of a socket's far end; IPv4 looks like IPv4 also on a socket of both."""
    host, port = (str(place[0]), place[1]) if place else ("", 0)
    host = host.removeprefix("::ffff:") if "." in host else host
    return join_port(host, port)
