"""Equivalence classes: addresses that every rule treats alike, and ports that every rule treats alike.

Two pods are equal as peers when every selector in use, every CIDR in use and every named port in use treats them alike.
Numbers are hashes of what defines the class, so a change elsewhere does not renumber it.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

import msgspec

from podwire.base import Cidr, assign_numbers, stable_hash
from podwire.compile.policy_names import Learned
from podwire.compile.policy_views import BlockPeer, Match, NamedPort, NamePeer, PodsPeer, PodView, PolicyView, Rule
from podwire.kube import selects
from podwire.plan import WORLD, PortClass

Parts = tuple[frozenset[str], frozenset[BlockPeer], tuple[NamedPort, ...], frozenset[NamePeer]]
"""What defines a class: pod peers by text, blocks, named ports, domain names."""


class PeerClass(msgspec.Struct, frozen=True):
    """One identity: which pod peers (by text), blocks and domain names match it, and its named ports."""

    number: int
    pods: frozenset[str]
    blocks: frozenset[BlockPeer]
    ports: tuple[NamedPort, ...]
    names: frozenset[NamePeer] = frozenset()


class PeerClasses(msgspec.Struct, frozen=True):
    """All identities; ``of_pod`` by pod key, one
    for each address; ``cidrs`` are disjoint. ``by_match`` has the classes a block, or pods by
    their text, matches."""

    classes: Mapping[int, PeerClass]
    of_pod: Mapping[str, tuple[int, ...]]
    cidrs: Mapping[Cidr, int]
    by_match: Mapping[BlockPeer | NamePeer | str, tuple[PeerClass, ...]] = {}
    class_of: Callable[[PodView], tuple[int, ...] | None] = lambda pod: None
    """The classes of a pod that was not there, if they are among ``classes``."""
    names: Mapping[str, int] = {}
    """Identities of learned addresses."""
    name: Callable[[Learned], Mapping[str, int] | None] = lambda learned: None
    """The identities of other learned addresses, if the classes would be the same with them."""

    def matching(self, match: Match | None) -> Iterable[PeerClass]:
        """Every class one peer of a rule matches; None matches all."""
        if match is None:
            return self.classes.values()
        return self.by_match.get(match.text if isinstance(match, PodsPeer) else match, ())


def classify_peers(
    pods: Iterable[PodView],
    namespaces: Mapping[str, Mapping[str, str]],
    policies: Iterable[PolicyView],
    learned: Learned = (),
) -> PeerClasses:
    """Identities of all pods, of all address ranges that some rule names, and of the addresses of domain names."""
    rules = [rule for policy in policies for rule in policy.rules]
    blocks = sorted({p.match for r in rules for p in r.peers if isinstance(p.match, BlockPeer)})
    selectors = {p.match.text: p.match for r in rules for p in r.peers if isinstance(p.match, PodsPeer)}
    names = {item.name for r in rules if r.direction == "egress" for item in r.ports if item.name}
    keys: dict[str, Parts] = {}
    pod_keys = {}
    matcher = _Matcher(selectors, namespaces)

    def describe(pod: PodView) -> list[tuple[str, Parts]]:
        """By address: a block holds addresses of one family only."""
        matched = matcher.match(pod)
        ports = tuple(p for p in pod.ports if p.name in names)
        found = []
        for address in pod.addresses:
            inside = blocks_of(address, blocks) if blocks else frozenset[BlockPeer]()
            key = f"pod|{sorted(matched)}|{sorted(map(str, inside))}|{ports}"
            found.append((key, (matched, inside, ports, frozenset[NamePeer]())))
        return found

    def classes_of(pod: PodView) -> tuple[int, ...] | None:
        found = [numbers.get(key) for key, _ in describe(pod)]
        known = tuple(number for number in found if number is not None)
        return known if len(known) == len(found) else None

    for pod in pods:
        described = describe(pod)
        keys.update(described)
        pod_keys[pod.pod.key] = [key for key, _ in described]
    ranges = _disjoint_ranges(blocks)
    for inside in {matched for _, matched in ranges}:
        keys[_block_key(inside)] = (frozenset(), inside, (), frozenset())
    named = _describe_names(learned, blocks)
    keys |= _plain_names(rules) | dict(named.values())
    numbers = assign_numbers(keys)
    classes = {numbers[key]: PeerClass(numbers[key], *parts) for key, parts in sorted(keys.items())}
    classes[WORLD] = PeerClass(WORLD, frozenset(), frozenset(), ())
    by_match: dict[BlockPeer | NamePeer | str, list[PeerClass]] = {}
    for found in classes.values():
        matches: tuple[BlockPeer | NamePeer | str, ...] = (*found.pods, *found.blocks, *found.names)
        for match in matches:
            by_match.setdefault(match, []).append(found)
    plain = _plain_names(rules).keys()
    special = {key for key, _ in named.values()} - plain

    def name(other: Learned) -> Mapping[str, int] | None:
        found = _describe_names(other, blocks)
        if {key for key, _ in found.values()} - plain != special:
            return None
        return {address: numbers[key] for address, (key, _) in found.items()}

    return PeerClasses(
        names={address: numbers[key] for address, (key, _) in named.items()},
        name=name,
        by_match={match: tuple(found) for match, found in by_match.items()},
        class_of=classes_of,
        classes=classes,
        of_pod={pod: tuple(numbers[key] for key in found) for pod, found in pod_keys.items()},
        cidrs=dict(sorted((cidr, numbers[_block_key(inside)]) for cidr, inside in ranges)),
    )


def _plain_names(rules: Iterable[Rule]) -> dict[str, Parts]:
    """A class for the addresses of each name alone, there before the first one is learned: then learning one of them is
    an element, and no rule."""
    matches = {peer.match for rule in rules for peer in rule.peers if isinstance(peer.match, NamePeer)}
    return dict(_describe_name(frozenset({name}), frozenset()) for name in matches)


def _describe_names(learned: Learned, blocks: list[BlockPeer]) -> dict[str, tuple[str, Parts]]:
    """By address."""
    return {address: _describe_name(frozenset(names), blocks_of(address, blocks)) for address, names in learned}


def _describe_name(names: frozenset[NamePeer], inside: frozenset[BlockPeer]) -> tuple[str, Parts]:
    key = f"name|{sorted(map(str, inside))}|{sorted(name.pattern for name in names)}"
    return key, (frozenset(), inside, (), names)


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


def blocks_of(address: str, blocks: Iterable[BlockPeer]) -> frozenset[BlockPeer]:
    """The blocks that hold an address."""
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
