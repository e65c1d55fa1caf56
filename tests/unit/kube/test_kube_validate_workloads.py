"""Pods, workloads, data, metadata: errors in kube-apiserver's words."""

from copy import deepcopy
from typing import Any

import pytest

from podwire.kube import KINDS
from podwire.kube.defaults import default_object
from podwire.kube.validate import validate

Obj = dict[str, Any]


def made(kind_name: str, **body: Any) -> Obj:
    namespace = {"namespace": "shop"} if KINDS[kind_name].namespaced else {}
    meta = {"name": "x", **namespace, **body.pop("metadata", {})}
    return default_object({"apiVersion": KINDS[kind_name].api_version, "kind": kind_name, "metadata": meta, **body})


def texts(new: Obj, old: Obj | None = None, subresource: str = "") -> list[str]:
    return [str(error) for error in validate(new, old, subresource=subresource)]


def pod(container: Obj | None = None, **spec: Any) -> Obj:
    return made("Pod", spec={"containers": [{"name": "a", "image": "nginx", **(container or {})}], **spec})


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({}, []),
        ({"name": ""}, [".name: Required value"]),
        ({"image": ""}, [".image: Required value"]),
        ({"image": " nginx"}, ['.image: Invalid value: " nginx": must not have leading or trailing whitespace']),
        (
            {"imagePullPolicy": "Now"},
            ['.imagePullPolicy: Unsupported value: "Now": supported values: "Always", "IfNotPresent", "Never"'],
        ),
        (
            {"ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "name": "http"}]},
            ['.ports[1].name: Duplicate value: "http"'],
        ),
        ({"ports": [{}]}, [".ports[0].containerPort: Required value"]),
        (
            {"ports": [{"containerPort": 70000}]},
            [".ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
        ),
        (
            {"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]},
            ['.ports[1].hostPort: Duplicate value: "TCP//9"'],
        ),
        (
            {"env": [{"name": "A=B"}]},
            [
                '.env[0].name: Invalid value: "A=B": a valid environment variable name must consist only of printable '
                "ASCII characters other than '='"
            ],
        ),
        (
            {"env": [{"name": "A", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]},
            ['.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
        ),
        ({"volumeMounts": [{"name": "v", "mountPath": "/a"}]}, ['.volumeMounts[0].name: Not found: "v"']),
        ({"readinessProbe": {"periodSeconds": 1}}, [".readinessProbe: Required value: must specify a handler type"]),
        (
            {"livenessProbe": {"tcpSocket": {"port": 80}, "exec": {"command": ["a"]}, "successThreshold": 2}},
            [
                ".livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
                ".livenessProbe.successThreshold: Invalid value: 2: must be 1",
            ],
        ),
        (
            {"readinessProbe": {"httpGet": {"port": 0}, "periodSeconds": -1}},
            [
                ".readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive",
                ".readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
            ],
        ),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m", "memory": "-1"}}},
            [
                '.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
                '.resources.requests: Invalid value: "1500m": must be less than or equal to cpu limit of 1',
            ],
        ),
    ],
)
def test_containers(container: Obj, expected: list[str]) -> None:
    assert texts(pod(container)) == [f"spec.containers[0]{text}" for text in expected]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": []}, ["spec.containers: Required value"]),
        (
            {"restartPolicy": "Sometimes"},
            ['spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"'],
        ),
        ({"dnsPolicy": "None"}, ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"]),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"], "searches": ["a.b", ".", "_x.y."]}}, []),
        ({"initContainers": [{"name": "a", "image": "x"}]}, ['spec.initContainers[0].name: Duplicate value: "a"']),
        (
            {"initContainers": [{"name": "b", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]},
            [
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
                "restartPolicy=Always"
            ],
        ),
        (
            {
                "volumes": [
                    {"name": "v"},
                    {"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}},
                    {"name": "s", "secret": {}},
                ]
            },
            [
                'spec.volumes[1].name: Duplicate value: "v"',
                "spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[2].secret.secretName: Required value",
            ],
        ),
        (
            {"tolerations": [{"operator": "Exists", "value": "x", "effect": "Never"}]},
            [
                'spec.tolerations[0].operator: Invalid value: {"operator":"Exists","value":"x","effect":"Never"}: '
                "value must be empty when `operator` is 'Exists'",
                'spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", '
                '"PreferNoSchedule"',
            ],
        ),
        (
            {"hostAliases": [{"ip": "1.2.3", "hostnames": ["a"]}]},
            [
                'spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or '
                "2001:db8::ffff)"
            ],
        ),
        (
            {
                "hostNetwork": True,
                "containers": [{"name": "a", "image": "x", "ports": [{"containerPort": 1, "hostPort": 2}]}],
            },
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 1: must match `hostPort` when "
                "`hostNetwork` is true"
            ],
        ),
    ],
)
def test_pod_specs(spec: Obj, expected: list[str]) -> None:
    assert texts(pod(**spec)) == expected


