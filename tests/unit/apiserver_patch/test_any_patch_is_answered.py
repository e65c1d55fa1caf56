"""Whatever a client sends: an object or a PatchError, never another exception, never a changed input."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.patch import PatchError, PatchOptions, patch_object, track_update
from podwire.apiserver.patch.strategic import strategic_merge
from podwire.kube.schema import schema_of_kind

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "finalizers": ["x"], "labels": {"a": "b"}, "resourceVersion": "1", "uid": "u"},
    "spec": {
        "containers": [
            {"name": "a", "image": "b", "env": [{"name": "a", "value": "b"}], "ports": [{"containerPort": 1}]},
            {"name": "b", "args": ["x"]},
        ],
        "nodeSelector": {"a": "b"},
        "tolerations": [{"key": "a"}],
        "volumes": [{"name": "a", "emptyDir": {}}],
    },
}
TRACKED = track_update("Pod", None, POD, "maker", "2026-01-01T00:00:00Z")
WORDS = """
metadata spec status containers name image env ports containerPort protocol volumes emptyDir finalizers labels
managedFields args nodeSelector tolerations a x $patch $retainKeys $setElementOrder/containers apiVersion kind op path
$setElementOrder/finalizers $deleteFromPrimitiveList/finalizers $setElementOrder
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 90)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["a", "b", "x", "", "delete", "replace", "merge", "TCP", "v1", "Pod"])
)
VALUES: Any = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4), max_leaves=25
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)
SHAPED = st.fixed_dictionaries(
    {},
    optional={
        "metadata": OBJECTS,
        "spec": st.fixed_dictionaries({}, optional={"containers": st.lists(OBJECTS, max_size=3), "volumes": VALUES}),
    },
)


PATHS = ["", "/", "/spec", "/spec/containers/0", "/spec/containers/-", "/metadata/name/x"]


def answer(media: str, body: Any, current: dict[str, Any]) -> None:
    before = msgspec.json.encode(current)
    options = PatchOptions(field_manager="me", now="2026-01-02T00:00:00Z")
    try:
        result = patch_object("Pod", media, msgspec.json.encode(body), current=current, options=options)
    except PatchError as refused:
        assert 400 <= refused.code < 500
        assert refused.message
    else:
        assert isinstance(result["metadata"], dict)
        msgspec.json.encode(result)
    assert msgspec.json.encode(current) == before


@pytest.mark.parametrize("media", ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json"])
@given(body=OBJECTS | SHAPED | VALUES)
def test_patches(media: str, body: Any) -> None:
    answer(f"application/{media}", body, TRACKED)


@given(SHAPED | OBJECTS)
def test_applies(body: Any) -> None:
    answer("application/apply-patch+yaml", {**body, "apiVersion": "v1", "kind": "Pod"}, TRACKED)
    answer("application/apply-patch+yaml", {**body, "apiVersion": "v1", "kind": "Pod"}, POD)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
             "path": st.sampled_from(PATHS)},
            optional={"value": VALUES, "from": st.sampled_from(["", "/spec", "/spec/containers/1", "/x"])},
        ),
        max_size=5,
    )
)  # fmt: skip
def test_json_patches(operations: Any) -> None:
    answer("application/json-patch+json", operations, TRACKED)


@given(st.binary(max_size=60), st.sampled_from(["merge-patch+json", "json-patch+json", "apply-patch+yaml"]))
def test_any_bytes(body: bytes, media: str) -> None:
    try:
        options = PatchOptions(field_manager="m", now="2026-01-02T00:00:00Z")
        patch_object("Pod", f"application/{media}", body, current=POD, options=options)
    except PatchError as refused:
        assert 400 <= refused.code < 500


@given(SHAPED)
def test_a_strategic_patch_twice_is_as_once(patch: Any) -> None:
    schema = schema_of_kind("Pod")
    try:
        once = strategic_merge(schema, POD, patch)
        twice = strategic_merge(schema, once, patch)
    except PatchError:
        return
    assert twice == once
