"""A kernel in memory: takes the same transactions as the real one, and can be asked what it would do with a packet.

Rules:

1. Strict: deleting an element that is not there, or adding a key with another value, is refused as the kernel does.
2. :meth:`FakeKernel.route` and :meth:`FakeKernel.decide` follow the chains of :mod:`rules` line by line, so a test
   can hold them against ``decide_backends`` and ``decide_policy`` without a kernel.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Literal

import msgspec

from podwire.plan import PlaneFact, Report
from podwire.planes.nft import tables as t
from podwire.planes.nft.driver import Digests
from podwire.planes.nft.machine import Machine, Transaction
from podwire.planes.nft.render import Renderer


class Refused(Exception):
    """The fake kernel does not take a transaction."""


class Routed(msgspec.Struct, frozen=True):
    """Where a first packet goes. ``endpoints`` are all a draw may give; empty unless ``what`` is ``nat``."""

    what: Literal["nat", "refuse", "drop", "pass"]
    endpoints: frozenset[str] = frozenset()
    masquerade: bool = False


class FakeKernel:
    """The tables of one node."""

    def __init__(self) -> None:
        """Empty tables."""
        self.maps: dict[str, dict[str, str]] = {}

    def run(self, transaction: Transaction) -> None:
        """All of it or nothing. Raises :class:`Refused`."""
        gone = tuple(
            f"{line.removeprefix('delete table ')} "
            for line in transaction.preamble.splitlines()
            if line.startswith("delete table ")
        )
        maps = {name: dict(elements) for name, elements in self.maps.items() if not name.startswith(gone)}
        for change in transaction.changes:
            if change.flush:
                maps[change.map] = {}
        for change in transaction.changes:
            for key, before, _ in change.edits:
                if before is not None and maps.get(change.map, {}).pop(key, None) is None:
                    raise Refused(f"{change.map}: no element {key}")
        for change in transaction.changes:
            for key, _, after in change.edits:
                held = maps.setdefault(change.map, {})
                if after is not None and held.setdefault(key, after) != after:
                    raise Refused(f"{change.map}: element {key} exists")
        self.maps = {name: elements for name, elements in maps.items() if elements}

    def route(self, source: str, destination: str, protocol: str, port: int, *, local: bool, pods: str) -> Routed:
        """Chain ``dispatch``, then ``undefined`` without the service block. ``local``: the source is this node."""
        f, l4 = t.family_of(destination), f"{protocol.lower()} . {port}"
        word = self._mark(f.frontends, f"{destination} . {l4}")
        if not word and destination in self.maps.get(f.node_addresses, {}):
            word = self._mark(f.nodeports, l4)
        if not word:
            return Routed("refuse" if destination in self.maps.get(f.cluster_ips, {}) else "pass")
        if word & t.RESTRICTED and not self._in_ranges(f"{destination} . {l4} . ", source):
            return Routed("drop")
        is_pod = ip_address(source) in ip_network(pods)
        if word & t.SHORTCUT and (is_pod or local):
            word = self._mark(f.shortcuts, t.word(word)) or word
        masquerade = bool(word & t.MASQUERADE or (word & t.MASQUERADE_OTHERS and not is_pod))
        return self._draw(f, word & 0xFFFFF, masquerade)

    def _draw(self, f: t.Family, number: int, masquerade: bool) -> Routed:
        of_class = self._mark(f.counts, t.word(number))
        if of_class in (t.REFUSE, t.DROP):
            return Routed("refuse" if of_class == t.REFUSE else "drop")
        prefix, count = t.word(number), of_class & 0x7FFF
        slots = [f"0x{slot:x}" for slot in range(count)]
        if of_class >> 15:
            slots = [self.maps[f.tickets][f"{prefix} . {slot}"] for slot in slots]
        return Routed("nat", frozenset(self.maps[f.backends][f"{prefix} . {slot}"] for slot in slots), masquerade)

    def _in_ranges(self, prefix: str, source: str) -> bool:
        known = self.maps.get(t.family_of(source).source_ranges, {})
        ranges = (key.removeprefix(prefix) for key in known if key.startswith(prefix))
        return any(ip_address(source) in ip_network(block) for block in ranges)

    def decide(self, source: str, destination: str, protocol: str, port: int) -> Literal["allow", "deny"]:
        """Chain ``forward`` of the policy table for a new connection, after DNAT."""
        f = t.family_of(source)
        if f"{source} . {destination}" in self.maps.get(f.own_pairs, {}):
            return "allow"
        ways = ((source, destination, f.isolated_out, f.rules_out), (destination, source, f.isolated_in, f.rules_in))
        for subject, peer, isolated, rules in ways:
            word = self._look(subject, peer, rules, f"{protocol.lower()} . {port}") or self._mark(isolated, subject)
            if self._mark(isolated, subject) and word & t.DENY == t.DENY:
                return "deny"
        return "allow"

    def _look(self, subject: str, peer: str, rules: str, l4: str) -> int:
        f = t.family_of(peer)
        identity = self._mark(f.identity, peer) or self._in_spans(f.cidr_identity, int(ip_address(peer)))
        identity = self._mark(f.self_pairs, f"{subject} . {peer}") or identity
        protocol, _, port = l4.partition(" . ")
        port_class = self._in_spans(f.port_class, int(port), prefix=f"{protocol} . ")
        prefix = f"{subject} . {t.word(identity)} . "
        return self._mark(rules, f"{prefix}0x{port_class:x}") or self._mark(rules, f"{prefix}0x0")

    def _in_spans(self, map_name: str, value: int, *, prefix: str = "") -> int:
        for key, word in self.maps.get(map_name, {}).items():
            if key.startswith(prefix):
                first, _, last = key.removeprefix(prefix).partition("-")
                if _number(first) <= value <= _number(last or first):
                    return int(word, 16)
        return 0

    def _mark(self, map_name: str, key: str) -> int:
        return int(self.maps.get(map_name, {}).get(key, "0"), 16)


def _number(text: str) -> int:
    return int(ip_address(text)) if "." in text or ":" in text else int(text)


class FakeNft:
    """A driver whose nodes are always there and whose kernels are in memory; reports the same facts."""

    def __init__(self, report: Report, *, cluster: str = "fake") -> None:
        """No nodes before the first apply."""
        self.cluster = cluster
        self.kernels: dict[str, FakeKernel] = {}
        self.transactions = 0
        self._report = report
        self._renderer = Renderer()
        self._digests = Digests()
        self._machines: dict[str, Machine] = {}
        self._reported: dict[str, PlaneFact] = {}

    async def apply(self, plan: t.NftPlan) -> None:
        """As :meth:`podwire.planes.nft.NftDriver.apply`."""
        applied = self._digests.update(plan)
        tables = self._renderer.render(plan)
        for name in self.kernels.keys() - tables.keys():
            del self.kernels[name], self._machines[name]
            self._reported.pop(name, None)
        for name, node in tables.items():
            self._sync(name, node, applied)

    def _sync(self, name: str, tables: t.NodeTables, applied: Mapping[str, str]) -> None:
        kernel = self.kernels.setdefault(name, FakeKernel())
        machine = self._machines.setdefault(name, Machine())
        for transaction in self._count(machine.advance(tables).transactions):
            kernel.run(transaction)
        fact = PlaneFact(ready=True, applied=applied)
        if self._reported.get(name) != fact:
            self._reported[name] = fact
            self._report(f"nft/{name}", fact)

    def _count(self, transactions: tuple[Transaction, ...]) -> Iterator[Transaction]:
        for transaction in transactions:
            self.transactions += 1
            yield transaction

    async def close(self) -> None:
        """Forget everything."""
        self.kernels, self._machines, self._reported = {}, {}, {}
        self._renderer = Renderer()
