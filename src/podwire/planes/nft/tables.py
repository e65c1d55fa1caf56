"""The kernel tables of one node as values: what :mod:`render` makes, :mod:`machine` compares and drivers load.

Rules:

1. A :class:`Unit` holds the elements one plan unit contributes. An unchanged plan unit renders to the *same* Unit
   object, so comparing two instants costs an identity check a unit.
2. Keys and values are nft text (``10.96.0.1 . tcp . 80``); a set's elements have the empty value.
3. A map is named as nft names it: ``ip6 podwire-svc frontends``; a :class:`Family` holds all names of one family. A
   unit holds elements of every family it has addresses of; list numbers are the same in both.
4. Several units may claim one element of a :data:`SHARED` map (two ports of one cluster IP); elements of all other
   maps carry the unit's own number, so nobody else can.

The layout and the meaning of every map: ``docs/design/services.md`` and ``docs/design/policy.md``.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from podwire.plan import Draw, PolicyPlan, ServicePlan, is_family

Elements = Mapping[str, Mapping[str, str]]
"""Map name to key to value."""

SVC = "podwire-svc"
NP = "podwire-np"


class Family(msgspec.Struct, frozen=True, gc=False):
    """One address family: how nft spells it, and the full names of its maps and sets."""

    number: int
    nft: str
    frontends: str
    nodeports: str
    traffic: str
    node_traffic: str
    rejected: str
    shortcuts: str
    counts: str
    backends: str
    tickets: str
    members: str
    classes: str
    cluster_ips: str
    hairpins: str
    source_ranges: str
    node_addresses: str
    inside: str
    own_pods: str
    identity: str
    cidr_identity: str
    port_class: str
    rules_in: str
    rules_out: str
    isolated_in: str
    isolated_out: str
    own_pairs: str
    self_pairs: str
    hits: str

    def has(self, address: str) -> bool:
        """Whether ``address`` (valid by construction) is of this family."""
        return is_family(address, self.number)


_SVC_MAPS = (
    "frontends", "nodeports", "traffic", "node_traffic", "rejected", "shortcuts", "counts", "backends", "tickets",
    "members", "classes", "cluster_ips", "hairpins", "source_ranges", "node_addresses", "inside", "own_pods",
)  # fmt: skip
_NP_MAPS = (
    "identity", "cidr_identity", "port_class", "rules_in", "rules_out", "isolated_in", "isolated_out", "own_pairs",
    "self_pairs", "hits",
)  # fmt: skip


def _family(number: int, nft: str) -> Family:
    names = {name: f"{nft} {SVC} {name.replace('_', '-')}" for name in _SVC_MAPS}
    names |= {name: f"{nft} {NP} {name.replace('_', '-')}" for name in _NP_MAPS}
    return Family(number, nft, **names)


IP = _family(4, "ip")
IP6 = _family(6, "ip6")
FAMILIES = (IP, IP6)


def family_of(address: str) -> Family:
    """The family of an address."""
    return IP6 if ":" in address else IP


def maps(*names: str) -> frozenset[str]:
    """The full names of these maps (as attributes of :class:`Family`) in both families."""
    return frozenset(getattr(family, name) for family in FAMILIES for name in names)


SHARED = maps(
    "frontends", "nodeports", "traffic", "node_traffic", "cluster_ips", "hairpins", "source_ranges", "identity",
    "rules_in", "rules_out", "isolated_in", "isolated_out", "own_pairs", "self_pairs",
)  # fmt: skip
"""Maps whose elements several units may claim; the least unit name wins."""

WHOLE = maps("cidr_identity", "port_class", "inside", "own_pods", "node_addresses")
"""Maps written by one unit and replaced as a whole: nft reads interval maps back on each change anyway."""

REFUSE = 0xFFFFFFFF
DROP = 0xFFFFFFFE
"""Classes of a list nobody may answer from."""

MASQUERADE = 0x80000000
"""Front end word: source becomes the node."""
MASQUERADE_OTHERS = 0x40000000
"""Front end word: source becomes the node unless it is a pod (P19)."""
SHORTCUT = 0x20000000
"""Front end word: sources inside the cluster use another list (P6)."""
RESTRICTED = 0x10000000
"""Front end word: only ``source-ranges`` may pass (P12)."""

ALLOW = 0x90000000
DENY = 0xA0000000
AUDIT = 0xC0000000
"""Policy decision words, with the decision's number in the low 20 bits. Neither of the others is part of ``AUDIT``."""


REFUSED, DROPPED, BARRED = 0x10000000, 0x20000000, 0x30000000
"""Why a list turned a packet away, in the keys of ``rejected``."""


class BackendClass(msgspec.Struct, frozen=True, order=True, gc=False):
    """How a list is chosen from: ``count`` endpoints, sticky for ``affinity_seconds`` when that is not 0. ``family``
    is that of the table the chain lives in."""

    count: int
    affinity_seconds: int = 0
    family: str = "ip"

    @property
    def number(self) -> int:
        """The class as the kernel's ``counts`` and ``classes`` maps spell it: 17 bits of seconds, 15 of count."""
        return self.affinity_seconds << 15 | self.count

    @property
    def chain(self) -> str:
        """Name of the chain that serves the class."""
        return f"sticky{self.count}-{self.affinity_seconds}s" if self.affinity_seconds else f"lb{self.count}"


class UdpFlows(msgspec.Struct, frozen=True, gc=False):
    """Which conntrack entries a UDP Service port tolerates (P16): to ``targets`` (or ``node_port`` on a node
    address) only with a reply from ``keep``."""

    targets: frozenset[tuple[str, int]]
    node_port: int
    keep: frozenset[tuple[str, int]]


class Unit(msgspec.Struct, frozen=True, gc=False):
    """What one plan unit puts into one node's kernel."""

    elements: Elements
    classes: tuple[BackendClass, ...] = ()
    udp: UdpFlows | None = None


Table = Literal["services", "policy"]
TABLES: Mapping[Table, str] = {"services": SVC, "policy": NP}
"""Our two tables of each family, and how nft names them."""


class NodeTables(msgspec.Struct, frozen=True, gc=False):
    """Everything of one node. Units are editions: two tables are compared at the cost of what changed. ``rules`` is the
    constant rule text, of ``families`` only: another text means loading that table anew. ``draw`` goes with the Service
    table's text."""

    node: str
    rules: Mapping[Table, str]
    services: Mapping[str, Unit]
    policy: Mapping[str, Unit]
    addresses: tuple[str, ...] = ()
    families: tuple[Family, ...] = (IP,)
    draw: Draw = "random"
    sysctls: Mapping[str, str] = {}


class NftPlan(msgspec.Struct, frozen=True, gc=False):
    """What the nft plane executes."""

    services: ServicePlan
    policy: PolicyPlan


def word(number: int) -> str:
    """A mark as nft text."""
    return f"0x{number:08x}"
