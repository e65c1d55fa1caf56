"""lightkube, unchanged."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod
from lightkube.types import PatchType
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

from podwire.testing.process import eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("client-lightkube")]


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with podwire_with_pods() as running, Client(KubeConfig.from_file(kubeconfig_of(running))) as client:
        yield client


def fresh() -> str:
    return f"l-{uuid.uuid4().hex[:8]}"


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels={"by": name}), data=data)


def test_create_get_list_replace_delete(api: Client) -> None:
    name = fresh()
    created = api.create(config_map(name, a="1"))
    assert created.metadata and created.metadata.resourceVersion
    created.data = {"a": "2"}
    api.replace(created)
    assert api.get(ConfigMap, name, namespace="default").data == {"a": "2"}
    with pytest.raises(ApiError) as stale:
        api.replace(created)
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
    assert [found.data for found in api.list(ConfigMap, namespace="default", labels={"by": name})] == [{"a": "2"}]
    api.delete(ConfigMap, name, namespace="default")
    with pytest.raises(ApiError) as gone:
        api.get(ConfigMap, name, namespace="default")
    assert gone.value.status.code == 404
    assert [node.metadata.name for node in api.list(Node) if node.metadata] == ["node-1", "node-2"]


@pytest.mark.parametrize(
    "how, body",
    [
        (PatchType.JSON, [{"op": "replace", "path": "/data/a", "value": "2"}]),
        (PatchType.MERGE, {"data": {"a": "2"}}),
        (PatchType.STRATEGIC, {"data": {"a": "2"}}),
    ],
)
def test_each_patch_type(api: Client, how: PatchType, body: object) -> None:
    name = fresh()
    api.create(config_map(name, a="1", b="1"))
    patched = api.patch(ConfigMap, name, body, namespace="default", patch_type=how)
    assert patched.data == {"a": "2", "b": "1"}


def test_apply_and_its_conflict(api: Client) -> None:
    name = fresh()
    api.apply(config_map(name, a="1"), field_manager="one")
    with pytest.raises(ApiError) as conflict:
        api.apply(config_map(name, a="2"), field_manager="two")
    assert conflict.value.status.code == 409
    assert api.apply(config_map(name, a="2"), field_manager="two", force=True).data == {"a": "2"}


def test_watch(api: Client) -> None:
    name = fresh()
    events = api.watch(ConfigMap, namespace="default", labels={"by": name}, server_timeout=30)
    api.create(config_map(name, a="1"))
    assert (next(events)[0], api.patch(ConfigMap, name, {"data": {"a": "2"}}, namespace="default").data) == (
        "ADDED",
        {"a": "2"},
    )
    kind, value = next(events)
    assert (kind, value.data) == ("MODIFIED", {"a": "2"})
    api.delete(ConfigMap, name, namespace="default")
    assert next(events)[0] == "DELETED"


def test_wait_and_scale(api: Client) -> None:
    name = fresh()
    pods = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": name}),
        spec=PodSpec(containers=[Container(name="main", image="example.com/x")]),
    )
    spec = DeploymentSpec(selector=LabelSelector(matchLabels={"app": name}), template=pods, replicas=1)
    api.create(Deployment(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))
    api.wait(Deployment, name, for_conditions=["Available"], namespace="default")
    scale = api.get(Deployment.Scale, name, namespace="default")
    assert scale.spec
    scale.spec.replicas = 2
    api.replace(scale, name, namespace="default")
    eventually(lambda: getattr(api.get(Deployment, name, namespace="default").status, "readyReplicas", 0) == 2)
    api.delete(Deployment, name, namespace="default")


def test_exec(api: Client) -> None:
    said = api.exec(
        "box",
        namespace="default",
        command=["sh", "-c", "cat; echo err >&2; exit 3"],
        stdin="typed",
        stdout=True,
        stderr=True,
        timeout=30,
    )
    assert (said.stdout, said.stderr, said.exit_code) == ("typed", "err\n", 3)


def test_log(api: Client) -> None:
    assert list(api.log("box", namespace="default")) == ["hello from box\n"]
    assert next(api.log("box", namespace="default", follow=True)) == "hello from box\n"
    with pytest.raises(ApiError) as missing:
        list(api.log("nope", namespace="default"))
    assert missing.value.status.code == 404


def test_deletecollection(api: Client) -> None:
    name = fresh()
    api.create(Namespace(metadata=ObjectMeta(name=name)))
    api.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=name)))
    api.deletecollection(ConfigMap, namespace=name)
    assert name not in [found.metadata.name for found in api.list(ConfigMap, namespace=name) if found.metadata]
    api.delete(Namespace, name)


def test_lists_of_all_namespaces(api: Client) -> None:
    assert [pod.metadata.name for pod in api.list(Pod, labels={"app": "box"}, namespace="*") if pod.metadata] == ["box"]


def test_leader_election_writes(api: Client) -> None:
    """lightkube has no elector; this is what one does: a lease taken once, and renewed only by who saw it last."""
    name = fresh()
    now = datetime.now(UTC)
    spec = LeaseSpec(holderIdentity="one", leaseDurationSeconds=3, acquireTime=now, renewTime=now)
    taken = api.create(Lease(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))
    with pytest.raises(ApiError) as lost:
        api.create(Lease(metadata=ObjectMeta(name=name, namespace="default"), spec=spec))
    assert lost.value.status.reason == "AlreadyExists"
    renewed = api.replace(taken)
    assert renewed.spec and renewed.spec.renewTime == now
    assert renewed.spec.holderIdentity == "one"
    renewed.spec.holderIdentity = "two"
    api.replace(renewed)
    with pytest.raises(ApiError) as late:
        api.replace(renewed)
    assert late.value.status.reason == "Conflict"
