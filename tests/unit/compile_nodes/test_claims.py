"""Claims find volumes, or get one made, and pods wait for them."""

from typing import Any

from tests.unit.simulate import World, pod

from podwire.plan.node import ClaimVolume, HostVolume


def claim(name: str = "data", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}} | spec,
    }


def volume(name: str, size: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": size},
            "storageClassName": "manual",
            "hostPath": {"path": f"/mnt/{name}"},
        }
        | spec,
    }


def user(name: str = "p") -> dict[str, Any]:
    value = pod(name, volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
    value["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    return value


def test_a_claim_gets_a_folder_and_the_pod_waits_for_it() -> None:
    world = World()
    world.apply(user())
    world.settle()
    assert world.get("Pod", "p")["status"]["phase"] == "Pending"
    world.apply(claim())
    world.settle()
    bound = world.get("PersistentVolumeClaim", "data")
    name = bound["spec"]["volumeName"]
    assert bound["status"]["phase"] == "Bound"
    assert bound["spec"]["storageClassName"] == "standard"
    assert world.objects["PersistentVolume", name]["status"]["phase"] == "Bound"
    assert world.get("Pod", "p")["status"]["phase"] == "Running"
    assert world.compile().nodes.pods["default/p"].volumes == (ClaimVolume("v", name),)


def test_a_claim_takes_the_smallest_volume_that_fits() -> None:
    world = World()
    for name, size in (("small", "500Mi"), ("large", "9Gi"), ("fits", "2Gi")):
        world.apply(volume(name, size))
    world.apply(claim(storageClassName="manual"))
    world.apply(user())
    world.settle()
    assert world.get("PersistentVolumeClaim", "data")["spec"]["volumeName"] == "fits"
    phases = {n: world.objects["PersistentVolume", n]["status"]["phase"] for n in ("small", "large", "fits")}
    assert phases == {"small": "Available", "large": "Available", "fits": "Bound"}
    assert world.compile().nodes.pods["default/p"].volumes == (HostVolume("v", "/mnt/fits"),)


def test_the_empty_class_waits_and_an_unknown_one_is_told() -> None:
    world = World()
    world.apply(claim("none", storageClassName=""))
    world.apply(claim("fast", storageClassName="gp3"))
    world.settle()
    assert world.get("PersistentVolumeClaim", "none")["status"]["phase"] == "Pending"
    assert world.get("PersistentVolumeClaim", "fast")["status"]["phase"] == "Bound"
    assert [(f.code, f.ref.name) for f in world.compile().findings] == [("PW6025", "fast")]


def test_claims_of_stateful_sets_are_made_per_pod_and_outlive_it() -> None:
    world = World()
    template = {"metadata": {"name": "data"}, "spec": claim()["spec"]}
    spec = {
        "replicas": 2,
        "serviceName": "db",
        "selector": {"matchLabels": {"app": "db"}},
        "template": {
            "metadata": {"labels": {"app": "db"}},
            "spec": {
                "containers": [{"name": "c", "image": "db", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]
            },
        },
        "volumeClaimTemplates": [template],
    }
    world.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
    world.settle()
    for name in ("data-db-0", "data-db-1"):
        assert world.get("PersistentVolumeClaim", name)["status"]["phase"] == "Bound"
    assert world.get("Pod", "db-1")["status"]["phase"] == "Running"
