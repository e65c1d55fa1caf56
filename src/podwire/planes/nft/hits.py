"""How many packets each decision was about, as the kernel counts them: exact, whatever becomes of the log.

Rules:

1. The rules count every decided packet in the set ``hits`` by decision word, before anything is logged or dropped. Only
   the first packet of a connection is decided, so for allowed ones it is connections (and repeated first packets).
2. Tables that are loaded anew count from nothing: :class:`HitCounts` goes on from what it knew.
3. A number keeps its meaning for as long as :class:`podwire.planes.nft.flows.FlowLog` resolves it.
"""

import errno
from collections import Counter
from collections.abc import Mapping

from podwire.base import PodwireError
from podwire.planes.nft.conntrack import open_conntrack
from podwire.planes.nft.elements import read_counts, unpack_mark
from podwire.planes.nft.netns import run_in_netns
from podwire.planes.nft.tables import FAMILIES

Hits = Mapping[int, int]
"""Packets by decision word."""


def read_hits(netns: str) -> Hits:
    """The counters of a node, both families together; empty without tables or namespace.

    Raises :class:`PodwireError` when the kernel refuses.
    """
    total: Counter[int] = Counter()
    try:
        with run_in_netns(netns, open_conntrack) as connection:
            for family in FAMILIES:
                try:
                    found = read_counts(connection, family.hits)
                except OSError as error:
                    if error.errno != errno.ENOENT:
                        raise
                    continue  # no tables of this family
                total.update({unpack_mark(key): count.packets for key, count in found.items()})
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise PodwireError(f"counters of {netns} cannot be read: {error}") from error
    return total


class HitCounts:
    """What all nodes counted since the driver began."""

    def __init__(self) -> None:
        """Nothing counted."""
        self._seen: dict[str, Hits] = {}
        self._total: Counter[tuple[str, int]] = Counter()

    def take(self, node: str, hits: Hits) -> None:
        """What a node's kernel has now (rule 2)."""
        before = self._seen.get(node, {})
        anew = any(hits.get(word, 0) < packets for word, packets in before.items())
        for word, packets in hits.items():
            self._total[node, word] += packets - (0 if anew else before.get(word, 0))
        self._seen[node] = dict(hits)

    def by_node(self) -> Mapping[tuple[str, int], int]:
        """Packets by node and decision word."""
        return self._total
