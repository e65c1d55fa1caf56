"""Workload controllers as kubectl sees them."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("workloads")]
Json = dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningPodwire]:
    with running_podwire() as running:
        yield running


@pytest.fixture
def space(cluster: RunningPodwire) -> Iterator[str]:
    name = f"t-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


def workload(kind: str, space: str, **spec: Any) -> Json:
    container = {"name": "main", "image": "example.com/app:1", "ports": [{"containerPort": 8080}]}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}
    meta = {"name": "x", "namespace": space}
    body = {"selector": {"matchLabels": {"app": "x"}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": body}


def create(cluster: RunningPodwire, value: Json) -> None:
    cluster.kubectl("create", "-f", "-", text_input=json.dumps(value))


def pods(cluster: RunningPodwire, space: str) -> list[Json]:
    found: list[Json] = cluster.get("pods", "-n", space)["items"]
    return [p for p in found if "deletionTimestamp" not in p["metadata"]]


def image(cluster: RunningPodwire, kind: str, space: str) -> str:
    return str(cluster.get(kind, "x", "-n", space)["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("Deployment", {"replicas": 2}), ("StatefulSet", {"replicas": 2, "serviceName": "x"}), ("DaemonSet", {})],
)
def test_rollouts(cluster: RunningPodwire, space: str, kind: str, spec: Json) -> None:
    name = f"{kind.lower()}/x"
    run = ("rollout", "-n", space)
    create(cluster, workload(kind, space, **spec))
    assert "success" in cluster.kubectl(*run, "status", name, "--timeout=50s") or kind == "StatefulSet"
    cluster.kubectl("set", "image", name, "main=example.com/app:2", "-n", space)
    cluster.kubectl(*run, "status", name, "--timeout=50s")
    history = cluster.kubectl(*run, "history", name)
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["1", "2"]
    assert "example.com/app:1" in cluster.kubectl(*run, "history", name, "--revision=1")
    assert "rolled back" in cluster.kubectl(*run, "undo", name)
    cluster.kubectl(*run, "status", name, "--timeout=50s")
    assert image(cluster, kind, space) == "example.com/app:1"
    assert {p["spec"]["containers"][0]["image"] for p in pods(cluster, space)} == {"example.com/app:1"}
    history = cluster.kubectl(*run, "history", name)
    assert [line.split()[0] for line in history.splitlines()[2:] if line.strip()] == ["2", "3"]
    assert "restarted" in cluster.kubectl(*run, "restart", name)
    cluster.kubectl(*run, "status", name, "--timeout=50s")
    assert all("kubectl.kubernetes.io/restartedAt" in p["metadata"]["annotations"] for p in pods(cluster, space))


def test_a_paused_deployment_waits(cluster: RunningPodwire, space: str) -> None:
    create(cluster, workload("Deployment", space, replicas=1))
    cluster.kubectl("rollout", "-n", space, "status", "deploy/x", "--timeout=50s")
    assert "paused" in cluster.kubectl("rollout", "-n", space, "pause", "deploy/x")
    cluster.kubectl("set", "image", "deploy/x", "main=example.com/app:2", "-n", space)
    eventually(lambda: cluster.get("deploy", "x", "-n", space), lambda d: d["status"]["observedGeneration"] == 3)
    assert len(cluster.get("rs", "-n", space)["items"]) == 1
    assert "resumed" in cluster.kubectl("rollout", "-n", space, "resume", "deploy/x")
    cluster.kubectl("rollout", "-n", space, "status", "deploy/x", "--timeout=50s")
    assert len(cluster.get("rs", "-n", space)["items"]) == 2


def test_a_daemon_set_is_on_every_node(cluster: RunningPodwire, space: str) -> None:
    create(cluster, workload("DaemonSet", space))
    cluster.kubectl("rollout", "-n", space, "status", "ds/x", "--timeout=50s")
    nodes = {n["metadata"]["name"] for n in cluster.get("nodes")["items"]}
    assert {p["spec"]["nodeName"] for p in pods(cluster, space)} == nodes
    table = cluster.kubectl("get", "ds", "x", "-n", space, "--no-headers").split()
    assert table[:7] == ["x", "2", "2", "2", "2", "2", "<none>"]
    revision = cluster.kubectl("get", "controllerrevisions", "-n", space, "--no-headers").split()
    assert revision[1:3] == ["daemonset.apps/x", "1"]
    assert "updateStrategy" in cluster.kubectl("explain", "ds.spec")


def test_jobs_run_and_are_waited_for(cluster: RunningPodwire, space: str) -> None:
    cluster.kubectl("create", "job", "one", "-n", space, "--image=busybox", "--", "sh", "-c", "echo done")
    cluster.kubectl("wait", "-n", space, "--for=condition=complete", "job/one", "--timeout=50s")
    assert cluster.kubectl("logs", "-n", space, "job/one").strip() == "done"
    table = cluster.kubectl("get", "job", "one", "-n", space, "--no-headers").split()
    assert table[:3] == ["one", "Complete", "1/1"]
    cluster.kubectl("create", "job", "bad", "-n", space, "--image=busybox", "--", "sh", "-c", "exit 3")
    cluster.kubectl("patch", "job", "bad", "-n", space, "-p", '{"spec":{"backoffLimit":0}}')
    cluster.kubectl("wait", "-n", space, "--for=condition=failed", "job/bad", "--timeout=50s")
    assert cluster.get("job", "bad", "-n", space)["status"]["failed"] == 1
    cluster.kubectl("delete", "job", "one", "bad", "-n", space, "--wait", "--timeout=50s")
    eventually(lambda: cluster.get("pods", "-n", space)["items"], lambda found: not found)


def test_cron_jobs_are_made_suspended_and_run_by_hand(cluster: RunningPodwire, space: str) -> None:
    cluster.kubectl(
        "create", "cronjob", "c", "-n", space, "--image=busybox", "--schedule=0 0 1 1 *", "--", "sh", "-c", "echo done"
    )
    table = cluster.kubectl("get", "cronjob", "c", "-n", space, "--no-headers").split()
    assert table[1:8] == ["0", "0", "1", "1", "*", "<none>", "False"]
    cluster.kubectl("create", "job", "now", "-n", space, "--from=cronjob/c")
    cluster.kubectl("wait", "-n", space, "--for=condition=complete", "job/now", "--timeout=50s")
    said = cluster.attempt("kubectl", "create", "cronjob", "d", "-n", space, "--image=busybox", "--schedule=9 9")
    assert said.returncode == 1 and "expected exactly 5 fields" in said.stderr


def test_cordon_drain_taint_and_budgets(cluster: RunningPodwire, space: str) -> None:
    value = workload("Deployment", space, replicas=2)
    value["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": {}}
    create(cluster, value)
    cluster.kubectl("create", "pdb", "b", "-n", space, "--selector=app=x", "--max-unavailable=1")
    cluster.kubectl("rollout", "-n", space, "status", "deploy/x", "--timeout=50s")
    eventually(
        lambda: cluster.get("pdb", "b", "-n", space).get("status", {}),
        lambda s: (s.get("disruptionsAllowed"), s.get("currentHealthy"), s.get("desiredHealthy")) == (1, 2, 1),
    )
    assert "cordoned" in cluster.kubectl("cordon", "node-2")
    try:
        assert "SchedulingDisabled" in cluster.kubectl("get", "node", "node-2", "--no-headers")
        select = "--pod-selector=app=x"
        said = cluster.kubectl("drain", "node-2", "--ignore-daemonsets", select, "--timeout=50s")
        assert "evicting pod" in said or "drained" in said
        eventually(
            lambda: pods(cluster, space),
            lambda found: len(found) == 2 and {p["spec"].get("nodeName") for p in found} == {"node-1"},
        )
    finally:
        assert "uncordoned" in cluster.kubectl("uncordon", "node-2")
    assert "tainted" in cluster.kubectl("taint", "node", "node-2", "only=some:NoSchedule")
    try:
        cluster.kubectl("run", "plain", "-n", space, "--image=busybox", "--overrides", json.dumps(PINNED))
        eventually(
            lambda: cluster.kubectl("describe", "pod", "plain", "-n", space), lambda text: "untolerated taint" in text
        )
    finally:
        cluster.kubectl("taint", "node", "node-2", "only-")
    cluster.kubectl("wait", "-n", space, "--for=condition=Ready", "pod/plain", "--timeout=50s")


PINNED: Json = {"spec": {"nodeSelector": {"kubernetes.io/hostname": "node-2"}}}
