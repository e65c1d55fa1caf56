"""Audited policies: what would be denied if they were enforced is let through, and recorded.

Rules:

1. Two worlds are folded: with the enforced policies alone, and with the audited ones enforced too.
2. What the first denies is denied, and by the first: an audited policy changes no packet, so it cannot allow either.
3. What the first allows and the second denies is an ``audit`` decision, with the reasons of the second.
4. What both allow is allowed, with the reasons of the second: rules of an audited policy are seen to match.

Both worlds have the same identities and port classes, so they are compared entry by entry.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.plan import SELF, Decision, Direction, RuleKey


class Fold(msgspec.Struct, frozen=True):
    """One world of one subject class: entries, and the default of each limited direction."""

    rules: Mapping[RuleKey, Decision]
    defaults: Mapping[Direction, Decision]

    def decide(self, key: RuleKey) -> Decision:
        """The order of look-ups of :func:`podwire.plan.decide_policy`."""
        base = self.rules.get(RuleKey(key.direction, key.peer, 0))
        default = self.defaults.get(key.direction) or Decision("allow", key.direction, ())
        if key.peer >= SELF and base is None:
            default = Decision(
                "allow", key.direction, ()
            )  # only ClusterNetworkPolicies decide about oneself and one's node
        return self.rules.get(key) or base or default


def combine(enforced: Decision, audited: Decision) -> Decision:
    """One decision of the two worlds (rules 2 to 4)."""
    if enforced.action == "deny":
        return enforced
    if audited.action == "deny":
        return Decision("audit", audited.direction, audited.matched)
    return audited


def overlay(enforced: Fold, audited: Fold) -> Iterator[tuple[RuleKey, Decision]]:
    """The entries of both worlds in one, without those that say what the fallback says."""
    groups: dict[tuple[Direction, int], set[RuleKey]] = {}
    for key in enforced.rules.keys() | audited.rules.keys():
        groups.setdefault((key.direction, key.peer), set()).add(key)
    for (direction, _), keys in sorted(groups.items()):
        yield from _of_peer(enforced, audited, combine_defaults(enforced, audited, direction), keys)


def combine_defaults(enforced: Fold, audited: Fold, direction: Direction) -> Decision:
    """What holds where no entry says otherwise."""
    open_ = Decision("allow", direction, ())
    return combine(enforced.defaults.get(direction, open_), audited.defaults.get(direction, open_))


def _of_peer(
    enforced: Fold, audited: Fold, default: Decision, keys: Iterable[RuleKey]
) -> Iterator[tuple[RuleKey, Decision]]:
    ordered = sorted(keys)
    any_port = msgspec.structs.replace(ordered[0], port_class=0)
    base = combine(enforced.decide(any_port), audited.decide(any_port))
    if base != default or any_port.peer >= SELF:
        yield any_port, base
    for key in ordered:
        decision = combine(enforced.decide(key), audited.decide(key))
        if key.port_class and decision != base:
            yield key, decision
