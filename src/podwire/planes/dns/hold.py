"""Answers that wait until the kernel knows their addresses: policies may name their domains (``domainNames``).

Rules:

1. Only answers to watched names wait, and only when an address in them is not known to be in force; all others go out
   at once. Names of the cluster's own zone are never watched.
2. The driver is told name and addresses, and releases the answer once every node's kernel has them.
3. After :data:`HOLD_SECONDS` an answer goes out all the same, and so it does without a driver: the kernel denies what
   it does not know, so nothing is open, and clients that no policy concerns are not kept waiting.
4. An address that is asked for again is told again when it lives longer, without waiting.

Pure: time is an argument. The other side is ``learned.py``.
"""

from collections.abc import Callable, Iterable
from typing import Any

from podwire.planes.dns import splice, wire
from podwire.planes.dns.message import AAAA, A

HOLD_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""Addresses stay known for so long at least: a client may use its answer's last second."""
RENEW_SECONDS = 5.0
MAX_HELD = 1000
MAX_KNOWN = 65_536

Addresses = list[tuple[str, int]]
"""Address and TTL."""


class Hold:
    """All answers that wait. ``tell`` reaches the driver and says whether one is there."""

    def __init__(self, tell: Callable[[dict[str, Any]], bool]) -> None:
        """Nothing is watched."""
        self._tell = tell
        self._exact: frozenset[str] = frozenset()
        self._suffixes: frozenset[str] = frozenset()
        self._own = ""
        self._number = 0
        self._held: dict[int, tuple[float, Callable[[], None], str, Addresses]] = {}
        self._known: dict[tuple[str, str], float] = {}
        self.late = 0

    def watch(self, patterns: Iterable[str], domain: str) -> None:
        """Which names matter from now on; ``domain`` is the cluster's own."""
        names = tuple(patterns)
        self._exact = frozenset(name for name in names if not name.startswith("*."))
        self._suffixes = frozenset(name[2:] for name in names if name.startswith("*."))
        self._own = domain.lower().rstrip(".")

    @property
    def watching(self) -> bool:
        """Whether any name matters."""
        return bool(self._exact or self._suffixes)

    def keep(self, reply: bytes, deliver: Callable[[], None], now: float) -> bool:
        """Whether the reply waits; ``deliver`` is called when it may go. False: it may go now."""
        found = self._read(reply)
        if found is None:
            return False
        name, addresses = found
        fresh = [a for a, _ in addresses if self._known.get((name, a), 0.0) <= now]
        longer = [a for a, ttl in addresses if self._known.get((name, a), 0.0) + RENEW_SECONDS < _until(now, ttl)]
        if not longer:
            return False
        self._number += 1
        there = self._tell({"learned": self._number, "name": name, "addresses": addresses})
        if not fresh:
            self._note(name, addresses, now)
        if not fresh or not there or len(self._held) >= MAX_HELD:
            return False
        self._held[self._number] = (now + HOLD_SECONDS, deliver, name, addresses)
        return True

    def release(self, number: int, now: float) -> None:
        """The kernels have the addresses of this answer."""
        held = self._held.pop(number, None)
        if held is not None:
            self._note(held[2], held[3], now)
            held[1]()

    def expire(self, now: float) -> float | None:
        """Let go what waited too long; how long until the next one."""
        for number in [n for n, held in self._held.items() if held[0] <= now]:
            self.late += 1
            self._held.pop(number)[1]()
        return min((held[0] for held in self._held.values()), default=now) - now if self._held else None

    def _note(self, name: str, addresses: Addresses, now: float) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()  # only costs holding once more
        self._known.update(((name, address), _until(now, ttl)) for address, ttl in addresses)

    def _read(self, reply: bytes) -> tuple[str, Addresses] | None:
        """Name and addresses of an answer that matters."""
        if reply[3] & 15 or not int.from_bytes(reply[6:8], "big"):
            return None
        try:
            name = wire.decode_name(splice.expand_name(reply, 12)[0]).rstrip(".").lower()
            if not self._is_watched(name):
                return None
            records = [r for r in splice.read_records(reply) if r.section == 0 and r.rtype in (A, AAAA)]
        except (wire.Malformed, IndexError, ValueError):
            return None
        found = [(_address(r.data), int.from_bytes(r.head[4:8], "big")) for r in records if len(r.data) in (4, 16)]
        return (name, found) if found else None

    def _is_watched(self, name: str) -> bool:
        if name == self._own or name.endswith("." + self._own):
            return False
        if name in self._exact:
            return True
        while "." in name:
            name = name.partition(".")[2]
            if name in self._suffixes:
                return True
        return False


def _until(now: float, ttl: int) -> float:
    return now + max(float(ttl), GRACE_SECONDS)


def _address(data: bytes) -> str:
    import socket

    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
