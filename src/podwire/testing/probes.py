"""Real packets from inside namespaces, many at once, and what the sender observes.

A socket keeps the network namespace it was created in, so a thread enters the namespace, makes the sockets and leaves;
the event loop does the rest.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import socket
import threading
from collections.abc import Sequence

import msgspec

from podwire.base import join_port

CLONE_NEWNET = 0x40000000
SILENCE_SECONDS = 2.5
"""Longer than the first two retransmissions of a SYN (1 s, then 2 s more): what is silent until then was dropped."""
ANSWER_SECONDS = 5.0
UDP_QUESTIONS, RESEND_SECONDS = 3, 0.8
"""A datagram that met a full buffer is no denial: like a SYN it is sent again before silence counts."""
QUESTION = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x00\x00\x06\x00\x01"
"""What UDP probes say: a DNS question (SOA of the root), so that DNS servers answer and echo workloads do too."""


class Probe(msgspec.Struct, frozen=True, order=True):
    """One packet to send: from a namespace (a path; empty for the host) to an address."""

    netns: str
    address: str
    port: int
    protocol: str


class Observation(msgspec.Struct, frozen=True, order=True):
    """``connects`` with the pod that answered (``namespace/name``; by UDP ``/name``, all that a stand-in says there;
    empty when it was no stand-in), ``refused``, ``dropped`` or ``no-route``. ``source``: the client as the pod
    saw it, where it says so."""

    outcome: str
    pod: str = ""
    source: str = ""


async def send_probes(probes: Sequence[Probe]) -> dict[Probe, Observation]:
    """Send all at the same time; one observation each."""
    sockets = await asyncio.to_thread(_open_all, sorted(set(probes)))
    try:
        found = await asyncio.gather(*(_observe(probe, opened) for probe, opened in sockets.items()))
    finally:
        for opened in sockets.values():
            opened.close()
    return dict(zip(sockets, found, strict=True))


def _open_all(probes: Sequence[Probe]) -> dict[Probe, socket.socket]:
    by_netns: dict[str, list[Probe]] = {}
    for probe in probes:
        by_netns.setdefault(probe.netns, []).append(probe)
    opened: dict[Probe, socket.socket] = {}
    for netns, wanted in by_netns.items():
        places = [(p.protocol, p.address) for p in wanted]
        opened.update(zip(wanted, open_sockets(netns, places), strict=True))
    return opened


def open_sockets(netns: str, places: Sequence[tuple[str, str]]) -> list[socket.socket]:
    """Non-blocking sockets that live in a namespace, for (protocol, address) each. The thread that enters it ends: no
    other code ever runs there."""
    made: list[socket.socket] = []
    errors: list[OSError] = []

    def enter_and_open() -> None:
        try:
            if netns:
                _enter(netns)
            for protocol, address in places:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                kind = socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM
                opened = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
                made.append(opened)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=enter_and_open)
    thread.start()
    thread.join()
    if errors:
        for opened in made:
            opened.close()
        raise errors[0]
    return made


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), netns)
    finally:
        os.close(descriptor)


async def _observe(probe: Probe, opened: socket.socket) -> Observation:
    try:
        return await (_observe_tcp(probe, opened) if probe.protocol == "TCP" else _observe_udp(probe, opened))
    except ConnectionRefusedError:
        return Observation("refused")
    except TimeoutError:
        return Observation("dropped")
    except OSError as error:
        return Observation("no-route" if error.errno in (101, 113) else f"error {error.errno}")


async def _observe_tcp(probe: Probe, opened: socket.socket) -> Observation:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SILENCE_SECONDS):
            await loop.sock_connect(opened, (probe.address, probe.port))
    except TimeoutError:
        if not _is_connected(opened):
            raise
    request = f"GET / HTTP/1.1\r\nHost: {join_port(probe.address, probe.port)}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await loop.sock_sendall(opened, request.encode())
            return Observation("connects", *_read_answer(await _read_all(opened)))
    except (ConnectionResetError, BrokenPipeError, TimeoutError):
        return Observation("connects")


def _is_connected(opened: socket.socket) -> bool:
    """Whether the answer was there, only this loop, with thousands of probes under way, had not come around to it."""
    try:
        opened.getpeername()
    except OSError:
        return False
    return True


async def _read_all(opened: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    parts = []
    while part := await loop.sock_recv(opened, 65536):
        parts.append(part)
    return b"".join(parts)


def _read_answer(answer: bytes) -> tuple[str, str]:
    """A stand-in says who it is and whom it saw; anything else stays anonymous."""
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        said = json.loads(body)
        return f"{said['namespace']}/{said['pod']}", str(said["caller"]).rpartition(":")[0].strip("[]")
    except (ValueError, KeyError, TypeError):
        return "", ""


async def _observe_udp(probe: Probe, opened: socket.socket) -> Observation:
    opened.connect((probe.address, probe.port))
    answer = await _ask_udp(opened)
    if answer.startswith(QUESTION[:2]):  # a DNS server repeats the id; a stand-in says its name first
        return Observation("connects")
    return Observation("connects", "/" + answer.partition(b" ")[0].decode(errors="replace"))


async def _ask_udp(opened: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    for _ in range(UDP_QUESTIONS):
        # A rule in the sender's own output hook also fails the send; the refusal, if any, follows as an ICMP error.
        with contextlib.suppress(PermissionError):
            await loop.sock_sendall(opened, QUESTION)
        try:
            return await asyncio.wait_for(loop.sock_recv(opened, 65536), RESEND_SECONDS)
        except TimeoutError:
            # With thousands of probes under way the answer may be there before this loop has come around to it.
            with contextlib.suppress(BlockingIOError):
                return opened.recv(65536)
    raise TimeoutError
