"""Hashes of templates are functions of what the template says."""

import json
from typing import Any

from tests.unit.simulate import stateful_set

from podwire.compile.names import child_name, content_of, suffix_of
from podwire.compile.workloads_deployments import template_hash
from podwire.compile.workloads_statefulsets import revision_name
from podwire.kube import StatefulSet, parse
from podwire.kube.defaults import default_object


def parsed(value: dict[str, Any]) -> StatefulSet:
    found = parse(value)
    assert isinstance(found, StatefulSet)
    return found


def test_a_template_read_back_from_json_has_the_same_revision() -> None:
    made = default_object(stateful_set("db", 1))
    stored = json.loads(json.dumps(made))
    assert revision_name(parsed(made)) == revision_name(parsed(stored))
    assert template_hash(parsed(made).spec.template) == template_hash(parsed(stored).spec.template)


def test_the_order_of_labels_does_not_count_and_their_values_do() -> None:
    one, two, three = (stateful_set("db", 1) for _ in range(3))
    one["spec"]["template"]["metadata"]["labels"] = {"a": "1", "b": "2"}
    two["spec"]["template"]["metadata"]["labels"] = {"b": "2", "a": "1"}
    three["spec"]["template"]["metadata"]["labels"] = {"b": "2", "a": "3"}
    assert revision_name(parsed(one)) == revision_name(parsed(two)) != revision_name(parsed(three))


def test_defaults_do_not_count() -> None:
    bare, spelled = stateful_set("db", 1), stateful_set("db", 1)
    spelled["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP"
    spelled["spec"]["template"]["spec"]["hostNetwork"] = False
    assert revision_name(parsed(bare)) == revision_name(parsed(spelled))
    assert content_of(parsed(bare)) == content_of(parsed(spelled))


def test_names_use_kubernetes_alphabet_and_fit() -> None:
    assert set(suffix_of("x", length=40)) <= set("bcdfghjklmnpqrstvwxz2456789")
    name = child_name("n" * 300, "seed", limit=63)
    assert len(name) == 63
    assert child_name("web", "a") != child_name("web", "b")
