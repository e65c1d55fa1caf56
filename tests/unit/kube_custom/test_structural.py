"""Structural schemas: what values they take, in the words of kube-apiserver."""

from typing import Any

import pytest

from podwire.kube.structural import read_structural
from podwire.kube.structural_check import UNSET, check_value
from podwire.kube.structural_rules import Rules
from podwire.kube.structural_values import fill_defaults, prune


def errors(schema: dict[str, Any], value: Any, old: Any = UNSET) -> list[str]:
    return [str(error) for error in check_value(read_structural(schema), value, "x", old=old)]


@pytest.mark.parametrize(
    ("schema", "good", "bad", "words"),
    [
        ({"type": "integer"}, 3, "3", 'Invalid value: "string": x in body must be of type integer: "string"'),
        ({"type": "integer"}, 3.0, 3.5, 'Invalid value: "number": x in body must be of type integer: "number"'),
        ({"type": "string"}, "", None, 'Invalid value: "null": x in body must be of type string: "null"'),
        ({"type": "boolean"}, True, 1, 'Invalid value: "integer": x in body must be of type boolean: "integer"'),
        ({"x-kubernetes-int-or-string": True}, 1, True, 'x in body must be of type integer,string: "boolean"'),
        ({"type": "string", "enum": ["a", "b"]}, "a", "c", 'Unsupported value: "c": supported values: "a", "b"'),
        ({"type": "integer", "maximum": 3}, 3, 4, "Invalid value: 4: x in body should be less than or equal to 3"),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 4, 3, "x in body should be greater than 3"),
        ({"type": "number", "multipleOf": 0.5}, 1.5, 1.2, "x in body should be a multiple of 0.5"),
        ({"type": "string", "minLength": 2}, "ab", "a", "x in body should be at least 2 chars long"),
        ({"type": "string", "maxLength": 2}, "ab", "abc", "Too long: may not be more than 2 bytes"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "a", "A", "x in body should match '^[a-z]+$'"),
        ({"type": "array", "maxItems": 1}, [1], [1, 2], "Too many: 2: must have at most 1 item"),
        ({"type": "array", "minItems": 1}, [1], [], "x in body should have at least 1 items"),
        ({"type": "object", "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}, "Too many: 2"),
        ({"type": "object", "required": ["a"]}, {"a": 1}, {}, "x.a: Required value"),
        ({"type": "string", "format": "date-time"}, "2024-01-01T00:00:00Z", "soon", "must be of type date-time"),
        ({"type": "string", "format": "ipv4"}, "1.2.3.4", "1.2.3", "must be of type ipv4"),
        ({"type": "string", "format": "cidr"}, "10.0.0.0/8", "10.0.0.0", "must be of type cidr"),
        ({"type": "string", "format": "byte"}, "YQ==", "!", "must be of type byte"),
        ({"type": "string", "format": "duration"}, "1h", "1 hour", "must be of type duration"),
        ({"type": "string", "format": "uuid"}, "b5d3ab8e-3ff4-4a3e-9d3c-6b6b0d1c2c11", "x", "must be of type uuid"),
        ({"anyOf": [{"minimum": 5}, {"maximum": 1}]}, 6, 3, '"x" must validate at least one schema (anyOf)'),
        ({"oneOf": [{"minimum": 1}, {"minimum": 5}]}, 2, 6, "(oneOf). Found 2 valid alternatives"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1}, {}, "(oneOf). Found none valid"),
        ({"allOf": [{"minimum": 1}, {"maximum": 5}]}, 3, 6, '"x" must validate all the schemas (allOf)'),
        ({"not": {"enum": ["a"]}}, "b", "a", '"x" must not validate the schema (not)'),
        ({"type": "array", "x-kubernetes-list-type": "set"}, ["a"], ["a", "a"], 'x[1]: Duplicate value: "a"'),
    ],
)
def test_checks(schema: dict[str, Any], good: Any, bad: Any, words: str) -> None:
    assert errors(schema, good) == []
    assert words in " ".join(errors(schema, bad))


def test_map_lists_have_keys() -> None:
    item = {"type": "object", "properties": {"name": {"type": "string"}, "p": {"type": "string", "default": "TCP"}}}
    schema = {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name", "p"],
    }
    assert errors(schema, [{"name": "a"}, {"name": "a", "p": "UDP"}]) == []
    assert errors(schema, [{"name": "a"}, {"name": "a", "p": "TCP"}]) == [
        'x[1]: Duplicate value: {"name":"a","p":"TCP"}'
    ]


def test_ratcheting_leaves_what_did_not_change() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 1}, "b": {"type": "string"}}}
    assert errors(schema, {"a": "long", "b": "new"}, {"a": "long", "b": "old"}) == []
    assert len(errors(schema, {"a": "longer"}, {"a": "long"})) == 1


def test_pruning_and_defaults_share_what_they_keep() -> None:
    schema = read_structural(
        {
            "type": "object",
            "properties": {
                "a": {"type": "object", "properties": {"b": {"type": "string", "default": "x"}}, "default": {}},
                "m": {
                    "type": "object",
                    "additionalProperties": {"type": "object", "properties": {"k": {"type": "string"}}},
                },
                "e": {
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": {"type": "object"}},
                },
            },
        }
    )
    assert fill_defaults(schema, {}) == {"a": {"b": "x"}}
    whole = {"a": {"b": "y"}, "m": {"one": {"k": "v"}}}
    assert prune(schema, whole) is whole
    assert fill_defaults(schema, whole) is whole
    assert prune(schema, {"z": 1, "m": {"one": {"q": 1}}}) == {"m": {"one": {}}}
    embedded = {"e": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {}}}
    assert prune(schema, embedded) == {"e": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}}


