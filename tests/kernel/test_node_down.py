"""A node whose link is cut: packets stop, Services go round it once it counts as lost, and it comes back."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]

MANIFEST = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: example.com/web, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: node-1, containers: [{name: main, image: busybox, command: [sleep, infinity]}]}
"""
ASK = "for i in 1 2 3 4 5 6 7 8; do curl -sS -m 2 {address}/ | grep -o 'node-.' | head -1; done | sort -u"


@pytest.fixture
def podwire(tmp_path: Path) -> Iterator[RunningPodwire]:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(MANIFEST)
    with running_podwire([manifest], "--nodes", "2", "--node-monitor-grace-period", "1") as running:
        yield running


def test_a_cut_link_and_back(podwire: RunningPodwire) -> None:
    # by address: the only DNS pod may be on the node that goes
    ask = ASK.replace("{address}", podwire.get("svc", "web")["spec"]["clusterIP"])

    def nodes() -> list[str]:
        return podwire.inside("default/client", "sh", "-c", ask).split()

    def condition() -> str:
        path = "{.status.conditions[?(@.type=='Ready')].status}"
        return podwire.kubectl("get", "node", "node-2", "-o", f"jsonpath={path}")

    eventually(nodes, lambda found: found == ["node-1", "node-2"])
    remote = podwire.kubectl(
        "get",
        "pod",
        "-l",
        "app=web",
        "--field-selector=spec.nodeName=node-2",
        "-o",
        "jsonpath={.items[0].status.podIP}",
    )
    reach = ("sh", "-c", f"curl -sS -m 1 {remote}/ >/dev/null && echo yes || echo no")
    assert podwire.inside("default/client", *reach).strip() == "yes"
    podwire.kubectl("annotate", "node", "node-2", "podwire.dev/link=cut")
    eventually(lambda: podwire.inside("default/client", *reach).strip(), lambda said: said == "no")
    trace = podwire.attempt("podwire", "trace", "default/client", f"tcp://{remote}:80", "--name", podwire.name)
    assert trace.returncode == 1 and "the link of node node-2 is cut" in trace.stdout, trace.stdout + trace.stderr
    eventually(condition, lambda said: said == "Unknown")
    assert "node.kubernetes.io/unreachable:NoExecute" in podwire.kubectl("describe", "node", "node-2")
    eventually(nodes, lambda found: found == ["node-1"])
    podwire.kubectl("annotate", "node", "node-2", "podwire.dev/link-")
    eventually(condition, lambda said: said == "True")
    eventually(nodes, lambda found: found == ["node-1", "node-2"])
    assert podwire.inside("default/client", *reach).strip() == "yes"
