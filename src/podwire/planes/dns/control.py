"""The worker's side of the driver's unix socket: tables and sockets come in, acknowledgements go out.

Rules:

1. A frame is a 4-byte length and JSON. ``fresh`` starts a new table, ``put`` and ``remove`` change units, ``meta``
   changes what holds for the whole zone, ``commit`` makes it all visible and is acknowledged with the same number.
2. A fresh table is built aside and replaces the old one at its commit, so a restart of the driver is not noticed.
3. ``sockets`` announces descriptors that came with the frame: UDP and TCP, made in the host's network namespace.
4. ``release`` lets an answer go that the worker told the driver of (``learned``; see ``hold.py``).
5. ``beat`` says that the driver is alive, every few seconds while there is nothing else to say.
6. When the driver goes away the worker goes on with what it has, and connects again.
"""

import json
import socket
import time
from collections.abc import Callable
from typing import Any

from podwire.planes.dns.loop import CHUNK, Loop, say
from podwire.planes.dns.table import Meta, Table

RETRY_SECONDS = 0.2


class Control:
    """Connects to ``path``; calls back with tables and with sockets."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        *,
        on_table: Callable[[Table], None],
        on_sockets: Callable[[list[socket.socket]], None],
        on_release: Callable[[int], None],
    ) -> None:
        """Not connected yet; :meth:`ensure` does that."""
        self._loop = loop
        self._path = path
        self._on_table = on_table
        self._on_sockets = on_sockets
        self._on_release = on_release
        self._sock: socket.socket | None = None
        self._received = bytearray()
        self._descriptors: list[int] = []
        self._table: Table | None = None
        self._staged: Table | None = None
        self._retry_at = 0.0
        self.heard = time.monotonic()
        self.refused = 0

    @property
    def connected(self) -> bool:
        """Whether a driver is there."""
        return self._sock is not None

    def ensure(self, now: float) -> float | None:
        """Connect when it is time to; how long until the next attempt, None while connected."""
        if self._sock is not None:
            return None
        if now < self._retry_at:
            return self._retry_at - now
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.connect(self._path)
        except OSError:
            sock.close()
            self._retry_at = now + RETRY_SECONDS
            return RETRY_SECONDS
        sock.setblocking(False)
        self._sock = sock
        self._loop.watch(sock.fileno(), self._read)
        return None

    def send(self, value: dict[str, Any]) -> bool:
        """Tell the driver something; whether it is there to hear it."""
        if self._sock is None:
            return False
        data = json.dumps(value).encode()
        try:
            self._sock.sendall(len(data).to_bytes(4, "big") + data)
        except OSError:
            self._drop()
        return self._sock is not None

    def _drop(self) -> None:
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            say("WARNING", "the control connection is lost; serving the last table")
        self._sock = None
        self._received.clear()
        self._descriptors.clear()
        self._staged = None
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _read(self, _events: int) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            data, descriptors, _, _ = socket.recv_fds(sock, CHUNK * 4, 32)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        self._descriptors.extend(descriptors)
        self._received += data
        if not data:
            self._drop()
            return
        self.heard = time.monotonic()
        self._parse()

    def _parse(self) -> None:
        received = self._received
        at = 0
        while len(received) - at >= 4:
            size = int.from_bytes(received[at : at + 4], "big")
            if len(received) - at - 4 < size:
                break
            frame = bytes(received[at + 4 : at + 4 + size])
            at += 4 + size
            self._take(json.loads(frame))
        del received[:at]

    def _take(self, frame: dict[str, Any]) -> None:
        if "sockets" in frame:
            count = frame["sockets"]
            mine, self._descriptors = self._descriptors[:count], self._descriptors[count:]
            self._on_sockets([socket.socket(fileno=fd) for fd in mine])
            return
        if "release" in frame:
            self._on_release(frame["release"])
            return
        if frame.get("fresh"):
            self._staged = Table(read_meta(frame["meta"], None))
        table = self._staged or self._table
        if table is None:
            return
        if not frame.get("fresh") and "meta" in frame:
            table.set_meta(read_meta(frame["meta"], table.meta))
        failed = self._change(table, frame)
        if "commit" in frame:
            self._commit(table, frame["commit"], failed)

    def _change(self, table: Table, frame: dict[str, Any]) -> dict[str, str]:
        failed: dict[str, str] = {}
        for key in frame.get("remove", ()):
            table.remove(key)
        for key, (records, exists) in frame.get("put", {}).items():
            try:
                table.put(key, records, exists)
            except (ValueError, KeyError) as error:
                failed[key] = f"{type(error).__name__}: {error}"
                say("ERROR", f"{key} is left out: {error}")
        return failed

    def _commit(self, table: Table, revision: int, failed: dict[str, str]) -> None:
        self._table, self._staged = table, None
        try:
            self._on_table(table)
        except (ValueError, KeyError, TypeError) as error:
            # The compiler checked the Corefile: this is a word that this server does not know.
            self.refused += 1
            failed = {**failed, "config": f"{type(error).__name__}: {error}"}
            say("ERROR", f"the configuration is refused: {error}; serving with the one before")
        names, units = table.size
        say("INFO", f"zone {table.meta.domain} serial {table.meta.serial}: {names} names of {units} objects")
        self.send({"loaded": revision, "failed": failed})


def read_meta(fields: dict[str, Any], old: Meta | None) -> Meta:
    """What holds for the whole zone, as a frame says it; what the frame leaves out is as in ``old``."""
    namespaces = fields.get("namespaces")
    known = old.namespaces if old is not None else frozenset()
    return Meta(
        domain=fields["domain"],
        reverse=tuple(fields["reverse"]),
        namespaces=known if namespaces is None else frozenset(namespaces),
        pods_ttl=fields["pods_ttl"],
        serial=fields["serial"],
        upstreams=tuple(fields["upstreams"]),
        fallthrough=None if fields.get("fallthrough") is None else tuple(fields["fallthrough"]),
        config=config if (config := fields.get("config")) is not None or old is None else old.config,
        watched=tuple(fields.get("watched", ())),
        places=tuple((cidr, zone) for cidr, zone in fields.get("places", ())),
        client_rate=int(fields.get("client_rate", 0)),
    )