FIXED = "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"containers": [{"name": "a", "image": "nginx:2", "imagePullPolicy": "Always"}]}, ""),
        ({"tolerations": [{"key": "k", "operator": "Exists"}]}, ""),
        ({"activeDeadlineSeconds": 5}, ""),
        ({"nodeName": "node-1"}, FIXED),
        ({"containers": [{"name": "b", "image": "nginx"}]}, FIXED),
        ({"containers": []}, "spec.containers: "),
        ({"restartPolicy": "Never"}, FIXED),
    ],
)
def test_pod_updates(change: Obj, start: str) -> None:
    found = texts(pod(**change), pod())
    assert bool(found) is bool(start)
    assert any(text.startswith(start) for text in found) or not start


def test_binding_may_set_the_node() -> None:
    assert texts(pod(nodeName="node-1"), pod(), "binding") == []


GUEST = {"name": "look", "image": "busybox", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
FORBIDDEN = "Forbidden: cannot be set for an Ephemeral Container"


@pytest.mark.parametrize(
    ("guest", "expected"),
    [
        ({"targetContainerName": "a", "stdin": True, "tty": True}, []),
        ({"name": "a"}, ['.name: Duplicate value: "a"']),
        ({"targetContainerName": "look"}, ['.targetContainerName: Not found: "look"']),
        ({"ports": [{"containerPort": 80, "protocol": "TCP"}]}, [f".ports: {FORBIDDEN}"]),
        ({"livenessProbe": {"tcpSocket": {"port": 80}}}, [f".livenessProbe: {FORBIDDEN}"]),
        ({"resources": {"limits": {"cpu": "1"}}}, [f".resources: {FORBIDDEN}"]),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, [f".lifecycle: {FORBIDDEN}"]),
        ({"restartPolicy": "Always"}, [f".restartPolicy: {FORBIDDEN}"]),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}]},
            [f".volumeMounts[0].subPath: {FORBIDDEN}"],
        ),
    ],
)
def test_ephemeral_containers(guest: Obj, expected: list[str]) -> None:
    volumes = [{"name": "v", "emptyDir": {}}]
    new = pod(volumes=volumes, ephemeralContainers=[{**GUEST, **guest}])
    found = texts(new, pod(volumes=volumes), "ephemeralcontainers")
    assert found == [f"spec.ephemeralContainers[0]{text}" for text in expected]


def test_ephemeral_containers_are_only_added_and_only_through_their_subresource() -> None:
    with_guest = pod(ephemeralContainers=[GUEST])
    assert texts(with_guest) == ["spec.ephemeralContainers: Forbidden: cannot be set on create"]
    assert texts(with_guest, pod())[0].startswith(FIXED)
    start = 'spec.ephemeralContainers: Forbidden: existing ephemeral containers "look" may not be '
    assert texts(pod(), with_guest, "ephemeralcontainers") == [f"{start}removed\n"]
    other = pod(ephemeralContainers=[{**GUEST, "image": "alpine"}])
    assert texts(other, with_guest, "ephemeralcontainers") == [f"{start}changed\n"]


