"""Whatever a client sends, the answer is an error text or a stored object, never a crash."""

import random
from typing import Any

import pytest

from podwire.kube import KINDS, parse
from podwire.kube.columns import cells, columns_of
from podwire.kube.decode import prune, type_errors, unknown_fields
from podwire.kube.defaults import default_object
from podwire.kube.fields import field_value, supported_fields
from podwire.kube.schema import Schema, schema_of_kind
from podwire.kube.validate import validate

WRONG: tuple[Any, ...] = (
    None,
    True,
    1,
    -1,
    1 << 70,
    0.5,
    "",
    "x",
    [],
    [None],
    [1],
    {},
    {"a": None},
    {"x": {"y": [None, {}]}},
)
WORDS = ("", "a", "A_", "None", "ClusterIP", "ClientIP", "LoadBalancer", "ExternalName", "NodePort", "TCP", "10.0.0.1")
MORE = ("::1", "*.a.b", "/", "25%", "1Gi", "Always", "Exists", "In", "10.0.0.0/8", "2026-11-24T00:00:00Z", "x" * 70)
NUMBERS = (-(1 << 31), -1, 0, 1, 80, 30000, 65536, (1 << 31) - 1)


def value_of(schema: Schema, dice: random.Random, depth: int = 0) -> Any:
    """A value of a schema, seldom one of another type."""
    if depth and dice.random() < 0.01:
        return dice.choice(WRONG)
    match schema.kind:
        case "object":
            names = sorted(schema.fields)
            chosen = dice.sample(names, min(len(names), dice.randint(0, 7))) if depth < 8 else []
            must = [name for name in ("metadata", "spec", "status") if name in schema.fields and depth == 0]
            return {name: value_of(schema.fields[name], dice, depth + 1) for name in dict.fromkeys([*must, *chosen])}
        case "list" if schema.item:
            return [value_of(schema.item, dice, depth + 1) for _ in range(dice.randint(0, 2))]
        case "map" if schema.item:
            return {dice.choice(WORDS): value_of(schema.item, dice, depth + 1) for _ in range(dice.randint(0, 2))}
        case "integer" | "number":
            return dice.choice(NUMBERS)
        case "boolean":
            return dice.random() < 0.5
        case "any":
            return {dice.choice(WORDS): dice.choice(WRONG)}
        case "int-or-string":
            return dice.choice(NUMBERS + WORDS)
        case _:
            return dice.choice(WORDS + MORE)


def whole_way(kind_name: str, obj: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the API server does with a body; None when it is refused for its types."""
    unknown_fields(kind_name, obj)
    if type_errors(kind_name, obj):
        return None
    kept = prune(kind_name, obj)
    before = repr(kept)
    stored = default_object({**kept, "kind": kind_name, "apiVersion": KINDS[kind_name].api_version})
    for error in (*validate(stored), *validate(stored, old), *validate(stored, old, subresource="status")):
        assert error.reason.startswith("FieldValue")
        assert str(error).startswith(f"{error.field}: ")
    assert len(cells(kind_name, stored, 0.0)) == len(columns_of(kind_name))
    for path in supported_fields(kind_name):
        field_value(kind_name, stored, path)
    if not any(error.field.endswith(".operator") for error in validate(stored)):
        parse(stored)
    assert repr(kept) == before, "the input was changed"
    assert default_object(stored) == stored, "defaults are not stable"
    assert not unknown_fields(kind_name, stored)
    assert not type_errors(kind_name, stored)
    return stored


@pytest.mark.parametrize("kind_name", sorted(KINDS))
def test_any_body_is_refused_or_stored(kind_name: str) -> None:
    schema, old, stored = schema_of_kind(kind_name), None, 0
    for seed in range(120):
        body = value_of(schema, random.Random(seed))
        new = whole_way(kind_name, body, old)
        old = new or old
        stored += new is not None
    assert stored > 9, "the generator makes too few bodies of the right types"


@pytest.mark.parametrize(
    "body", [None, [], "x", 1, True, {1: 2}, {"spec": 1}, {"metadata": [1]}, {"metadata": {"labels": 1}}]
)
@pytest.mark.parametrize("kind_name", ["Service", "Pod", "Secret"])
def test_a_body_of_a_wrong_type_has_a_text(kind_name: str, body: Any) -> None:
    unknown_fields(kind_name, body)
    if body not in ({1: 2}, {"spec": 1}) or (kind_name != "Secret" and body == {"spec": 1}):
        assert "cannot unmarshal" in type_errors(kind_name, body)


def test_deep_nesting_is_an_error() -> None:
    value: Any = {}
    for _ in range(100_000):
        value = {"a": value}
    body = {"spec": {"volumes": [{"name": "v", "flexVolume": value}]}}
    assert "exceeded max depth" in type_errors("Pod", body)
    assert "cannot unmarshal object" in type_errors("Pod", {"metadata": {"name": value}})
    assert unknown_fields("Pod", {"spec": value}) == ("spec.a",)
