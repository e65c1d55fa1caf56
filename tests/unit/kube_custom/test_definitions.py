"""Definitions in a server: serving, objects, versions, names, deletion."""

from typing import Any

import pytest

from podwire.apiserver.status import StatusError


def refused(call: Any, *args: Any, **options: Any) -> tuple[int, str]:
    with pytest.raises(StatusError) as found:
        call(*args, **options)
    return found.value.code, str(found.value)


def test_a_definition_is_served_when_it_is_written(custom: Any, kit: Any) -> None:
    before = custom.kinds.generation
    made = custom.create(kit.definition(names={"shortNames": ["w"], "categories": ["all"]}))
    conditions = {entry["type"]: entry["status"] for entry in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["status"]["storedVersions"] == ["v1"]
    assert made["spec"]["names"]["listKind"] == "WidgetList"
    assert custom.kinds.generation > before
    row = custom.kinds.at("example.com", "v1", "widgets")
    assert (row.name, row.short_names, row.categories) == ("Widget", ("w",), ("all",))


def test_objects_are_pruned_defaulted_and_checked(custom: Any, kit: Any) -> None:
    schema = kit.root(
        {
            "size": {"type": "integer", "minimum": 1, "default": 3},
            "parts": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "string", "default": "x"}}},
            },
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "maybe": {"type": "string", "nullable": True},
        },
        required=["parts"],
    )
    custom.create(kit.definition(schema))
    made = custom.create(kit.widget(parts=[{"bad": 1}], stray=1, free={"a": {"b": None}}, maybe=None))
    assert made["spec"] == {"parts": [{"n": "x"}], "size": 3, "free": {"a": {"b": None}}, "maybe": None}
    assert made["metadata"]["generation"] == 1
    strict = refused(custom.create, kit.widget("two", parts=[{"bad": 1}], stray=1), field_validation="Strict")
    assert strict[0] == 400
    assert 'unknown field "spec.parts[0].bad", unknown field "spec.stray"' in strict[1]
    warned = custom.made(kit.widget("two", parts=[], stray=1), field_validation="Warn")
    assert warned.warnings == ('unknown field "spec.stray"',)
    assert refused(custom.create, kit.widget("three", size=0)) == (
        422,
        'Widget.example.com "three" is invalid: [spec.parts: Required value, '
        "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1]",
    )


def test_patches(custom: Any, kit: Any) -> None:
    custom.create(kit.definition(kit.root({"a": {"type": "string"}, "b": {"type": "integer"}})))
    made = custom.create(kit.widget(a="x"))
    changed = custom.patch(made, {"spec": {"b": 2}})
    assert changed["spec"] == {"a": "x", "b": 2}
    assert changed["metadata"]["generation"] == 2
    assert custom.patch(made, [{"op": "remove", "path": "/spec/a"}], "json-patch+json")["spec"] == {"b": 2}
    assert refused(custom.patch, made, {"spec": {"b": 3}}, "strategic-merge-patch+json")[0] == 415
    assert refused(custom.patch, made, {"spec": {"b": "3"}})[0] == 422


def test_server_side_apply_follows_list_types(custom: Any, kit: Any) -> None:
    item = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
    }
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    parts = {
        "keyed": {"type": "array", "items": item, **keyed},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "plain": {"type": "array", "items": {"type": "string"}},
    }
    custom.create(kit.definition(kit.root(parts)))
    custom.apply(kit.widget(keyed=[{"name": "a", "v": 1}], set=["x"], plain=["1"]), "one")
    both = custom.apply(kit.widget(keyed=[{"name": "b", "v": 2}], set=["y"]), "two")
    assert [entry["name"] for entry in both["spec"]["keyed"]] == ["a", "b"]
    assert both["spec"]["set"] == ["x", "y"]
    code, words = refused(custom.apply, kit.widget(keyed=[{"name": "a", "v": 9}], plain=["2"]), "two")
    assert code == 409
    assert '.spec.keyed[name="a"].v' in words
    assert ".spec.plain" in words
    gone = custom.apply(kit.widget(keyed=[{"name": "a", "v": 1}], plain=["1"]), "one")
    assert gone["spec"]["set"] == ["y"]


def test_status_and_scale(custom: Any, kit: Any) -> None:
    schema = kit.root({"replicas": {"type": "integer"}})
    schema["properties"]["status"] = {"type": "object", "properties": {"replicas": {"type": "integer"}}}
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    subresources = {"status": {}, "scale": paths}
    custom.create(kit.definition(versions=[kit.version(schema, subresources=subresources)]))
    made = custom.create({**kit.widget(replicas=2), "status": {"replicas": 9}})
    assert "status" not in made
    kept = custom.patch(made, {"spec": {"replicas": 5}, "status": {"replicas": 1}}, subresource="status")
    assert (kept["spec"]["replicas"], kept["status"]["replicas"]) == (2, 1)
    assert kept["metadata"]["generation"] == 1
    kind = custom.kind(made)
    meaning = custom.kinds.meaning(kind)
    scale = meaning.scale(kind, kept)
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (2, 1)
    assert meaning.scale_change(kind, 4) == {"spec": {"replicas": 4}}


def test_versions_share_objects(custom: Any, kit: Any) -> None:
    new = kit.version(kit.root({"a": {"type": "string"}, "b": {"type": "string", "default": "new"}}), "v2")
    old = {**kit.version(kit.root({"a": {"type": "string"}}), "v1beta1"), "storage": False}
    custom.create(kit.definition(versions=[old, new]))
    assert custom.kinds.versions("example.com") == ["v2", "v1beta1"]
    made = custom.create(kit.widget(api_version="example.com/v1beta1", a="x"))
    assert made["apiVersion"] == "example.com/v2"
    row = custom.kinds.at("example.com", "v1beta1", "widgets")
    meaning = custom.kinds.meaning(row)
    assert meaning.present(row, made)["apiVersion"] == "example.com/v1beta1"
    newest = custom.kinds.at("example.com", "v2", "widgets")
    assert meaning.present(newest, made)["spec"] == {"a": "x", "b": "new"}


