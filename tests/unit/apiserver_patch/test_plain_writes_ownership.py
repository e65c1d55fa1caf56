"""managedFields after creates and updates."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.patch import track_update
from podwire.apiserver.patch.fieldset import (
    difference,
    exclude,
    format_path,
    has,
    intersection,
    members,
    ordered,
    parse_fields,
    union,
)

Json = dict[str, Any]
T1, T2, T3 = (f"2026-01-0{n}T00:00:00Z" for n in (1, 2, 3))


def pod(**spec: Any) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}}, "spec": spec}


def entry(value: Json, manager: str, subresource: str = "") -> Json:
    for found in value["metadata"].get("managedFields", ()):
        if found["manager"] == manager and found.get("subresource", "") == subresource:
            result: Json = found
            return result
    return {}


def fields(value: Json, manager: str, subresource: str = "") -> Json:
    return entry(value, manager, subresource).get("fieldsV1") or {}


def created(manager: str = "kubectl", **spec: Any) -> Json:
    return track_update("Pod", None, pod(**spec), manager, T1)


def test_a_creator_owns_what_it_wrote_as_kubernetes_shows_it() -> None:
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}
    made = created(containers=[container], nodeSelector={"a": "b"})
    assert entry(made, "kubectl") == {
        "manager": "kubectl",
        "operation": "Update",
        "apiVersion": "v1",
        "time": T1,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
            "f:spec": {
                "f:containers": {
                    'k:{"name":"c"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {
                            ".": {},
                            'k:{"containerPort":80,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                                "f:protocol": {},
                            },
                        },
                    }
                },
                "f:nodeSelector": {},
            },
        },
    }


def test_what_changes_changes_hands() -> None:
    made = created(hostname="a", nodeName="n")
    edited = track_update("Pod", made, {**made, "spec": {"hostname": "b", "nodeName": "n"}}, "editor", T2)
    assert fields(edited, "editor") == {"f:spec": {"f:hostname": {}}}
    assert "f:hostname" not in fields(edited, "kubectl")["f:spec"]
    assert entry(edited, "kubectl")["time"] == T1
    again = track_update("Pod", edited, {**edited, "spec": {"hostname": "b", "nodeName": "m"}}, "editor", T3)
    assert fields(again, "editor") == {"f:spec": {"f:hostname": {}, "f:nodeName": {}}}
    assert entry(again, "editor")["time"] == T3


def test_what_is_removed_nobody_owns() -> None:
    made = created(hostname="a")
    meta = {k: v for k, v in made["metadata"].items() if k != "labels"}
    edited = track_update("Pod", made, {**made, "metadata": meta, "spec": {}}, "editor", T2)
    assert "managedFields" not in edited["metadata"]


def test_an_update_without_a_change_is_the_same_object() -> None:
    made = created(hostname="a")
    assert track_update("Pod", made, made, "editor", T2) is made
    bumped = {**made, "metadata": {**made["metadata"], "resourceVersion": "9", "generation": 4}}
    assert track_update("Pod", made, bumped, "editor", T2) is bumped


def test_a_client_that_drops_managed_fields_does_not_lose_them() -> None:
    made = created(hostname="a")
    meta = {k: v for k, v in made["metadata"].items() if k != "managedFields"}
    sent = {**made, "metadata": meta}
    assert track_update("Pod", made, sent, "editor", T2) == made


def test_status_writes_are_kept_apart() -> None:
    made = created(hostname="a")
    running = {**made, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    told = track_update("Pod", made, running, "kubelet", T2, "status")
    assert fields(told, "kubelet", "status") == {
        "f:status": {
            "f:conditions": {".": {}, 'k:{"type":"Ready"}': {".": {}, "f:status": {}, "f:type": {}}},
            "f:phase": {},
        }
    }
    assert entry(told, "kubelet", "status")["subresource"] == "status"
    flipped = {**told, "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}}
    other = track_update("Pod", told, flipped, "other", T3, "status")
    assert fields(other, "other", "status") == {"f:status": {"f:conditions": {'k:{"type":"Ready"}': {"f:status": {}}}}}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_empty_list_resets(reset: list[Any]) -> None:
    made = created(hostname="a")
    sent = {**made, "metadata": {**made["metadata"], "managedFields": reset}}
    forgotten = track_update("Pod", made, sent, "editor", T2)
    assert "managedFields" not in forgotten["metadata"]
    assert track_update("Pod", forgotten, {**forgotten, "spec": {}}, "editor", T3)["metadata"] == forgotten["metadata"]


def test_a_client_may_rewrite_owners_but_not_through_a_subresource() -> None:
    """What kubectl and Helm do to move from client-side to server-side apply."""
    made = created(hostname="a")
    moved = [{**made["metadata"]["managedFields"][0], "manager": "helm", "operation": "Apply"}]
    sent = {**made, "metadata": {**made["metadata"], "managedFields": moved}}
    assert track_update("Pod", made, sent, "helm", T2)["metadata"]["managedFields"] == moved
    assert track_update("Pod", made, sent, "helm", T2, "status")["metadata"] == made["metadata"]


@pytest.mark.parametrize(
    "bad",
    ["text", [1], [{"operation": "Steal"}], [{"operation": "Apply", "fieldsV1": {"spec": {}}}],
     [{"operation": "Apply", "fieldsV1": {"k:{": {}}}], [{"operation": "Apply", "fieldsV1": {"f:a": 1}}],
     [{"operation": "Apply", "fieldsType": "FieldsV9", "fieldsV1": {}}], [{"operation": "Update", "manager": 4}]],
)  # fmt: skip
def test_what_cannot_be_read_leaves_the_live_ones(bad: Any) -> None:
    made = created(hostname="a")
    sent = {**made, "metadata": {**made["metadata"], "managedFields": bad}}
    assert track_update("Pod", made, sent, "editor", T2) == made


def test_an_untracked_object_stays_untracked() -> None:
    live = pod(hostname="a")
    assert track_update("Pod", live, {**live, "spec": {"hostname": "b"}}, "editor", T2)["metadata"] == live["metadata"]


def test_many_updaters_become_ancient_changes() -> None:
    live = created(nodeSelector={"n": "0"})
    live["metadata"]["labels"] = {}
    live = track_update("Pod", None, pod(), "first", "2026-01-01T00:00:00Z")
    for number in range(1, 14):
        labels = {**live["metadata"]["labels"], f"l{number:02}": "v"}
        changed = {**live, "metadata": {**live["metadata"], "labels": labels}}
        live = track_update("Pod", live, changed, f"m{number:02}", f"2026-01-01T00:00:{number:02}Z")
    entries = live["metadata"]["managedFields"]
    assert len(entries) == 10
    assert entries[0]["manager"] == "ancient-changes"
    assert entries[0]["fieldsV1"]["f:metadata"]["f:labels"].keys() == {".", "f:x", "f:l01", "f:l02", "f:l03", "f:l04"}
    assert entries[0]["time"] == "2026-01-01T00:00:04Z"
    assert [e["manager"] for e in entries[1:]] == [f"m{number:02}" for number in range(5, 14)]


def test_an_item_that_occurs_twice_is_owned_as_one() -> None:
    env = [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    made = created(containers=[{"name": "c", "env": env}])
    one = {**made, "spec": {"containers": [{"name": "c", "env": env[:1]}]}}
    edited = track_update("Pod", made, one, "editor", T2)
    owned = fields(edited, "editor")["f:spec"]["f:containers"]['k:{"name":"c"}']["f:env"]
    assert owned == {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}


def test_lists_whose_items_have_no_key_are_owned_as_one() -> None:
    made = created(containers=[{"image": "x"}])
    assert fields(made, "kubectl")["f:spec"] == {"f:containers": {}}


# --- the algebra of field sets ---

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
NODES: st.SearchStrategy[Json] = st.recursive(
    st.just({}),
    lambda below: st.tuples(st.booleans(), st.dictionaries(ELEMENTS, below, max_size=3)).map(
        lambda pair: {**({".": {}} if pair[0] and pair[1] else {}), **pair[1]}
    ),
    max_leaves=8,
)
SETS = st.dictionaries(ELEMENTS, NODES, max_size=4)


def paths(value: Json) -> set[tuple[str, ...]]:
    return set(members(value))


@given(SETS, SETS)
def test_the_operations_are_those_of_sets_of_paths(left: Json, right: Json) -> None:
    before = msgspec.json.encode([left, right])
    assert paths(union(left, right)) == paths(left) | paths(right)
    assert paths(difference(left, right)) == paths(left) - paths(right)
    assert paths(intersection(left, right)) == paths(left) & paths(right)
    roots = paths(right)
    below = {path for path in paths(left) if any(path[: len(root)] == root for root in roots)}
    assert paths(exclude(left, right)) == paths(left) - below
    assert msgspec.json.encode([left, right]) == before


@given(SETS, SETS)
def test_operations_without_effect_share(left: Json, right: Json) -> None:
    assert union(left, left) is left
    assert difference(left, {}) is left
    if not paths(left) & paths(right):
        assert difference(left, right) is left
    if paths(right) <= paths(left):
        assert union(left, right) is left


@given(SETS)
def test_reading_and_ordering_keep_the_set(value: Json) -> None:
    assert ordered(value) == value
    assert paths(parse_fields(value)) == paths(value)
    assert all(has(value, path) for path in paths(value))


def test_paths_are_written_as_kubernetes_writes_them() -> None:
    path = ("f:spec", 'k:{"port":80,"protocol":"TCP"}', "f:a", 'v:"x"', "i:3")
    assert format_path(path) == '.spec[port=80,protocol="TCP"].a[="x"][3]'
    assert parse_fields({'k:{"protocol": "TCP", "port": 80}': {}, "z:future": {}}) == {
        'k:{"port":80,"protocol":"TCP"}': {}
    }
