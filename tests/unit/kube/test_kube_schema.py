"""Schemas say what the API's OpenAPI document says; decoding by them says what kube-apiserver says."""

from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.decode import prune, type_errors, unknown_fields
from podwire.kube.schema import Schema, schema_of, schema_of_kind
from podwire.kube.struct import camel


def field(kind_name: str, path: str) -> Schema:
    found = schema_of_kind(kind_name)
    for step in path.split("."):
        found = (found.item or found).fields[step] if found.kind in ("list", "map") else found.fields[step]
    return found


@pytest.mark.parametrize(
    ("name", "api_name"),
    [
        ("cluster_ips", "clusterIPs"),
        ("load_balancer_ip", "loadBalancerIP"),
        ("external_ips", "externalIPs"),
        ("ip_block", "ipBlock"),
        ("from_", "from"),
        ("set_hostname_as_fqdn", "setHostnameAsFQDN"),
        ("downward_api", "downwardAPI"),
        ("scale_io", "scaleIO"),
        ("allocate_load_balancer_node_ports", "allocateLoadBalancerNodePorts"),
        ("api_version", "apiVersion"),
        ("host_pid", "hostPID"),
        ("container_id", "containerID"),
    ],
)
def test_field_names(name: str, api_name: str) -> None:
    assert camel(name) == api_name


@pytest.mark.parametrize(
    ("kind_name", "path", "facts"),
    [
        ("Service", "spec.ports", {"list_type": "map", "list_map_keys": ("port", "protocol"), "merge_key": "port"}),
        ("Service", "spec.ports.protocol", {"kind": "string", "default": "TCP"}),
        ("Service", "spec.ports.targetPort", {"kind": "int-or-string", "format": "int-or-string"}),
        ("Service", "spec.selector", {"kind": "map", "map_type": "atomic"}),
        ("Service", "spec.clusterIPs", {"kind": "list", "list_type": "atomic", "patch_strategy": ""}),
        ("Deployment", "spec.selector", {"kind": "object", "map_type": "atomic"}),
        ("Deployment", "spec.strategy", {"patch_strategy": "retainKeys", "retain_keys": True}),
        ("Deployment", "spec.replicas", {"kind": "integer", "format": "int32"}),
        ("Pod", "spec.volumes", {"patch_strategy": "merge,retainKeys", "merge_key": "name"}),
        ("Pod", "spec.containers.env", {"patch_strategy": "merge", "list_map_keys": ("name",)}),
        (
            "Pod",
            "spec.containers.ports",
            {"list_map_keys": ("containerPort", "protocol"), "merge_key": "containerPort"},
        ),
        ("Pod", "spec.terminationGracePeriodSeconds", {"format": "int64"}),
        ("Pod", "spec.securityContext.runAsUser", {"format": "int64"}),
        ("Pod", "spec.topologySpreadConstraints", {"list_map_keys": ("topologyKey", "whenUnsatisfiable")}),
        ("Pod", "metadata.finalizers", {"list_type": "set", "patch_strategy": "merge"}),
        ("Pod", "metadata.creationTimestamp", {"kind": "string", "format": "date-time"}),
        ("Node", "spec.podCIDRs", {"list_type": "set", "patch_strategy": "merge"}),
        ("Lease", "spec.renewTime", {"format": "micro-time"}),
        ("NetworkPolicy", "spec.ingress.from.ipBlock.except", {"kind": "list", "list_type": "atomic"}),
    ],
)
def test_facts(kind_name: str, path: str, facts: dict[str, Any]) -> None:
    found = field(kind_name, path)
    assert {name: getattr(found, name) for name in facts} == facts


def test_schemas_are_built_once() -> None:
    assert schema_of(KINDS["Pod"].type) is schema_of_kind("Pod")
    assert schema_of_kind("Pod").required == ()
    assert field("Pod", "spec").required == ("containers",)


