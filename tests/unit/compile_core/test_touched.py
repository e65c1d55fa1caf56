"""Results are made anew for touched keys only, and are those of making everything."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.base import NOWHERE, Draft, Finding, Ref
from podwire.compile.touched import Findings, Results


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_results_are_those_of_making_everything(seed: int) -> None:
    random, results = Random(seed), Results[str]()
    drafts: tuple[Draft[str, list[int]], ...] = (Draft(), Draft())
    for _ in range(30):
        for _ in range(random.randint(0, 3)):
            random.choice(drafts).put(random.choice("abcdef"), random.choice((None, [random.randint(0, 2)])))
        one, two = (draft.share() for draft in drafts)
        if random.randrange(4) == 0:
            continue
        factor, before = random.choice((1, 1, 1, 2)), dict(results.results)

        def make(key: str) -> str | None:
            return f"{one[key][0] * factor}/{two.get(key)}" if key in one else None  # noqa: B023

        found = results.update((one, two), (factor,), make)
        assert list(found.items()) == [(key, make(key)) for key in sorted(one)]
        assert results.changed == {k for k in {*found, *before} if found.get(k) is not before.get(k)}
        assert all(found[k] is before[k] for k in found if found[k] == before.get(k))


def test_only_touched_keys_are_made_anew() -> None:
    draft: Draft[str, object] = Draft()
    made: list[str] = []
    results = Results[str]()

    def update(*also: str) -> list[str]:
        made.clear()
        results.update((draft.share(),), (), lambda key: made.append(key) or key, also=set(also))  # type: ignore[func-returns-value]
        return sorted(made)

    for name in "abcdefgh":
        draft.put(name, object())
    assert update() == [*"abcdefgh"]
    draft.put("a", object())
    draft.share()  # one that nobody looked at
    draft.put("b", None)
    assert update() == ["a", "b"]
    assert update("c") == ["c"]


def test_a_failure_while_making_forgets_nothing() -> None:
    results = Results[str]()

    def fail(key: str) -> str:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        results.update(({"a": 1},), (), fail)
    assert results.update(({"a": 1},), (), lambda key: "made") == {"a": "made"}


def test_findings_are_one_object_while_nobody_says_anything_else() -> None:
    findings = Findings()
    one = Finding("PW1", "error", Ref("Pod", "a", "x"), NOWHERE, "bad")
    said = findings.update({"b": (one,), "a": ()})
    assert said == (one,)
    assert findings.update({"a": (), "b": (Finding("PW1", "error", Ref("Pod", "a", "x"), NOWHERE, "bad"),)}) is said
    assert findings.update({"b": ()}) == ()
