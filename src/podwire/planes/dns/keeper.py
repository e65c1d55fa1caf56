"""Who keeps a worker's listening sockets while it is dead: a killed worker loses what it had in its hands, no more.

Rules:

1. A worker connects to ``PATH.keep`` before it binds anything, says who it is, and gets the sockets of the one before
   it, if that one ended without a word. Questions that came in between wait in these sockets.
2. It sends its sockets at once, and again when ports come or go. When it ends on purpose it says so.
3. Sockets of a worker that does not come back are closed after :data:`KEEP_SECONDS`: they would keep the network
   namespace of a pod alive that is gone.
4. Who a worker is: its network namespace and its number there. So a replica never gets another one's sockets.

Messages are JSON in packets of a SEQPACKET socket, with descriptors beside them. Imports the standard library only:
both sides use it.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress

KEEP_SECONDS = 15.0
ANSWER_SECONDS = 1.0
LARGEST, MOST_SOCKETS = 16_384, 200

Ports = dict[str, list[int]]
"""Descriptors by name of the port."""


class Kept:
    """The worker's side."""

    def __init__(self, control: str, identity: str) -> None:
        """Nothing is connected."""
        self._path = f"{control}.keep"
        self._identity = identity
        self._sock: socket.socket | None = None
        self._ports: Ports = {}

    def fetch(self) -> Ports:
        """Connect, and the sockets that were kept for us; none when nobody kept any."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        sock.settimeout(ANSWER_SECONDS)
        try:
            sock.connect(self._path)
            sock.send(json.dumps({"identity": self._identity}).encode())
            data, descriptors, _, _ = socket.recv_fds(sock, LARGEST, MOST_SOCKETS)
        except OSError:
            sock.close()
            return {}
        self._sock = sock
        return _named(data, descriptors)

    def keep(self, ports: Ports) -> None:
        """These are our sockets now."""
        self._ports = ports
        names = {name: len(descriptors) for name, descriptors in ports.items()}
        self._send({"keep": names}, [fd for descriptors in ports.values() for fd in descriptors])

    def ensure(self) -> None:
        """Connect again when whoever keeps our sockets was away. What it may have kept is an older copy of them."""
        if self._sock is None and self._ports and os.path.exists(self._path):
            for descriptors in self.fetch().values():
                for fd in descriptors:
                    os.close(fd)
            self.keep(self._ports)

    def lose(self) -> None:
        """Whoever kept our sockets is gone."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def end(self) -> None:
        """We end on purpose: nobody needs to keep anything."""
        self._send({"bye": True}, [])

    def _send(self, message: dict[str, object], descriptors: list[int]) -> None:
        if self._sock is None:
            return
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], descriptors)
        except OSError:
            self.lose()


class Keeper:
    """The driver's side. ``path`` is that of the control socket."""

    def __init__(self, path: str) -> None:
        """Nothing is kept."""
        self._path = f"{path}.keep"
        self._listener: socket.socket | None = None
        self._kept: dict[str, Ports] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._clients: dict[socket.socket, str] = {}

    def start(self) -> None:
        """Listen. Raises :class:`OSError`."""
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        old = os.umask(0o177)
        try:
            listener.bind(self._path)
            listener.listen(16)
        finally:
            os.umask(old)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def close(self) -> None:
        """Keep nothing any more; idempotent."""
        loop = asyncio.get_running_loop()
        for sock in (*self._clients, *([self._listener] if self._listener else [])):
            loop.remove_reader(sock)
            sock.close()
        if self._listener is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._path)
        self._listener = None
        self._clients.clear()
        for identity in list(self._kept):
            self._drop(identity)

    @property
    def count(self) -> int:
        """Sockets that are kept."""
        return sum(len(found) for ports in self._kept.values() for found in ports.values())

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        self._clients[sock] = ""
        asyncio.get_running_loop().add_reader(sock, self._reader(sock))

    def _reader(self, sock: socket.socket) -> Callable[[], None]:
        return lambda: self._read(sock)

    def _read(self, sock: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(sock, LARGEST, MOST_SOCKETS)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        try:
            message = json.loads(data) if data else None
        except ValueError:
            message = None
        if not isinstance(message, dict):
            for fd in descriptors:
                os.close(fd)
            self._forget(sock)
            return
        self._take(sock, message, data, descriptors)

    def _take(self, sock: socket.socket, message: dict[str, object], data: bytes, descriptors: list[int]) -> None:
        identity = self._clients[sock]
        if "identity" in message:
            self._clients[sock] = str(message["identity"])
            self._give(sock, str(message["identity"]))
        elif "keep" in message and identity:
            self._drop(identity)
            self._kept[identity] = _named(data, descriptors)
        elif "bye" in message and identity:
            self._drop(identity)

    def _give(self, sock: socket.socket, identity: str) -> None:
        """What was kept goes to the new one; it keeps its copies and we keep ours until it sends its own."""
        ports = self._kept.get(identity, {})
        names = {name: len(found) for name, found in ports.items()}
        with suppress(OSError):
            everything = [fd for found in ports.values() for fd in found]
            socket.send_fds(sock, [json.dumps({"keep": names}).encode()], everything)
        timer = self._timers.pop(identity, None)
        if timer is not None:
            timer.cancel()

    def _forget(self, sock: socket.socket) -> None:
        """The worker is gone; another one has a while to come."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        identity = self._clients.pop(sock)
        sock.close()
        if identity in self._kept and identity not in self._clients.values():
            self._timers[identity] = loop.call_later(KEEP_SECONDS, self._drop, identity)

    def _drop(self, identity: str) -> None:
        timer = self._timers.pop(identity, None)
        if timer is not None:
            timer.cancel()
        for found in self._kept.pop(identity, {}).values():
            for fd in found:
                os.close(fd)


def _named(data: bytes, descriptors: list[int]) -> Ports:
    """Descriptors under the names of a ``keep`` message; too few of them are nobody's."""
    names = json.loads(data or b"{}").get("keep", {})
    if sum(names.values()) != len(descriptors):
        for fd in descriptors:
            os.close(fd)
        return {}
    found: Ports = {}
    at = 0
    for name, count in names.items():
        found[name] = descriptors[at : at + count]
        at += count
    return found


def identity_of(number: str) -> str:
    """Who a worker is, on the machine that keeps its sockets."""
    return f"{os.stat('/proc/self/ns/net').st_ino} {number}"