@pytest.mark.parametrize(
    ("kind_name", "body", "unknown"),
    [
        ("Service", {"spec": {"x": 1, "ports": [{"port": 1}, {"y": 2}]}}, ("spec.x", "spec.ports[1].y")),
        ("Service", {"foo": None, "metadata": {"label": {}}}, ("foo", "metadata.label")),
        ("Pod", {"spec": {"affinity": {"nodeAffinity": {"z": 1}}}}, ("spec.affinity.nodeAffinity.z",)),
        (
            "Pod",
            {"spec": {"containers": [{"securityContext": {"user": 1}}]}},
            ("spec.containers[0].securityContext.user",),
        ),
        ("Pod", {"spec": {"volumes": [{"name": "v", "flexVolume": {"anything": {"goes": 1}}}]}}, ()),
        ("ConfigMap", {"data": {"any": "key"}}, ()),
        (
            "Deployment",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [{"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 3}}}}],
                            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "x"}],
                            "hostnameOverride": "h",
                            "volumes": [
                                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
                            ],
                        }
                    }
                }
            },
            (),
        ),
    ],
)
def test_unknown_fields(kind_name: str, body: dict[str, Any], unknown: tuple[str, ...]) -> None:
    assert unknown_fields(kind_name, body) == unknown
    assert not unknown_fields(kind_name, prune(kind_name, body))


def test_prune_drops_nulls_and_shares_the_rest() -> None:
    ports = [{"port": 80}]
    body = {"metadata": {"name": "a", "creationTimestamp": None}, "spec": {"ports": ports, "x": 1}, "status": None}
    assert prune("Service", body) == {"metadata": {"name": "a"}, "spec": {"ports": ports}}
    assert prune("Service", body)["spec"]["ports"] is ports
    clean = {"metadata": {"name": "a"}}
    assert prune("Service", clean) is clean
    assert prune("Service", {"spec": {"ports": [None], "selector": {"a": None}}}) == {
        "spec": {"ports": [{}], "selector": {"a": ""}}
    }


CANNOT = 'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal '


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, ""),
        ({"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}, ""),
        ({"spec": None}, ""),
        (None, CANNOT + "null into Go value of type v1.Service"),
        ([], CANNOT + "array into Go value of type v1.Service"),
        (
            {"spec": {"ports": [{"port": "80"}]}},
            CANNOT + "string into Go struct field ServicePort.spec.ports[0].port of type int32",
        ),
        (
            {"spec": {"ports": [{"port": 80.5}]}},
            CANNOT + "number 80.5 into Go struct field ServicePort.spec.ports[0].port of type int32",
        ),
        (
            {"spec": {"ports": [{"targetPort": True}]}},
            CANNOT + "bool into Go struct field ServicePort.spec.ports[0].targetPort of type intstr.IntOrString",
        ),
        (
            {"spec": {"ports": {"port": 80}}},
            CANNOT + "object into Go struct field ServiceSpec.spec.ports of type []v1.ServicePort",
        ),
        ({"spec": []}, CANNOT + "array into Go struct field Service.spec of type v1.ServiceSpec"),
        (
            {"metadata": {"labels": {"a": 1}}},
            CANNOT + "number into Go struct field ObjectMeta.metadata.labels.a of type string",
        ),
        (
            {"metadata": {"labels": [1]}},
            CANNOT + "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
    ],
)
def test_type_errors(body: Any, text: str) -> None:
    assert type_errors("Service", body) == text


@pytest.mark.parametrize(
    ("kind_name", "body", "part"),
    [
        ("Secret", {"data": {"a": "not base64!"}}, "illegal base64 data at input byte 3"),
        ("Secret", {"data": {"a": "YWJj"}}, ""),
        ("ConfigMap", {"data": {"a": "not base64!"}}, ""),
        ("Pod", {"metadata": {"creationTimestamp": "yesterday"}}, 'parsing time "yesterday"'),
        ("Pod", {"metadata": {"creationTimestamp": "2026-11-24T10:00:00Z"}}, ""),
        ("Lease", {"spec": {"renewTime": "2026-11-24T10:00:00.123456Z"}}, ""),
        ("Pod", {"spec": {"containers": [{"resources": {"limits": {"cpu": "half"}}}]}}, "quantities must match"),
        ("Pod", {"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}}}]}}, ""),
        ("Pod", {"spec": {"affinity": []}}, "of type v1.Affinity"),
        ("Deployment", {"spec": {"replicas": 1 << 31}}, "of type int32"),
    ],
)
def test_formats(kind_name: str, body: dict[str, Any], part: str) -> None:
    text = type_errors(kind_name, body)
    assert part in text
    assert bool(part) is bool(text)
