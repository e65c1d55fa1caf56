"""kr8s, unchanged: its synchronous and its asyncio side."""

import uuid
from collections.abc import Iterator
from typing import Any

import kr8s
import pytest
from kr8s.objects import ConfigMap, Deployment, Node, Pod, Service
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

from podwire.testing.process import eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("client-kr8s")]


@pytest.fixture(scope="module")
def api() -> Iterator[Any]:
    with podwire_with_pods() as running:
        yield kr8s.api(kubeconfig=kubeconfig_of(running))


def config_map(api: Any, **data: str) -> Any:
    name = f"k-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"by": name}}, "data": data}
    return ConfigMap(body, api=api)


def test_version_and_discovery(api: Any) -> None:
    assert api.version()["major"] == "1"
    assert ("deployments", "apps/v1") in [(found["name"], found["version"]) for found in api.api_resources()]


def test_create_get_list_delete(api: Any) -> None:
    made = config_map(api, a="1")
    made.create()
    assert ConfigMap.get(made.name, namespace="default", api=api).data == {"a": "1"}
    assert [found.name for found in api.get("configmaps", label_selector={"by": made.name})] == [made.name]
    assert sorted(node.name for node in api.get("nodes")) == ["node-1", "node-2"]
    made.delete()
    assert not made.exists()


def test_patch_label_and_annotate(api: Any) -> None:
    made = config_map(api, a="1")
    made.create()
    made.patch({"data": {"a": "2"}})
    assert made.data == {"a": "2"}
    made.patch([{"op": "add", "path": "/data/b", "value": "3"}], type="json")
    assert made.data == {"a": "2", "b": "3"}
    made.label({"color": "red"})
    made.annotate({"note": "x"})
    made.refresh()
    assert (made.labels["color"], made.annotations["note"]) == ("red", "x")


def test_watch(api: Any) -> None:
    made = config_map(api, a="1")
    made.create()
    seen = []
    for kind, found in api.watch("configmaps", label_selector={"by": made.name}, namespace="default"):
        seen.append((kind, dict(found.data)))
        if len(seen) == 1:
            made.patch({"data": {"a": "2"}})
        elif len(seen) == 2:
            made.delete()
        else:
            break
    assert seen == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


def test_scale_and_wait(api: Any) -> None:
    name = f"k-{uuid.uuid4().hex[:8]}"
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "example.com/x"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template}
    made = Deployment({"metadata": {"name": name}, "spec": spec}, api=api)
    made.create()
    made.wait("condition=Available", timeout=60)
    made.scale(2)
    eventually(made.ready)
    assert len(made.pods()) == 2
    made.delete(propagation_policy="Foreground")
    eventually(lambda: not made.exists())


def test_exec(api: Any) -> None:
    pod = Pod.get("box", namespace="default", api=api)
    done = pod.exec(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 3)


def test_logs(api: Any) -> None:
    pod = Pod.get("box", namespace="default", api=api)
    assert list(pod.logs()) == ["hello from box"]
    assert next(iter(pod.logs(follow=True))) == "hello from box"


def test_port_forward(api: Any) -> None:
    import httpx

    with Pod.get("web", namespace="default", api=api).portforward(8080, local_port="auto") as port:
        assert httpx.get(f"http://127.0.0.1:{port}/", timeout=30).json()["pod"] == "web"


def test_cordon(api: Any) -> None:
    node = Node.get("node-2", api=api)
    node.cordon()
    node.refresh()
    assert node.unschedulable
    node.uncordon()
    node.refresh()
    assert not node.unschedulable


def test_asyncio_side(api: Any) -> None:
    import asyncio

    from kr8s.asyncio.objects import ConfigMap as AsyncConfigMap

    async def walk() -> list[str]:
        other = await kr8s.asyncio.api(kubeconfig=api.auth._kubeconfig_path_or_dict)
        made = await AsyncConfigMap(config_map(api, a="1").raw, api=other)
        await made.create()
        found = [item.name async for item in other.get("configmaps", label_selector={"by": made.name})]
        await made.delete()
        return [made.name, *found]

    made, found = asyncio.run(walk())
    assert made == found


def test_service_proxy(api: Any) -> None:
    service = Service.get("web", namespace="default", api=api)
    assert service.proxy_http_get("hello?a=b").json()["path"].startswith("/hello")
