"""Writes between which webhooks are asked: the same luck, no lost update, other versions of a kind."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from podwire.apiserver.status import StatusError
from podwire.apiserver.verbs import Outcome, Verbs, WriteOptions
from podwire.apiserver.webhooks import hooks as module
from podwire.apiserver.webhooks.hooks import Hooks
from podwire.kube.registry import KINDS

Json = dict[str, Any]
Said = Callable[[Json], Awaitable[Json]]


class Asked:
    """What webhooks are sent, and what they say."""

    def __init__(self, said: Said) -> None:
        self.seen: list[Json] = []
        self._said = said

    async def ask(self, config: Json, body: bytes, *, timeout_seconds: int, dial_service: Any) -> bytes:
        request = msgspec.json.decode(body)["request"]
        self.seen.append(request)
        said = {"allowed": True, **await self._said(request)}
        patch = said.pop("operations", None)
        if patch is not None:
            said |= {"patchType": "JSONPatch", "patch": base64.b64encode(msgspec.json.encode(patch)).decode()}
        head = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
        return msgspec.json.encode(head | {"response": {"uid": request["uid"], **said}})


def configuration(kind: str, resource: str, **more: Any) -> Json:
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": [resource]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": kind.lower()},
        "webhooks": [
            {
                "name": "hook.example.com",
                "clientConfig": {"url": "https://127.0.0.1/"},
                "rules": [{**rule, **more.pop("rule", {})}],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                **more,
            }
        ],
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, Said], Asked]:
    """``asked(bench, said)``: from now on webhooks are asked, and ``said`` answers for them."""

    def make(bench: Any, said: Said) -> Asked:
        found = Asked(said)
        monkeypatch.setattr(module, "ask", found.ask)

        async def nobody(*_: Any) -> Any:
            raise AssertionError("nothing is dialed here")

        bench.verbs.make_hooks = lambda: Hooks(bench.verbs.objects, nobody)
        return found

    return make


async def nothing(request: Json) -> Json:
    return {}


async def create(verbs: Verbs, value: Json, **options: Any) -> Json:
    kind = KINDS[value["kind"]]
    outcome: Outcome = await verbs.reviewed(
        WriteOptions(**options), lambda how: verbs.create(kind, "default", value, how)
    )
    return outcome.value


def test_every_run_has_the_same_luck(kit: Any, asked: Any) -> None:
    async def body(bench: Any) -> None:
        found = asked(bench, nothing)
        bench.create(configuration("Validating", "services"))
        await bench.store.settled(bench.store.head_rv)
        value = kit.service("", type="NodePort")
        value["metadata"] |= {"generateName": "web-"}
        made = await create(bench.verbs, value)
        (review,) = found.seen
        assert review["object"]["metadata"]["uid"] == made["metadata"]["uid"]
        assert review["object"]["metadata"]["name"] == made["metadata"]["name"]
        assert review["object"]["spec"] == made["spec"]

    kit.run(body)


def test_an_address_that_somebody_took_meanwhile_is_asked_about_again(kit: Any, asked: Any) -> None:
    async def body(bench: Any) -> None:
        async def take(request: Json) -> Json:
            if len(found.seen) == 1:
                bench.create(kit.service("thief", clusterIP=request["object"]["spec"]["clusterIP"]))
            return {}

        found = asked(bench, take)
        bench.create(configuration("Validating", "services"))
        await bench.store.settled(bench.store.head_rv)
        made = await create(bench.verbs, kit.service("web"))
        addresses = [review["object"]["spec"]["clusterIP"] for review in found.seen]
        assert len(set(addresses)) == 2
        assert made["spec"]["clusterIP"] == addresses[1]

    kit.run(body)


def test_an_update_in_between_is_not_lost(kit: Any, asked: Any) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}

    async def body(bench: Any) -> None:
        async def write(request: Json) -> Json:
            if len(found.seen) == 1:
                bench.update({**config, "data": {"theirs": "1"}})
            return {"operations": [{"op": "add", "path": "/data/hooked", "value": "1"}]}

        found = asked(bench, write)
        bench.create(config)
        bench.create(configuration("Mutating", "configmaps"))
        await bench.store.settled(bench.store.head_rv)
        verbs: Verbs = bench.verbs

        def patch(how: WriteOptions) -> Outcome:
            change = {"data": {"mine": "1"}}
            return verbs.merge(KINDS["ConfigMap"], "default/c", change, how)

        outcome = await verbs.reviewed(WriteOptions(), patch)
        assert outcome.value["data"] == {"theirs": "1", "mine": "1", "hooked": "1"}
        assert [review["oldObject"].get("data") for review in found.seen] == [None, {"theirs": "1"}]

    kit.run(body)


def test_a_stale_version_conflicts_after_the_webhook(kit: Any, asked: Any) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}

    async def body(bench: Any) -> None:
        async def write(request: Json) -> Json:
            bench.update({**config, "data": {"theirs": str(len(found.seen))}})
            return {}

        found = asked(bench, write)
        made = bench.create(config)
        bench.create(configuration("Validating", "configmaps"))
        await bench.store.settled(bench.store.head_rv)
        mine = {**made, "data": {"mine": "1"}}

        def update(how: WriteOptions) -> Outcome:
            outcome: Outcome = bench.verbs.update(KINDS["ConfigMap"], "default", mine, how, name="c")
            return outcome

        with pytest.raises(StatusError) as refused:
            await bench.verbs.reviewed(WriteOptions(), update)
        assert refused.value.code == 409
        assert len(found.seen) == 1

    kit.run(body)


def test_a_webhook_sees_no_name_where_the_server_makes_one(kit: Any, asked: Any) -> None:
    async def body(bench: Any) -> None:
        async def label(request: Json) -> Json:
            return {"operations": [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]}

        found = asked(bench, label)
        bench.create(configuration("Mutating", "pods"))
        await bench.store.settled(bench.store.head_rv)
        value = kit.pod("")
        value["metadata"] |= {"generateName": "web-"}
        made = await create(bench.verbs, value)
        assert not found.seen[0]["object"]["metadata"].get("name")
        assert made["metadata"]["labels"] == {"a": "b"}
        assert made["metadata"]["name"].startswith("web-")

    kit.run(body)


def test_configurations_are_never_asked_about(kit: Any, asked: Any) -> None:
    async def body(bench: Any) -> None:
        found = asked(bench, nothing)
        bench.create(configuration("Validating", "*"))
        await bench.store.settled(bench.store.head_rv)
        await create(bench.verbs, configuration("Mutating", "*"))
        assert not found.seen

    kit.run(body)


def test_a_deadline_of_the_whole_request(kit: Any, asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from podwire.apiserver.webhooks import reviewed

    monkeypatch.setattr(reviewed, "REQUEST_SECONDS", 0.01)

    async def body(bench: Any) -> None:
        async def never(request: Json) -> Json:
            await asyncio.Event().wait()
            return {}

        asked(bench, never)
        bench.create(configuration("Validating", "configmaps"))
        await bench.store.settled(bench.store.head_rv)
        with pytest.raises(StatusError) as refused:
            await create(bench.verbs, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}})
        assert refused.value.code == 504

    kit.run(body)
