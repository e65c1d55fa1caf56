"""Create, update, subresources, names, conflicts."""

from typing import Any

import pytest

from podwire.apiserver.status import StatusError


def refusal(call: Any, *args: Any, **more: Any) -> tuple[int, str, str]:
    with pytest.raises(StatusError) as caught:
        call(*args, **more)
    return caught.value.code, caught.value.reason, str(caught.value)


def test_create_sets_what_is_the_servers(kit: Any) -> None:
    async def body(bench: Any) -> None:
        sent = kit.pod("a", uid="mine", creationTimestamp="2001-01-01T00:00:00Z", generation=9)
        made = bench.create(sent | {"status": {"phase": "Running"}})
        meta = made["metadata"]
        assert meta["uid"] != "mine" and meta["creationTimestamp"] == "2026-01-01T00:00:00Z" and meta["generation"] == 1
        assert made["status"]["phase"] == "Pending"
        assert made["spec"]["terminationGracePeriodSeconds"] == 30
        again = refusal(bench.create, kit.pod("a"))
        assert again == (409, "AlreadyExists", 'pods "a" already exists')

    kit.run(body)


def test_generate_name(kit: Any) -> None:
    async def body(bench: Any) -> None:
        value = kit.pod("x")
        del value["metadata"]["name"]
        value["metadata"]["generateName"] = "web-" + "y" * 80
        first, second = bench.create(value), bench.create(value)
        assert len(first["metadata"]["name"]) == 63
        assert first["metadata"]["name"] != second["metadata"]["name"]

    kit.run(body)


def test_update_needs_the_newest_revision_or_none(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}})
        changed = bench.update(made | {"data": {"a": "2"}})
        code, reason, words = refusal(bench.update, made | {"data": {"a": "3"}})
        assert (code, reason) == (409, "Conflict")
        assert "the object has been modified; please apply your changes to the latest version" in words
        blind = made | {"metadata": {"name": "c", "namespace": "default"}, "data": {"a": "4"}}
        assert bench.update(blind)["data"] == {"a": "4"}
        assert bench.update(blind)["metadata"]["resourceVersion"] == str(
            int(changed["metadata"]["resourceVersion"]) + 1
        )
        stranger = {**blind, "metadata": {**blind["metadata"], "uid": "other"}}
        assert refusal(bench.update, stranger)[:2] == (409, "Conflict")
        missing = {**blind, "metadata": {"name": "none"}}
        assert refusal(bench.update, missing) == (404, "NotFound", 'configmaps "none" not found')

    kit.run(body)


def test_generation_follows_spec_and_status_stays_apart(kit: Any) -> None:
    async def body(bench: Any) -> None:
        template = {"metadata": {"labels": {"app": "a"}}, "spec": kit.pod("x")["spec"]}
        spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template, "replicas": 1}
        made = bench.create(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "d"},
                "spec": spec,
                "status": {"replicas": 5},
            }
        )
        assert "replicas" not in made.get("status", {}) and made["metadata"]["generation"] == 1
        both = made | {"spec": made["spec"] | {"replicas": 2}, "status": {"replicas": 7}}
        scaled = bench.update(both)
        assert scaled["metadata"]["generation"] == 2 and "replicas" not in scaled.get("status", {})
        seen = bench.update(scaled | {"spec": {}, "status": {"replicas": 2, "observedGeneration": 2}}, "status")
        assert seen["spec"]["replicas"] == 2 and seen["status"]["replicas"] == 2
        assert seen["metadata"]["generation"] == 2
        labelled = bench.update(seen | {"metadata": seen["metadata"] | {"labels": {"x": "y"}}})
        assert labelled["metadata"]["generation"] == 2 and labelled["status"] == seen["status"]

    kit.run(body)


def test_namespaces_must_exist_and_be_alive(kit: Any) -> None:
    async def body(bench: Any) -> None:
        lost = kit.pod("a", namespace="nowhere")
        assert refusal(bench.create, lost) == (404, "NotFound", 'namespaces "nowhere" not found')
        bench.namespace("going")
        bench.create(kit.pod("held", namespace="going", finalizers=["example.com/hold"]))
        bench.delete("Namespace", "going")
        code, reason, words = refusal(bench.create, kit.pod("late", namespace="going"))
        assert (code, reason) == (403, "Forbidden") and "because it is being terminated" in words

    kit.run(body)


def test_every_namespace_has_its_service_account(kit: Any) -> None:
    async def body(bench: Any) -> None:
        bench.namespace("shop")
        assert bench.get("ServiceAccount", "shop/default") is not None

    kit.run(body)


def test_field_validation(kit: Any) -> None:
    async def body(bench: Any) -> None:
        value = kit.service("s")
        value["spec"]["colour"] = "red"
        code, reason, words = refusal(bench.create, value, field_validation="Strict")
        assert (code, reason) == (400, "BadRequest")
        assert 'strict decoding error: unknown field "spec.colour"' in words
        outcome = bench.made(value, field_validation="Warn")
        assert outcome.warnings == ('unknown field "spec.colour"',)
        assert "colour" not in outcome.value["spec"]

    kit.run(body)


def test_dry_run_stores_and_allocates_nothing(kit: Any) -> None:
    async def body(bench: Any) -> None:
        shown = bench.create(kit.service("s", type="NodePort"), dry_run=True)
        assert shown["spec"]["clusterIP"] and shown["spec"]["ports"][0]["nodePort"]
        assert bench.get("Service", "default/s") is None
        real = bench.create(kit.service("t", type="NodePort"))
        assert real["spec"]["clusterIP"] == shown["spec"]["clusterIP"]
        assert real["spec"]["ports"][0]["nodePort"] == shown["spec"]["ports"][0]["nodePort"]

    kit.run(body)


def test_binding(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.pod("a"))
        wrong = refusal(bench.verbs.bind, "default", "a", node="n1", uid="other")
        assert wrong[:2] == (409, "Conflict")
        bound = bench.verbs.bind("default", "a", node="n1", uid=made["metadata"]["uid"]).value
        assert bound["spec"]["nodeName"] == "n1"
        assert {"type": "PodScheduled", "status": "True"}.items() <= bound["status"]["conditions"][0].items()
        assert 'already assigned to node "n1"' in refusal(bench.verbs.bind, "default", "a", node="n2")[2]

    kit.run(body)
