"""OpenAPI v3 has everything kubectl looks for."""

import json
import re
from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.field_docs import FIELD_DOCS
from podwire.kube.openapi import group_versions, openapi_document, openapi_index


def document(name: str) -> dict[str, Any]:
    group, version = ("", "v1") if name == "api/v1" else name.split("/")[1:]
    return openapi_document(group, version)


def test_index() -> None:
    assert {
        "api/v1",
        "apis/apps/v1",
        "apis/batch/v1",
        "apis/coordination.k8s.io/v1",
        "apis/discovery.k8s.io/v1",
        "apis/networking.k8s.io/v1",
        "apis/policy/v1",
        "apis/scheduling.k8s.io/v1",
    } <= set(group_versions())
    assert openapi_index({"apis/apps/v1": "H"}) == {
        "paths": {"apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=H"}}
    }


@pytest.mark.parametrize("name", group_versions())
def test_references_resolve_and_text_is_clean(name: str) -> None:
    made = document(name)
    text = json.dumps(made)
    names = set(re.findall(r"#/components/schemas/([\w.-]+)", text))
    assert names <= made["components"]["schemas"].keys()
    assert "``" not in text
    assert text == json.dumps(document(name)), "equal every time"


@pytest.mark.parametrize("kind_name", sorted(KINDS))
def test_kubectl_finds_that_the_server_validates(kind_name: str) -> None:
    kind = KINDS[kind_name]
    gvk = {"group": kind.group, "kind": kind_name, "version": kind.version}
    made = openapi_document(kind.group, kind.version)
    patches = [path["patch"] for path in made["paths"].values() if "patch" in path]
    mine = [patch for patch in patches if patch["x-kubernetes-group-version-kind"] == gvk]
    assert mine
    assert all("fieldValidation" in [p["name"] for p in patch["parameters"]] for patch in mine)
    schemas = [s for s in made["components"]["schemas"].values() if gvk in s.get("x-kubernetes-group-version-kind", ())]
    assert len(schemas) == 1
    assert set(schemas[0]["properties"]) >= {"apiVersion", "kind", "metadata"}
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    assert {f"{root}{scope}/{kind.plural}", f"{root}{scope}/{kind.plural}/{{name}}"} <= made["paths"].keys()


def test_how_fields_merge() -> None:
    schemas = document("api/v1")["components"]["schemas"]
    ports = schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"]
    assert {key: value for key, value in ports.items() if key.startswith("x-")} == {
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["port", "protocol"],
        "x-kubernetes-patch-merge-key": "port",
        "x-kubernetes-patch-strategy": "merge",
    }
    assert ports["items"]["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ServicePort"}]
    port = schemas["io.k8s.api.core.v1.ServicePort"]
    assert port["required"] == ["port"]
    assert port["properties"]["protocol"]["default"] == "TCP"
    assert schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"]["x-kubernetes-patch-strategy"] == (
        "merge,retainKeys"
    )
    assert schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["selector"]["x-kubernetes-map-type"] == "atomic"
    assert schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"] == "atomic"


def test_documented_fields_exist() -> None:
    properties: dict[str, set[str]] = {}
    for name in group_versions():
        for full, schema in document(name)["components"]["schemas"].items():
            properties.setdefault(full.rpartition(".")[2], set()).update(schema.get("properties", ()))
    assert FIELD_DOCS.keys() <= properties.keys()
    shared = {"DaemonSetSpec", "DeploymentSpec", "ReplicaSetSpec", "StatefulSetSpec"}
    for name, docs in FIELD_DOCS.items():
        has_all = name in shared or properties[name] >= docs.keys() - {
            "spec",
            "status",
            "stringData",
            "binaryData",
            "type",
            "data",
        }
        assert has_all, f"{name}: {docs.keys() - properties[name]}"


def test_explained_kinds_have_text() -> None:
    for name in ("ServiceSpec", "PodSpec", "Container", "NetworkPolicySpec", "IngressSpec"):
        for group_version in group_versions():
            for full, schema in document(group_version)["components"]["schemas"].items():
                if full.endswith(f".{name}"):
                    documented = [p for p in schema["properties"].values() if p.get("description")]
                    assert len(documented) * 2 > len(schema["properties"]) or name == "PodSpec"
