"""A kopf operator, unchanged: watches, finalizers, its annotations, json-patch tests, events, timers."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.compat.clients_rig import podwire_with_pods

from podwire.testing.process import RunningPodwire, eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("client-kopf")]
OPERATOR = """
import kopf

CHOSEN = {"operated": "yes"}

@kopf.on.create("configmaps", labels=CHOSEN)
def created(name, namespace, patch, body, **_):
    patch["data"] = {"child": name + "-child"}
    kopf.event(body, type="Normal", reason="Operated", message="a child was made")
    child = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name + "-child"}}
    kopf.adopt(child, owner=body)
    import kubernetes
    kubernetes.client.CoreV1Api().create_namespaced_secret(namespace, child)

@kopf.on.field("configmaps", labels=CHOSEN, field="data.size")
def resized(old, new, patch, **_):
    patch.metadata.annotations["resized"] = f"{old}-{new}"

@kopf.on.delete("configmaps", labels=CHOSEN)
def deleted(name, namespace, **_):
    import kubernetes
    kubernetes.client.CoreV1Api().create_namespaced_config_map(
        namespace, {"metadata": {"name": name + "-was-here"}})

@kopf.timer("configmaps", labels=CHOSEN, interval=0.2, initial_delay=0.1)
def ticked(patch, annotations, **_):
    if "ticked" not in annotations:
        patch.metadata.annotations["ticked"] = "yes"

@kopf.on.startup()
def begin(**_):
    import kubernetes
    kubernetes.config.load_kube_config()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningPodwire]:
    with podwire_with_pods() as running:
        yield running


@contextmanager
def operator(cluster: RunningPodwire, folder: Path) -> Iterator[Path]:
    """The operator runs; its log is the yielded file."""
    source, log = folder / "operator.py", folder / "log"
    source.write_text(OPERATOR)
    with log.open("w") as output:
        command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", "default", str(source)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=cluster.environment)
        try:
            yield log
        finally:
            process.terminate()
            process.wait(30)


def test_the_life_of_an_operated_object(cluster: RunningPodwire, tmp_path: Path) -> None:
    name = f"op-{uuid.uuid4().hex[:8]}"
    with operator(cluster, tmp_path) as log:
        cluster.kubectl("create", "configmap", name, "--from-literal=size=1")
        cluster.kubectl("label", "configmap", name, "operated=yes")
        made = eventually(lambda: cluster.get("configmap", name), lambda found: "child" in found["data"])
        assert any("kopf" in finalizer for finalizer in made["metadata"]["finalizers"])
        child = cluster.get("secret", f"{name}-child")
        assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        eventually(lambda: cluster.kubectl("get", "events"), lambda said: "Operated" in said)
        eventually(lambda: annotations(cluster, name), lambda found: found.get("ticked") == "yes")
        cluster.kubectl("patch", "configmap", name, "--type=merge", "-p", '{"data": {"size": "2"}}')
        eventually(lambda: annotations(cluster, name), lambda found: found.get("resized") == "1-2")
        cluster.kubectl("delete", "configmap", name, "--timeout=30s")
        cluster.get("configmap", f"{name}-was-here")
        gone = ("kubectl", "get", "secret", f"{name}-child")
        eventually(lambda: cluster.attempt(*gone).stderr, lambda said: "not found" in said)
        assert "Traceback" not in log.read_text()


def annotations(cluster: RunningPodwire, name: str) -> dict[str, str]:
    found: dict[str, str] = cluster.get("configmap", name)["metadata"].get("annotations", {})
    return found