def workload(kind_name: str = "Deployment", labels: Obj | None = None, **spec: Any) -> Obj:
    template = {"metadata": {"labels": labels or {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
    return made(kind_name, spec={"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec})


@pytest.mark.parametrize("kind_name", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_selector_and_template(kind_name: str) -> None:
    assert texts(workload(kind_name)) == []
    assert texts(workload(kind_name, {"app": "y"})) == [
        'spec.template.metadata.labels: Invalid value: {"app":"y"}: `selector` does not match template `labels`'
    ]
    assert "spec.selector: Required value" in texts(workload(kind_name, selector=None))
    word = "statefulset" if kind_name == "StatefulSet" else "deployment"
    assert texts(workload(kind_name, selector={})) == [
        f"spec.selector: Invalid value: {{}}: empty selector is invalid for {word}"
    ]
    wrong = workload(kind_name, replicas=-1)
    assert texts(wrong) == ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
    never = deepcopy(workload(kind_name))
    never["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    assert texts(never) == ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"']


def test_selectors_do_not_change() -> None:
    changed = workload(labels={"app": "x", "b": "c"}, selector={"matchLabels": {"b": "c"}})
    assert texts(changed, workload()) == ['spec.selector: Invalid value: {"matchLabels":{"b":"c"}}: field is immutable']


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"type": "Recreate"}, []),
        ({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}, []),
        (
            {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}},
            ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'],
        ),
        (
            {"type": "Recreate", "rollingUpdate": {}},
            ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            {"rollingUpdate": {"maxSurge": "many"}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string must be a numeric '
                "string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ],
        ),
        (
            {"type": "Slow"},
            ['spec.strategy.type: Unsupported value: "Slow": supported values: "Recreate", "RollingUpdate"'],
        ),
    ],
)
def test_strategies(strategy: Obj, expected: list[str]) -> None:
    assert texts(workload(strategy=strategy)) == expected


def test_stateful_sets_change_little() -> None:
    old = workload("StatefulSet", serviceName="db")
    assert texts(workload("StatefulSet", serviceName="db", replicas=3), old) == []
    assert texts(workload("StatefulSet", serviceName="other"), old) == [
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
        "are forbidden"
    ]


def test_claims_of_a_stateful_set_can_be_mounted() -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    template = {
        "metadata": {"labels": {"app": "x"}},
        "spec": {"containers": [{"name": "a", "image": "x", "volumeMounts": mounts}]},
    }
    claims = [{"metadata": {"name": "data"}, "spec": {}}]
    assert texts(workload("StatefulSet", template=template, volumeClaimTemplates=claims)) == []
    assert texts(workload("StatefulSet", template=template)) == [
        'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"'
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"stringData": {"a": "b"}}, []),
        ({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ==", "tls.key": "YQ=="}}, []),
        ({"type": "kubernetes.io/tls", "data": {"tls.crt": "YQ=="}}, ["data[tls.key]: Required value"]),
        ({"type": "kubernetes.io/tls"}, ["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ({"data": {"a": "!"}}, ['data[a]: Invalid value: "<secret contents redacted>": must be base64 encoded']),
        ({"data": {"a": "Y" * 1_600_000}}, ["data: Too long: may not be more than 1048576 bytes"]),
    ],
)
def test_secrets(body: Obj, expected: list[str]) -> None:
    assert texts(made("Secret", **body)) == expected


def test_data_keys_and_immutability() -> None:
    assert texts(made("ConfigMap", data={"a/b": ""}))[0].startswith(
        'data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters'
    )
    assert texts(made("ConfigMap", data={"a": ""}, binaryData={"a": ""})) == [
        'data[a]: Invalid value: "a": duplicate of key present in binaryData'
    ]
    old = made("ConfigMap", data={"a": "1"}, immutable=True)
    assert texts(made("ConfigMap", data={"a": "2"}, immutable=True), old) == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]
    assert texts(made("Secret", type="a/b"), made("Secret")) == ['type: Invalid value: "a/b": field is immutable']


@pytest.mark.parametrize(
    ("meta", "start"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"namespace": ""}, "metadata.namespace: Required value"),
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of'),
        ({"labels": {"a/b/c": ""}}, 'metadata.labels: Invalid value: "a/b/c": a qualified name must consist of'),
        ({"labels": {"a": "b c"}}, 'metadata.labels: Invalid value: "b c": a valid label must be an empty string or'),
        ({"labels": {"/a": ""}}, 'metadata.labels: Invalid value: "/a": prefix part must be non-empty'),
        ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations: Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["mine"]}, 'metadata.finalizers: Invalid value: "mine": name is neither a standard finalizer'),
    ],
)
def test_metadata(meta: Obj, start: str) -> None:
    (text,) = texts(made("ConfigMap", metadata=meta))
    assert text.startswith(start)


def test_identity_does_not_change() -> None:
    old = made("ConfigMap", metadata={"uid": "1"})
    assert texts(made("ConfigMap", metadata={"uid": "2"}), old) == [
        'metadata.uid: Invalid value: "2": field is immutable'
    ]
    assert texts(made("Namespace", metadata={"namespace": "a"})) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]
    going = made("ConfigMap", metadata={"deletionTimestamp": "2026-11-24T00:00:00Z", "finalizers": ["a/b"]})
    added = made("ConfigMap", metadata={"finalizers": ["a/b", "a/c"]})
    assert texts(added, going)[0].startswith("metadata.finalizers: Forbidden: no new finalizers can be added")


def test_nodes_and_events() -> None:
    assert texts(made("Node", spec={"podCIDRs": ["10.244.0.0/24"], "podCIDR": "10.244.0.0/24"})) == []
    assert texts(made("Node", spec={"taints": [{"key": "a", "effect": "Now"}]})) == [
        'spec.taints[0].effect: Unsupported value: "Now": supported values: "NoExecute", "NoSchedule", '
        '"PreferNoSchedule"'
    ]
    about = {"kind": "Pod", "name": "p", "namespace": "other"}
    assert texts(made("Event", involvedObject=about)) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]
