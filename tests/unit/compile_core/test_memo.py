"""The memo: same inputs, same object; equal results, the old object; unused units are forgotten."""

from podwire.compile.memo import Memo


def test_the_same_inputs_give_the_same_object() -> None:
    memo, source = Memo(), object()
    first = memo.unit("k", (source, "x", 1), lambda: [1])
    assert memo.unit("k", (source, "x", 1), lambda: [2]) is first


def test_another_object_with_an_equal_result_keeps_the_old_object() -> None:
    memo = Memo()
    first = memo.unit("k", (object(),), lambda: [1])
    assert memo.unit("k", (object(),), lambda: [1]) is first
    assert memo.unit("k", (object(),), lambda: [2]) == [2]


def test_numbers_of_another_type_are_other_inputs() -> None:
    memo = Memo()
    memo.unit("k", (1,), lambda: "int")
    assert memo.unit("k", (True,), lambda: "bool") == "bool"


def test_tuples_are_compared_by_their_parts() -> None:
    memo, part = Memo(), object()
    first = memo.unit("k", ((part, ("a",)),), lambda: [1])
    assert memo.unit("k", ((part, ("a",)),), lambda: [2]) is first


def test_sweep_forgets_what_nobody_asked_for() -> None:
    memo = Memo()
    kept = memo.unit("kept", (), lambda: [1])
    gone = memo.unit("gone", (), lambda: [1])
    memo.sweep()
    memo.unit("kept", (), lambda: [2])
    memo.sweep()
    assert memo.unit("kept", (), lambda: [3]) is kept
    assert memo.unit("gone", (), lambda: [1]) is not gone
