"""What a node's kernel counted for each Service port: connections, bytes, and what was turned away.

Rules:

1. Counters live on elements that are there anyway (``frontends``, ``nodeports``: first packets), on one element for
   each virtual address (``traffic``: every packet, where it was translated), and on elements that packets make
   (``rejected``). Nothing is read before somebody asks.
2. Counts begin when the rules are loaded. A count may begin anew when an address changes what it leads to.
3. ``rejected`` is by list number. What a number counted before it changed hands is nobody's.

The cost of each place: ``docs/lab/2026-11-28-service-counters.md``.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from podwire.base import PodwireError
from podwire.plan import ServiceCount, ServicePlan, ServicePort
from podwire.planes.nft.conntrack import open_conntrack
from podwire.planes.nft.elements import Count, pack_l4, read_counts, unpack_mark
from podwire.planes.nft.netns import run_in_netns
from podwire.planes.nft.render_services import unit_of_list
from podwire.planes.nft.tables import BARRED, DROPPED, REFUSED, Family

_LIST_BITS = 0xFFFFF
_REASONS = {REFUSED: "refused", DROPPED: "dropped", BARRED: "barred"}
_NONE = Count()


class _Owners(msgspec.Struct, frozen=True):
    """Whose elements are whose, in one plan."""

    frontends: Mapping[bytes, str]
    node_ports: Mapping[bytes, str]
    lists: Mapping[int, str]


class ServiceCounters:
    """Reads one node's counters; remembers who held which list number."""

    def __init__(self, netns: str) -> None:
        """Nothing is opened before the first reading."""
        self._netns = netns
        self._plan: ServicePlan | None = None
        self._owners = _Owners({}, {}, {})
        self._held: dict[tuple[str, int], tuple[str, int]] = {}

    def read(
        self, plan: ServicePlan, numbers: Mapping[str, int], families: Sequence[Family]
    ) -> tuple[ServiceCount, ...]:
        """Every Service port that counted anything, sorted. ``numbers`` are those of the lists of ``plan``.

        Raises :class:`PodwireError` when the kernel cannot be asked; without our tables there is nothing to tell.
        """
        if plan is not self._plan:
            self._plan, self._owners = plan, _find_owners(plan, numbers)
        counts: dict[str, ServiceCount] = {}
        try:
            with run_in_netns(self._netns, open_conntrack) as connection:
                for family in families:
                    names = (family.frontends, family.nodeports, family.traffic, family.node_traffic, family.rejected)
                    self._add(family, [read_counts(connection, name) for name in names], counts)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise PodwireError(f"counters of {self._netns} cannot be read: {error}") from error
        return tuple(counts[key] for key in sorted(counts))

    def _add(self, family: Family, found: Sequence[Mapping[bytes, Count]], counts: dict[str, ServiceCount]) -> None:
        frontends, node_ports, traffic, node_traffic, rejected = found
        for owners, tried, carried in (
            (self._owners.frontends, frontends, traffic),
            (self._owners.node_ports, node_ports, node_traffic),
        ):
            for element in tried.keys() | carried.keys():
                key = owners.get(element)
                if key is not None:
                    connections, size = tried.get(element, _NONE).packets, carried.get(element, _NONE).bytes
                    _grow(counts, key, connections=connections, bytes=size)
        for element, count in rejected.items():
            self._add_rejected(family, unpack_mark(element), count.packets, counts)

    def _add_rejected(self, family: Family, mark: int, packets: int, counts: dict[str, ServiceCount]) -> None:
        owner = self._owners.lists.get(mark & _LIST_BITS, "")
        held, base = self._held.get((family.nft, mark), (owner, 0))
        if held not in (owner, ""):
            base = packets
        base = base if packets >= base else 0  # the rules were loaded anew
        self._held[family.nft, mark] = owner, base
        if owner and packets > base:
            _grow(counts, owner, **{_REASONS[mark & ~_LIST_BITS]: packets - base})


def _grow(counts: dict[str, ServiceCount], key: str, **more: int) -> None:
    known = counts.get(key) or ServiceCount(key)
    sums = {name: getattr(known, name) + value for name, value in more.items()}
    counts[key] = msgspec.structs.replace(known, **sums)


def _find_owners(plan: ServicePlan, numbers: Mapping[str, int]) -> _Owners:
    """Where two Service ports claim one element, it is the least key's, as in the kernel."""
    frontends: dict[bytes, str] = {}
    node_ports: dict[bytes, str] = {}
    for key in sorted(plan.ports, reverse=True):
        port = plan.ports[key]
        for address in _addresses(port):
            with suppress(OSError):  # an address the kernel refused too
                frontends[pack_l4(port.protocol, port.port, address)] = key
        if port.node_port:
            node_ports[pack_l4(port.protocol, port.node_port)] = key
    return _Owners(frontends, node_ports, {number: unit_of_list(name) for name, number in numbers.items()})


def _addresses(port: ServicePort) -> tuple[str, ...]:
    return (*port.cluster_ips, *port.load_balancer_ips, *port.external_ips)
