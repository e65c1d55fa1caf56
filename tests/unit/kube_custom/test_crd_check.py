"""What a definition may not say, in the words of kube-apiserver."""

from typing import Any

import pytest

from podwire.kube.crd import default_definition
from podwire.kube.crd_check import check_definition
from podwire.kube.crd_columns import PathError, find, parse_path

SCHEMA = "spec.versions[0].schema.openAPIV3Schema"


def errors(value: dict[str, Any]) -> list[str]:
    return [str(error) for error in check_definition(default_definition(value), None)]


def below(node: dict[str, Any], kit: Any) -> list[str]:
    return errors(kit.definition({"type": "object", "properties": {"a": node}}))


def test_a_good_definition(kit: Any) -> None:
    assert errors(kit.definition()) == []


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({}, ".type: Required value: must not be empty for specified object fields"),
        ({"type": "array", "items": {}}, ".items.type: Required value: must not be empty for specified array items"),
        ({"type": "text"}, '.type: Unsupported value: "text"'),
        ({"type": "object", "$ref": "#/x"}, ".$ref: Forbidden: $ref is not supported"),
        ({"type": "array", "uniqueItems": True, "items": {"type": "string"}}, ".uniqueItems: Forbidden"),
        ({"type": "object", "additionalProperties": False}, "additionalProperties cannot be set to false"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}, "properties": {"b": {"type": "string"}}},
            ".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            {"type": "object", "anyOf": [{"type": "object"}]},
            ".anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "oneOf": [{"properties": {"b": {"minimum": 1}}}]},
            ".properties[b]: Required value: because it is defined in",
        ),
        ({"type": "string", "x-kubernetes-int-or-string": True}, "must be empty if x-kubernetes-int-or-string is true"),
        ({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}, "must not be empty if x-kub"),
        ({"type": "string", "x-kubernetes-list-type": "set"}, "must be array if x-kubernetes-list-type is specified"),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["n"],
            },
            "so it must have a default or be a required property",
        ),
        ({"type": "string", "pattern": "(?=a)"}, "must be a valid regular expression, but isn't: error parsing regexp"),
        ({"type": "integer", "default": "x"}, '.default: Invalid value: "string"'),
        (
            {"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}},
            "must not have unknown fields",
        ),
        ({"type": "string", "minLength": "x"}, '.minLength: Invalid value: "x": must be of type int'),
        ({"type": "string", "x-kubernetes-validations": [{"rule": "self.x"}]}, ".rule: Invalid value"),
        ({"type": "string", "x-kubernetes-validations": [{"rule": "self + 'x'"}]}, "must evaluate to a bool"),
        ({"type": "string", "x-kubernetes-validations": [{"rule": "other == 1"}]}, "undeclared reference to 'other'"),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "true", "messageExpression": "1"}]},
            "messageExpression must evaluate to a string",
        ),
        ({"type": "object", "properties": {"b": 3}}, "must be a schema"),
    ],
)
def test_schemas(node: dict[str, Any], words: str, kit: Any) -> None:
    found = below(node, kit)
    assert found
    assert any(error.startswith(f"{SCHEMA}.properties[a]") and words in error for error in found), found


def test_deep_schemas_are_refused(kit: Any) -> None:
    node: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        node = {"type": "object", "properties": {"a": node}}
    assert "nested too deep" in " ".join(errors(kit.definition(node)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scope": "World"}, 'spec.scope: Unsupported value: "World"'),
        ({"group": "short"}, "should be a domain with at least one dot"),
        ({"group": "x.k8s.io"}, 'protected groups must have approval annotation "api-approved.kubernetes.io"'),
        ({"preserveUnknownFields": True}, "spec.preserveUnknownFields: Invalid value: true: must be false"),
        ({"conversion": {"strategy": "Webhook"}}, 'spec.conversion.strategy: Unsupported value: "Webhook"'),
        ({"names": {"kind": "9x", "plural": "widgets"}}, "spec.names.kind: Invalid value"),
    ],
)
def test_definitions(change: dict[str, Any], words: str, kit: Any) -> None:
    assert words in " ".join(errors(kit.definition(**change)))


def test_versions(kit: Any) -> None:
    one = kit.version(kit.root({}))
    twice = errors(kit.definition(versions=[one, {**one, "name": "v2"}]))
    assert "must have exactly one version marked as storage version" in " ".join(twice)
    assert "Duplicate value" in " ".join(errors(kit.definition(versions=[one, {**one, "storage": False}])))
    assert "schemas are required" in " ".join(errors(kit.definition(versions=[{**one, "schema": {}}])))
    scale = {"specReplicasPath": ".x", "statusReplicasPath": ".status.n"}
    wrong = errors(kit.definition(versions=[{**one, "subresources": {"scale": scale}}]))
    assert 'specReplicasPath: Invalid value: ".x": should be a json path under .spec' in " ".join(wrong)
    column = {"name": "A", "type": "text", "jsonPath": "spec.a"}
    both = " ".join(errors(kit.definition(versions=[{**one, "additionalPrinterColumns": [column]}])))
    assert "must be one of boolean,date,integer,number,string" in both
    assert "must be a simple json path starting with ." in both
    field = errors(kit.definition(versions=[{**one, "selectableFields": [{"jsonPath": ".spec.a"}]}]))
    assert "does not refer to a valid field" in " ".join(field)


def test_the_name_is_plural_and_group(kit: Any) -> None:
    value = kit.definition()
    value["metadata"]["name"] = "other.example.com"
    assert 'metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group' in errors(
        value
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".a.b", [1]),
        (".l[0].n", ["x"]),
        (".l[-1].n", ["y"]),
        (".l[*].n", ["x", "y"]),
        ('.l[?(@.n=="y")].v', [2]),
        (".l[?(@.v>1)].n", ["y"]),
        (".l[?(@.z)].n", []),
        ("['a']['b']", [1]),
        (".m.k\\.x", [5]),
        ("..n", ["x", "y"]),
        (".l[0:1].n", ["x"]),
    ],
)
def test_paths(path: str, expected: list[Any]) -> None:
    value = {"a": {"b": 1}, "l": [{"n": "x", "v": 1}, {"n": "y", "v": 2}], "m": {"k.x": 5}}
    assert find(parse_path(path), value) == expected


@pytest.mark.parametrize("path", [".a[", ".a[?(x)]", "a b", ".l[?(@.a==)]"])
def test_bad_paths(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)
