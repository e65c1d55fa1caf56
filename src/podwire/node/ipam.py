"""Addresses of one node's pods, host-local, without I/O.

Rules:

1. The network address, the first address (the node's, by convention) and the last one are never given out.
2. Round robin: a freed address comes up again last, so that a late packet for a dead pod finds nobody.
3. A wish is honoured when it is inside the block and free; otherwise the pod gets another address.
4. A pod gets an address of every block or none at all.
"""

from podwire.base import Cidr, PodwireError


class Ipam:
    """Give out and take back the addresses of one node: one block for each address family."""

    def __init__(self, blocks: tuple[str, ...]) -> None:
        """``blocks`` are the node's pod CIDRs, e.g. ``("10.244.1.0/24", "fd00:10:244:1::/64")``."""
        self._blocks = tuple(map(_Block, blocks))

    def allocate(self, wishes: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Free addresses, in the order of the blocks. Raises :class:`PodwireError` when a block has none left."""
        got: tuple[str, ...] = ()
        try:
            for block in self._blocks:
                got = (*got, block.allocate(wishes))
        except PodwireError:
            self.release(got)
            raise
        return got

    def release(self, addresses: tuple[str, ...]) -> None:
        """Take addresses back; one that was never given out is fine."""
        for block in self._blocks:
            block.release(addresses)

    @property
    def has_room(self) -> bool:
        """Whether there are addresses for another pod."""
        return all(block.has_room for block in self._blocks)

    def __str__(self) -> str:
        """The blocks."""
        return ", ".join(str(block.block) for block in self._blocks)


class _Block:
    """The addresses of one block."""

    def __init__(self, block: str) -> None:
        self.block = Cidr.parse_lenient(block)
        self._used: set[int] = set()
        self._next = self.block.base + 2

    def allocate(self, wishes: tuple[str, ...]) -> str:
        wish = next((w for w in wishes if self.block.contains(w)), "")
        wanted = Cidr.parse(wish).base if wish else 0
        if wanted and wanted not in self._used and self._usable(wanted):
            return self._take(wanted)
        for _ in range(min(self.block.last - self.block.base, len(self._used) + 1)):
            candidate, self._next = self._next, self._after(self._next)
            if candidate not in self._used and self._usable(candidate):
                return self._take(candidate)
        raise PodwireError(f"no free pod address left in {self.block}")

    @property
    def has_room(self) -> bool:
        """Whether an address is left."""
        return len(self._used) < self.block.last - self.block.base - 2

    def _after(self, address: int) -> int:
        return address + 1 if address + 1 < self.block.last else self.block.base + 2

    def _usable(self, address: int) -> bool:
        return self.block.base + 1 < address < self.block.last

    def _take(self, address: int) -> str:
        self._used.add(address)
        return str(self.block.network[address - self.block.base])

    def release(self, addresses: tuple[str, ...]) -> None:
        self._used -= {Cidr.parse(a).base for a in addresses if self.block.contains(a)}
