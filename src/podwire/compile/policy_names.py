"""Domain names in policies: which answers of our DNS matter, what was learned of them, and what every kernel knows.

The way of an answer (``docs/design/policy.md``): a worker holds it and tells its addresses, they become a
:class:`podwire.plan.NamesFact`, the policy plan gives them identities, the nodes' kernels confirm the fact's revision,
and the zone plan releases it.

Source: network-policy-api NPEP-133.
"""

from collections.abc import Iterable

from podwire.compile.policy_views import NamePeer, PolicyView
from podwire.kube.clusterpolicy import ClusterNetworkPolicy
from podwire.plan import NAMES_UNIT, NamesFact
from podwire.snapshot import Snapshot

Learned = tuple[tuple[str, tuple[NamePeer, ...]], ...]
"""Addresses with the patterns that some name of theirs matches, in order."""


def watched_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Every domain name of every policy, as the DNS workers compare them."""
    peers = (peer for p in snapshot.all(ClusterNetworkPolicy).values() for rule in p.spec.egress for peer in rule.to)
    return tuple(sorted({name.lower().rstrip(".") for peer in peers for name in peer.domain_names}))


def released_revision(snapshot: Snapshot, nodes: Iterable[str]) -> int:
    """The revision of the names that the kernel of every node has; 0 while one has none."""
    facts = (snapshot.facts.planes.get(f"nft/{node}") for node in nodes)
    revisions = [int(fact.applied.get(NAMES_UNIT, "0")) if fact is not None and fact.ready else 0 for fact in facts]
    return min(revisions, default=0)


def patterns_of(views: Iterable[PolicyView]) -> tuple[NamePeer, ...]:
    """Every name that some rule names."""
    matches = (peer.match for view in views for rule in view.rules for peer in rule.peers)
    return tuple(sorted({match for match in matches if isinstance(match, NamePeer)}))


def learned_addresses(fact: NamesFact, patterns: tuple[NamePeer, ...], now: float) -> tuple[Learned, float | None]:
    """Addresses that are alive now, and when the first of them ends."""
    found: dict[str, set[NamePeer]] = {}
    ends: list[float] = []
    for name, addresses in fact.names.items() if patterns else ():
        matching = [pattern for pattern in patterns if pattern.matches(name)]
        for address, until in addresses if matching else ():
            if until > now:
                found.setdefault(address, set()).update(matching)
                ends.append(until)
    return tuple((address, tuple(sorted(of))) for address, of in sorted(found.items())), min(ends, default=None)
