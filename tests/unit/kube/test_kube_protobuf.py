"""Protobuf bodies: every built-in field has a number, Go's way of writing is undone, hostile bytes are refused."""

import base64
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.kube.protobuf import MAGIC, NoProtobuf, ProtobufError, decode_body, decode_message, fields_of, struct_of
from podwire.kube.registry import KINDS
from podwire.kube.schema import Schema, schema_of_kind

JSON_ONLY = {"apiextensions.k8s.io", "gateway.networking.k8s.io", "policy.networking.k8s.io"}
"""Clients that insist on protobuf for these get 415 and fall back, or send JSON anyway (kubectl, helm)."""
OURS = re.compile(
    r"conditions\.(last\w+Time|observedGeneration)$|volumeClaimTemplates?\.(status|apiVersion|kind)$"
    r"|projected\.sources\.downwardAPI\.default(Mode|User)$|nodeInfo\.runningInUserNamespace$"
)
"""Shared structs of ours that are wider than Kubernetes' one of that place."""


def varint(value: int) -> bytes:
    out = b""
    value &= 0xFFFFFFFFFFFFFFFF
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def part(number: int, data: bytes | str | int) -> bytes:
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    data = data.encode() if isinstance(data, str) else data
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + part(1, part(1, api_version) + part(2, kind)) + part(2, raw) + part(3, "") + part(4, "")


def missing(schema: Schema, struct: str, path: str) -> Iterator[str]:
    """Fields of a schema without a number in ``struct``."""
    by_name = {}
    for field in all_fields(struct):
        by_name[field.name] = field
    for name, field in schema.fields.items():
        if path == "" and name in ("apiVersion", "kind"):
            continue
        row = by_name.get(name)
        if row is None:
            yield f"{path}.{name}"
            continue
        below = field.item if field.kind in ("list", "map") and field.item else field
        if below.kind == "object" and "." in row.type:
            yield from missing(below, row.type, f"{path}.{name}")


def all_fields(struct: str) -> Iterator[Any]:
    for row in fields_of(struct).values():
        if row.mark == "<":
            yield from all_fields(row.type)
        else:
            yield row


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_field_of_every_kind_has_a_number(name: str) -> None:
    kind = KINDS[name]
    try:
        struct = struct_of(kind.api_version, name)
    except NoProtobuf:
        assert kind.group in JSON_ONLY
        return
    assert {path for path in missing(schema_of_kind(name), struct, "") if not OURS.search(path)} == set()


def test_zero_values_of_plain_fields_are_dropped_and_those_of_pointers_kept() -> None:
    spec = part(1, 0) + part(5, 0) + part(3, part(2, ""))
    raw = part(1, part(1, "web") + part(8, b"")) + part(2, spec) + part(3, b"")
    assert decode_body(body("apps/v1", "Deployment", raw)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0},
    }


def test_maps_lists_bytes_and_special_structs() -> None:
    secret = part(1, part(1, "s") + part(11, part(1, "a") + part(2, "b"))) + part(2, part(1, "k") + part(2, b"\xff"))
    found = decode_body(body("v1", "Secret", secret))
    assert found["metadata"]["labels"] == {"a": "b"} and found["data"] == {"k": base64.b64encode(b"\xff").decode()}
    port = part(1, "http") + part(3, 80) + part(4, part(1, 1) + part(3, "web"))
    assert decode_message("core.ServicePort", port) == {"name": "http", "port": 80, "targetPort": "web"}
    probe = part(1, part(2, part(2, part(1, 0) + part(2, 8080)))) + part(2, -1)
    assert decode_message("core.Probe", probe) == {"httpGet": {"port": 8080}, "initialDelaySeconds": -1}
    limits = part(1, part(1, "cpu") + part(2, part(1, "250m")))
    assert decode_message("core.ResourceRequirements", limits) == {"limits": {"cpu": "250m"}}
    meta = part(9, part(1, 1_700_000_000))
    assert decode_message("meta.ObjectMeta", meta) == {"deletionTimestamp": "2023-11-14T22:13:20Z"}
    user = part(4, part(1, "scopes") + part(2, part(1, "x") + part(1, "y")))
    assert decode_message("authentication.UserInfo", user) == {"extra": {"scopes": ["x", "y"]}}


def test_delete_options_of_any_group() -> None:
    raw = part(1, 0) + part(4, "Foreground")
    found = decode_body(body("policy/v1", "DeleteOptions", raw))
    assert found["gracePeriodSeconds"] == 0 and found["propagationPolicy"] == "Foreground"


def test_unknown_numbers_are_skipped_and_unknown_kinds_refused() -> None:
    assert decode_message("core.ServicePort", part(99, "x") + part(3, 1)) == {"port": 1}
    with pytest.raises(NoProtobuf):
        decode_body(body("example.com/v1", "Widget", b""))


@given(st.binary(max_size=200))
def test_hostile_bytes_raise_nothing_else(data: bytes) -> None:
    for raw in (MAGIC + data, body("v1", "Pod", data)):
        with contextlib.suppress(ProtobufError, NoProtobuf):
            decode_body(raw)


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(ProtobufError):
        decode_message("core.PodSpec", b"", depth=1000)
