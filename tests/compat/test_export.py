"""``podwire export`` and back: the same cluster, told in the same words; and kubectl takes it too."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from podwire.testing.process import RunningPodwire, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.xdist_group("export")]
SHOP = Path(__file__).parents[2] / "examples" / "shop"
MORE = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}, text: {type: string}}}}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.200.0.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: second, namespace: default}
spec: {clusterIP: 10.200.0.9, ports: [{port: 80}], selector: {app: x}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: odd, annotations: {note: "yes"}}
data: {"on": "no", octal: "0o17", lines: "a\\n b\\n", empty: "", unicode: "grün\\u2028"}
---
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: busybox, command: ["true"]}]}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: "team:reader"}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: nobody}
webhooks:
  - name: nobody.example.com
    clientConfig: {url: "https://127.0.0.1:1/"}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
    namespaceSelector: {matchLabels: {asked: never}}
    sideEffects: None
    admissionReviewVersions: [v1]
"""
WIDGET = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3, text: 'true'}\n"


def export(running: RunningPodwire, *words: str) -> str:
    return running.run("podwire", "export", "--name", running.name, *words)


def test_there_and_back(tmp_path: Path) -> None:
    (tmp_path / "more.yaml").write_text(MORE)
    (tmp_path / "widget.yaml").write_text(WIDGET)
    file = tmp_path / "cluster.yaml"
    with running_podwire([SHOP, tmp_path / "more.yaml", tmp_path / "widget.yaml"], "--simulate") as running:
        running.kubectl("wait", "--for=condition=Available", "deploy/web", "-n", "shop", "--timeout=60s")
        running.kubectl("label", "namespace", "default", "team=x")
        running.kubectl("run", "bare", "--image=busybox", "--", "sleep", "999")
        said = running.attempt("podwire", "export", "--name", running.name, "-o", str(file))
        assert said.returncode == 0 and "Secrets, readable by whoever has it" in said.stderr
        first = file.read_text()
        assert first == export(running)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        values = list(yaml.safe_load_all(first))
        kinds = {value["kind"] for value in values}
        assert {"Namespace", "Deployment", "Widget", "CustomResourceDefinition", "Secret", "ClusterRole"} <= kinds
        assert not {"ReplicaSet", "Event", "Node", "Lease", "IPAddress"} & kinds
        pods = [value["metadata"]["name"] for value in values if value["kind"] == "Pod"]
        assert "bare" in pods and not any(name.startswith("web-") for name in pods)
        only = list(yaml.safe_load_all(export(running, "-n", "shop")))
        assert {v["metadata"].get("namespace", v["metadata"]["name"]) for v in only} == {"shop"}
    with running_podwire([file], "--simulate") as running:
        assert export(running) == first
        address = running.get("service", "second")["spec"]["clusterIP"]
        assert address == "10.200.0.9"
    with running_podwire([], "--simulate") as running:
        definitions = [v for v in values if v["kind"] in ("CustomResourceDefinition", "Namespace", "ServiceCIDR")]
        running.kubectl(
            "apply",
            "--server-side",
            "-f",
            "-",
            text_input=json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions}),
        )
        running.kubectl("apply", "-f", str(file))
        assert running.kubectl("get", "widget", "w", "-o", "jsonpath={.spec.text}") == "true"


def test_a_cluster_that_does_not_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "podwire", "export", "--name", "nobody"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "is not running" in done.stderr
