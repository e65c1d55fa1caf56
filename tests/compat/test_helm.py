"""The real Helm, where it is on the path: install, upgrade, rollback, test, uninstall, and a value that is wrong.

Helm is in no registry this project uses; without it ``test_helm_requests.py`` replays what it asks.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

HELM = shutil.which("helm")

pytestmark = [
    pytest.mark.compat,
    pytest.mark.kernel,
    pytest.mark.xdist_group("helm"),
    pytest.mark.skipif(HELM is None, reason="no helm on the path: its requests are replayed by test_helm_requests.py"),
]
SECONDS = "60s"

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app.kubernetes.io/instance: {{ .Release.Name }}}}
    spec:
      containers:
        - name: web
          image: example.com/web:{{ .Values.tag }}
          ports: [{containerPort: 8080, name: http}]
          readinessProbe: {httpGet: {path: /, port: http}}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app.kubernetes.io/instance: {{ .Release.Name }}}
  ports: [{port: 80, targetPort: http, name: http}]
"""
HOOK = """\
apiVersion: v1
kind: Pod
metadata:
  name: {{ .Release.Name }}-test
  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}
spec:
  restartPolicy: Never
  containers:
    - {name: wget, image: busybox, command: [wget, -qO-, "http://{{ .Release.Name }}/"]}
"""


class Helm:
    """Helm with a chart, a kubeconfig and folders of its own."""

    def __init__(self, kubeconfig: str, folder: Path) -> None:
        self.chart = folder / "chart"
        templates = self.chart / "templates"
        templates.mkdir(parents=True)
        (self.chart / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 0.1.0\nappVersion: '1'\n")
        (self.chart / "values.yaml").write_text("replicas: 1\ntag: one\n")
        for name, text in (("deployment", DEPLOYMENT), ("service", SERVICE), ("test", HOOK)):
            (templates / f"{name}.yaml").write_text(text)
        homes = {f"HELM_{name}_HOME": str(folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        self._env = {**os.environ, **homes, "KUBECONFIG": kubeconfig}

    def run(self, *words: str) -> str:
        found = self.ask(*words)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def ask(self, *words: str) -> "subprocess.CompletedProcess[str]":
        assert HELM
        return subprocess.run([HELM, *words], env=self._env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with podwire_with_pods() as running:
        yield str(kubeconfig_of(running))


@pytest.fixture
def helm(kubeconfig: str, tmp_path: Path) -> Helm:
    return Helm(kubeconfig, tmp_path)


@pytest.fixture
def release() -> str:
    return f"web-{uuid.uuid4().hex[:8]}"


def test_a_release_lives(helm: Helm, release: str) -> None:
    wait = ("--wait", "--timeout", SECONDS)
    assert "STATUS: deployed" in helm.run("install", release, str(helm.chart), *wait)
    helm.run("upgrade", release, str(helm.chart), "--set", "replicas=2,tag=two", *wait)
    assert "example.com/web:two" in helm.run("get", "manifest", release)
    helm.run("rollback", release, "1", *wait)
    words = [line.split("\t")[2].strip() for line in helm.run("history", release).splitlines()[1:]]
    assert words == ["superseded", "superseded", "deployed"]
    assert "Phase:          Succeeded" in helm.run("test", release)
    assert release in helm.run("list")
    helm.run("uninstall", release, "--wait", "--timeout", SECONDS)
    assert release not in helm.run("list")


def test_a_wrong_value_is_refused_by_its_field(helm: Helm, release: str) -> None:
    found = helm.ask("install", release, str(helm.chart), "--set", "replicas=many")
    assert found.returncode != 0
    assert ".spec.replicas" in found.stderr
    assert f"deployment.apps/{release}" not in helm.run("status", release)
    helm.run("uninstall", release)


def test_an_uninstalled_release_comes_back_from_its_history(helm: Helm, release: str) -> None:
    helm.run("install", release, str(helm.chart), "--wait", "--timeout", SECONDS)
    helm.run("uninstall", release, "--keep-history")
    helm.run("rollback", release, "1", "--wait", "--timeout", SECONDS)
    assert helm.run("history", release).count("uninstalled") == 1
    helm.run("uninstall", release)
