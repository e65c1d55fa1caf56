"""Transactions: few, ordered, only stricter in between, and the same end from any beginning."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.planes.nft import machine as module
from podwire.planes.nft import tables as t
from podwire.planes.nft.fake import FakeKernel, Refused
from podwire.planes.nft.machine import Change, Machine, Transaction

ALLOW, DENY = "0x90000001", "0xa0000002"


def tables(services: Any = None, policy: Any = None, rules: str = "rules") -> t.NodeTables:
    return t.NodeTables("node", {"services": rules, "policy": rules}, services or {}, policy or {})


def run_all(kernel: FakeKernel, machine: Machine, wanted: t.NodeTables) -> int:
    transactions = machine.advance(wanted).transactions
    for transaction in transactions:
        kernel.run(transaction)
    return len(transactions)


def backend_unit(number: int, count: int) -> t.Unit:
    return t.Unit(
        {
            t.IP.backends: {f"0x{number:x} . 0x{slot:x}": f"10.0.0.{slot} . 80" for slot in range(count)},
            t.IP.cluster_ips: {f"10.96.0.{number // 2}": ""},
        },
        classes=(t.BackendClass(count),) if count else (),
    )


STATES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.builds(backend_unit, st.integers(0, 5), st.integers(0, 4)),
)


@given(st.lists(STATES, max_size=5), st.sampled_from((1, 3, 1000)))
def test_any_history_ends_in_the_same_tables(history: list[dict[str, t.Unit]], limit: int) -> None:
    """Shared elements survive as long as one unit claims them, whatever the order and the chunk size."""
    # Two units never hold the same number: that is what makes their private elements private.
    history = [
        {k: backend_unit(" abcd".index(k) * 10, len(u.elements[t.IP.backends])) for k, u in s.items()} for s in history
    ]
    original, module.LIMIT = module.LIMIT, limit
    try:
        kernel, machine = FakeKernel(), Machine()
        for state in history:
            run_all(kernel, machine, tables(state))
        expected: dict[str, dict[str, str]] = {}
        for unit in (history[-1] if history else {}).values():
            for name, elements in unit.elements.items():
                expected.setdefault(name, {}).update(elements)
        assert kernel.maps == {name: elements for name, elements in expected.items() if elements}
    finally:
        module.LIMIT = original


def test_nothing_to_do_sends_nothing() -> None:
    kernel, machine = FakeKernel(), Machine()
    state = tables({"a": backend_unit(1, 2)})
    assert run_all(kernel, machine, state) == 1
    assert run_all(kernel, machine, state) == 0


def test_a_shared_element_belongs_to_the_least_claimant() -> None:
    """Two Services claim one external address: it is the first one's until that goes."""
    kernel, machine = FakeKernel(), Machine()
    first = t.Unit({t.IP.frontends: {"192.0.2.1 . tcp . 80": "0x1"}})
    second = t.Unit({t.IP.frontends: {"192.0.2.1 . tcp . 80": "0x2"}})
    run_all(kernel, machine, tables({"b": second}))
    run_all(kernel, machine, tables({"b": second, "a": first}))
    assert kernel.maps[t.IP.frontends] == {"192.0.2.1 . tcp . 80": "0x1"}
    run_all(kernel, machine, tables({"b": second}))
    assert kernel.maps[t.IP.frontends] == {"192.0.2.1 . tcp . 80": "0x2"}
    run_all(kernel, machine, tables({}))
    assert t.IP.frontends not in kernel.maps


def test_a_new_class_is_made_before_it_is_used() -> None:
    machine = Machine()
    machine.advance(tables())
    steps = machine.advance(tables({"a": backend_unit(1, 70)}))
    (transaction,) = steps.transactions
    assert transaction.preamble.startswith("add chain ip podwire-svc lb70\n")
    assert (
        not machine.advance(tables({"a": backend_unit(1, 71), "b": backend_unit(2, 70)}))
        .transactions[0]
        .preamble.count("lb70")
    )


def policy_unit(isolated: str | None, rules: dict[str, str]) -> t.Unit:
    elements = {t.IP.rules_in: {f"10.0.0.1 . {key} . 0x0": value for key, value in rules.items()}}
    if isolated:
        elements[t.IP.isolated_in] = {"10.0.0.1": isolated}
    return t.Unit(elements)


RULE_STATES = st.builds(
    policy_unit,
    st.sampled_from((None, DENY)),
    st.dictionaries(st.sampled_from(["0x1", "0x2", "0x3"]), st.sampled_from((ALLOW, DENY))),
)


