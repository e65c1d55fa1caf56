"""What people do with pods through kubectl: run, volumes that follow, sidecars, hooks, tokens, host network."""

import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl"),
]

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {colour: blue}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: app}
spec:
  terminationGracePeriodSeconds: 5
  initContainers:
    - {name: side, image: busybox, restartPolicy: Always, command: [sleep, infinity]}
  containers:
    - name: main
      image: busybox
      command: [sleep, infinity]
      lifecycle: {preStop: {exec: {command: [sh, -c, "echo stopped > /data/stopped"]}}}
      volumeMounts:
        - {name: conf, mountPath: /etc/conf}
        - {name: data, mountPath: /data}
  volumes:
    - {name: conf, configMap: {name: conf}}
    - {name: data, persistentVolumeClaim: {claimName: data}}
---
apiVersion: v1
kind: Pod
metadata: {name: onhost}
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirstWithHostNet
  hostAliases: [{ip: 192.0.2.9, hostnames: [legacy]}]
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: short}
spec:
  activeDeadlineSeconds: 1
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
"""
SECRETS = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="module")
def podwire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPodwire]:
    manifest = tmp_path_factory.mktemp("pods") / "pods.yaml"
    manifest.write_text(MANIFEST)
    with running_podwire([], "--nodes", "2") as running:
        running.kubectl("apply", "-f", str(manifest))
        running.kubectl("wait", "--for=condition=Ready", "pod/app", "pod/onhost", "--timeout=60s")
        yield running


def test_top_shows_what_programs_use(podwire: RunningPodwire) -> None:
    script = "x=$(head -c 30000000 /dev/zero | tr '\\0' a); while :; do :; done"
    podwire.kubectl("run", "busy", "--image=busybox", "--restart=Never", "--command", "--", "bash", "-c", script)
    podwire.kubectl("wait", "--for=condition=Ready", "pod/busy", "--timeout=60s")

    def busy() -> tuple[int, int]:
        name, cpu, memory = podwire.kubectl("top", "pod", "busy", "--no-headers").split()
        assert (name, cpu[-1], memory[-2:]) == ("busy", "m", "Mi")
        return int(cpu[:-1]), int(memory[:-2])

    eventually(busy, lambda used: used[0] > 50 and used[1] >= 28)
    nodes = [line.split() for line in podwire.kubectl("top", "node", "--no-headers").splitlines()]
    assert [line[0] for line in nodes] == ["node-1", "node-2"] and any(line[1] != "0m" for line in nodes)
    assert "app" in podwire.kubectl("top", "pod", "--containers")
    podwire.kubectl("delete", "pod", "busy", "--force")


def test_debug_with_a_terminal(podwire: RunningPodwire) -> None:
    master, slave = os.openpty()
    script = "while read line; do test $line && echo got $line on $(tty) && exit 0; done"
    command = ("kubectl", "debug", "-it", "app", "--image=busybox", "--target=main", "--", "sh", "-c", script)
    debug = subprocess.Popen(command, env=podwire.environment, stdin=slave, stdout=slave, stderr=subprocess.STDOUT)
    os.close(slave)
    said = ""
    try:
        while "got hello on /dev/pts/" not in said:
            ready, _, _ = select.select([master], [], [], 30)
            assert ready, said
            said += os.read(master, 4096).decode()
            if "press" in said:  # "If you don't see a command prompt, try pressing enter."
                os.write(master, b"hello\n")
        assert debug.wait(30) == 0
    finally:
        debug.kill()
        os.close(master)


def test_run_takes_input_and_gives_output(podwire: RunningPodwire) -> None:
    run = ("kubectl", "run", "-i", "--rm", "--restart=Never", "--image=busybox", "once", "--", "sh")
    done = podwire.attempt(*run, text_input="echo got $((6 * 7)); exit 0\n")
    assert done.returncode == 0, done.stderr
    assert "got 42" in done.stdout
    assert podwire.attempt("kubectl", "get", "pod", "once").returncode == 1


def test_a_config_map_reaches_the_running_container(podwire: RunningPodwire) -> None:
    assert podwire.inside("default/app", "cat", "/etc/conf/colour") == "blue"
    podwire.kubectl("patch", "configmap", "conf", "-p", '{"data":{"colour":"red"}}')
    eventually(lambda: podwire.inside("default/app", "cat", "/etc/conf/colour"), lambda text: text == "red")


def test_a_pod_proves_itself_to_the_api(podwire: RunningPodwire) -> None:
    podwire.kubectl("create", "rolebinding", "see", "--clusterrole=view", "--serviceaccount=default:default")
    script = (
        f'curl -sS --cacert {SECRETS}/ca.crt -H "Authorization: Bearer $(cat {SECRETS}/token)" '
        f"https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/$(cat {SECRETS}/namespace)/pods/app"
    )

    def ask() -> dict[str, object]:
        found: dict[str, object] = json.loads(podwire.inside("default/app", "sh", "-c", script))
        return found

    answer = eventually(ask, lambda found: found["kind"] == "Pod")
    assert answer["kind"] == "Pod"


def test_a_sidecar_counts_and_a_deadline_ends(podwire: RunningPodwire) -> None:
    assert "2/2" in podwire.kubectl("get", "pod", "app")
    short = eventually(lambda: podwire.get("pod", "short")["status"], lambda status: status["phase"] == "Failed")
    assert short["reason"] == "DeadlineExceeded"


def test_a_pod_on_the_host_network_has_the_node_and_the_cluster(podwire: RunningPodwire) -> None:
    status = podwire.get("pod", "onhost")["status"]
    assert status["podIP"] == status["hostIP"]
    assert podwire.inside("default/onhost", "getent", "hosts", "legacy").split() == ["192.0.2.9", "legacy"]
    found = podwire.inside("default/onhost", "getent", "hosts", "kubernetes.default")
    assert found.split()[0] == "10.96.0.1"


def test_a_hook_runs_before_the_end_and_a_claim_keeps_what_it_wrote(podwire: RunningPodwire) -> None:
    listed = podwire.kubectl("get", "persistentvolumeclaim", "data").splitlines()[1].split()
    assert (listed[1], listed[3:6]) == ("Bound", ["1Gi", "RWO", "standard"])
    assert "standard (default)" in podwire.kubectl("get", "storageclass")
    podwire.kubectl("delete", "pod", "app")
    stopped = Path(podwire.home) / podwire.name / "claims" / listed[2] / "stopped"
    assert eventually(lambda: stopped.exists() and stopped.read_text()) == "stopped\n"
    podwire.kubectl("delete", "persistentvolumeclaim", "data")
    eventually(lambda: podwire.attempt("kubectl", "get", "pv", listed[2]).returncode == 1)
