"""RFC 7386: its appendix A, and laws."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.patch import PatchError, PatchOptions, patch_object
from podwire.apiserver.patch.mergepatch import merge_patch

APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": 1}, {"a": True}, {"a": True}),
]


@pytest.mark.parametrize(("target", "patch", "wanted"), APPENDIX_A)
def test_merging(target: Any, patch: Any, wanted: Any) -> None:
    result = merge_patch(target, patch)
    assert result == wanted
    assert type(result) is type(wanted)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=1), inner, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text("abc", max_size=1), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_merging_twice_changes_nothing_more(target: Any, patch: Any) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) is once


@given(OBJECTS)
def test_an_empty_patch_changes_nothing(target: Any) -> None:
    assert merge_patch(target, {}) is target


@given(OBJECTS, OBJECTS)
def test_what_the_patch_does_not_name_stays_the_same_object(target: Any, patch: Any) -> None:
    merged = merge_patch(target, patch)
    assert all(merged[key] is target[key] for key in target if key not in patch)


def test_a_patch_must_be_an_object_and_leave_one() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    for body, code in [(b"[]", 400), (b"{", 400), (b'{"metadata": null}', 422), (b"[" * 5000, 400)]:
        with pytest.raises(PatchError) as refused:
            patch_object("Pod", "application/merge-patch+json", body, current=pod, options=PatchOptions())
        assert refused.value.code == code


def test_depth_is_limited() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    deep = b'{"a":' * 300 + b"1" + b"}" * 300
    with pytest.raises(PatchError, match="nested deeper"):
        patch_object("Pod", "application/merge-patch+json", deep, current=pod, options=PatchOptions())


def test_other_types_are_415_and_nothing_to_patch_404() -> None:
    cases: list[tuple[str, dict[str, Any] | None, int]] = [
        ("application/json", {}, 415),
        ("application/merge-patch+json", None, 404),
    ]
    for media, current, code in cases:
        with pytest.raises(PatchError) as refused:
            patch_object("Pod", media, b"{}", current=current, options=PatchOptions())
        assert refused.value.code == code
