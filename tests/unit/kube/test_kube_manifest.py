"""Manifests: every readable object comes out, every mistake has its line."""

from typing import Any

import pytest

from podwire.kube.manifest import read_manifests

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def read(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    objects, findings = read_manifests(text, "k8s/app.yaml")
    assert {finding.code for finding in findings} <= {"PW9001"}
    return list(objects), [finding.message for finding in findings]


def data(text: str) -> Any:
    objects, messages = read(CONFIG + "data:\n" + text)
    assert messages == []
    return objects[0]["data"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("  a: yes\n  b: 'yes'\n  c: off", {"a": True, "b": "yes", "c": False}),
        ("  a: 0644\n  b: 0o17\n  c: 0x1f\n  d: 1_000\n  e: -5", {"a": 420, "b": 15, "c": 31, "d": 1000, "e": -5}),
        ("  a: 22:22\n  b: 2026-11-24\n  c: 1.2.3", {"a": "22:22", "b": "2026-11-24", "c": "1.2.3"}),
        ("  a: 1.5\n  b: 1e3\n  c: .5\n  d: 08", {"a": 1.5, "b": 1000, "c": 0.5, "d": 8}),
        ("  y: a\n  n: b", {"true": "a", "false": "b"}),
        ("  a: ~\n  b:\n  c: ''", {"a": None, "b": None, "c": ""}),
        ("  80: a\n  true: b", {"80": "a", "true": "b"}),
        ("  x: &x {a: 1, b: 2}\n  z: {<<: *x, b: 3}", {"x": {"a": 1, "b": 2}, "z": {"a": 1, "b": 3}}),
        ("  x: &x [1]\n  z: *x", {"x": [1], "z": [1]}),
        ("  a: |\n    ---\n    b\n", {"a": "---\nb\n"}),
        ("  a: !!str 5", {"a": "5"}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert data(text) == value


def test_documents_lists_and_comments() -> None:
    text = f"# nothing\n---\n{CONFIG}---\n---\n# only a comment\n--- # more\n" + (
        "kind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n...\n"
        "---\nkind: PodList\napiVersion: v1\nitems: [{metadata: {name: q}}]\n"
    )
    objects, messages = read(text)
    assert [(obj["kind"], obj["metadata"]["name"]) for obj in objects] == [
        ("ConfigMap", "a"),
        ("Pod", "p"),
        ("Pod", "q"),
    ]
    assert messages == []


def test_json() -> None:
    one = '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}'
    text = one + "\n" + one.replace('"p"', '"q"')
    assert [obj["metadata"]["name"] for obj in read(text)[0]] == ["p", "q"]
    assert read("{apiVersion: v1, kind: Pod}")[0] == [{"apiVersion": "v1", "kind": "Pod"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", '2: key "a" is already set in this mapping'),
        ('{"a": 1, "a": 2}', '1: key "a" is already set in this mapping'),
        ("- 1", "1: the document is a list, not an object with apiVersion and kind"),
        ("text", "1: the document is a plain value, not an object with apiVersion and kind"),
        ("kind: Pod", "1: apiVersion is not set"),
        ("apiVersion: v1", "1: kind is not set"),
        ("apiVersion: 1\nkind: Pod", "1: apiVersion must be text"),
        ("apiVersion: v1\nkind: Pod\nmetadata: []", "1: metadata must be a mapping"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 5}", "1: metadata.name must be text: put it in quotes"),
        ("a: b: c", "1: mapping values are not allowed in this context"),
        ("a: *b", "1: anchor 'b' is not defined"),
        ("a: 1e400", "1: number out of range"),
        ("a: &a [*a]", "1: anchor 'a' contains itself"),
        ("a: {<<: 1}", "1: a merge key (<<) needs a mapping or a list of mappings"),
        ("? [a]\n: b", "1: a mapping key must be a plain value, not a mapping or a list"),
        ("[" * 200 + "]" * 200, "1: nested more than 100 levels deep"),
        ("kind: List\napiVersion: v1\nitems:\n- {kind: Pod}", "1: items[0]: apiVersion is not set"),
    ],
)
def test_mistakes_do_not_hide_the_rest(text: str, message: str) -> None:
    objects, messages = read(f"{CONFIG}---\n{text}\n---\nkind: Pod\napiVersion: v1\n")
    line, _, rest = message.partition(": ")
    assert messages == [f"k8s/app.yaml:{int(line) + 4}: {rest}"]
    assert [obj["kind"] for obj in objects] == ["ConfigMap", "Pod"]


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("a: {{ .Values.x }}", "this looks like a template: render it first, for example with `helm template`"),
        ("a:\n\tb: 1", "indent with spaces, not tabs"),
        ("a: 1\na: 2", "keep one of the two"),
    ],
)
def test_advice(text: str, fix: str) -> None:
    (finding,) = read_manifests(text, "x")[1]
    assert finding.fix == fix


def test_the_last_of_two_equal_objects_counts() -> None:
    objects, messages = read(f"{CONFIG}data: {{a: '1'}}\n---\n{CONFIG}data: {{a: '2'}}\n")
    assert [obj["data"] for obj in objects] == [{"a": "2"}]
    assert messages == ["k8s/app.yaml:6: ConfigMap a is given more than once; the last one counts"]
    nameless = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: a-}\n"
    assert len(read(f"{nameless}---\n{nameless}")[0]) == 2


def test_bombs_are_refused_quickly() -> None:
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    assert read("\n".join(lines))[1] == ["k8s/app.yaml:6: aliases expand to more than 200000 values"]
    assert len(read("[" * 100_000)[1]) == 1
    assert len(read('{"a":' * 100_000)[1]) == 1
    assert len(read("- " * 5_000)[1]) == 1
    assert len(read("\x00")[1]) == 1
