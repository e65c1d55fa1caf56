"""What is known of clients by their address: the topology zone they are in, and how much they ask. Pure.

A client that asks more than its rate is not silenced altogether: every second question is answered with TC and nothing
else, so a resolver that is real comes back over TCP, and a forged address gets no more bytes than came in its name.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address, ip_network

MAX_CLIENTS = 65_536
BURST_SECONDS = 1.0


class Places:
    """Topology zones by network; the longest network that holds an address counts."""

    def __init__(self, places: Iterable[tuple[str, str]]) -> None:
        """(network, zone). Raises :class:`ValueError`."""
        self._zones: dict[tuple[int, int, int], str] = {}
        for text, zone in places:
            network = ip_network(text)
            size = network.max_prefixlen
            self._zones[size, network.prefixlen, int(network.network_address) >> (size - network.prefixlen)] = zone
        lengths = {(size, length) for size, length, _ in self._zones}
        self._lengths = sorted(lengths, reverse=True)
        self.zone_of = lru_cache(maxsize=4096)(self._zone_of)

    def _zone_of(self, client: str) -> str:
        """The zone of an address; empty when it is in no network."""
        try:
            return self.zone_of_packed(ip_address(client).packed)
        except ValueError:
            return ""

    def zone_of_packed(self, address: bytes) -> str:
        """The same of the bytes of an address."""
        size, number = 8 * len(address), int.from_bytes(address, "big")
        found = (self._zones.get((size, n, number >> (size - n))) for s, n in self._lengths if s == size)
        return next((zone for zone in found if zone is not None), "")


class Limiter:
    """A bucket of questions for each client, filled at ``rate`` per second; bounded in clients."""

    def __init__(self, rate: int) -> None:
        """``rate`` is above 0."""
        self._rate = float(rate)
        self._most = max(1.0, rate * BURST_SECONDS)
        self._buckets: dict[str, tuple[float, float]] = {}
        self.limited = 0

    def takes(self, client: str, now: float) -> bool:
        """Whether a question of this client is to be answered."""
        key = client if ":" not in client else ":".join(client.split(":")[:4])
        left, since = self._buckets.get(key, (self._most, now))
        left = min(self._most, left + (now - since) * self._rate)
        if key not in self._buckets and len(self._buckets) >= MAX_CLIENTS:
            self._buckets.clear()  # a flood of forged addresses: everybody begins anew
        if left < 1:
            self.limited += 1
            self._buckets[key] = (left, now)
            return False
        self._buckets[key] = (left - 1, now)
        return True

    def answer(self, packet: bytes) -> bytes | None:
        """What a client beyond its rate gets: nothing, or (every second time) its question with TC."""
        if self.limited % 2 or len(packet) < 12 or packet[2] & 0x80:
            return None
        return packet[:2] + bytes((packet[2] & 0x79 | 0x82, 0)) + bytes(8)
