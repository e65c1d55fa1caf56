"""One node's kernel: runs the machine's transactions in the node's namespace and keeps what was refused.

Rules:

1. All methods block; the driver calls them from worker threads, one at a time a node (the agent's lock).
2. State changes with each transaction, so a cancelled apply loses nothing: the next one goes on from what is true.
3. A refused transaction is halved until the refused unit stands alone; that unit keeps its old elements. Of policy the
   whole table goes back to what was in force and stays there until the refused unit is another one: an old rule beside
   new identities could miss somebody it denies. Where nothing was in force before, the others are loaded: pods without
   a confirmed unit do not start.
4. What somebody else did to a table of ours is repaired when the guard tells of it, and when a transaction is refused:
   that table is loaded anew, once; the others stay in force (P22).
5. A namespace made anew under the same name is a new node.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from podwire.base import PodwireError, differences
from podwire.planes.nft.conntrack import delete_stale_flows
from podwire.planes.nft.guard import Guard
from podwire.planes.nft.machine import Machine, Transaction, format_close
from podwire.planes.nft.netns import identify_netns, run_in_netns
from podwire.planes.nft.nftlib import Session
from podwire.planes.nft.sysctls import Sysctls
from podwire.planes.nft.tables import FAMILIES, NP, SVC, TABLES, Family, NodeTables, Table, UdpFlows, Unit

_ICMP_SYSCTLS = ("/proc/sys/net/ipv4/icmp_ratelimit", "/proc/sys/net/ipv6/icmp/ratelimit")
"""Port unreachable is rate-limited per peer: the seventh quick UDP refusal would look like a drop."""


_PROBES: Mapping[Table, str] = {
    "services": f"list chain {{}} {SVC} dispatch",
    "policy": f"list chain {{}} {NP} forward",
}
"""Commands that fail when a table is gone. Run apart: nft 1.0.6 reads one table only when two are listed in one go."""


class Outcome(msgspec.Struct, frozen=True):
    """How one synchronisation ended. ``absent``: the namespace is not there (yet)."""

    absent: bool = False
    changed: bool = False
    rejected: Mapping[tuple[Table, str], str] = {}
    message: str = ""


class _Wiped(Exception):
    """These tables of ours are not there any more."""

    def __init__(self, lost: tuple[Table, ...]) -> None:
        super().__init__()
        self.lost = lost


class NodeAgent:
    """Executes tables in one node's namespace."""

    def __init__(self, netns: str, open_session: Callable[[str], Session]) -> None:
        """``open_session`` opens nft in a namespace given by name."""
        self.netns = netns
        self._open_session = open_session
        self._lock = threading.Lock()
        self._machine = Machine()
        self._session: Session | None = None
        self._identity: tuple[int, int] | None = None
        self._rejected: dict[tuple[Table, str], tuple[object, str]] = {}
        self._whole_policy: Mapping[str, Unit] | None = None
        """The policy units that were in force together last."""
        self._sysctls = Sysctls()
        self.guard: Guard | None = None
        """Belongs to whoever listens on it: never closed here. None where it cannot be had."""

    @property
    def is_attached(self) -> bool:
        """Whether tables are in the namespace as it is now."""
        return self._session is not None and identify_netns(self.netns) == self._identity

    def sync(self, tables: NodeTables) -> Outcome:
        """Make the kernel equal to ``tables``.

        Raises :class:`PodwireError` when the kernel refuses the tables as such.
        """
        with self._lock:
            try:
                if not self._attach():
                    return Outcome(absent=True)
                return self._sync_attached(tables)
            except FileNotFoundError:
                self._detach()
                return Outcome(absent=True)
            except BaseException:
                self._machine.reset()  # what the kernel holds is unknown: the next attempt loads everything
                raise

    def repair(self, tables: NodeTables) -> tuple[Outcome, str] | None:
        """Load anew what somebody else changed, and who that was; None when nothing of ours was touched.

        Raises as :meth:`sync`.
        """
        with self._lock:
            guard = self.guard
            if guard is None or not self.is_attached:
                return None
            guard.listen(own=0)
            if not guard.disturbed:
                return None
            guard.disturbed = False
            lost = self._find_changed(guard, tables)
            if not lost:
                return None
            self._lose(lost)
            words = " and ".join(TABLES[table] for table in lost)
            try:
                return self._sync_attached(tables), f"{words} changed by {guard.by or 'somebody'}"
            except BaseException:
                self._machine.reset()  # as in sync
                raise

    def _find_changed(self, guard: Guard, tables: NodeTables) -> tuple[Table, ...]:
        def is_whole(table: Table) -> bool:
            return all(guard.is_whole(f, TABLES[table], self._machine.expect(table, f)) for f in tables.families)

        try:
            return tuple(table for table in TABLES if not is_whole(table))
        except OSError:
            return tuple(TABLES)

    def _lose(self, lost: Iterable[Table]) -> None:
        lost = tuple(lost)
        self._machine.reset(lost)
        self._rejected = {key: value for key, value in self._rejected.items() if key[0] not in lost}

    def close(self, *, leave: bool = False) -> None:
        """Remove our tables, when the namespace still exists; or ``leave`` them in force."""
        with self._lock:
            if not leave and self._session is not None and identify_netns(self.netns) == self._identity:
                self._session.run(format_close())
            self._detach()

    def _attach(self) -> bool:
        identity = identify_netns(self.netns)
        if identity is None:
            self._detach()
            return False
        if identity != self._identity or self._session is None:
            self._detach()
            self._session, self._identity = self._open_session(self.netns), identity
            self.guard = run_in_netns(self.netns, _prepare)
        return True

    def _detach(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session, self._identity, self.guard = None, None, None
        self._machine.reset()
        self._rejected = {}
        self._whole_policy = None
        self._sysctls = Sysctls()

    def _sync_attached(self, tables: NodeTables) -> Outcome:
        try:
            return self._advance(self._without_known_rejects(tables), tables)
        except _Wiped as wiped:
            self._lose(wiped.lost)
        try:
            return self._advance(tables, tables)
        except _Wiped as error:
            raise PodwireError(f"{self.netns}: our tables vanish while they are loaded") from error

    def _without_known_rejects(self, tables: NodeTables) -> NodeTables:
        """A unit that was refused is not sent again until it is another one; the kernel keeps what it had."""
        groups: dict[Table, Mapping[str, object]] = {"services": tables.services, "policy": tables.policy}
        self._rejected = {k: v for k, v in self._rejected.items() if groups[k[0]].get(k[1]) is v[0]}
        if not self._rejected:
            return tables
        services, policy = dict(tables.services), dict(tables.policy)
        for table, unit in self._rejected:
            group = services if table == "services" else policy
            held = self._machine.in_force(table, unit)
            if held is None:
                group.pop(unit)
            else:
                group[unit] = held
        tables = msgspec.structs.replace(tables, services=services, policy=policy)
        return self._with_whole_policy(tables) if self._is_policy_refused() else tables

    def _is_policy_refused(self) -> bool:
        return any(table == "policy" for table, _ in self._rejected)

    def _with_whole_policy(self, tables: NodeTables) -> NodeTables:
        """Rule 3."""
        return tables if self._whole_policy is None else msgspec.structs.replace(tables, policy=self._whole_policy)

    def _advance(self, wanted: NodeTables, asked: NodeTables) -> Outcome:
        steps = self._machine.advance(wanted)
        known = len(self._rejected)
        for transaction in steps.transactions:
            self._run(transaction, asked)
        if not self._is_policy_refused():
            self._whole_policy = wanted.policy
        elif self._whole_policy is not None and wanted.policy is not self._whole_policy:
            for transaction in self._machine.advance(self._with_whole_policy(wanted)).transactions:
                self._run(transaction, asked)
        if len(self._rejected) > known and len(steps.transactions) > 1:
            self._machine.reset()  # a refused unit may be there in part; the next attempt loads everything without it
        words = (self._forget_flows(steps.flows, asked), self._sysctls.apply(self.netns, asked.sysctls))
        message = "; ".join(filter(None, words))
        return Outcome(changed=bool(steps.transactions), rejected=self._tell_rejected(asked), message=message)

    def _tell_rejected(self, asked: NodeTables) -> dict[tuple[Table, str], str]:
        """Refused units with the kernel's words, and the policy units that wait for one of them."""
        rejected: dict[tuple[Table, str], str] = {}
        if self._is_policy_refused() and self._whole_policy is not None:
            refused = ", ".join(sorted(unit for table, unit in self._rejected if table == "policy"))
            waiting = differences(self._whole_policy, asked.policy) & asked.policy.keys()
            rejected = {("policy", unit): f"held back: the kernel refuses {refused}" for unit in waiting}
        return rejected | {key: words for key, (_, words) in self._rejected.items()}

    def _run(self, transaction: Transaction, asked: NodeTables) -> None:
        words = self._send(transaction)
        if not words:
            return
        if not transaction.changes:
            self._machine.reset()
            raise PodwireError(f"{self.netns}: the kernel refuses the rules: {words}")
        if not transaction.preamble and (lost := self._find_lost(asked.families)):
            raise _Wiped(lost)
        if transaction.preamble or len(transaction.units) > 1:
            for half in transaction.split():
                self._run(half, asked)
            return
        self._machine.refuse(transaction)
        (key,) = transaction.units
        self._rejected[key] = ((asked.services if key[0] == "services" else asked.policy).get(key[1]), words)

    def _send(self, transaction: Transaction) -> str:
        """Run one transaction; the guard hears it, and learns the rules it made."""
        assert self._session is not None
        guard = self.guard
        if guard is not None:
            guard.listen(own=0)
        words = self._session.run(transaction.format())
        if guard is not None and not words:
            guard.listen(own=1)
            if transaction.preamble:
                for family in FAMILIES:
                    for table in TABLES.values():
                        guard.note_rules(family, table)
        return words

    def _find_lost(self, families: Iterable[Family]) -> tuple[Table, ...]:
        assert self._session is not None
        session = self._session
        return tuple(
            table for table, probe in _PROBES.items() if any(session.run(probe.format(f.nft)) for f in families)
        )

    def _forget_flows(self, flows: tuple[UdpFlows, ...], tables: NodeTables) -> str:
        """P16. A kernel without ctnetlink keeps stale UDP flows until they time out; that is worth a word only."""
        if not flows:
            return ""
        try:
            delete_stale_flows(self.netns, flows, tables.addresses)
        except PodwireError as error:
            return str(error)
        return ""


def _prepare() -> Guard | None:
    """What is done once inside a namespace."""
    for path in _ICMP_SYSCTLS:
        with suppress(OSError):  # read-only /proc in a container: refusals of UDP stay rate-limited
            Path(path).write_text("0")
    try:
        return Guard()
    except OSError:
        return None  # a kernel without notifications: what somebody else removes comes back with the next change
