"""Server-side apply: what the Kubernetes documentation promises, and structured-merge-diff's cases."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.patch import PatchError, PatchOptions, patch_object, track_update

Json = dict[str, Any]
T1, T2 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def apply(
    config: Any,
    current: Json | None,
    manager: str = "alice",
    *,
    force: bool = False,
    subresource: str = "",
    now: str = T1,
    kind: str = "",
) -> Json:
    options = PatchOptions(field_manager=manager, force=force, subresource=subresource, now=now)
    body = config if isinstance(config, bytes) else msgspec.json.encode(config)
    kind = kind or config["kind"]
    before = msgspec.json.encode(current)
    result = patch_object(kind, "application/apply-patch+yaml", body, current=current, options=options)
    assert msgspec.json.encode(current) == before, "the live object was changed in place"
    return result


def config_map(data: Json, **meta: Any) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **meta}, "data": data}


def deployment(**spec: Any) -> Json:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def containers(*items: Json) -> Json:
    return {"template": {"spec": {"containers": list(items)}}}


def fields(value: Json, manager: str, operation: str = "Apply") -> Json:
    for entry in value["metadata"].get("managedFields", ()):
        if entry["manager"] == manager and entry["operation"] == operation:
            found: Json = entry["fieldsV1"]
            return found
    return {}


def refused(code: int, config: Any, current: Json | None, **how: Any) -> PatchError:
    with pytest.raises(PatchError) as error:
        apply(config, current, **how)
    assert error.value.code == code
    return error.value


def test_a_new_object_belongs_to_its_applier() -> None:
    made = apply(config_map({"a": "1"}, labels={"x": "y"}), None)
    (entry,) = made["metadata"]["managedFields"]
    assert entry == {
        "manager": "alice",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": T1,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:x": {}}}},
    }
    assert list(entry) == ["manager", "operation", "apiVersion", "time", "fieldsType", "fieldsV1"]


def test_the_same_again_changes_nothing_not_even_times() -> None:
    made = apply(config_map({"a": "1"}), None)
    assert apply(config_map({"a": "1"}), made, now=T2) is made


def test_the_time_moves_with_the_fields() -> None:
    made = apply(config_map({"a": "1"}), None)
    assert apply(config_map({"a": "2"}), made, now=T2)["metadata"]["managedFields"][0]["time"] == T2


def test_a_field_no_longer_applied_is_removed() -> None:
    made = apply(config_map({"a": "1", "b": "2"}), None)
    assert apply(config_map({"a": "1"}), made)["data"] == {"a": "1"}


def test_the_last_field_of_a_map_takes_the_map_with_it() -> None:
    made = apply(config_map({"a": "1"}, labels={"x": "y"}), None)
    left = apply({k: v for k, v in config_map({}).items() if k != "data"}, made)
    assert "data" not in left
    assert "labels" not in left["metadata"]


def test_a_shared_field_stays_until_the_last_owner_drops_it() -> None:
    made = apply(config_map({"a": "1", "b": "2"}), None)
    shared = apply(config_map({"a": "1"}), made, manager="bob")
    dropped = apply(config_map({"b": "2"}), shared)
    assert dropped["data"] == {"a": "1", "b": "2"}
    assert fields(dropped, "alice") == {"f:data": {"f:b": {}}}
    assert apply(config_map({}), dropped, manager="bob")["data"] == {"b": "2"}


def test_fields_of_plain_writers_and_of_nobody_stay() -> None:
    made = apply(config_map({"a": "1"}), None)
    edited = track_update("ConfigMap", made, {**made, "data": {"a": "1", "b": "2"}}, "editor", T2)
    assert apply(config_map({}), edited)["data"] == {"b": "2"}


def test_another_value_for_another_s_field_is_a_conflict() -> None:
    made = apply(deployment(replicas=3), None)
    error = refused(409, deployment(replicas=4), made, manager="bob")
    assert error.reason == "Conflict"
    assert error.message == 'Apply failed with 1 conflict: conflict with "alice": .spec.replicas'
    assert error.causes == (
        {"reason": "FieldManagerConflict", "message": 'conflict with "alice"', "field": ".spec.replicas"},
    )


def test_conflicts_with_plain_writers_name_their_version_and_subresource() -> None:
    made = track_update("Deployment", None, deployment(replicas=3), "kubectl-client-side-apply", T1)
    error = refused(409, deployment(replicas=4), made, manager="bob")
    assert error.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    status = {**made, "status": {"replicas": 1}}
    made = track_update("Deployment", made, status, "controller", T1, "status")
    config = {**deployment(), "status": {"replicas": 2}}
    error = refused(409, config, made, manager="bob", subresource="status")
    assert error.message.endswith(
        'conflict with "controller" with subresource "status" using apps/v1: .status.replicas'
    )


def test_several_conflicts_are_listed_by_manager() -> None:
    one, two = {"name": "one", "image": "a"}, {"name": "two", "image": "b"}
    made = apply(deployment(replicas=3, **containers(one)), None)
    made = apply(deployment(**containers(two)), made, manager="carol")
    changed = deployment(replicas=4, **containers({"name": "one", "image": "z"}, {"name": "two", "image": "z"}))
    error = refused(409, changed, made, manager="bob")
    assert error.message == (
        'Apply failed with 3 conflicts: conflicts with "alice":\n'
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="one"].image\n'
        'conflicts with "carol":\n'
        '- .spec.template.spec.containers[name="two"].image'
    )
    assert len(error.causes) == 3


def test_force_takes_the_field_over() -> None:
    made = apply(deployment(replicas=3, paused=True), None)
    forced = apply(deployment(replicas=4), made, manager="bob", force=True)
    assert forced["spec"] == {"replicas": 4, "paused": True}
    assert fields(forced, "alice") == {"f:spec": {"f:paused": {}}}
    assert fields(forced, "bob") == {"f:spec": {"f:replicas": {}}}


def test_the_same_value_is_shared_without_conflict() -> None:
    made = apply(deployment(replicas=3), None)
    shared = apply(deployment(replicas=3), made, manager="bob")
    assert fields(shared, "alice") == fields(shared, "bob") == {"f:spec": {"f:replicas": {}}}


def test_keyed_lists_merge_item_by_item() -> None:
    env = [{"name": "A", "value": "1"}]
    made = apply(deployment(**containers({"name": "web", "image": "x", "env": env})), None)
    other = apply(deployment(**containers({"name": "side", "image": "y"})), made, manager="bob")
    assert [c["name"] for c in other["spec"]["template"]["spec"]["containers"]] == ["web", "side"]
    assert fields(other, "bob")["f:spec"]["f:template"]["f:spec"]["f:containers"] == {
        'k:{"name":"side"}': {".": {}, "f:name": {}, "f:image": {}}
    }
    gone = apply(deployment(**containers()), other)
    assert [c["name"] for c in gone["spec"]["template"]["spec"]["containers"]] == ["side"]


def test_an_item_somebody_else_uses_loses_only_my_fields() -> None:
    made = apply(deployment(**containers({"name": "web", "image": "x", "workingDir": "/"})), None)
    made = apply(deployment(**containers({"name": "web", "tty": True})), made, manager="bob")
    (left,) = apply(deployment(), made)["spec"]["template"]["spec"]["containers"]
    assert left == {"name": "web", "tty": True}


def test_list_keys_have_defaults() -> None:
    made = apply(deployment(**containers({"name": "w", "ports": [{"containerPort": 80}]})), None)
    named = deployment(**containers({"name": "w", "ports": [{"containerPort": 80, "protocol": "TCP", "name": "h"}]}))
    (container,) = apply(named, made)["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP", "name": "h"}]


def test_atomic_values_have_one_owner() -> None:
    made = apply(deployment(selector={"matchLabels": {"a": "1"}}), None)
    error = refused(409, deployment(selector={"matchLabels": {"a": "1", "b": "2"}}), made, manager="bob")
    assert error.causes[0]["field"] == ".spec.selector"
    made = apply(deployment(**containers({"name": "w", "args": ["a", "b"]})), None)
    replaced = apply(deployment(**containers({"name": "w", "args": ["c"]})), made)
    assert replaced["spec"]["template"]["spec"]["containers"] == [{"name": "w", "args": ["c"]}]


def test_sets_merge_by_value() -> None:
    made = apply(config_map({}, finalizers=["a.example/x", "b.example/x"]), None)
    both = apply(config_map({}, finalizers=["c.example/x"]), made, manager="bob")
    assert both["metadata"]["finalizers"] == ["a.example/x", "b.example/x", "c.example/x"]
    assert fields(both, "bob")["f:metadata"] == {"f:finalizers": {'v:"c.example/x"': {}}}
    left = apply(config_map({}, finalizers=["b.example/x"]), both)
    assert left["metadata"]["finalizers"] == ["b.example/x", "c.example/x"]


@pytest.mark.parametrize(
    ("live", "config", "wanted"),
    [
        ("abc", "abc", "abc"),
        ("abc", "cab", "cab"),
        ("abc", "d", "abcd"),
        ("abc", "ad", "abcd"),
        ("abc", "cd", "abcd"),
        ("abcd", "dca", "bdca"),
        ("", "ba", "ba"),
        ("abc", "xb", "axbc"),
    ],
)
def test_the_order_of_items(live: str, config: str, wanted: str) -> None:
    made = apply(deployment(**containers(*({"name": n} for n in live))), None, manager="bob")
    merged = apply(deployment(**containers(*({"name": n} for n in config))), made)
    found = (merged["spec"].get("template") or {}).get("spec", {}).get("containers", [])
    assert "".join(c["name"] for c in found) == wanted


def test_status_is_not_owned_through_the_main_path_nor_spec_through_status() -> None:
    config = {**deployment(replicas=1), "status": {"replicas": 1}}
    assert fields(apply(config, None), "alice") == {"f:spec": {"f:replicas": {}}}
    made = apply(config, apply(deployment(replicas=1), None), subresource="status")
    assert [entry.get("subresource") for entry in made["metadata"]["managedFields"]] == [None, "status"]
    assert made["metadata"]["managedFields"][1]["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_an_untracked_object_belongs_to_before_first_apply() -> None:
    live = {**deployment(replicas=3), "metadata": {"name": "web", "uid": "u", "resourceVersion": "4"}}
    error = refused(409, deployment(replicas=4), live)
    assert error.message.endswith('conflict with "before-first-apply" using apps/v1: .spec.replicas')
    shared = apply(deployment(replicas=3), live)
    assert fields(shared, "before-first-apply", "Update") == {"f:spec": {"f:replicas": {}}}


def test_kubectl_does_not_conflict_with_its_client_side_past() -> None:
    last = msgspec.json.encode(deployment(replicas=3, paused=False)).decode()
    note = {"kubectl.kubernetes.io/last-applied-configuration": last}
    base = deployment(replicas=3)
    base["metadata"]["annotations"] = note
    live = track_update("Deployment", None, base, "kubectl-client-side-apply", T1)
    moved = apply(deployment(replicas=5), live, manager="kubectl")
    assert moved["spec"]["replicas"] == 5
    kept = msgspec.json.decode(moved["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"])
    assert kept == deployment(replicas=5)
    refused(409, deployment(replicas=5), live, manager="bob")
    scaled = track_update("Deployment", live, {**live, "spec": {"replicas": 9}}, "scaler", T2)
    error = refused(409, deployment(replicas=5), scaled, manager="kubectl")
    assert 'conflict with "scaler" using apps/v1: .spec.replicas' in error.message


def test_equal_quantities_do_not_conflict() -> None:
    def limits(cpu: Any) -> Json:
        return deployment(**containers({"name": "w", "resources": {"limits": {"cpu": cpu}}}))

    made = apply(limits(1), None)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    shared = apply(limits("1000m"), made, manager="bob")
    assert shared["spec"] == made["spec"]
    refused(409, limits("2"), made, manager="bob")


def test_null_clears_and_server_fields_are_nobody_s() -> None:
    config = config_map({"a": "1"}, creationTimestamp=None, namespace="n", uid="u")
    made = apply(config, None)
    assert fields(made, "alice") == {"f:data": {"f:a": {}}}
    assert "creationTimestamp" not in made["metadata"]


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  a: 'yes'\n  day: '2026-01-01'\n  on: x\n"
    made = apply(text, None, kind="ConfigMap")
    assert made["data"] == {"a": "yes", "day": "2026-01-01", "on": "x"}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"metadata": {"name": "c", "managedFields": []}}, 400, "metadata.managedFields must be nil"),
        ({"apiVersion": "v2"}, 400, "Specified patch version: v2, expected: v1"),
        ({"kind": "Pod"}, 400, "invalid object type"),
        ({"kind": ""}, 400, "'kind' is missing"),
        ({"data": {"a": 1}}, 400, "cannot unmarshal"),
        ({"dada": {}}, 400, ".dada: field not declared in schema"),
        ({"metadata": {"name": "c", "finalizers": ["a", "a"]}}, 400, 'duplicate entries for key [="a"]'),
    ],
)
def test_configurations_that_are_refused(change: Json, code: int, words: str) -> None:
    error = refused(code, {**config_map({}), **change}, None, kind="ConfigMap")
    assert words in error.message


def test_items_without_a_key_or_twice_are_refused() -> None:
    assert "omits all key fields" in refused(400, deployment(**containers({"image": "x"})), None).message
    twice = refused(400, deployment(**containers({"name": "a"}, {"name": "a"})), None)
    assert '.spec.template.spec.containers: duplicate entries for key [name="a"]' in twice.message


@pytest.mark.parametrize("body", [b"[]", b"a: [", b"1", b"a: &a [*a, *a]\n", b"? [1]\n: 2\n"])
def test_bodies_that_are_no_object(body: bytes) -> None:
    refused(400, body, None, kind="ConfigMap")


def test_yaml_aliases_cannot_multiply() -> None:
    lines = [b"a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [b"a%d: &a%d [%s]" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 9)]
    assert "values" in refused(400, b"\n".join(lines), None, kind="ConfigMap").message


@pytest.mark.parametrize("manager", ["", "x" * 129, "new\nline"])
def test_managers_have_names(manager: str) -> None:
    error = refused(422, config_map({}), None, manager=manager)
    assert error.causes[0]["field"] == "fieldManager"


# --- laws ---

NAMES = st.sampled_from("abc")
ENV: Any = st.fixed_dictionaries({"name": NAMES}, optional={"value": NAMES})
OPTIONAL: Any = {
    "image": NAMES,
    "args": st.lists(NAMES, max_size=2),
    "resources": st.fixed_dictionaries({"limits": st.dictionaries(NAMES, st.sampled_from("123"), max_size=2)}),
    "env": st.lists(ENV, max_size=2, unique_by=lambda item: item["name"]),
}
CONTAINER: Any = st.fixed_dictionaries({"name": NAMES}, optional=OPTIONAL)
ITEMS: Any = st.lists(CONTAINER, max_size=3, unique_by=lambda item: item["name"])
SPEC: Any = st.fixed_dictionaries({}, optional={"replicas": st.integers(0, 2), "paused": st.booleans()})
CONFIGS = st.builds(
    lambda spec, items, labels, finalizers: {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": labels, "finalizers": finalizers},
        "spec": {**spec, "template": {"spec": {"containers": items}}},
    },
    SPEC,
    ITEMS,
    st.dictionaries(NAMES, NAMES, max_size=2),
    st.lists(NAMES, max_size=2, unique=True),
)


def clean(value: Json) -> Json:
    """Without managedFields, empty containers, and order of lists that merge."""
    value = copy.deepcopy(value)
    value["metadata"].pop("managedFields", None)
    return {"spec": strip(value.get("spec", {})), "metadata": strip(value["metadata"])}


def strip(value: Any) -> Any:
    if isinstance(value, dict):
        found = {k: strip(v) for k, v in value.items()}
        return {k: v for k, v in found.items() if v not in ({}, [])}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sorted((strip(v) for v in value), key=lambda v: v["name"])
    return value


@given(CONFIGS, CONFIGS)
def test_applying_twice_is_a_no_op(first: Json, second: Json) -> None:
    made = apply(first, None)
    changed = apply(second, made, now=T2)
    assert apply(second, changed, now="2027-01-01T00:00:00Z") is changed


@given(CONFIGS, CONFIGS)
def test_what_one_manager_applies_is_what_there_is(first: Json, second: Json) -> None:
    """With one manager, the past does not matter."""
    changed = apply(second, apply(first, None))
    assert clean(changed) == clean(second)


@given(CONFIGS, CONFIGS, CONFIGS)
def test_whoever_comes_second_leaves_without_a_trace(first: Json, second: Json, third: Json) -> None:
    """Fields only bob applied go when bob applies nothing; what alice owns stays."""
    mine = apply(first, None)
    both = apply(third, apply(second, mine, manager="bob", force=True), manager="bob", force=True)
    nothing = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}
    left = apply(nothing, both, manager="bob")
    assert fields(left, "bob") == {}
    assert fields(left, "alice") == fields(both, "alice")
    again = apply(first, left, force=True)
    assert clean(again) == clean(first)


@given(CONFIGS, CONFIGS)
def test_nobody_owns_an_item_that_is_not_there(first: Json, second: Json) -> None:
    both = apply(second, apply(first, None), manager="bob", force=True)
    live = {c["name"] for c in (both["spec"]["template"]["spec"].get("containers") or [])}
    owned = set()
    for entry in both["metadata"]["managedFields"]:
        tree = entry["fieldsV1"].get("f:spec", {}).get("f:template", {}).get("f:spec", {}).get("f:containers", {})
        owned |= {msgspec.json.decode(k[2:])["name"] for k in tree if k.startswith("k:")}
    assert owned == live
