"""Editions are dicts in key order whose differences are told from memory exactly as by comparing."""

from collections.abc import Mapping
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.base import Draft, Edition, differences
from podwire.base.editions import MEMORY


def slow_differences(old: Mapping[str, object], new: Mapping[str, object]) -> set[str]:
    return {key for key in {*old, *new} if old.get(key) is not new.get(key)}


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_differences_are_those_of_comparing(seed: int) -> None:
    random = Random(seed)
    values = [[n] for n in (1, 1, 2, 3)]  # two are equal and not the same
    editions: list[Edition[str, list[int]]] = [Edition({f"k{n}": random.choice(values) for n in range(12)})]
    copies = [dict(editions[0])]
    for _ in range(random.choice((5, 20, MEMORY + 9))):
        start = random.choice((-1, -1, -1, random.randrange(len(editions))))
        changes = {
            f"k{random.randrange(16)}": random.choice((None, *values)) for _ in range(random.choice((0, 1, 2, 9)))
        }
        editions.append(editions[start].revise(changes))
        merged = {**copies[start], **changes}
        copies.append({key: value for key, value in merged.items() if value is not None})
    for edition, copy in zip(editions, copies, strict=True):
        assert list(edition) == sorted(copy)
        assert dict(edition) == copy
    for _ in range(20):
        old, new = random.choice(editions), random.choice(editions)
        assert differences(old, new) == slow_differences(old, new)
        assert differences(dict(old), new) == slow_differences(old, new)
        assert (old == new) is (dict(old) == dict(new)) is not (old != new)


def test_a_revision_that_changes_nothing_is_the_same_edition() -> None:
    value = object()
    edition = Edition({"b": value, "a": value})
    assert edition.revise({"a": value, "c": None}) is edition
    assert list(edition) == ["a", "b"]


def test_a_draft_shows_what_it_will_share() -> None:
    draft: Draft[str, int] = Draft()
    draft.put("b", 1)
    first = draft.share()
    draft.put("a", 2)
    draft.put("b", None)
    assert (draft.get("a"), draft.get("b")) == (2, None)
    assert draft.share() == {"a": 2}
    assert first == {"b": 1}
    assert draft.share() is draft.share()
