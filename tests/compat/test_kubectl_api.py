"""Stock kubectl against the API server alone: no engine, no nodes, objects only."""

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from podwire.apiserver import ApiServer, ApiSettings

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]


class Running:
    """A server in a thread of its own, and kubectl pointed at it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "kubeconfig"
        self.server = ApiServer(ApiSettings(directory=directory / "api"))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.server.start())
        self.server.kubeconfig.write(self.config)

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self) -> None:
        self.call(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def command(self, *words: str) -> list[str]:
        return ["kubectl", f"--kubeconfig={self.config}", f"--cache-dir={self.directory / 'cache'}", *words]

    def kubectl(self, *words: str, stdin: Any = None, code: int = 0) -> str:
        """Output and errors; the exit code must be ``code``."""
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(stdin)
        done = subprocess.run(
            self.command(*words),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "HOME": str(self.directory)},
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "-o", "json"))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("api"))
    yield running
    running.stop()


@pytest.fixture
def space(api: Running) -> str:
    name = f"t-{uuid4().hex[:8]}"
    api.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def deployment(namespace: str, replicas: int = 2) -> dict[str, Any]:
    container = {"name": "web", "image": "example.com/web:1", "ports": [{"containerPort": 8080, "name": "http"}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    meta = {"name": "web", "namespace": namespace, "labels": {"app": "web"}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def service(namespace: str, name: str = "web", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    base = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": base | spec}


def config(namespace: str, name: str = "c", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_version_discovery_and_health(api: Running) -> None:
    assert "Server Version: v1." in api.kubectl("version")
    table = api.kubectl("api-resources", "-o", "wide")
    for word in ("deployments", "netpol", "endpointslices", "networking.k8s.io/v1", "deletecollection"):
        assert word in table
    assert "networking.k8s.io/v1" in api.kubectl("api-versions")
    assert api.kubectl("get", "--raw", "/readyz") == "ok"
    assert json.loads(api.kubectl("get", "--raw", "/apis/apps/"))["preferredVersion"]["groupVersion"] == "apps/v1"
    assert api.config.stat().st_mode & 0o777 == 0o600


def test_create_get_and_delete(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    assert "AlreadyExists" in api.kubectl("create", "-f", "-", stdin=deployment(space), code=1)
    table = api.kubectl("get", "deploy", "-n", space)
    assert table.split()[:5] == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"] and "0/2" in table
    wide = api.kubectl("get", "deploy", "-n", space, "-o", "wide")
    assert "example.com/web:1" in wide and "app=web" in wide
    assert "uid:" in api.kubectl("get", "deploy", "web", "-n", space, "-o", "yaml")
    assert "deployment.apps/web" in api.kubectl("get", "all", "-n", space)
    assert "NotFound" in api.kubectl("get", "deploy", "other", "-n", space, code=1)
    assert "deleted" in api.kubectl("delete", "deploy", "web", "-n", space, "--wait")
    assert api.get("deploy", "-n", space)["items"] == []


def test_selectors_sorting_and_pages(api: Running, space: str) -> None:
    for number in range(7):
        value = config(space, f"c{number}", n=str(number))
        value["metadata"]["labels"] = {"odd": str(number % 2)}
        api.kubectl("create", "-f", "-", stdin=value)
    odd = api.kubectl("get", "cm", "-n", space, "-l", "odd in (1)", "-o", "name").split()
    assert odd == [f"configmap/c{number}" for number in (1, 3, 5)]
    one = api.kubectl("get", "cm", "-n", space, "--field-selector", "metadata.name=c4", "-o", "name").split()
    assert one == ["configmap/c4"]
    assert "field label not supported" in api.kubectl("get", "po", "-n", space, "--field-selector", "a=b", code=1)
    paged = api.kubectl("get", "cm", "-n", space, "--chunk-size=2", "-o", "name").split()
    assert len(paged) == 8  # with kube-root-ca.crt
    assert len(api.kubectl("get", "cm", "-n", space, "--chunk-size=3").strip().splitlines()) == 9
    sorted_ = api.kubectl("get", "cm", "-n", space, "--sort-by=.data.n", "--no-headers", "-l", "odd").split("\n")
    assert [line.split()[0] for line in sorted_ if line] == [f"c{number}" for number in range(7)]


def test_describe_and_events(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=service(space))
    made = api.get("svc", "web", "-n", space)
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "web.1", "namespace": space},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Service",
            "name": "web",
            "namespace": space,
            "uid": made["metadata"]["uid"],
        },
        "reason": "Allocated",
        "message": "an address was found",
        "type": "Normal",
        "firstTimestamp": made["metadata"]["creationTimestamp"],
        "lastTimestamp": made["metadata"]["creationTimestamp"],
        "count": 1,
        "source": {"component": "test"},
    }
    api.kubectl("create", "-f", "-", stdin=event)
    described = api.kubectl("describe", "svc", "web", "-n", space)
    assert made["spec"]["clusterIP"] in described and "an address was found" in described
    assert "an address was found" in api.kubectl("get", "events", "-n", space)
    assert "Allocated" in api.kubectl("events", "-n", space, "--for", "service/web")


def test_watch_shows_a_change_and_wait_returns(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    command = api.command("get", "deploy", "web", "-n", space, "-w", "--output-watch-events", "--no-headers")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        try:
            assert watch.stdout.readline().split()[0] == "ADDED"
            api.kubectl("scale", "deploy/web", "-n", space, "--replicas=5")
            line = watch.stdout.readline().split()
            assert line[0] == "MODIFIED" and "0/5" in line
        finally:
            watch.kill()
    words = ("wait", "deploy/web", "-n", space, "--for=jsonpath={.status.readyReplicas}=5", "--timeout=30s")
    with subprocess.Popen(api.command(*words), stdout=subprocess.PIPE, text=True) as waiting:
        status = {"status": {"replicas": 5, "readyReplicas": 5, "observedGeneration": 2}}
        api.call(api.server.merge("Deployment", space, "web", status, subresource="status"))
        assert waiting.wait(30) == 0
    with subprocess.Popen(api.command("wait", "deploy/web", "-n", space, "--for=delete", "--timeout=30s")) as waiting:
        api.kubectl("delete", "deploy", "web", "-n", space)
        assert waiting.wait(30) == 0


def test_scale_goes_through_the_subresource(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    api.kubectl("scale", "deploy/web", "-n", space, "--replicas=4", "--current-replicas=2")
    found = api.get("deploy", "web", "-n", space)
    assert found["spec"]["replicas"] == 4 and found["metadata"]["generation"] == 2
    scale = json.loads(api.kubectl("get", "--raw", f"/apis/apps/v1/namespaces/{space}/deployments/web/scale"))
    assert scale["kind"] == "Scale" and scale["spec"] == {"replicas": 4} and scale["status"]["selector"] == "app=web"


def test_strict_validation_and_clear_errors(api: Running, space: str) -> None:
    wrong = service(space)
    wrong["spec"]["colour"] = "red"
    assert 'unknown field "spec.colour"' in api.kubectl("create", "-f", "-", stdin=wrong, code=1)
    assert "created" in api.kubectl("create", "--validate=false", "-f", "-", stdin=wrong)
    taken = service(space, "b", type="NodePort", ports=[{"port": 80, "nodePort": 31234}])
    api.kubectl("create", "-f", "-", stdin=taken)
    words = api.kubectl("create", "-f", "-", stdin=taken | {"metadata": {"name": "c", "namespace": space}}, code=1)
    assert "spec.ports[0].nodePort: Invalid value: 31234: provided port is already allocated" in words
    bad = deployment(space)
    bad["spec"]["replicas"] = "three"
    assert "cannot unmarshal string" in api.kubectl("create", "-f", "-", stdin=bad, code=1)
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": space},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]},
    }
    assert "spec.ingress[0].from[0].ipBlock.cidr" in api.kubectl("create", "-f", "-", stdin=policy, code=1)
    nowhere = config("nowhere")
    assert 'namespaces "nowhere" not found' in api.kubectl("create", "-f", "-", stdin=nowhere, code=1)


def test_explain(api: Running) -> None:
    text = api.kubectl("explain", "service.spec.ports")
    assert "KIND:       Service" in text and "nodePort" in text and "targetPort" in text
    assert "podSelector" in api.kubectl("explain", "netpol.spec", "--recursive")


def test_dry_run_and_diff(api: Running, space: str) -> None:
    shown = api.kubectl("create", "-f", "-", "--dry-run=server", "-o", "json", stdin=service(space))
    assert json.loads(shown)["spec"]["clusterIP"]
    assert "NotFound" in api.kubectl("get", "svc", "web", "-n", space, code=1)
    assert "+  name: web" in api.kubectl("diff", "-f", "-", stdin=service(space), code=1)


def test_namespace_deletion_takes_its_content(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    api.kubectl("run", "alone", "-n", space, "--image=example.com/a:1")
    assert "deleted" in api.kubectl("delete", "ns", space, "--wait", "--timeout=30s")
    assert "NotFound" in api.kubectl("get", "ns", space, code=1)
    assert "No resources found" in api.kubectl("get", "deploy,pods", "-n", space)


def test_what_was_applied_can_be_deleted_the_same_way(api: Running) -> None:
    name = f"t-{uuid4().hex[:8]}"
    whole = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    items = {"apiVersion": "v1", "kind": "List", "items": [whole, deployment(name), service(name), config(name)]}
    api.kubectl("apply", "-f", "-", stdin=items)
    words = api.kubectl("delete", "-f", "-", stdin=items)
    assert words.count("deleted") == 4


def test_items_of_a_list_are_validated_too(api: Running, space: str) -> None:
    wrong = service(space)
    wrong["spec"]["colour"] = "red"
    items = {"apiVersion": "v1", "kind": "List", "items": [config(space), wrong]}
    assert 'unknown field "spec.colour"' in api.kubectl("apply", "-f", "-", stdin=items, code=1)


def test_nodes_and_pods_as_objects(api: Running, space: str) -> None:
    name = f"node-{space}"
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "a"}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.89.0.2"}],
        },
    }
    api.kubectl("create", "-f", "-", stdin=node)
    assert "Ready" in api.kubectl("get", "node", name) and "10.89.0.2" in api.kubectl("get", "node", name, "-o", "wide")
    api.kubectl("run", "a", "-n", space, "--image=example.com/a:1", "--labels=app=web")
    assert "Pending" in api.kubectl("get", "pod", "a", "-n", space)
    uid = api.get("pod", "a", "-n", space)["metadata"]["uid"]
    api.call(api.server.bind(space, "a", uid=uid, node=name))
    ready = {"phase": "Running", "podIP": "10.244.0.5", "conditions": [{"type": "Ready", "status": "True"}]}
    api.call(api.server.merge("Pod", space, "a", {"status": ready}, subresource="status"))
    assert "10.244.0.5" in api.kubectl("get", "pod", "a", "-n", space, "-o", "wide")
    assert api.kubectl("get", "pods", "-A", "--field-selector", f"spec.nodeName={name}", "-o", "name") == "pod/a\n"
    api.kubectl("delete", "pod", "a", "-n", space, "--wait=false")
    assert "Terminating" in api.kubectl("get", "pod", "a", "-n", space)
    api.kubectl("delete", "pod", "a", "-n", space, "--force", "--grace-period=0")
    assert "NotFound" in api.kubectl("get", "pod", "a", "-n", space, code=1)


def test_strangers_are_refused(api: Running) -> None:
    server = f"https://127.0.0.1:{api.server.port}"
    command = ["kubectl", "--kubeconfig=/dev/null", f"--server={server}", "--insecure-skip-tls-verify", "get", "ns"]
    done = subprocess.run(
        [*command, "--token=wrong"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "HOME": "/"},
    )
    assert done.returncode == 1 and "You must be logged in to the server" in done.stderr


def test_secrets_are_encoded(api: Running, space: str) -> None:
    text = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "t", "namespace": space},
        "stringData": {"a": "b"},
    }
    api.kubectl("create", "-f", "-", stdin=text)
    assert api.get("secret", "t", "-n", space)["data"] == {"a": "Yg=="}


# --- patches ---


def test_client_side_apply(api: Running, space: str) -> None:
    assert "created" in api.kubectl("apply", "-f", "-", stdin=deployment(space))
    assert "unchanged" in api.kubectl("apply", "-f", "-", stdin=deployment(space))
    assert "configured" in api.kubectl("apply", "-f", "-", stdin=deployment(space, 3))
    found = api.get("deploy", "web", "-n", space)
    assert found["spec"]["replicas"] == 3 and found["metadata"]["generation"] == 2
    changed = deployment(space, 3)
    changed["spec"]["template"]["spec"]["containers"][0].pop("ports")
    api.kubectl("apply", "-f", "-", stdin=changed)
    assert "ports" not in api.get("deploy", "web", "-n", space)["spec"]["template"]["spec"]["containers"][0]
    assert "+  replicas: 9" in api.kubectl("diff", "-f", "-", stdin=deployment(space, 9), code=1)


def test_server_side_apply(api: Running, space: str) -> None:
    apply = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in api.kubectl(*apply, stdin=config(space, a="1", b="2"))
    assert api.get("cm", "c", "-n", space)["data"] == {"a": "1", "b": "2"}
    api.kubectl(*apply, stdin=config(space, a="1"))
    assert api.get("cm", "c", "-n", space)["data"] == {"a": "1"}
    words = api.kubectl(*apply, "--field-manager=other", stdin=config(space, a="3"), code=1)
    assert "conflict" in words and ".data.a" in words
    api.kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=config(space, a="3"))
    assert api.get("cm", "c", "-n", space)["data"] == {"a": "3"}


def test_three_patch_types(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    target = ("patch", "deploy", "web", "-n", space)
    image = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "example.com/web:2"}]}}}}
    api.kubectl(*target, "-p", json.dumps(image))
    container = api.get("deploy", "web", "-n", space)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "example.com/web:2" and container["ports"]
    api.kubectl(*target, "--type=merge", "-p", '{"spec":{"replicas":6}}')
    api.kubectl(*target, "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":7}]')
    assert api.get("deploy", "web", "-n", space)["spec"]["replicas"] == 7
    failed = '[{"op":"test","path":"/spec/replicas","value":1}]'
    api.kubectl(*target, "--type=json", "-p", failed, code=1)
    api.kubectl(*target, "--subresource=status", "--type=merge", "-p", '{"status":{"replicas":7}}')
    assert api.get("deploy", "web", "-n", space)["status"]["replicas"] == 7


def test_label_annotate_set_and_rollout(api: Running, space: str) -> None:
    api.kubectl("create", "-f", "-", stdin=deployment(space))
    api.kubectl("label", "deploy/web", "-n", space, "tier=front")
    api.kubectl("annotate", "deploy/web", "-n", space, "note=hello")
    api.kubectl("set", "image", "deploy/web", "-n", space, "web=example.com/web:3")
    api.kubectl("rollout", "restart", "deploy/web", "-n", space)
    found = api.get("deploy", "web", "-n", space)
    assert found["metadata"]["labels"]["tier"] == "front" and found["metadata"]["annotations"]["note"] == "hello"
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/web:3"
    assert "kubectl.kubernetes.io/restartedAt" in found["spec"]["template"]["metadata"]["annotations"]
    api.kubectl("label", "deploy/web", "-n", space, "tier-")
    assert "tier" not in api.get("deploy", "web", "-n", space)["metadata"]["labels"]