def verdicts(maps: dict[str, dict[str, str]]) -> dict[str, bool]:
    """Whether each peer may pass."""
    isolated = maps.get(t.IP.isolated_in, {}).get("10.0.0.1")
    rules = maps.get(t.IP.rules_in, {})
    return {
        peer: not isolated or rules.get(f"10.0.0.1 . {peer} . 0x0", isolated) == ALLOW
        for peer in ("0x1", "0x2", "0x3", "0x4")
    }


@given(RULE_STATES, RULE_STATES)
def test_states_in_between_are_only_stricter(before: t.Unit, after: t.Unit) -> None:
    """With one element a transaction: whoever passes in between passes before or after."""
    original, module.LIMIT = module.LIMIT, 1
    try:
        kernel, machine = FakeKernel(), Machine()
        run_all(kernel, machine, tables(policy={"pod/p": before}))
        start = verdicts(kernel.maps)
        seen = []
        for transaction in machine.advance(tables(policy={"pod/p": after})).transactions:
            kernel.run(transaction)
            seen.append(verdicts(kernel.maps))
        end = verdicts(kernel.maps)
        for state in seen:
            assert all(not passes or start[peer] or end[peer] for peer, passes in state.items())
    finally:
        module.LIMIT = original


def test_a_large_unit_grows_before_it_is_counted() -> None:
    unit = t.Unit(
        {
            t.IP.frontends: {"10.96.0.1 . tcp . 80": "0x1"},
            t.IP.counts: {"0x1": "0x3"},
            t.IP.backends: {f"0x1 . 0x{n:x}": "10.0.0.1 . 80" for n in range(3)},
        }
    )
    original, module.LIMIT = module.LIMIT, 2
    try:
        steps = Machine().advance(tables({"a": unit}))
        order = [change.map for transaction in steps.transactions for change in transaction.changes]
        assert order == [t.IP.backends, t.IP.backends, t.IP.counts, t.IP.frontends]
    finally:
        module.LIMIT = original


def test_a_refused_unit_is_what_it_was() -> None:
    kernel, machine = FakeKernel(), Machine()
    old, new = backend_unit(1, 2), backend_unit(1, 3)
    run_all(kernel, machine, tables({"a": old}))
    (transaction,) = machine.advance(tables({"a": new})).transactions
    machine.refuse(transaction)
    assert machine.in_force("services", "a") is old
    assert run_all(kernel, machine, tables({"a": new})) == 1
    assert len(kernel.maps[t.IP.backends]) == 3


def test_halves_do_the_same_as_the_whole() -> None:
    changes = tuple(Change("services", unit, t.IP.backends, ((unit, None, "v"),)) for unit in "abc")
    whole = Transaction(changes, "add table ip x\n")
    rules, rest = whole.split()
    assert (rules.preamble, rules.changes) == (whole.preamble, ())
    left, right = rest.split()
    assert (*left.changes, *right.changes) == changes


def test_text_deletes_before_it_adds() -> None:
    change = Change("services", "a", t.IP.backends, (("k", "old", "new"), ("gone", "x", None)))
    whole = Change("policy", "cidrs", t.IP.cidr_identity, (("10.0.0.0", None, "0x1"),), flush=True)
    assert Transaction((change, whole)).format() == (
        "flush map ip podwire-np cidr-identity\n"
        "delete element ip podwire-svc backends { k, gone }\n"
        "add element ip podwire-svc backends { k : new }\n"
        "add element ip podwire-np cidr-identity { 10.0.0.0 : 0x1 }\n"
    )


def test_udp_flows_are_looked_at_only_when_their_unit_changed() -> None:
    """P16: and only where somebody serves."""
    machine = Machine()
    served = t.Unit({}, udp=t.UdpFlows(frozenset({("10.96.0.1", 53)}), 0, frozenset({("10.0.0.1", 53)})))
    empty = t.Unit({}, udp=t.UdpFlows(frozenset({("10.96.0.2", 53)}), 0, frozenset()))
    assert machine.advance(tables({"a": served, "b": empty})).flows == (served.udp,)
    assert machine.advance(tables({"a": msgspec.structs.replace(served), "b": empty})).flows == ()


def test_the_fake_is_as_strict_as_the_kernel() -> None:
    kernel = FakeKernel()
    kernel.run(Transaction((Change("services", "a", t.IP.backends, (("k", None, "v"),)),)))
    for edit in (("other", "v", None), ("k", None, "w")):
        with pytest.raises(Refused):
            kernel.run(Transaction((Change("services", "a", t.IP.backends, (edit,)),)))
    assert kernel.maps == {t.IP.backends: {"k": "v"}}
