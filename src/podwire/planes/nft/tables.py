"""The kernel tables of one node as values: what :mod:`render` makes, :mod:`machine` compares and drivers load.

Rules:

1. A :class:`Unit` holds the elements one plan unit contributes. An unchanged plan unit renders to the *same* Unit
   object, so comparing two instants costs an identity check a unit.
2. Keys and values are nft text (``10.96.0.1 . tcp . 80``); a set's elements have the empty value.
3. A map is named as nft names it: ``ip podwire-svc frontends``.
4. Several units may claim one element of a :data:`SHARED` map (two ports of one cluster IP); elements of all other
   maps carry the unit's own number, so nobody else can.

The layout and the meaning of every map: ``docs/design/services.md`` and ``docs/design/policy.md``.
"""

from collections.abc import Mapping

import msgspec

from podwire.plan import PolicyPlan, ServicePlan

Elements = Mapping[str, Mapping[str, str]]
"""Map name to key to value."""

SVC = "podwire-svc"
NP = "podwire-np"

FRONTENDS = f"ip {SVC} frontends"
NODEPORTS = f"ip {SVC} nodeports"
SHORTCUTS = f"ip {SVC} shortcuts"
COUNTS = f"ip {SVC} counts"
BACKENDS = f"ip {SVC} backends"
TICKETS = f"ip {SVC} tickets"
MEMBERS = f"ip {SVC} members"
CLASSES = f"ip {SVC} classes"
CLUSTER_IPS = f"ip {SVC} cluster-ips"
HAIRPINS = f"ip {SVC} hairpins"
SOURCE_RANGES = f"ip {SVC} source-ranges"
NODE_ADDRESSES = f"ip {SVC} node-addresses"
INSIDE = f"ip {SVC} inside"
OWN_PODS = f"ip {SVC} own-pods"

IDENTITY = f"ip {NP} identity"
CIDR_IDENTITY = f"ip {NP} cidr-identity"
PORT_CLASS = f"ip {NP} port-class"
RULES_IN = f"ip {NP} rules-in"
RULES_OUT = f"ip {NP} rules-out"
ISOLATED_IN = f"ip {NP} isolated-in"
ISOLATED_OUT = f"ip {NP} isolated-out"
OWN_PAIRS = f"ip {NP} own-pairs"
SELF_PAIRS = f"ip {NP} self-pairs"

SHARED = frozenset({
    FRONTENDS, NODEPORTS, CLUSTER_IPS, HAIRPINS, SOURCE_RANGES,
    IDENTITY, RULES_IN, RULES_OUT, ISOLATED_IN, ISOLATED_OUT, OWN_PAIRS, SELF_PAIRS,
})  # fmt: skip
"""Maps whose elements several units may claim; the least unit name wins."""

WHOLE = frozenset({CIDR_IDENTITY, PORT_CLASS, INSIDE, OWN_PODS, NODE_ADDRESSES})
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


class BackendClass(msgspec.Struct, frozen=True, order=True, gc=False):
    """How a list is chosen from: ``count`` endpoints, sticky for ``affinity_seconds`` when that is not 0."""

    count: int
    affinity_seconds: int = 0

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


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A hint that saves comparing all units: against the mapping ``before``, only ``units`` changed, came or went.

    It counts only for whoever has executed exactly ``before``; everybody else compares.
    """

    before: Mapping[str, Unit]
    units: tuple[str, ...]


class NodeTables(msgspec.Struct, frozen=True, gc=False):
    """Everything of one node. ``rules`` is the constant rule text: another text means loading everything anew."""

    node: str
    rules: str
    services: Mapping[str, Unit]
    policy: Mapping[str, Unit]
    addresses: tuple[str, ...] = ()
    services_delta: Delta | None = None
    policy_delta: Delta | None = None


class NftPlan(msgspec.Struct, frozen=True, gc=False):
    """What the nft plane executes."""

    services: ServicePlan
    policy: PolicyPlan


def word(number: int) -> str:
    """A mark as nft text."""
    return f"0x{number:08x}"
