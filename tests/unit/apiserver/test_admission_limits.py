"""LimitRange, ResourceQuota, and evictions against a budget."""

import asyncio
from typing import Any

import pytest

from podwire.apiserver.reaper import DeleteOptions
from podwire.apiserver.status import StatusError

Json = dict[str, Any]


def quota(**hard: Any) -> Json:
    names = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    meta = {"name": "q", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": names}}


def limits(**item: Any) -> Json:
    meta = {"name": "l", "namespace": "default"}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": meta, "spec": {"limits": [item]}}


def refused(make: Any) -> StatusError:
    with pytest.raises(StatusError) as caught:
        make()
    return caught.value


def test_counts_are_enforced_and_reported(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(quota(pods="1", count__configmaps="2"))
        bench.create(kit.pod("a"))
        error = refused(lambda: bench.create(kit.pod("b")))
        assert error.code == 403
        assert str(error) == (
            'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
        )
        refused(lambda: bench.create(kit.pod("b"), dry_run=True))
        await asyncio.sleep(0)
        status = bench.get("ResourceQuota", "default/q")["status"]
        assert status == {
            "hard": {"pods": "1", "count/configmaps": "2"},
            "used": {"pods": "1", "count/configmaps": "0"},
        }
        bench.delete("Pod", "default/a")
        bench.create(kit.pod("b"))

    kit.run(body)


def test_services_by_type(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(quota(services_loadbalancers="1", services_nodeports="2", services="5"))
        bench.create(kit.service("a", type="LoadBalancer"))
        assert "services.loadbalancers=1" in str(refused(lambda: bench.create(kit.service("b", type="LoadBalancer"))))
        bench.create(kit.service("c", type="NodePort"))
        assert "services.nodeports=1" in str(refused(lambda: bench.create(kit.service("d", type="NodePort"))))
        plain = bench.create(kit.service("e"))
        changed = {**plain, "spec": {**plain["spec"], "type": "NodePort"}}
        assert "exceeded quota" in str(refused(lambda: bench.update(changed)))

    kit.run(body)


def test_compute_must_be_said_and_is_summed(kit: Any) -> None:
    def sized(name: str, cpu: str) -> Json:
        pod = kit.pod(name)
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
        return dict(pod)

    async def body(bench: Any) -> None:
        bench.create(quota(requests_cpu="1"))
        assert "must specify requests.cpu for: a" in str(refused(lambda: bench.create(kit.pod("silent"))))
        bench.create(sized("one", "600m"))
        error = str(refused(lambda: bench.create(sized("two", "500m"))))
        assert "requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1" in error
        bench.create(sized("three", "400m"))

    kit.run(body)


def test_limit_ranges_fill_in_and_refuse(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.create(limits(type="Container", default={"cpu": "500m"}, max={"cpu": "1"}, min={"memory": "4Mi"}))
        item = bench.get("LimitRange", "default/l")["spec"]["limits"][0]
        assert item["defaultRequest"] == {"cpu": "500m", "memory": "4Mi"}
        made = bench.create(kit.pod("a"))["spec"]["containers"][0]["resources"]
        assert made == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m", "memory": "4Mi"}}
        big = kit.pod("b")
        big["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}
        error = refused(lambda: bench.create(big))
        assert error.code == 403
        assert "maximum cpu usage per Container is 1, but limit is 2" in str(error)

    kit.run(body)


def test_wrong_limit_ranges_are_refused(kit: Any) -> None:
    async def body(bench: Any) -> None:
        wrong = limits(type="Pod", default={"cpu": "1"}, min={"cpu": "2"}, max={"cpu": "1"})
        error = refused(lambda: bench.create(wrong))
        assert error.code == 422
        fields = {entry["field"] for entry in error.status["details"]["causes"]}
        assert "spec.limits[0].default" in fields and "spec.limits[0].min[cpu]" in fields

    kit.run(body)


def running(bench: Any, kit: Any, name: str) -> Json:
    pod = bench.create(kit.pod(name, labels={"app": "web"}))
    conditions = [{"type": "Ready", "status": "True"}]
    status = {**pod, "status": {"phase": "Running", "conditions": conditions}}
    return dict(bench.update(status, "status"))


def budget(bench: Any, allowed: int) -> Json:
    made = bench.create(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        }
    )
    counts = {"disruptionsAllowed": allowed, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2}
    status = {**made, "status": {"observedGeneration": made["metadata"]["generation"], **counts}}
    return dict(bench.update(status, "status"))


def test_an_eviction_spends_the_budget(kit: Any) -> None:
    async def body(bench: Any) -> None:
        running(bench, kit, "a")
        running(bench, kit, "b")
        budget(bench, 1)
        bench.verbs.evict("default/a", DeleteOptions(dry_run=True))
        bench.verbs.evict("default/a", DeleteOptions())
        assert bench.get("Pod", "default/a") is None
        status = bench.get("PodDisruptionBudget", "default/web")["status"]
        assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["a"]
        error = refused(lambda: bench.verbs.evict("default/b", DeleteOptions()))
        assert error.code == 429 and error.status["details"]["causes"][0]["reason"] == "DisruptionBudget"
        assert bench.get("Pod", "default/b") is not None

    kit.run(body)


def test_pods_that_do_not_run_go_freely(kit: Any) -> None:
    async def body(bench: Any) -> None:
        budget(bench, 0)
        bench.create(kit.pod("pending", labels={"app": "web"}))
        bench.verbs.evict("default/pending", DeleteOptions())
        assert bench.get("Pod", "default/pending") is None

    kit.run(body)
