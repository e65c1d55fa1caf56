"""Addresses of one node's pods, host-local, without I/O.

Rules:

1. The network address, the first address (the node's, by convention) and the broadcast address are never given out.
2. Round robin: a freed address comes up again last, so that a late packet for a dead pod finds nobody.
3. A wish is honoured when it is inside the block and free; otherwise the pod gets another address.
"""

from podwire.base import Cidr, PodwireError


class Ipam:
    """Give out and take back the addresses of one block."""

    def __init__(self, block: str) -> None:
        """``block`` is the node's pod CIDR, e.g. ``10.244.1.0/24``."""
        self.block = Cidr.parse_lenient(block)
        self._used: set[int] = set()
        self._next = self.block.base + 2

    def allocate(self, wish: str = "") -> str:
        """A free address. Raises :class:`PodwireError` when there is none left."""
        wanted = Cidr.parse(wish).base if wish and self.block.contains(wish) else 0
        if wanted and wanted not in self._used and self._usable(wanted):
            return self._take(wanted)
        for _ in range(self.block.last - self.block.base):
            candidate, self._next = self._next, self._after(self._next)
            if candidate not in self._used and self._usable(candidate):
                return self._take(candidate)
        raise PodwireError(f"no free pod address left in {self.block}")

    def _after(self, address: int) -> int:
        return address + 1 if address + 1 < self.block.last else self.block.base + 2

    def _usable(self, address: int) -> bool:
        return self.block.base + 1 < address < self.block.last

    def _take(self, address: int) -> str:
        self._used.add(address)
        return str(Cidr(4, address, 32)).removesuffix("/32")

    def release(self, address: str) -> None:
        """Take an address back; one that was never given out is fine."""
        self._used.discard(Cidr.parse(address).base)