def ruled(schema: dict[str, Any], value: Any, old: Any = UNSET) -> list[str]:
    whole = {"type": "object", "properties": {"spec": schema}}
    before = old if old is UNSET else {"spec": old}
    return [str(error) for error in Rules(read_structural(whole)).check({"spec": value}, before)]


NUMBERS = {"type": "object", "properties": {"low": {"type": "integer"}, "high": {"type": "integer"}}}


def test_rules_name_the_field_and_the_reason() -> None:
    rule = {
        "rule": "self.low <= self.high",
        "message": "low first",
        "fieldPath": ".low",
        "reason": "FieldValueForbidden",
    }
    schema = {**NUMBERS, "x-kubernetes-validations": [rule]}
    assert ruled(schema, {"low": 1, "high": 2}) == []
    assert ruled(schema, {"low": 3, "high": 2}) == ["spec.low: Forbidden: low first"]
    assert ruled(schema, {"low": 3}) == ['spec: Invalid value: "object": no such key: high evaluating rule: low first']


def test_messages_of_rules() -> None:
    plain = {**NUMBERS, "x-kubernetes-validations": [{"rule": "self.low > 0"}]}
    assert ruled(plain, {"low": 0}) == ['spec: Invalid value: "object": failed rule: self.low > 0']
    made = {"rule": "self.low > 0", "messageExpression": "'low is %d'.format([self.low])"}
    assert ruled({**NUMBERS, "x-kubernetes-validations": [made]}, {"low": 0}) == [
        'spec: Invalid value: "object": low is 0'
    ]


def test_transition_rules_need_an_old_value() -> None:
    schema = {**NUMBERS, "x-kubernetes-validations": [{"rule": "self.low == oldSelf.low", "message": "fixed"}]}
    assert ruled(schema, {"low": 1}) == []
    assert ruled(schema, {"low": 1, "high": 2}, {"low": 1}) == []
    assert ruled(schema, {"low": 2}, {"low": 1}) == ['spec: Invalid value: "object": fixed']
    always = {"rule": "oldSelf.hasValue() || self.low == 1", "optionalOldSelf": True, "message": "begin at one"}
    optional = {**NUMBERS, "x-kubernetes-validations": [always]}
    assert ruled(optional, {"low": 2}) == ['spec: Invalid value: "object": begin at one']
    assert ruled(optional, {"low": 2}, {"low": 1}) == []


def test_transition_rules_below_map_lists_find_their_item() -> None:
    item = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "v": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only up"}],
    }
    schema = {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    old = [{"name": "a", "v": 1}, {"name": "b", "v": 5}]
    assert ruled(schema, [{"name": "b", "v": 6}, {"name": "c", "v": 0}], old) == []
    assert ruled(schema, [{"name": "b", "v": 4}], old) == ['spec[0]: Invalid value: "object": only up']


def test_rules_are_ratcheted() -> None:
    schema = {**NUMBERS, "x-kubernetes-validations": [{"rule": "self.low > 0", "message": "positive"}]}
    assert ruled(schema, {"low": 0}, {"low": 0}) == []
    assert ruled(schema, {"low": -1}, {"low": 0}) == ['spec: Invalid value: "object": positive']


def test_rules_see_numbers_times_sets_and_odd_names() -> None:
    schema = {
        "type": "object",
        "properties": {
            "ratio": {"type": "number"},
            "at": {"type": "string", "format": "date-time"},
            "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "a-b": {"type": "string"},
            "namespace": {"type": "string"},
            "port": {"x-kubernetes-int-or-string": True},
        },
        "x-kubernetes-validations": [
            {"rule": "self.ratio / 2.0 == 1.5 && self.at > timestamp('2020-01-01T00:00:00Z')"},
            {"rule": "self.tags == ['b', 'a'] && self.a__dash__b == 'x' && self.__namespace__ == 'n'"},
            {"rule": "type(self.port) == int ? self.port > 0 : self.port.endsWith('%')"},
        ],
    }
    value = {
        "ratio": 3,
        "at": "2024-01-01T00:00:00Z",
        "tags": ["a", "b"],
        "a-b": "x",
        "namespace": "n",
        "port": "5%",
    }
    assert ruled(schema, value) == []


def test_a_rule_that_costs_too_much_is_refused_in_bounded_time() -> None:
    rule = {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"}
    schema = {"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [rule]}
    assert "call cost exceeds limit for rule" in ruled(schema, list(range(2000)))[0]


@pytest.mark.parametrize(
    "junk", [None, True, 3, 1.5, "\ud800", [], [None], {"name": 3}, {"name": {"a": []}}, [[["x"]]]]
)
def test_hostile_values_are_refused_or_taken_but_never_break(junk: Any) -> None:
    item = {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a", "format": "cidr"}}}
    schema = {
        "type": "object",
        "properties": {
            "keyed": {
                "type": "array",
                "items": item,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "number": {"type": "number", "multipleOf": 0.1, "enum": [1, 2]},
        },
    }
    for name in ("keyed", "set", "number"):
        for value in (junk, [junk], [junk, junk], {"x": junk}):
            errors(schema, {name: value}, {name: junk})
