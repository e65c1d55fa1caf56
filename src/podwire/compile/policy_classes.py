"""Equivalence classes: addresses that every rule treats alike, and ports that every rule treats alike.

Two pods are equal as peers when every selector in use, every CIDR in use and every named port in use treats them alike.
Numbers are hashes of what defines the class, so a change elsewhere does not renumber it.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

import msgspec

from podwire.base import Cidr, assign_numbers, stable_hash
from podwire.compile.policy_views import BlockPeer, NamedPort, PodsPeer, PodView, PolicyView, Rule
from podwire.kube import selects
from podwire.plan import WORLD, PortClass


class PeerClass(msgspec.Struct, frozen=True):
    """One identity: which pod peers (by text) and blocks match it, and its named ports."""

    number: int
    pods: frozenset[str]
    blocks: frozenset[BlockPeer]
    ports: tuple[NamedPort, ...]


class PeerClasses(msgspec.Struct, frozen=True):
    """All identities; ``of_pod`` by pod key; ``cidrs`` are disjoint. ``by_match`` has the classes a block, or pods by
    their text, matches."""

    classes: Mapping[int, PeerClass]
    of_pod: Mapping[str, int]
    cidrs: Mapping[Cidr, int]
    by_match: Mapping[BlockPeer | str, tuple[PeerClass, ...]] = {}
    class_of: Callable[[PodView], int | None] = lambda pod: None
    """The class of a pod that was not there, if it is one of ``classes``."""

    def matching(self, match: BlockPeer | PodsPeer | None) -> Iterable[PeerClass]:
        """Every class one peer of a rule matches; None matches all."""
        if match is None:
            return self.classes.values()
        return self.by_match.get(match.text if isinstance(match, PodsPeer) else match, ())


def classify_peers(
    pods: Iterable[PodView], namespaces: Mapping[str, Mapping[str, str]], policies: Iterable[PolicyView]
) -> PeerClasses:
    """Identities of all pods and of all address ranges that some rule names."""
    rules = [rule for policy in policies for rule in policy.rules]
    blocks = sorted({p.match for r in rules for p in r.peers if isinstance(p.match, BlockPeer)})
    selectors = {p.match.text: p.match for r in rules for p in r.peers if isinstance(p.match, PodsPeer)}
    names = {item.name for r in rules if r.direction == "egress" for item in r.ports if item.name}
    keys: dict[str, tuple[frozenset[str], frozenset[BlockPeer], tuple[NamedPort, ...]]] = {}
    pod_keys = {}
    matcher = _Matcher(selectors, namespaces)

    def describe(pod: PodView) -> tuple[str, tuple[frozenset[str], frozenset[BlockPeer], tuple[NamedPort, ...]]]:
        matched = matcher.match(pod)
        inside = _blocks_of(pod.addresses[0], blocks) if blocks else frozenset[BlockPeer]()
        ports = tuple(p for p in pod.ports if p.name in names)
        return f"pod|{sorted(matched)}|{sorted(map(str, inside))}|{ports}", (matched, inside, ports)

    for pod in pods:
        key, parts = describe(pod)
        keys[key] = parts
        pod_keys[pod.pod.key] = key
    ranges = _disjoint_ranges(blocks)
    for inside in {matched for _, matched in ranges}:
        keys[_block_key(inside)] = (frozenset(), inside, ())
    numbers = assign_numbers(keys)
    classes = {numbers[key]: PeerClass(numbers[key], *parts) for key, parts in sorted(keys.items())}
    classes[WORLD] = PeerClass(WORLD, frozenset(), frozenset(), ())
    by_match: dict[BlockPeer | str, list[PeerClass]] = {}
    for found in classes.values():
        matches: tuple[BlockPeer | str, ...] = (*found.pods, *found.blocks)
        for match in matches:
            by_match.setdefault(match, []).append(found)
    return PeerClasses(
        by_match={match: tuple(found) for match, found in by_match.items()},
        class_of=lambda pod: numbers.get(describe(pod)[0]),
        classes=classes,
        of_pod={pod: numbers[key] for pod, key in pod_keys.items()},
        cidrs=dict(sorted((cidr, numbers[_block_key(inside)]) for cidr, inside in ranges)),
    )


class _Matcher:
    """Which of many selectors match a pod: only those of its namespace or of all are tried, once for equal labels."""

    def __init__(self, selectors: Mapping[str, PodsPeer], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self._namespaces = namespaces
        self._own: dict[str, list[tuple[str, PodsPeer]]] = {}
        for text, peer in selectors.items():
            self._own.setdefault(peer.namespace, []).append((text, peer))
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], frozenset[str]] = {}

    def match(self, pod: PodView) -> frozenset[str]:
        """Texts of the selectors that match."""
        space = pod.pod.namespace
        known = self._known.get((space, pod.labels))
        if known is None:
            tried = (*self._own.get(space, ()), *self._own.get("", ()))
            known = frozenset(text for text, peer in tried if selects_pod(peer, pod, self._namespaces))
            self._known[space, pod.labels] = known
        return known


def _block_key(inside: frozenset[BlockPeer]) -> str:
    return f"cidr|{sorted(map(str, inside))}"


def selects_pod(peer: PodsPeer, pod: PodView, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a peer or subject means ``pod``; ``namespaces`` are labels by name."""
    namespace = pod.pod.namespace
    if peer.namespace and peer.namespace != namespace:
        return False
    if peer.namespaces is not None and not selects(peer.namespaces, namespaces.get(namespace, {})):
        return False
    return selects(peer.pods, dict(pod.labels))


