"""The requests Helm makes for install, upgrade, rollback and uninstall of a small chart.

No registry this project uses offers a helm binary, so the sequence of Helm 4 is replayed: releases in Secrets
``helm.sh/release.v1``, server-side apply by manager ``helm`` for each object, waits as kstatus reads them, DELETE in
Background. Source: helm pkg/action/{install,upgrade,rollback,uninstall}.go, pkg/kube/client.go,
pkg/storage/driver/secrets.go.
"""

import base64
import gzip
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Secret, Service
from lightkube.types import CascadeType, PatchType
from tests.compat.clients_rig import kubeconfig_of, podwire_with_pods

from podwire.testing.process import eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("helm")]
Json = dict[str, Any]
KINDS = {"Deployment": Deployment, "Service": Service, "ConfigMap": ConfigMap}


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    with podwire_with_pods() as running, Client(KubeConfig.from_file(kubeconfig_of(running))) as client:
        yield client


class Helm:
    """One release."""

    def __init__(self, api: Client, name: str) -> None:
        self.api, self.name, self.version = api, name, 0

    def chart(self, *, image: str, replicas: int, extra: bool = False) -> list[Json]:
        name = self.name
        labels = {"app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": "Helm"}
        owned = {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "default"}
        meta = {"name": name, "namespace": "default", "labels": labels, "annotations": owned}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        ports = {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]}
        made: list[Json] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"image": image}},
            {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": ports},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
        ]
        if extra:
            made.append({**made[0], "metadata": {**meta, "name": f"{name}-extra"}})
        return made

    # --- releases ---

    def record(self, objects: list[Json], status: str) -> None:
        """A new release, and the one before superseded."""
        self.version += 1
        if self.version > 1:
            self.mark(self.version - 1, "superseded")
        self.api.create(Secret(metadata=self.meta(self.version, status), type="helm.sh/release.v1", data=pack(objects)))

    def meta(self, version: int, status: str) -> ObjectMeta:
        labels = {"owner": "helm", "name": self.name, "status": status, "version": str(version)}
        return ObjectMeta(name=f"sh.helm.release.v1.{self.name}.v{version}", namespace="default", labels=labels)

    def mark(self, version: int, status: str) -> None:
        found = self.api.get(Secret, f"sh.helm.release.v1.{self.name}.v{version}", namespace="default")
        assert found.metadata and found.metadata.labels
        found.metadata.labels["status"] = status
        self.api.replace(found)

    def history(self) -> dict[str, str]:
        labels = {"owner": "helm", "name": self.name}
        found = [
            s.metadata.labels or {} for s in self.api.list(Secret, namespace="default", labels=labels) if s.metadata
        ]
        return {entry["version"]: entry["status"] for entry in found}

    def release(self, version: int) -> list[Json]:
        found = self.api.get(Secret, f"sh.helm.release.v1.{self.name}.v{version}", namespace="default")
        assert found.data
        objects: list[Json] = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(found.data["release"]))))
        return objects

    # --- objects ---

    def deploy(self, objects: list[Json], before: list[Json]) -> None:
        """Apply all, delete what is no longer in the chart, wait."""
        self.record(objects, "pending-install" if not before else "pending-upgrade")
        for value in objects:
            name = value["metadata"]["name"]
            self.api.patch(
                KINDS[value["kind"]], name, value, namespace="default", patch_type=PatchType.APPLY,
                field_manager="helm", force=False,
            )  # fmt: skip
        kept = {(value["kind"], value["metadata"]["name"]) for value in objects}
        self.delete([value for value in before if (value["kind"], value["metadata"]["name"]) not in kept])
        eventually(lambda: self.current(objects))
        self.mark(self.version, "deployed")

    def delete(self, objects: list[Json]) -> None:
        for value in objects:
            self.api.delete(
                KINDS[value["kind"]], value["metadata"]["name"], namespace="default", cascade=CascadeType.BACKGROUND
            )

    def current(self, objects: list[Json]) -> bool:
        """As kstatus reads a Deployment: observedGeneration first, then the counts, then Available."""
        generic = create_namespaced_resource("apps", "v1", "Deployment", "deployments")
        found: Any = self.api.get(generic, self.name, namespace="default")
        wanted = next(value["spec"]["replicas"] for value in objects if value["kind"] == "Deployment")
        status = found.get("status") or {}
        counts = {status.get(f"{name}eplicas" if name == "r" else f"{name}Replicas") for name in COUNTS}
        available = {c["type"]: c["status"] for c in status.get("conditions", ())}.get("Available") == "True"
        settled = status.get("observedGeneration") == found.metadata.generation
        return bool(settled and counts == {wanted} and available)


COUNTS = ("r", "updated", "ready", "available")


def pack(objects: list[Json]) -> dict[str, str]:
    """Helm's double base64 over gzip."""
    inner = base64.b64encode(gzip.compress(json.dumps(objects).encode()))
    return {"release": base64.b64encode(inner).decode()}


def image_of(api: Client, name: str) -> str:
    spec = api.get(Deployment, name, namespace="default").spec
    assert spec and spec.template.spec
    return str(spec.template.spec.containers[0].image)


def test_install_upgrade_rollback_uninstall(api: Client) -> None:
    helm = Helm(api, f"h-{uuid.uuid4().hex[:8]}")
    first = helm.chart(image="example.com/x:1", replicas=1, extra=True)
    helm.deploy(first, [])
    assert helm.history() == {"1": "deployed"}

    second = helm.chart(image="example.com/x:2", replicas=2)
    helm.deploy(second, helm.release(1))
    assert helm.history() == {"1": "superseded", "2": "deployed"}
    assert image_of(api, helm.name) == "example.com/x:2"
    with pytest.raises(ApiError) as gone:
        api.get(ConfigMap, f"{helm.name}-extra", namespace="default")
    assert gone.value.status.code == 404

    helm.deploy(helm.release(1), helm.release(2))
    assert helm.history() == {"1": "superseded", "2": "superseded", "3": "deployed"}
    assert image_of(api, helm.name) == "example.com/x:1"
    assert api.get(ConfigMap, f"{helm.name}-extra", namespace="default").data == {"image": "example.com/x:1"}

    helm.delete(helm.release(3))
    for version in (1, 2, 3):
        api.delete(Secret, f"sh.helm.release.v1.{helm.name}.v{version}", namespace="default")
    assert helm.history() == {}
    labels = {"app.kubernetes.io/instance": helm.name}
    eventually(lambda: not list(api.list(Deployment, namespace="default", labels=labels)))


def test_somebody_elses_field_stops_an_upgrade(api: Client) -> None:
    """Helm 4 reports the conflict unless told to force."""
    helm = Helm(api, f"h-{uuid.uuid4().hex[:8]}")
    objects = helm.chart(image="example.com/x:1", replicas=1)
    helm.deploy(objects, [])
    api.patch(Deployment, helm.name, {"spec": {"replicas": 3}}, namespace="default", field_manager="person")
    with pytest.raises(ApiError) as conflict:
        helm.deploy(helm.chart(image="example.com/x:1", replicas=2), objects)
    assert conflict.value.status.reason == "Conflict"
    assert ".spec.replicas" in str(conflict.value.status.message)
