"""kubectl commands that stay: watch, port-forward, proxy, attach; and those that read folders."""

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.compat.clients_rig import podwire_with_pods

from podwire.testing.process import RunningPodwire

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("kubectl-long")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningPodwire]:
    with podwire_with_pods() as running:
        yield running


@contextmanager
def staying(cluster: RunningPodwire, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A kubectl that runs until the test is over."""
    process = subprocess.Popen(
        ["kubectl", *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=cluster.environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line(process: "subprocess.Popen[str]", pattern: str) -> "re.Match[str]":
    """The next line that matches."""
    assert process.stdout is not None
    for text in process.stdout:
        if found := re.search(pattern, text):
            return found
    raise AssertionError(f"{pattern!r} never came")


def test_get_watch(cluster: RunningPodwire) -> None:
    with staying(cluster, "get", "cm", "watched", "-w", "--ignore-not-found", "-o", "name"):
        pass  # a watch of what is not there yet ends at once; the next one sees changes
    cluster.kubectl("create", "configmap", "watched")
    with staying(cluster, "get", "cm", "watched", "-w", "--output-watch-events") as process:
        line(process, r"^ADDED +watched +0")
        cluster.kubectl("patch", "cm", "watched", "-p", '{"data": {"a": "1"}}')
        line(process, r"^MODIFIED +watched +1")
        cluster.kubectl("delete", "cm", "watched")
        line(process, r"^DELETED +watched")


@pytest.mark.parametrize("target", ["pod/web", "svc/web"])
def test_port_forward(cluster: RunningPodwire, target: str) -> None:
    port = "8080" if target.startswith("pod") else "80"
    with staying(cluster, "port-forward", target, f":{port}") as process:
        local = line(process, r"Forwarding from 127\.0\.0\.1:(\d+)")[1]
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{local}/", timeout=30) as answer:
                assert b'"web"' in answer.read()


def test_proxy(cluster: RunningPodwire) -> None:
    with staying(cluster, "proxy", "--port=0") as process:
        port = line(process, r"Starting to serve on 127\.0\.0\.1:(\d+)")[1]
        base = f"http://127.0.0.1:{port}/api/v1/namespaces/default"
        with urllib.request.urlopen(f"{base}/pods", timeout=30) as answer:
            assert b'"PodList"' in answer.read()
        with urllib.request.urlopen(f"{base}/services/web/proxy/", timeout=30) as answer:
            assert b'"web"' in answer.read()


def test_logs_follow(cluster: RunningPodwire) -> None:
    with staying(cluster, "logs", "-f", "box") as process:
        line(process, r"^hello from box$")


def test_attach(cluster: RunningPodwire) -> None:
    cluster.kubectl("run", "talker", "--image=busybox", "--restart=Never", "-i", "--stdin", "--attach=false",
                    "--command", "--", "cat")  # fmt: skip
    cluster.kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s")
    with staying(cluster, "attach", "-i", "talker") as process:
        assert process.stdin is not None
        process.stdin.write("typed\n")
        process.stdin.flush()
        line(process, r"^typed$")
    cluster.kubectl("delete", "pod", "talker", "--grace-period=0", "--force")


def test_cp_both_ways(cluster: RunningPodwire, tmp_path: Path) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    there.mkdir()
    (there / "file").write_bytes(bytes(range(256)) * 1000)
    cluster.kubectl("cp", str(there), "default/box:/tmp/copied")
    cluster.kubectl("cp", "default/box:/tmp/copied", str(back))
    assert (back / "file").read_bytes() == (there / "file").read_bytes()


def test_kustomize(cluster: RunningPodwire, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "namePrefix: pre-\nconfigMapGenerator: [{name: made, literals: [a=b]}]\ncommonAnnotations: {by: kustomize}\n"
    )
    said = cluster.kubectl("apply", "-k", str(tmp_path))
    assert re.search(r"configmap/pre-made-\w+ created", said)
    assert "unchanged" in cluster.kubectl("apply", "-k", str(tmp_path))
    cluster.kubectl("diff", "-k", str(tmp_path))
    assert "deleted" in cluster.kubectl("delete", "-k", str(tmp_path))


def test_apply_a_folder(cluster: RunningPodwire, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n")
    said = cluster.kubectl("apply", "-f", str(tmp_path))
    assert said.splitlines() == ["configmap/one created", "configmap/two created"]
    cluster.kubectl("delete", "-f", str(tmp_path))
