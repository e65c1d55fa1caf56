"""A webhook that runs as a pod behind a Service: what cert-manager, Istio's injector and Kyverno do."""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.compat import webhook_server
from tests.compat.webhook_rig import Authority

from podwire.testing.process import RunningPodwire, running_podwire

pytestmark = [
    pytest.mark.compat,
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]

Json = dict[str, Any]
NAME = "injector.hooks.svc"


def manifests(authority: Authority) -> list[Json]:
    certificate, key = (base64.b64encode(Path(file).read_bytes()).decode() for file in authority.issue(NAME))
    command = [sys.executable, webhook_server.__file__, "/tls/tls.crt", "/tls/tls.key", "0.0.0.0", "8443"]
    pod = {
        "containers": [
            {
                "name": "hook",
                "image": "busybox",
                "command": command,
                "ports": [{"name": "https", "containerPort": 8443}],
                "readinessProbe": {"tcpSocket": {"port": "https"}, "periodSeconds": 1},
                "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
            }
        ],
        "volumes": [{"name": "tls", "secret": {"secretName": "tls"}}],
    }
    labels = {"app": "injector"}
    meta = {"namespace": "hooks"}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    hook = {
        "name": "sidecar.example.com",
        "clientConfig": {
            "service": {"namespace": "hooks", "name": "injector", "path": "/sidecar"},
            "caBundle": authority.bundle,
        },
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"inject": "yes"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "hooks"}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "app", "labels": {"inject": "yes"}}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tls", **meta},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": certificate, "tls.key": key},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "injector", **meta},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "injector", **meta},
            "spec": {"selector": labels, "ports": [{"port": 443, "targetPort": "https"}]},
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "injector"},
            "webhooks": [hook],
        },
    ]


@pytest.fixture(scope="module")
def podwire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPodwire]:
    authority = Authority(tmp_path_factory.mktemp("ca"))
    with running_podwire([]) as running:
        for value in manifests(authority):
            running.kubectl("apply", "-f", "-", text_input=json.dumps(value))
        running.kubectl("rollout", "status", "-n", "hooks", "deployment/injector", "--timeout=60s")
        yield running


def test_pods_of_a_deployment_get_a_sidecar(podwire: RunningPodwire) -> None:
    podwire.kubectl(
        "create", "deployment", "web", "-n", "app", "--image=busybox", "--replicas=2", "--", "sleep", "9999"
    )
    podwire.kubectl("rollout", "status", "-n", "app", "deployment/web", "--timeout=60s")
    pods = podwire.get("pods", "-n", "app", "-l", "app=web")["items"]
    assert [[c["name"] for c in pod["spec"]["containers"]] for pod in pods] == [["busybox", "side"]] * 2
    seen = podwire.kubectl("get", "--raw", "/api/v1/namespaces/hooks/services/https:injector:443/proxy/seen")
    users = {entry["userInfo"]["username"] for entry in json.loads(seen)}
    assert users == {"system:serviceaccount:kube-system:podwire-controller"}


def test_without_its_pod_writes_fail_and_come_back(podwire: RunningPodwire) -> None:
    podwire.kubectl("scale", "-n", "hooks", "deployment/injector", "--replicas=0")
    podwire.kubectl("wait", "--for=delete", "pod", "-n", "hooks", "-l", "app=injector", "--timeout=60s")
    run = ("kubectl", "run", "one", "-n", "app", "--image=busybox", "--", "sleep", "9999")
    said = podwire.attempt(*run)
    assert said.returncode == 1
    assert 'failed calling webhook "sidecar.example.com"' in said.stderr
    assert 'no endpoints available for service "injector"' in said.stderr
    podwire.kubectl("create", "deployment", "late", "-n", "app", "--image=busybox", "--", "sleep", "9999")
    podwire.kubectl("scale", "-n", "hooks", "deployment/injector", "--replicas=1")
    podwire.kubectl("rollout", "status", "-n", "app", "deployment/late", "--timeout=60s")
    (pod,) = podwire.get("pods", "-n", "app", "-l", "app=late")["items"]
    assert [container["name"] for container in pod["spec"]["containers"]] == ["busybox", "side"]
