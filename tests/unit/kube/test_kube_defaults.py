"""Defaults are those of the API, and never touch their input."""

from copy import deepcopy
from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.defaults import default_object
from podwire.kube.quantity import canonical_quantity


def defaulted(kind_name: str, **body: Any) -> dict[str, Any]:
    obj = {"apiVersion": KINDS[kind_name].api_version, "kind": kind_name, "metadata": {"name": "x"}, **body}
    before = deepcopy(obj)
    result = default_object(obj)
    assert obj == before
    assert default_object(result) == result
    return result


PORT = {"port": 80}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"ports": [PORT]},
            {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            },
        ),
        (
            {"type": "NodePort", "ports": [{**PORT, "targetPort": "http"}]},
            {
                "type": "NodePort",
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": "http"}],
            },
        ),
        (
            {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local"},
            {
                "type": "LoadBalancer",
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Local",
                "allocateLoadBalancerNodePorts": True,
            },
        ),
        (
            {"type": "ExternalName", "externalName": "a.b"},
            {"type": "ExternalName", "externalName": "a.b", "sessionAffinity": "None"},
        ),
        (
            {"externalIPs": ["1.2.3.4"], "sessionAffinityConfig": {"clientIP": {}}},
            {
                "type": "ClusterIP",
                "sessionAffinity": "None",
                "externalIPs": ["1.2.3.4"],
                "internalTrafficPolicy": "Cluster",
                "externalTrafficPolicy": "Cluster",
            },
        ),
    ],
)
def test_service(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    assert defaulted("Service", spec=spec)["spec"] == expected


def test_service_status_addresses_are_vips() -> None:
    status = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "a.b"}]}}
    result = defaulted("Service", spec={"type": "LoadBalancer"}, status=status)
    assert result["status"]["loadBalancer"]["ingress"] == [{"ip": "1.2.3.4", "ipMode": "VIP"}, {"hostname": "a.b"}]
    assert defaulted("Service")["status"] == {"loadBalancer": {}}


def test_pod() -> None:
    container = {
        "name": "a",
        "image": "nginx",
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 3},
        "livenessProbe": {"grpc": {"port": 9}},
        "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "100m"}},
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    }
    pod = defaulted("Pod", spec={"containers": [container], "volumes": [{"name": "v"}, {"name": "s", "secret": {}}]})
    spec = pod["spec"]
    assert {k: v for k, v in spec.items() if k not in ("containers", "volumes")} == {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }
    assert spec["volumes"] == [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"defaultMode": 420}}]
    assert spec["containers"][0] == {
        **container,
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "periodSeconds": 3,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "livenessProbe": {
            "grpc": {"port": 9, "service": ""},
            "periodSeconds": 10,
            "timeoutSeconds": 1,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}],
        "resources": {
            "limits": {"cpu": "500m", "memory": "1Gi"},
            "requests": {"cpu": "100m", "memory": "1Gi"},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always",
    }
    assert pod["status"] == {"phase": "Pending"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:v1", "IfNotPresent"),
        ("nginx@sha256:abc", "IfNotPresent"),
        ("", "Always"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    pod = defaulted("Pod", spec={"containers": [{"name": "a", "image": image}]})
    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_host_network_ports_and_the_old_service_account_field() -> None:
    spec = {"hostNetwork": True, "serviceAccount": "sa", "containers": [{"name": "a", "ports": [{"containerPort": 8}]}]}
    result = defaulted("Pod", spec=spec)["spec"]
    assert result["containers"][0]["ports"] == [{"containerPort": 8, "hostPort": 8, "protocol": "TCP"}]
    assert result["serviceAccountName"] == "sa"


def test_workloads() -> None:
    template: dict[str, Any] = {"spec": {"containers": []}}
    deployment = defaulted("Deployment", spec={"template": template})["spec"]
    assert deployment["replicas"] == 1
    assert deployment["revisionHistoryLimit"] == 10
    assert deployment["progressDeadlineSeconds"] == 600
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert "enableServiceLinks" not in deployment["template"]["spec"]
    assert deployment["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert defaulted("Deployment", spec={"replicas": 0, "strategy": {"type": "Recreate"}})["spec"]["strategy"] == {
        "type": "Recreate"
    }
    assert defaulted("Deployment", spec={"replicas": 0})["spec"]["replicas"] == 0
    assert defaulted("ReplicaSet", spec={})["spec"] == {"replicas": 1}
    stateful = defaulted("StatefulSet", spec={"volumeClaimTemplates": [{"metadata": {"name": "d"}}]})["spec"]
    assert stateful == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "d"},
                "spec": {"volumeMode": "Filesystem"},
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "status": {"phase": "Pending"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ({}, ["Ingress"]),
        ({"egress": []}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_policy_types(spec: dict[str, Any], types: list[str]) -> None:
    assert defaulted("NetworkPolicy", spec=spec)["spec"]["policyTypes"] == types


def test_the_other_kinds() -> None:
    policy = defaulted("NetworkPolicy", spec={"ingress": [{"ports": [{"port": 80}]}]})
    assert policy["spec"]["ingress"] == [{"ports": [{"port": 80, "protocol": "TCP"}]}]
    namespace = defaulted("Namespace")
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    assert (namespace["spec"], namespace["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    going = defaulted("Namespace", metadata={"name": "x", "deletionTimestamp": "2026-11-24T00:00:00Z"}, spec={})
    assert going["spec"] == {}
    secret = defaulted("Secret", data={"a": "YQ=="}, stringData={"b": "b", "a": "c"})
    assert secret["type"] == "Opaque"
    assert secret["data"] == {"a": "Yw==", "b": "Yg=="}
    assert "stringData" not in secret
    piece = defaulted("EndpointSlice", ports=[{"port": 80}])
    assert piece["ports"] == [{"port": 80, "protocol": "TCP", "name": ""}]
    assert defaulted("Endpoints", subsets=[{"ports": [{"port": 80}]}])["subsets"] == [
        {"ports": [{"port": 80, "protocol": "TCP"}]}
    ]
    parameters = {"kind": "K", "name": "n"}
    assert defaulted("IngressClass", spec={"controller": "a/b", "parameters": parameters})["spec"]["parameters"] == {
        **parameters,
        "scope": "Cluster",
    }
    ingress = {"rules": [{"http": {"paths": [{"path": "/"}]}}]}
    assert defaulted("Ingress", spec=ingress)["spec"] == ingress, "pathType has no default"


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        (1, "1"),
        (0.5, "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("128Mi", "128Mi"),
        ("1000M", "1G"),
        ("1e3", "1e3"),
        ("100e3", "100e3"),
        ("0", "0"),
        ("0.1Mi", "104857600m"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-5m", "-5m"),
        ("half", "half"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_quantities(written: Any, canonical: str) -> None:
    assert canonical_quantity(written) == canonical
