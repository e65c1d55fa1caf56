"""Grace, finalizers, owners, namespaces."""

from typing import Any

import pytest

from podwire.apiserver.status import StatusError


def owner(value: dict[str, Any], *, block: bool = False) -> dict[str, Any]:
    meta = value["metadata"]
    found = {"apiVersion": value["apiVersion"], "kind": value["kind"], "name": meta["name"], "uid": meta["uid"]}
    return {**found, "blockOwnerDeletion": True} if block else found


def config(name: str, **meta: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", **meta}}


def test_a_pod_on_a_node_goes_gracefully(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(kit.pod("a"))
        bench.verbs.bind("default", "a", node="n1")
        first = bench.delete("Pod", "default/a")
        meta = first.value["metadata"]
        assert not first.gone and meta["deletionTimestamp"] == "2026-01-01T00:00:30Z"
        assert meta["deletionGracePeriodSeconds"] == 30 and meta["generation"] == 2
        assert bench.delete("Pod", "default/a").rv == first.rv
        sooner = bench.delete("Pod", "default/a", grace_seconds=5)
        assert sooner.value["metadata"]["deletionGracePeriodSeconds"] == 5
        assert bench.delete("Pod", "default/a", grace_seconds=0).gone
        assert bench.get("Pod", "default/a") is None

    kit.run(body)


def test_a_pod_on_no_node_goes_at_once(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(kit.pod("a"))
        assert bench.delete("Pod", "default/a").gone

    kit.run(body)


def test_preconditions(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(config("c"))
        for wrong in ({"uid": "other"}, {"resource_version": "1"}):
            with pytest.raises(StatusError, match="Precondition failed") as caught:
                bench.delete("ConfigMap", "default/c", **wrong)
            assert caught.value.code == 409
        right = made["metadata"]
        assert bench.delete("ConfigMap", "default/c", uid=right["uid"], resource_version=right["resourceVersion"]).gone

    kit.run(body)


def test_finalizers_hold_until_the_last_is_taken_away(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(config("c", finalizers=["example.com/a", "example.com/b"]))
        marked = bench.delete("ConfigMap", "default/c").value
        assert marked["metadata"]["deletionTimestamp"]
        one = bench.update({**marked, "metadata": {**marked["metadata"], "finalizers": ["example.com/a"]}})
        assert bench.get("ConfigMap", "default/c") is not None
        last = bench.update({**one, "metadata": {k: v for k, v in one["metadata"].items() if k != "finalizers"}})
        assert bench.get("ConfigMap", "default/c") is None
        assert int(last["metadata"]["resourceVersion"]) == bench.store.head_rv

    kit.run(body)


def test_dependents_go_with_their_last_owner(kit: Any) -> None:
    async def body(bench: Any) -> None:
        a, b = bench.create(config("a")), bench.create(config("b"))
        bench.create(config("both", ownerReferences=[owner(a), owner(b)]))
        child = bench.create(config("child", ownerReferences=[owner(a)]))
        bench.create(config("grandchild", ownerReferences=[owner(child)]))
        bench.delete("ConfigMap", "default/a")
        left = [key for key, _ in bench.store.heads("ConfigMap")]
        assert left == ["default/b", "default/both"]
        bench.delete("ConfigMap", "default/b")
        assert not list(bench.store.heads("ConfigMap"))

    kit.run(body)


def test_an_object_of_a_gone_owner_is_collected_at_once(kit: Any) -> None:
    async def body(bench: Any) -> None:
        a = bench.create(config("a"))
        bench.delete("ConfigMap", "default/a")
        bench.create(config("late", ownerReferences=[owner(a)]))
        assert bench.get("ConfigMap", "default/late") is None
        foreign = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "u"}
        bench.create(config("foreign", ownerReferences=[foreign]))
        assert bench.get("ConfigMap", "default/foreign") is not None

    kit.run(body)


def test_orphan_strips_references(kit: Any) -> None:
    async def body(bench: Any) -> None:
        a = bench.create(config("a"))
        bench.create(config("child", ownerReferences=[owner(a)]))
        assert bench.delete("ConfigMap", "default/a", propagation="Orphan").gone
        assert "ownerReferences" not in bench.get("ConfigMap", "default/child")["metadata"]

    kit.run(body)


def test_foreground_keeps_the_owner_until_blocking_dependents_are_gone(kit: Any) -> None:
    async def body(bench: Any) -> None:
        a = bench.create(config("a"))
        bench.create(config("child", ownerReferences=[owner(a, block=True)], finalizers=["example.com/hold"]))
        waiting = bench.delete("ConfigMap", "default/a", propagation="Foreground")
        assert not waiting.gone and waiting.value["metadata"]["finalizers"] == ["foregroundDeletion"]
        child = bench.get("ConfigMap", "default/child")
        assert child["metadata"]["deletionTimestamp"]
        bench.update({**child, "metadata": {k: v for k, v in child["metadata"].items() if k != "finalizers"}})
        assert not list(bench.store.heads("ConfigMap"))

    kit.run(body)


def test_foreground_without_anything_to_wait_for_is_immediate(kit: Any) -> None:
    async def body(bench: Any) -> None:
        a = bench.create(config("a"))
        bench.create(config("child", ownerReferences=[owner(a, block=True)]))
        assert bench.delete("ConfigMap", "default/a", propagation="Foreground").gone
        assert not list(bench.store.heads("ConfigMap"))

    kit.run(body)


def test_a_namespace_takes_everything_with_it(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.namespace("shop")
        bench.create(kit.pod("running", namespace="shop"))
        bench.verbs.bind("shop", "running", node="n1")
        bench.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"}})
        marked = bench.delete("Namespace", "shop")
        assert not marked.gone and marked.value["status"]["phase"] == "Terminating"
        assert bench.get("ConfigMap", "shop/c") is None
        assert bench.get("Pod", "shop/running")["metadata"]["deletionTimestamp"]
        bench.delete("Pod", "shop/running", grace_seconds=0)
        assert bench.get("Namespace", "shop") is None
        bench.namespace("empty")
        bench.delete("Namespace", "empty")
        assert bench.get("Namespace", "empty") is None
        with pytest.raises(StatusError, match="may not be deleted"):
            bench.delete("Namespace", "default")

    kit.run(body)
