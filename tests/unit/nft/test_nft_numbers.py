"""Numbers kept up to date equal numbers assigned anew."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.base import assign_numbers
from podwire.planes.nft.numbers import Numbers

KEYS = st.sets(st.text("abcdef", min_size=1, max_size=3), max_size=40)


def update(numbers: Numbers, keys: set[str]) -> dict[str, int]:
    before = dict(numbers.known)
    moved = numbers.change(gone=before.keys() - keys, new=keys)
    after = dict(numbers.known)
    assert moved == {key for key in before.keys() & after.keys() if before[key] != after[key]}
    return after


@given(st.lists(KEYS, max_size=6))
def test_any_history_gives_the_numbers_of_the_last_set(history: list[set[str]]) -> None:
    numbers = Numbers()
    for keys in history:
        assert update(numbers, keys) == assign_numbers(keys)


@given(st.lists(KEYS, max_size=6))
def test_collisions_too(history: list[set[str]]) -> None:
    """The same with so few numbers that most keys collide."""

    def crowded(keys: set[str]) -> dict[str, int]:
        return assign_numbers(keys, bits=6)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("podwire.planes.nft.numbers.assign_numbers", crowded)
        numbers = Numbers()
        for keys in history:
            assert update(numbers, keys) == crowded(keys)


def test_a_free_number_moves_nobody() -> None:
    keys = {f"key-{n}" for n in range(100)}
    numbers = Numbers()
    before = update(numbers, keys)
    after = update(numbers, keys | {"another"})
    assert {k: after[k] for k in keys} == before
