"""RFC 6902, its appendix A, and the limits of a server."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.patch import PatchError, PatchOptions, patch_object
from podwire.apiserver.patch.jsonpatch import json_patch

APPENDIX_A: list[tuple[Any, Any, Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
    ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
    ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
    ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
    ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
    (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    (
        {"foo": ["all", "grass", "cows", "eat"]},
        [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
        {"foo": ["all", "cows", "eat", "grass"]},
    ),
    (
        {"baz": "qux", "foo": ["a", 2, "c"]},
        [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
        {"baz": "qux", "foo": ["a", 2, "c"]},
    ),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
        {"foo": "bar", "child": {"grandchild": {}}},
    ),
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}], {"foo": "bar", "baz": "qux"}),
    ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
    ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}], {"foo": ["bar", ["abc", "def"]]}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
    ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1.0}], {"a": 1}),
    ({"": {"": 1}}, [{"op": "remove", "path": "//"}], {"": {}}),
]


@pytest.mark.parametrize(("document", "operations", "wanted"), APPENDIX_A)
def test_operations(document: Any, operations: Any, wanted: Any) -> None:
    before = msgspec.json.encode(document)
    assert json_patch(document, operations) == wanted
    assert msgspec.json.encode(document) == before


@pytest.mark.parametrize(
    ("document", "operation"),
    [
        ({"baz": "qux"}, {"op": "test", "path": "/baz", "value": "bar"}),
        ({"foo": "bar"}, {"op": "add", "path": "/baz/bat", "value": "qux"}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": "10"}),
        ({"a": True}, {"op": "test", "path": "/a", "value": 1}),
        ({"a": 1}, {"op": "remove", "path": "/b"}),
        ({"a": 1}, {"op": "replace", "path": "/b", "value": 1}),
        ({"a": 1}, {"op": "replace", "path": "b", "value": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/2", "value": 1}),
        ({"a": [1]}, {"op": "add", "path": "/a/01", "value": 1}),
        ({"a": [1]}, {"op": "remove", "path": "/a/-"}),
        ({"a": [1]}, {"op": "remove", "path": "/a/-1"}),
        ({"a": [1]}, {"op": "remove", "path": "/a/٣"}),
        ({"a": "text"}, {"op": "add", "path": "/a/b", "value": 1}),
        ({"a": {"b": 1}}, {"op": "move", "from": "/a", "path": "/a/b/c"}),
        ({"a": 1}, {"op": "copy", "from": "/b", "path": "/c"}),
    ],
)
def test_misfits_are_422_and_name_the_operation(document: Any, operation: Any) -> None:
    with pytest.raises(PatchError) as refused:
        json_patch(document, [{"op": "test", "path": "", "value": document}, operation])
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    assert "operation 1" in refused.value.message


@pytest.mark.parametrize(
    "operations",
    [{}, [1], [{"op": "spoil", "path": "/a"}], [{"op": "add", "path": "/a"}], [{"op": "move", "path": "/a"}],
     [{"op": "remove"}], [{"op": "remove", "path": 3}]],
)  # fmt: skip
def test_malformed_patches_are_400(operations: Any) -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({"a": 1}, operations)
    assert refused.value.code == 400


def test_too_many_operations_are_413() -> None:
    with pytest.raises(PatchError) as refused:
        json_patch({"a": 1}, [{"op": "test", "path": "/a", "value": 1}] * 10_001)
    assert refused.value.code == 413
    assert refused.value.message == "The allowed maximum operations in a JSON patch is 10000, got 10001"


def test_copies_cannot_multiply() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(60)]
    with pytest.raises(PatchError) as refused:
        json_patch({"a": "x" * 100}, doubling)
    assert refused.value.code == 413


def test_a_failed_resource_version_test_is_what_kopf_relies_on() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "resourceVersion": "5"}}
    body = msgspec.json.encode(
        [
            {"op": "test", "path": "/metadata/resourceVersion", "value": "4"},
            {"op": "add", "path": "/metadata/finalizers", "value": ["x"]},
        ]
    )
    with pytest.raises(PatchError) as refused:
        patch_object("Pod", "application/json-patch+json", body, current=pod, options=PatchOptions())
    assert refused.value.code == 422


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text("ab~/", max_size=2), VALUES, max_size=3), st.text("ab~/", max_size=2), VALUES)
def test_what_was_added_is_there_and_can_be_removed(document: Any, name: str, value: Any) -> None:
    path = "/" + name.replace("~", "~0").replace("/", "~1")
    added = json_patch(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    assert added == {**document, name: value}
    without = {k: v for k, v in document.items() if k != name}
    assert json_patch(added, [{"op": "remove", "path": path}]) == without
