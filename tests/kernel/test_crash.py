"""kill -9 in the middle of an apply: what was acknowledged is there after the next start, and the network follows."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [pytest.mark.kernel, pytest.mark.compat, pytest.mark.xdist_group("crash")]
SHOP = Path(__file__).parents[2] / "examples" / "shop"
APP = """
apiVersion: v1
kind: Pod
metadata: {{name: app-{n}, labels: {{app: app-{n}}}}}
spec: {{containers: [{{name: main, image: example.com/x, ports: [{{containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: app-{n}}}
spec: {{selector: {{app: app-{n}}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: app-{n}}}
spec:
  ingressClassName: nginx
  rules:
    - host: app-{n}.example.com
      http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: app-{n}, port: {{number: 80}}}}}}}}]}}
"""
COUNT = 12


@pytest.fixture
def cluster() -> Iterator[RunningPodwire]:
    with running_podwire([SHOP]) as running:
        yield running


def start_applying(cluster: RunningPodwire) -> "subprocess.Popen[str]":
    text = "---".join(APP.format(n=n) for n in range(COUNT))
    applying = subprocess.Popen(
        ["kubectl", "apply", "-f", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=cluster.environment,
    )
    assert applying.stdin is not None
    applying.stdin.write(text)
    applying.stdin.close()
    return applying


def acknowledged(applying: "subprocess.Popen[str]", *, at_least: int) -> list[str]:
    """Lines kubectl printed, one per acknowledged object, until ``at_least`` are there."""
    assert applying.stdout is not None
    return [applying.stdout.readline().split()[0] for _ in range(at_least)]


def finished(applying: "subprocess.Popen[str]") -> list[str]:
    """What kubectl still acknowledged until it ended."""
    assert applying.stdout is not None
    with applying.stdout:
        rest = applying.stdout.read()
    applying.wait()
    return [line.split()[0] for line in rest.splitlines()]


def answers(cluster: RunningPodwire, host: str) -> str:
    address = cluster.address("ingress-nginx/ingress-nginx-controller")
    said = cluster.attempt("curl", "-s", "-m", "3", "-H", f"Host: {host}", f"http://{address}/").stdout
    return str(json.loads(said)["pod"]) if said.startswith("{") else said


def test_podwire_killed_in_the_middle_of_an_apply(cluster: RunningPodwire) -> None:
    applying = start_applying(cluster)
    known = acknowledged(applying, at_least=10)
    cluster.kill()
    known += finished(applying)
    cluster.up()
    assert "networking ready" in cluster.lines[0]
    for name in known:
        cluster.kubectl("get", name)
    numbers = [name.removeprefix("ingress.networking.k8s.io/app-") for name in known if name.startswith("ingress")]
    assert numbers
    for number in numbers:
        eventually(lambda n=number: answers(cluster, f"app-{n}.example.com"), lambda seen, n=number: seen == f"app-{n}")  # type: ignore[misc]


def envoy_pids(cluster: RunningPodwire) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"envoy" in words[0] and any(str(cluster.home).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


def test_envoy_killed_in_the_middle_of_an_apply(cluster: RunningPodwire) -> None:
    applying = start_applying(cluster)
    acknowledged(applying, at_least=6)
    before = envoy_pids(cluster)
    assert before
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    finished(applying)
    assert applying.returncode == 0
    for number in range(COUNT):
        eventually(lambda n=number: answers(cluster, f"app-{n}.example.com"), lambda seen, n=number: seen == f"app-{n}")  # type: ignore[misc]
    pods = cluster.get("pods", "-n", "ingress-nginx")["items"]
    assert pods[0]["status"]["containerStatuses"][0]["restartCount"] >= 1


def test_nothing_is_left_after_kill_and_down() -> None:
    with running_podwire([SHOP]) as running:
        running.kill()
        running.run("podwire", "down", "--name", running.name)
        left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
        assert running.name not in left
        assert not envoy_pids(running)