def test_schemas_may_change(custom: Any, kit: Any) -> None:
    made = custom.create(kit.definition(kit.root({"a": {"type": "string"}})))
    thing = custom.create(kit.widget(a="x", b="lost"))
    assert thing["spec"] == {"a": "x"}
    wider = kit.version(kit.root({"a": {"type": "string"}, "b": {"type": "string"}}))
    custom.patch(made, {"spec": {"versions": [wider]}})
    assert custom.patch(thing, {"spec": {"b": "kept"}})["spec"] == {"a": "x", "b": "kept"}
    scope = refused(custom.patch, made, {"spec": {"scope": "Cluster"}})
    assert scope == (
        422,
        'CustomResourceDefinition.apiextensions.k8s.io "widgets.example.com" is invalid: '
        'spec.scope: Invalid value: "Cluster": field is immutable',
    )


def test_taken_names_are_not_served(custom: Any, kit: Any) -> None:
    custom.create(kit.definition(names={"shortNames": ["w"]}))
    other = custom.create(kit.definition(names={"plural": "gadgets", "kind": "Gadget", "shortNames": ["w"]}))
    conditions = {entry["type"]: entry for entry in other["status"]["conditions"]}
    assert conditions["NamesAccepted"]["reason"] == "ShortNamesConflict"
    assert conditions["Established"]["status"] == "False"
    assert custom.kinds.at("example.com", "v1", "gadgets") is None
    elsewhere = custom.create(kit.definition(group="other.com", names={"shortNames": ["w"]}))
    assert elsewhere["status"]["conditions"][1]["status"] == "True"


def test_equal_names_in_two_groups_do_not_meet(custom: Any, kit: Any) -> None:
    custom.create(kit.definition(kit.root({"a": {"type": "string"}})))
    custom.create(kit.definition(kit.root({"a": {"type": "integer"}}), group="other.com"))
    custom.create(kit.widget(a="x"))
    custom.create(kit.widget(api_version="other.com/v1", a=1))
    service = {"plural": "services", "kind": "Service"}
    custom.create(kit.definition(kit.root({"a": {"type": "string"}}), names=service))
    made = custom.create(
        {"apiVersion": "example.com/v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"a": "x"}}
    )
    assert made["spec"] == {"a": "x"}


def test_deletion_takes_the_objects_along(custom: Any, kit: Any) -> None:
    made = custom.create(kit.definition())
    thing = custom.create(kit.widget())
    custom.delete(made)
    assert custom.store.head("CustomResourceDefinition", "widgets.example.com") is None
    assert custom.store.head("Widget.example.com", "default/one") is None
    assert custom.kinds.of("example.com/v1", "Widget") is None
    again = custom.create(kit.definition())
    assert again["metadata"]["uid"] != made["metadata"]["uid"]
    assert custom.create(kit.widget())["metadata"]["uid"] != thing["metadata"]["uid"]


def test_deletion_waits_for_finalizers(custom: Any, kit: Any) -> None:
    made = custom.create(kit.definition())
    held = kit.widget()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    thing = custom.create(held)
    custom.delete(made)
    waiting = custom.store.head("CustomResourceDefinition", "widgets.example.com")
    assert waiting["metadata"]["deletionTimestamp"]
    assert refused(custom.create, kit.widget("two"))[0] == 405
    custom.patch(thing, {"metadata": {"finalizers": None}})
    assert custom.store.head("CustomResourceDefinition", "widgets.example.com") is None
    assert custom.store.head("Widget.example.com", "default/one") is None


def test_field_selectors(custom: Any, kit: Any) -> None:
    schema = kit.root({"color": {"type": "string"}, "on": {"type": "boolean"}})
    fields = [{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.on"}]
    custom.create(kit.definition(versions=[kit.version(schema, selectableFields=fields)]))
    made = custom.create(kit.widget(color="red", on=True))
    kind = custom.kind(made)
    select = custom.kinds.meaning(kind).field_selector
    assert select(kind, "spec.color=red,spec.on=true")(made)
    assert not select(kind, "spec.color!=red")(made)
    with pytest.raises(ValueError, match="field label not supported"):
        select(kind, "spec.size=1")


def test_columns(custom: Any, kit: Any) -> None:
    schema = kit.root(
        {"a": {"type": "string"}, "n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "string"}}}
    )
    columns = [
        {"name": "A", "type": "string", "jsonPath": ".spec.a"},
        {"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1},
        {"name": "First", "type": "string", "jsonPath": ".spec.list[0]"},
        {"name": "All", "type": "string", "jsonPath": ".spec.list[*]"},
        {"name": "Label", "type": "string", "jsonPath": ".metadata.labels.a\\.b"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    custom.create(kit.definition(versions=[kit.version(schema, additionalPrinterColumns=columns)]))
    value = kit.widget(a="x", n=3, list=["p", "q"])
    value["metadata"]["labels"] = {"a.b": "l"}
    made = custom.create(value)
    kind = custom.kind(made)
    meaning = custom.kinds.meaning(kind)
    assert [column.name for column in meaning.columns(kind)] == ["Name", "A", "N", "First", "All", "Label", "Age"]
    now = custom.chance.now().timestamp() + 5
    assert meaning.cells(kind, made, now)[:6] == ["one", "x", 3, "p", "p q", "l"]
