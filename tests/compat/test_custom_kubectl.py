"""Stock kubectl with kinds that users define; and every definition of a folder, when one is given."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from podwire.apiserver import ApiServer, ApiSettings

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]

DEFINITION = r"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    - {name: Replicas, type: integer, jsonPath: .spec.replicas}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    selectableFields: [{jsonPath: .spec.color}]
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          spec:
            type: object
            required: [cronSpec]
            x-kubernetes-validations:
            - {rule: "self.minReplicas <= self.replicas", message: "too few replicas", fieldPath: .replicas}
            - {rule: "self.color == oldSelf.color", messageExpression: "'color was ' + oldSelf.color"}
            properties:
              cronSpec: {type: string, pattern: '^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$', description: When it runs.}
              image: {type: string}
              color: {type: string, enum: [red, blue], default: red}
              replicas: {type: integer, minimum: 1, maximum: 10, default: 1}
              minReplicas: {type: integer, default: 0}
              ports:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, port: {type: integer}}}
          status:
            type: object
            properties:
              replicas: {type: integer}
              conditions:
                type: array
                items: {type: object, properties: {type: {type: string}, status: {type: string}}}
"""


class Running:
    """A server in a thread of its own, and kubectl pointed at it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "kubeconfig"
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    def start(self) -> None:
        self.server = ApiServer(ApiSettings(directory=self.directory / "api"))
        self._call(self.server.start())
        self.server.kubeconfig.write(self.config)

    def halt(self) -> None:
        self._call(self.server.stop())

    def close(self) -> None:
        self.halt()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def kubectl(self, *words: str, stdin: str | None = None, code: int = 0) -> str:
        """Output and errors; the exit code must be ``code``."""
        command = ["kubectl", f"--kubeconfig={self.config}", f"--cache-dir={self.directory / 'cache'}", *words]
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(self.directory)},
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.close()


def crontab(name: str, **spec: Any) -> str:
    spec = {"cronSpec": "* * * * */5", **spec}
    return json.dumps(
        {"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec}
    )


def test_a_defined_kind_works_like_any_other(api: Running) -> None:
    api.kubectl("apply", "-f", "-", stdin=DEFINITION)
    api.kubectl("wait", "--for=condition=Established", "crd/crontabs.stable.example.com", "--timeout=5s")
    api.kubectl("apply", "-f", "-", stdin=crontab("one", image="a", ports=[{"name": "a", "port": 1}]))
    assert api.kubectl("get", "ct").split()[:6] == ["NAME", "SPEC", "REPLICAS", "READY", "AGE", "one"]
    assert "one" in api.kubectl("get", "all")
    assert "When it runs." in api.kubectl("explain", "crontab.spec.cronSpec")
    assert "configured" in api.kubectl("apply", "-f", "-", stdin=crontab("one", image="b"))
    assert api.kubectl("get", "ct", "one", "-o", "jsonpath={.spec.image}{.spec.ports}{.spec.color}") == "bred"
    api.kubectl("scale", "--replicas=3", "ct/one")
    status = {"status": {"replicas": 2, "conditions": [{"type": "Ready", "status": "True"}]}}
    api.kubectl("patch", "ct", "one", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    assert api.kubectl("get", "ct", "one", "--no-headers").split()[6:8] == ["3", "True"]
    assert "one" in api.kubectl("get", "ct", "--field-selector=spec.color=red")
    assert "No resources" in api.kubectl("get", "ct", "--field-selector=spec.color=blue")
    api.kubectl("label", "ct", "one", "a=b")
    api.kubectl("delete", "ct", "one")


def test_what_the_schema_refuses(api: Running) -> None:
    api.kubectl("create", "-f", "-", stdin=DEFINITION)
    api.kubectl("create", "-f", "-", stdin=crontab("one"))
    unknown = api.kubectl("create", "-f", "-", stdin=crontab("two", imag="x"), code=1)
    assert 'strict decoding error: unknown field "spec.imag"' in unknown

    def patched(spec: dict[str, Any], kind: str = "merge") -> str:
        return api.kubectl("patch", "ct", "one", f"--type={kind}", "-p", json.dumps({"spec": spec}), code=1)

    assert "spec.replicas in body should be less than or equal to 10" in patched({"replicas": 11})
    assert 'spec.replicas: Invalid value: "object": too few replicas' in patched({"minReplicas": 5})
    assert "color was red" in patched({"color": "blue"})
    assert "spec.cronSpec in body should match" in patched({"cronSpec": "x"})
    assert "strategic-merge-patch+json is not supported" in patched({"image": "x"}, "strategic")


def test_apply_on_the_server_merges_by_key_and_names_conflicts(api: Running) -> None:
    api.kubectl("create", "-f", "-", stdin=DEFINITION)
    apply = ("apply", "--server-side", "-f", "-")
    api.kubectl(*apply, stdin=crontab("one", ports=[{"name": "a", "port": 1}]))
    api.kubectl(*apply, "--field-manager=other", stdin=crontab("one", ports=[{"name": "b", "port": 2}]))
    assert api.kubectl("get", "ct", "one", "-o", "jsonpath={.spec.ports[*].name}") == "a b"
    other = crontab("one", ports=[{"name": "a", "port": 9}])
    conflict = api.kubectl(*apply, "--field-manager=other", stdin=other, code=1)
    assert '.spec.ports[name="a"].port' in conflict


def test_definitions_outlive_the_server_and_take_objects_along(api: Running) -> None:
    api.kubectl("create", "-f", "-", stdin=DEFINITION)
    api.kubectl("create", "-f", "-", stdin=crontab("one"))
    api.halt()
    api.start()
    assert "one" in api.kubectl("get", "ct")
    api.kubectl("delete", "crd", "crontabs.stable.example.com")
    assert "NotFound" in api.kubectl("get", "ct", code=1)
    api.kubectl("create", "-f", "-", stdin=DEFINITION)
    assert "No resources found" in api.kubectl("get", "ct")


def test_every_definition_of_a_folder_is_served(api: Running) -> None:
    folder = os.environ.get("PODWIRE_CRDS", "")
    if not folder:
        pytest.skip("PODWIRE_CRDS names no folder with definitions (of Gateway API, cert-manager, ...)")
    files = sorted(Path(folder).glob("*.y*ml"))
    found = [value for file in files for value in yaml.safe_load_all(file.read_text()) if value]
    names = [value["metadata"]["name"] for value in found if value["kind"] == "CustomResourceDefinition"]
    assert names
    api.kubectl("apply", "--server-side", "-f", folder)
    for name in names:
        api.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=5s")
        assert "KIND:" in api.kubectl("explain", name)
        api.kubectl("get", name, "--all-namespaces")
