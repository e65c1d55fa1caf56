"""From the tables in force to the tables wanted: ordered kernel transactions, without any I/O.

Rules:

1. A transaction is atomic. Everything that fits into one goes into one.
2. What does not fit is ordered so that any state between is only stricter than before or after: policy before
   Services; of policy isolation and denials first, allowances after them, lifting last (:func:`_rank`).
3. A Service port is changed in one transaction unless it alone exceeds :data:`LIMIT`; then endpoints come before the
   list grows and before front ends lead to it.
4. Replacing a value is delete and add of one key, always in one transaction.
5. The machine assumes that its transactions succeed; :meth:`Machine.refuse` takes the units of one back.

Limits: above about 4 MB of netlink a transaction fails (``docs/design/services.md``).
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from podwire.base import differences
from podwire.plan import Draw
from podwire.planes.nft import tables as t
from podwire.planes.nft.rules import format_class, format_ready_classes, ready_classes
from podwire.planes.nft.tables import Table

LIMIT = 5_000
"""Elements in a transaction."""

Edit = tuple[str, str | None, str | None]
"""Key, value in force (None: absent), value wanted (None: absent)."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """Edits of one map by one unit. ``flush`` empties the map first."""

    table: Table
    unit: str
    map: str
    edits: tuple[Edit, ...]
    flush: bool = False


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What the kernel takes or refuses as a whole. ``preamble`` is rule text before the elements."""

    changes: tuple[Change, ...]
    preamble: str = ""

    @property
    def units(self) -> tuple[tuple[Table, str], ...]:
        """The units behind the changes."""
        return tuple(dict.fromkeys((c.table, c.unit) for c in self.changes))

    def format(self) -> str:
        """Commands for nft: flushes, then deletions, then additions."""
        flushes = dict.fromkeys(c.map for c in self.changes if c.flush)
        deletes: dict[str, list[str]] = {}
        adds: dict[str, list[str]] = {}
        for change in self.changes:
            gone = [key for key, before, _ in change.edits if before is not None]
            new = [f"{key} : {after}" if after else key for key, _, after in change.edits if after is not None]
            if gone and not change.flush:
                deletes.setdefault(change.map, []).extend(gone)
            if new:
                adds.setdefault(change.map, []).extend(new)
        lines = [f"flush {_noun(name)} {name}" for name in flushes]
        lines += [f"delete element {name} {{ {', '.join(dict.fromkeys(keys))} }}" for name, keys in deletes.items()]
        lines += [f"add element {name} {{ {', '.join(elements)} }}" for name, elements in adds.items()]
        return self.preamble + "\n".join(lines) + "\n"

    def split(self) -> tuple["Transaction", "Transaction"]:
        """Two transactions that together do the same, neither empty, no unit in both; for finding a culprit."""
        if self.preamble:
            return Transaction((), self.preamble), Transaction(self.changes)
        units = self.units
        left = frozenset(units[: len(units) // 2])
        return (
            Transaction(tuple(c for c in self.changes if (c.table, c.unit) in left)),
            Transaction(tuple(c for c in self.changes if (c.table, c.unit) not in left)),
        )


class Steps(msgspec.Struct, frozen=True, gc=False):
    """What to do, in order, and which UDP flows to look at afterwards (P16)."""

    transactions: tuple[Transaction, ...]
    flows: tuple[t.UdpFlows, ...]


_SETS = t.maps(
    "traffic",
    "node_traffic",
    "members",
    "cluster_ips",
    "hairpins",
    "source_ranges",
    "node_addresses",
    "inside",
    "own_pods",
    "own_pairs",
)
_ISOLATION = t.maps("isolated_in", "isolated_out", "own_pairs")
_RULES = t.maps("rules_in", "rules_out")


def _noun(name: str) -> str:
    return "set" if name in _SETS else "map"


class Ledger:
    """The units of one table in force, and who claims which element of a shared map."""

    def __init__(self, table: Table) -> None:
        """An empty table."""
        self.table = table
        self.units: dict[str, t.Unit] = {}
        self._claims: dict[str, dict[str, tuple[str, str] | dict[str, str]]] = {}

    def put(self, name: str, unit: t.Unit | None) -> Iterator[Change]:
        """Replace one unit (None removes it); the changes that follow for the kernel."""
        before = self.units[name].elements if name in self.units else {}
        after = unit.elements if unit is not None else {}
        if unit is None:
            self.units.pop(name, None)
        else:
            self.units[name] = unit
        for map_name in dict.fromkeys((*before, *after)):
            old, new = before.get(map_name, {}), after.get(map_name, {})
            if map_name in t.WHOLE:
                if old != new:
                    yield Change(self.table, name, map_name, tuple(_compare({}, new)), flush=True)
                continue
            edits = self._share(name, map_name, old, new) if map_name in t.SHARED else _compare(old, new)
            if edits:
                yield Change(self.table, name, map_name, tuple(edits))

    def count(self) -> dict[str, int]:
        """How many elements each map has by all units; also of those that had any before."""
        counts = {name: len(claims) for name, claims in self._claims.items()}
        for unit in self.units.values():
            for name, elements in unit.elements.items():
                if name not in t.SHARED:
                    counts[name] = counts.get(name, 0) + len(elements)
        return counts

    def _share(self, unit: str, map_name: str, old: Mapping[str, str], new: Mapping[str, str]) -> list[Edit]:
        claims = self._claims.setdefault(map_name, {})
        edits: list[Edit] = []
        for key, was, value in _compare(old, new):
            if was is None and key not in claims and value is not None:  # the common case, made quick
                claims[key] = (unit, value)
                edits.append((key, None, value))
                continue
            before, after = self._claim(claims, key, unit=unit, value=value)
            if before != after:
                edits.append((key, before, after))
        return edits

    @staticmethod
    def _claim(
        claims: dict[str, tuple[str, str] | dict[str, str]], key: str, *, unit: str, value: str | None
    ) -> tuple[str | None, str | None]:
        """Set or drop (None) one unit's claim; the element's value before and after."""
        known = claims.get(key)
        if known is None or (isinstance(known, tuple) and known[0] == unit):
            if value is None:
                del claims[key]
            else:
                claims[key] = (unit, value)
            return (known[1] if isinstance(known, tuple) else None), value
        everybody = dict([known]) if isinstance(known, tuple) else dict(known)
        before = everybody[min(everybody)]
        if value is None:
            everybody.pop(unit, None)
        else:
            everybody[unit] = value
        claims[key] = everybody if len(everybody) > 1 else next(iter(everybody.items()))
        return before, everybody[min(everybody)]


def _compare(old: Mapping[str, str], new: Mapping[str, str]) -> list[Edit]:
    if not old:
        return [(key, None, value) for key, value in new.items()]
    edits: list[Edit] = [(key, value, new.get(key)) for key, value in old.items() if new.get(key) != value]
    edits += [(key, None, value) for key, value in new.items() if key not in old]
    return edits


class Machine:
    """What one node's kernel holds, as far as our transactions tell."""

    def __init__(self) -> None:
        """A node without our tables."""
        self.rules: dict[t.Table, str] = {}
        self._ledgers: dict[Table, Ledger] = {}
        self._classes: set[t.BackendClass] = set()
        self._draw: Draw = "random"
        self._before: dict[tuple[Table, str], t.Unit | None] = {}
        self._seen: dict[Table, Mapping[str, t.Unit]] = {}
        self.reset()

    def reset(self, tables: Iterable[Table] = t.TABLES) -> None:
        """The kernel holds nothing of these tables any more."""
        for table in tables:
            self.rules.pop(table, None)
            self._ledgers[table] = Ledger(table)
            self._seen.pop(table, None)
            if table == "services":
                self._classes = set()
        self._before = {}

    def advance(self, tables: t.NodeTables) -> Steps:
        """The transactions that lead from the tables in force to ``tables``; none when they are equal."""
        preamble = ""
        for table, rules in tables.rules.items():
            if self.rules.get(table) == rules and (table != "services" or self._draw == tables.draw):
                continue
            self.reset((table,))
            self.rules[table] = rules
            preamble += format_close((table,)) + rules
            if table == "services":
                self._draw = tables.draw
                self._classes = set().union(*map(ready_classes, tables.families))
                preamble += "".join(format_ready_classes(family, tables.draw) for family in tables.families)
        self._before = {}
        policy = sorted(_ranked(self._put_all("policy", tables.policy)), key=lambda pair: pair[0])
        services = list(self._put_all("services", tables.services))
        flows = tuple(self._flows(tables.services))
        changes = [change for _, change in policy]
        chains = self._add_classes(tables.services)
        if _size(changes) + _size(services) <= LIMIT:
            merged = Transaction((*changes, *services), preamble + chains)
            return Steps((merged,) if merged.changes or merged.preamble else (), flows)
        transactions = [*_pack_policy(changes), *_pack_services(services)]
        first = msgspec.structs.replace(transactions[0], preamble=preamble + chains)
        return Steps((first, *transactions[1:]), flows)

    def refuse(self, transaction: Transaction) -> None:
        """The kernel did not take ``transaction``: its units are what they were before :meth:`advance`."""
        self._seen = {}
        for table, unit in transaction.units:
            for _ in self._ledgers[table].put(unit, self._before.get((table, unit))):
                pass

    def expect(self, table: Table, family: t.Family) -> dict[str, int]:
        """How many elements each map of a table holds, of those we put there."""
        counts = {name: n for name, n in self._ledgers[table].count().items() if name.startswith(f"{family.nft} ")}
        if table == "services":
            counts[family.classes] = sum(c.family == family.nft for c in self._classes) + 2
        return counts

    def in_force(self, table: Table, unit: str) -> t.Unit | None:
        """The unit the kernel holds now."""
        return self._ledgers[table].units.get(unit)

    def _put_all(self, table: Table, wanted: Mapping[str, t.Unit]) -> Iterator[Change]:
        ledger = self._ledgers[table]
        names = differences(self._seen.get(table, ledger.units), wanted)
        self._seen[table] = wanted
        for name in sorted(names):
            self._before[table, name] = ledger.units.get(name)
            yield from ledger.put(name, wanted.get(name))

    def _flows(self, wanted: Mapping[str, t.Unit]) -> Iterator[t.UdpFlows]:
        for (table, name), before in self._before.items():
            unit = wanted.get(name) if table == "services" else None
            if unit is None or unit.udp is None or not unit.udp.keep:
                continue
            if before is None or before.udp != unit.udp:
                yield unit.udp

    def _add_classes(self, wanted: Mapping[str, t.Unit]) -> str:
        names = [name for table, name in self._before if table == "services" and name in wanted]
        new = sorted({c for name in names for c in wanted[name].classes} - self._classes)
        self._classes.update(new)
        return "".join(format_class(c, self._draw) for c in new)


def format_close(tables: Iterable[Table] = t.TABLES) -> str:
    """Commands that remove tables of ours in every family, whatever of it is there."""
    names = [f"{family.nft} {t.TABLES[table]}" for table in tables for family in t.FAMILIES]
    return "".join(f"add table {name}\ndelete table {name}\n" for name in names)


def _size(changes: Iterable[Change]) -> int:
    return sum(len(c.edits) for c in changes)


def _ranked(changes: Iterable[Change]) -> Iterator[tuple[int, Change]]:
    """Policy changes cut by rank."""
    for change in changes:
        if change.flush:
            yield 2, change
            continue
        by_rank: dict[int, list[Edit]] = {}
        for edit in change.edits:
            by_rank.setdefault(_rank(change.map, edit), []).append(edit)
        if len(by_rank) == 1:
            yield next(iter(by_rank)), change
            continue
        for rank, edits in by_rank.items():
            yield rank, msgspec.structs.replace(change, edits=tuple(edits))


def _rank(map_name: str, edit: Edit) -> int:
    """0 isolate; 1 deny more or allow less; 2 say who is who; 3 allow more; 4 lift denials and isolation."""
    _, before, after = edit
    if map_name in _ISOLATION:
        lifts = after is None or (_is_denial(before) and not _is_denial(after))
        return 4 if lifts else 0
    if map_name not in _RULES:
        return 2
    if after is None:
        return 4 if _is_denial(before) else 1
    return 1 if _is_denial(after) else 3


def _is_denial(value: str | None) -> bool:
    return bool(value) and int(value or "0", 16) & t.DENY == t.DENY


def _pack_policy(changes: Iterable[Change]) -> Iterator[Transaction]:
    """Chunks in the given order; a map replaced as a whole is a transaction of its own."""
    room: list[Change] = []
    held = 0
    for change in changes:
        if change.flush:
            yield from _flushed(room)
            room, held = [], 0
            yield Transaction((change,))
            continue
        for piece in _cut(change):
            if held + len(piece.edits) > LIMIT:
                yield from _flushed(room)
                room, held = [], 0
            room.append(piece)
            held += len(piece.edits)
    yield from _flushed(room)


def _pack_services(changes: Iterable[Change]) -> Iterator[Transaction]:
    """Whole units as long as they fit."""
    by_unit: dict[str, list[Change]] = {}
    for change in changes:
        by_unit.setdefault(change.unit, []).append(change)
    room: list[Change] = []
    held = 0
    for unit_changes in by_unit.values():
        size = _size(unit_changes)
        if held + size > LIMIT:
            yield from _flushed(room)
            room, held = [], 0
        if size > LIMIT:
            yield from _pack_policy(_by_growth(unit_changes))
            continue
        room += unit_changes
        held += size
    yield from _flushed(room)


_GROWTH = {
    getattr(family, name): rank
    for rank, name in enumerate(("backends", "tickets", "members", "counts", "shortcuts", "source_ranges"))
    for family in t.FAMILIES
}


def _by_growth(changes: Iterable[Change]) -> list[Change]:
    """Rule 3: endpoints added, then counts, then front ends; deletions in the reverse order at the end."""
    adds, deletes = [], []
    for change in changes:
        rank = _GROWTH.get(change.map, len(_GROWTH))
        kept = tuple(e for e in change.edits if e[2] is not None)
        gone = tuple(e for e in change.edits if e[2] is None)
        if kept or change.flush:
            adds.append((rank, msgspec.structs.replace(change, edits=kept)))
        if gone:
            deletes.append((-rank, msgspec.structs.replace(change, edits=gone)))
    key = lambda pair: pair[0]  # noqa: E731
    return [c for _, c in sorted(adds, key=key)] + [c for _, c in sorted(deletes, key=key)]


def _cut(change: Change) -> Iterator[Change]:
    if len(change.edits) <= LIMIT:
        yield change
        return
    for start in range(0, len(change.edits), LIMIT):
        yield msgspec.structs.replace(change, edits=change.edits[start : start + LIMIT])


def _flushed(room: list[Change]) -> Iterator[Transaction]:
    if room:
        yield Transaction(tuple(room))