def _blocks_of(address: str, blocks: Iterable[BlockPeer]) -> frozenset[BlockPeer]:
    parsed = ip_address(address)
    return frozenset(b for b in blocks if b.holds(parsed.version, int(parsed)))


def _disjoint_ranges(blocks: list[BlockPeer]) -> list[tuple[Cidr, frozenset[BlockPeer]]]:
    """Cut the address space at every boundary in use; keep the pieces some block matches, as CIDRs."""
    pieces: list[tuple[Cidr, frozenset[BlockPeer]]] = []
    for family, address_type in ((4, IPv4Address), (6, IPv6Address)):
        cidrs = [c for b in blocks if b.cidr.family == family for c in (b.cidr, *b.excepts) if c.family == family]
        cuts = sorted({c.base for c in cidrs} | {c.last + 1 for c in cidrs})
        for first, following in itertools.pairwise(cuts):
            inside = frozenset(b for b in blocks if b.holds(family, first))
            if not inside:
                continue
            networks = summarize_address_range(address_type(first), address_type(following - 1))
            pieces.extend((Cidr(family, int(n.network_address), n.prefixlen), inside) for n in networks)
    return pieces


def classify_ports(pods: Iterable[PodView], rules: Iterable[Rule]) -> tuple[PortClass, ...]:
    """Disjoint spans per protocol such that every port item in use is a union of spans."""
    numbers: dict[tuple[str, str], set[int]] = {}
    for pod in pods:
        for port in pod.ports:
            numbers.setdefault((port.protocol, port.name), set()).add(port.number)
    spans: dict[str, set[tuple[int, int]]] = {}
    for rule in rules:
        for item in rule.ports:
            named = {(n, n) for n in numbers.get((item.protocol, item.name), ())} if item.name else {item.span}
            spans.setdefault(item.protocol, set()).update(s for s in named if s[0] <= s[1])
    pieces = [(protocol, *piece) for protocol, found in sorted(spans.items()) for piece in _cut(found)]
    keys = [f"{protocol}/{first}-{last}" for protocol, first, last in pieces]
    assigned = assign_numbers(keys, bits=16)
    return tuple(PortClass(*piece, assigned[key]) for piece, key in zip(pieces, keys, strict=True))


def _cut(spans: set[tuple[int, int]]) -> list[tuple[int, int]]:
    cuts = sorted({first for first, _ in spans} | {last + 1 for _, last in spans})
    pairs = [(first, following - 1) for first, following in itertools.pairwise(cuts)]
    return [(a, b) for a, b in pairs if any(first <= a and b <= last for first, last in spans)]


def subject_key(directions: Mapping[str, tuple[str, ...]], ports: tuple[NamedPort, ...]) -> str:
    """The key of a subject class: which policies select it per direction, and the named ports they may ask for."""
    return stable_hash(f"{sorted(directions.items())}|{ports}", size_bytes=8)
