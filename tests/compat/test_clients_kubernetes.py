"""The official client, unchanged: typed and dynamic, its watch, informer, streams, patches and leader election."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from kubernetes import client, config, dynamic, informer, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

from podwire.testing.process import eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("client-kubernetes")]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with podwire_with_pods() as running:
        yield kubeconfig_of(running)


@pytest.fixture(scope="module")
def api(kubeconfig: str) -> client.CoreV1Api:
    config.load_kube_config(kubeconfig)
    return client.CoreV1Api()


def fresh(prefix: str = "c") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def config_map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"by": name}), data=data)


def test_create_read_replace_delete(api: client.CoreV1Api) -> None:
    name = fresh()
    created = api.create_namespaced_config_map("default", config_map(name, a="1"))
    assert created.metadata.uid and created.metadata.resource_version
    created.data["a"] = "2"
    assert api.replace_namespaced_config_map(name, "default", created).data == {"a": "2"}
    with pytest.raises(ApiException) as stale:
        api.replace_namespaced_config_map(name, "default", created)
    assert stale.value.status == 409 and json.loads(stale.value.body)["reason"] == "Conflict"
    with pytest.raises(ApiException) as twice:
        api.create_namespaced_config_map("default", config_map(name))
    assert json.loads(twice.value.body)["reason"] == "AlreadyExists"
    api.delete_namespaced_config_map(name, "default")
    with pytest.raises(ApiException) as gone:
        api.read_namespaced_config_map(name, "default")
    assert gone.value.status == 404


@pytest.mark.parametrize(
    "media, body",
    [
        ("application/json-patch+json", [{"op": "replace", "path": "/data/a", "value": "2"}]),
        ("application/merge-patch+json", {"data": {"a": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"a": "2"}}),
    ],
)
def test_each_patch_type(api: client.CoreV1Api, media: str, body: Any) -> None:
    name = fresh()
    api.create_namespaced_config_map("default", config_map(name, a="1", b="1"))
    patched = api.patch_namespaced_config_map(name, "default", body, _content_type=media)
    assert patched.data == {"a": "2", "b": "1"}


def test_server_side_apply_and_its_conflict(api: client.CoreV1Api) -> None:
    name = fresh()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
    how: dict[str, Any] = {"_content_type": "application/apply-patch+yaml"}
    api.patch_namespaced_config_map(name, "default", body, field_manager="one", **how)
    body["data"] = {"a": "2"}
    with pytest.raises(ApiException) as conflict:
        api.patch_namespaced_config_map(name, "default", body, field_manager="two", **how)
    assert json.loads(conflict.value.body)["details"]["causes"][0]["message"] == 'conflict with "one"'
    forced = api.patch_namespaced_config_map(name, "default", body, field_manager="two", force=True, **how)
    assert forced.data == {"a": "2"}


def test_list_in_pages_and_by_selectors(api: client.CoreV1Api) -> None:
    label = fresh("page")
    for number in range(5):
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=f"{label}-{number}", labels={"page": label}))
        api.create_namespaced_config_map("default", body)
    seen, token = [], None
    while True:
        page = api.list_namespaced_config_map("default", label_selector=f"page={label}", limit=2, _continue=token)
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    assert seen == [f"{label}-{number}" for number in range(5)]
    running = api.list_pod_for_all_namespaces(field_selector="status.phase=Running")
    assert "box" in [pod.metadata.name for pod in running.items]
    api.delete_collection_namespaced_config_map("default", label_selector=f"page={label}")
    assert not api.list_namespaced_config_map("default", label_selector=f"page={label}").items


def test_every_list_of_a_built_in_kind_decodes(api: client.CoreV1Api) -> None:
    """The models of this client refuse what is not as documented (null lists, missing required fields)."""
    api.list_node(), api.list_namespace(), api.list_service_for_all_namespaces(), api.list_event_for_all_namespaces()
    api.list_endpoints_for_all_namespaces(), api.list_secret_for_all_namespaces()
    api.list_service_account_for_all_namespaces(), api.list_config_map_for_all_namespaces()
    apps, network = client.AppsV1Api(), client.NetworkingV1Api()
    apps.list_deployment_for_all_namespaces(), apps.list_replica_set_for_all_namespaces()
    apps.list_daemon_set_for_all_namespaces(), apps.list_stateful_set_for_all_namespaces()
    network.list_ingress_for_all_namespaces(), network.list_ingress_class()
    network.list_network_policy_for_all_namespaces()
    assert client.DiscoveryV1Api().list_endpoint_slice_for_all_namespaces().items
    client.CoordinationV1Api().list_lease_for_all_namespaces()
    assert client.VersionApi().get_code().major == "1"


def test_watch_sees_each_change_in_order(api: client.CoreV1Api) -> None:
    name = fresh()
    start = api.list_namespaced_config_map("default").metadata.resource_version
    api.create_namespaced_config_map("default", config_map(name, a="1"))
    api.patch_namespaced_config_map(name, "default", {"data": {"a": "2"}})
    api.delete_namespaced_config_map(name, "default")
    stream_ = watch.Watch().stream(
        api.list_namespaced_config_map,
        "default",
        resource_version=start,
        label_selector=f"by={name}",
        timeout_seconds=1,
    )
    seen = [(event["type"], event["object"].data) for event in stream_]
    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


def test_an_informer_follows(api: client.CoreV1Api) -> None:
    name, label = fresh(), fresh("informed")
    found = informer.SharedInformer(
        list_func=api.list_namespaced_config_map, namespace="default", label_selector=f"informed={label}"
    )
    found.start()
    try:
        body = config_map(name, a="1")
        body.metadata.labels = {"informed": label}
        api.create_namespaced_config_map("default", body)
        eventually(found.cache.list_keys, lambda keys: keys == [f"default/{name}"])
        api.delete_namespaced_config_map(name, "default")
        eventually(found.cache.list_keys, lambda keys: not keys)
    finally:
        found.stop()


def test_exec(api: client.CoreV1Api) -> None:
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]
    found = stream(
        api.connect_get_namespaced_pod_exec,
        "box",
        "default",
        command=command,
        stdin=False,
        stdout=True,
        stderr=True,
        tty=False,
        _preload_content=False,
    )
    found.run_forever(timeout=30)
    assert (found.read_stdout(), found.read_stderr(), found.returncode) == ("out\n", "err\n", 3)


def test_exec_with_input(api: client.CoreV1Api) -> None:
    found = stream(
        api.connect_get_namespaced_pod_exec,
        "box",
        "default",
        command=["head", "-n", "1"],
        stdin=True,
        stdout=True,
        stderr=False,
        tty=False,
        _preload_content=False,
    )
    found.write_stdin("typed\n")
    found.run_forever(timeout=30)
    assert found.read_stdout() == "typed\n"


def test_port_forward(api: client.CoreV1Api) -> None:
    forward = portforward(api.connect_get_namespaced_pod_portforward, "web", "default", ports="8080")
    socket = forward.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
    answer = b""
    while data := socket.recv(4096):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200") and b'"web"' in answer
    assert forward.error(8080) is None


def test_logs(api: client.CoreV1Api) -> None:
    assert api.read_namespaced_pod_log("box", "default", tail_lines=1) == "hello from box\n"
    lines = watch.Watch().stream(api.read_namespaced_pod_log, "box", "default", follow=True)
    assert next(iter(lines)) == "hello from box"


def test_pod_life(api: client.CoreV1Api) -> None:
    name = fresh("pod")
    container = client.V1Container(name="main", image="busybox", command=["sleep", "1000"])
    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=1),
    )
    api.create_namespaced_pod("default", pod)
    eventually(lambda: api.read_namespaced_pod(name, "default").status.phase, lambda phase: phase == "Running")
    api.delete_namespaced_pod(name, "default", grace_period_seconds=0)
    eventually(lambda: name not in [item.metadata.name for item in api.list_namespaced_pod("default").items])


def test_scale_through_the_subresource(api: client.CoreV1Api) -> None:
    apps, name = client.AppsV1Api(), fresh("web")
    container = client.V1Container(name="main", image="example.com/web")
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": name}), spec=client.V1PodSpec(containers=[container])
    )
    spec = client.V1DeploymentSpec(
        replicas=1, selector=client.V1LabelSelector(match_labels={"app": name}), template=template
    )
    apps.create_namespaced_deployment(
        "default", client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)
    )

    def ready() -> int | None:
        status = apps.read_namespaced_deployment(name, "default").status
        assert status is not None
        replicas: int | None = status.ready_replicas
        return replicas

    eventually(ready, lambda count: count == 1)
    scale = apps.read_namespaced_deployment_scale(name, "default")
    scale.spec.replicas = 3
    apps.replace_namespaced_deployment_scale(name, "default", scale)
    eventually(ready, lambda count: count == 3)
    apps.delete_namespaced_deployment(name, "default", propagation_policy="Foreground")


def test_the_dynamic_client(api: client.CoreV1Api) -> None:
    dyn, name = dynamic.DynamicClient(api.api_client), fresh()
    maps = dyn.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}}
    maps.create(body=body, namespace="default")
    assert maps.get(name=name, namespace="default").data.a == "1"
    maps.patch(body={"data": {"a": "2"}}, name=name, namespace="default", content_type="application/merge-patch+json")
    applied = maps.server_side_apply(body={**body, "data": {"b": "3"}}, namespace="default", field_manager="me")
    assert applied.data.to_dict() == {"a": "2", "b": "3"}
    events = maps.watch(namespace="default", field_selector=f"metadata.name={name}", timeout=1)
    assert [event["type"] for event in events] == ["ADDED"]
    maps.delete(name=name, namespace="default")


CANDIDATE = """
import sys
from kubernetes import config
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
path, name, identity = sys.argv[1:]
config.load_kube_config(path)
leaderelection.LeaderElection(electionconfig.Config(
    LeaseLock(name, "default", identity), lease_duration=3, renew_deadline=2, retry_period=1,
    onstarted_leading=lambda: print("leading", flush=True), onstopped_leading=lambda: None)).run()
"""


def test_leader_election_with_a_lease(api: client.CoreV1Api, kubeconfig: str) -> None:
    """Two candidates: one leads and renews, and when it dies the other takes over."""
    name = fresh("lead")
    read = client.CoordinationV1Api().read_namespaced_lease
    with ExitStack() as started:
        candidates = {who: started.enter_context(candidate(kubeconfig, name, who)) for who in ("one", "two")}
        first = eventually(lambda: holder(name))
        renewed = read(name, "default").spec.renew_time
        eventually(lambda: read(name, "default").spec.renew_time, lambda when: when > renewed)
        assert holder(name) == first
        candidates[first].kill()
        second = eventually(lambda: holder(name), lambda who: who not in ("", first))
        assert {first, second} == {"one", "two"}
        output = candidates[second].stdout
        assert output is not None and output.readline() == "leading\n"


def holder(name: str) -> str:
    try:
        return str(client.CoordinationV1Api().read_namespaced_lease(name, "default").spec.holder_identity or "")
    except ApiException:
        return ""


@contextmanager
def candidate(kubeconfig: str, name: str, identity: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", CANDIDATE, kubeconfig, name, identity]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
