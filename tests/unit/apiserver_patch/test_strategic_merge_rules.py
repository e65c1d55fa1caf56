"""Strategic merge patch: cases of the Kubernetes documentation and of strategicpatch/patch_test.go."""

from typing import Any

import pytest

from podwire.apiserver.patch import PatchError
from podwire.apiserver.patch.strategic import strategic_merge
from podwire.kube.schema import schema_of_kind


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": spec}


def names(value: dict[str, Any], field: str = "containers") -> list[str]:
    return [item["name"] for item in value["spec"][field]]


def merge(original: dict[str, Any], patch: dict[str, Any], kind: str = "Pod") -> dict[str, Any]:
    return strategic_merge(schema_of_kind(kind), original, patch)


NGINX, REDIS = {"name": "nginx", "image": "nginx:1"}, {"name": "redis", "image": "redis"}
OLD, NEW = {"name": "old", "value": "1"}, {"name": "new", "value": "2"}


@pytest.mark.parametrize(
    ("original", "patch", "wanted"),
    [
        # lists with a merge key merge by it; new items come in the patch's order, before what only the server has
        (pod(containers=[NGINX]), pod(containers=[REDIS]), pod(containers=[REDIS, NGINX])),
        (
            pod(containers=[NGINX]),
            pod(containers=[{"name": "nginx", "image": "nginx:2"}]),
            pod(containers=[{"name": "nginx", "image": "nginx:2"}]),
        ),
        # nested merge keys
        (
            pod(containers=[{**NGINX, "env": [OLD]}]),
            pod(containers=[{"name": "nginx", "env": [NEW]}]),
            pod(containers=[{**NGINX, "env": [NEW, OLD]}]),
        ),
        # atomic lists are replaced
        (
            pod(tolerations=[{"key": "a"}], containers=[{**NGINX, "args": ["x", "y"]}]),
            pod(tolerations=[{"key": "b"}], containers=[{"name": "nginx", "args": ["z"]}]),
            pod(tolerations=[{"key": "b"}], containers=[{**NGINX, "args": ["z"]}]),
        ),
        # null removes, and is never stored
        (pod(nodeName="n", hostname="h"), pod(nodeName=None, subdomain=None), pod(hostname="h")),
        (pod(), pod(securityContext={"runAsUser": None, "runAsGroup": 1}), pod(securityContext={"runAsGroup": 1})),
        # directives
        (pod(containers=[NGINX, REDIS]), pod(containers=[{**NGINX, "$patch": "delete"}]), pod(containers=[REDIS])),
        (pod(containers=[NGINX, REDIS]), pod(containers=[{"$patch": "replace"}]), pod(containers=[])),
        (pod(containers=[NGINX]), pod(containers=[REDIS, {"$patch": "replace"}]), pod(containers=[REDIS])),
        (pod(nodeSelector={"a": "1"}), pod(nodeSelector={"$patch": "replace", "b": "2"}), pod(nodeSelector={"b": "2"})),
        (pod(nodeSelector={"a": "1"}), pod(nodeSelector={"$patch": "delete"}), pod(nodeSelector={})),
        (pod(containers=[NGINX]), pod(containers=[{"name": "absent", "$patch": "delete"}]), pod(containers=[NGINX])),
        (pod(), pod(containers=[{"name": "x", "$patch": "delete"}, REDIS]), pod(containers=[REDIS])),
        # retainKeys drops the members a union no longer has
        (
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}, "$retainKeys": ["name", "hostPath"]}]),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
        ),
        # type changes replace
        (pod(nodeSelector={"a": "1"}), pod(nodeSelector="text"), pod(nodeSelector="text")),
    ],
)  # fmt: skip
def test_merging(original: dict[str, Any], patch: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert merge(original, patch) == wanted


def test_finalizers_merge_as_a_set_and_can_be_deleted_from() -> None:
    original = {"metadata": {"finalizers": ["a", "b"]}}
    assert merge(original, {"metadata": {"finalizers": ["c", "a"]}})["metadata"]["finalizers"] == ["c", "a", "b"]
    deleted = merge(original, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "z"]}})
    assert deleted["metadata"] == {"finalizers": ["b"]}


def test_ports_merge_by_their_merge_key() -> None:
    service = {"metadata": {}, "spec": {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 443, "protocol": "TCP"}]}}
    patched = merge(service, {"spec": {"ports": [{"port": 80, "name": "http"}]}}, "Service")
    assert patched["spec"]["ports"] == [
        {"port": 80, "protocol": "TCP", "name": "http"},
        {"port": 443, "protocol": "TCP"},
    ]


def test_deployment_strategy_retains_keys() -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    patch = {"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}}
    patched = merge({"metadata": {}, "spec": {"strategy": rolling}}, patch, "Deployment")
    assert patched["spec"] == {"strategy": {"type": "Recreate"}}


@pytest.mark.parametrize(
    ("live", "patch", "order", "wanted"),
    [
        ("abc", "", "cba", "cba"),
        ("abc", "d", "adbc", "adbc"),
        ("sab", "", "ba", "sba"),
        ("axb", "ab", "ab", "axb"),
        ("axb", "", "ba", "xba"),
        ("", "ab", "ab", "ab"),
        ("xay", "c", "ca", "cxay"),
    ],
)
def test_element_order(live: str, patch: str, order: str, wanted: str) -> None:
    body = pod(containers=[{"name": name} for name in patch])
    body["spec"]["$setElementOrder/containers"] = [{"name": name} for name in order]
    merged = merge(pod(containers=[{"name": name} for name in live]), body)
    assert "".join(names(merged)) == wanted
    assert not any(key.startswith("$") for key in merged["spec"])


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        (pod(containers=[{"image": "x"}]), 422),
        (pod(containers=["text"]), 422),
        (pod(containers=[{"name": "nginx", "$patch": "spoil"}]), 422),
        (pod(nodeSelector={"$patch": "spoil"}), 422),
        (pod(**{"$setElementOrder/containers": "x"}), 400),
        (pod(**{"$setElementOrder": []}), 400),
        (pod(containers=[REDIS], **{"$setElementOrder/containers": [{"name": "nginx"}]}), 400),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": "x"}}, 400),
        (pod(**{"$retainKeys": ["x"], "nodeName": "n"}), 400),
        (pod(**{"$retainKeys": "x"}), 400),
        (pod(containers=[{"name": {"a": 1}}]), 422),
    ],
)
def test_malformed_patches_are_refused(patch: dict[str, Any], code: int) -> None:
    with pytest.raises(PatchError) as refused:
        merge(pod(containers=[NGINX], nodeSelector={"a": "1"}), patch)
    assert refused.value.code == code


def test_nothing_is_changed_in_place() -> None:
    original = pod(containers=[{**NGINX, "env": [OLD]}], nodeSelector={"a": "1"})
    import msgspec

    before = msgspec.json.encode(original)
    merge(original, pod(containers=[{"name": "nginx", "env": [NEW]}], nodeSelector={"a": None}))
    assert msgspec.json.encode(original) == before
