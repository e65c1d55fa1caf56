"""metrics.k8s.io from a source of the test's own: ``kubectl top`` and what else reads the group."""

import shutil
from collections.abc import Iterator

import pytest
from tests.compat.test_kubectl_api import Running

from podwire.apiserver.metrics import Usage

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]

MEGA = 1024 * 1024


class Measured:
    """Node one uses half a core; pod uids are answered as they were put in."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Usage]] = {}

    def node_usage(self, name: str) -> Usage | None:
        return Usage(1.8e9, 15.0, 500_000_000, 256 * MEGA) if name == "one" else None

    def pod_usage(self, uid: str) -> dict[str, Usage]:
        return self.pods.get(uid, {})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("api"))
    assert "Metrics API not available" in running.kubectl("top", "nodes", code=1)
    for name in ("one", "two"):
        status = {"capacity": {"cpu": "2", "memory": "1Gi"}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}
        running.kubectl("create", "-f", "-", stdin=node)
    for name in ("web", "idle"):
        containers = [{"name": part, "image": "x"} for part in ("a", "b")]
        meta = {"name": name, "namespace": "default", "labels": {"app": name}}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}}
        running.kubectl("create", "-f", "-", stdin=pod)
    source = Measured()
    uid = running.get("pod", "web")["metadata"]["uid"]
    source.pods[uid] = {part: Usage(1.8e9, 15.0, 30_000_000, 64 * MEGA) for part in ("a", "b")}

    async def serve() -> None:
        running.server.serve_metrics(source)

    running.call(serve())
    shutil.rmtree(running.directory / "cache")  # kubectl keeps what it discovered before
    yield running
    running.stop()


def test_top(api: Running) -> None:
    nodes = api.kubectl("top", "nodes")
    assert "CPU(cores)" in nodes and "one    500m" in nodes and "25%" in nodes and "256Mi" in nodes
    pods = [line.split() for line in api.kubectl("top", "pods", "--no-headers").splitlines()]
    assert pods == [["web", "60m", "128Mi"]]
    parts = [line.split() for line in api.kubectl("top", "pod", "web", "--containers", "--no-headers").splitlines()]
    assert parts == [["web", "a", "30m", "64Mi"], ["web", "b", "30m", "64Mi"]]
    assert "web" in api.kubectl("top", "pods", "-A", "-l", "app=web")
    assert "not found" in api.kubectl("top", "pod", "idle", code=1).lower()


def test_the_group_reads_like_any_other(api: Running) -> None:
    assert "podmetrics" in api.kubectl("api-resources", "--api-group=metrics.k8s.io").lower()
    said = api.kubectl("get", "pods.metrics.k8s.io", "-A")
    assert "WINDOW" in said and "15s" in said
    assert api.get("nodes.metrics.k8s.io", "one")["usage"] == {"cpu": "500000000n", "memory": "262144Ki"}
    assert "window" in api.kubectl("explain", "nodes", "--api-version=metrics.k8s.io/v1beta1")
    assert "MethodNotAllowed" in api.kubectl("delete", "nodes.metrics.k8s.io", "one", code=1)
