"""RBAC rules, aggregation and tokens without sockets."""

from typing import Any

import pytest

from podwire.apiserver.access import Access
from podwire.apiserver.chance import FixedChance
from podwire.apiserver.identity import User
from podwire.apiserver.rbac import Authorizer, covers
from podwire.apiserver.reviews import Reviews
from podwire.apiserver.status import StatusError
from podwire.apiserver.tokens import BadToken, Tokens

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io/v1"


def rule(**parts: Any) -> Json:
    base: Json = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}
    return base | parts


@pytest.mark.parametrize(
    ("given", "asked", "answer"),
    [
        (rule(), Access(verb="get", resource="pods"), True),
        (rule(), Access(verb="list", resource="pods"), False),
        (rule(), Access(verb="get", resource="pods", subresource="log"), False),
        (rule(resources=["pods/log"]), Access(verb="get", resource="pods", subresource="log"), True),
        (rule(resources=["*/scale"]), Access(verb="get", resource="pods", subresource="scale"), True),
        (rule(resources=["*"]), Access(verb="get", resource="pods", subresource="scale"), True),
        (rule(apiGroups=["apps"]), Access(verb="get", resource="pods"), False),
        (rule(apiGroups=["*"], verbs=["*"]), Access(verb="x", group="apps", resource="pods"), True),
        (rule(resourceNames=["a"]), Access(verb="get", resource="pods", name="a"), True),
        (rule(resourceNames=["a"]), Access(verb="get", resource="pods", name="b"), False),
        (rule(resourceNames=["a"]), Access(verb="get", resource="pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/api/*"]}, Access(verb="get", path="/api/v1"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/api"]}, Access(verb="get", path="/apis"), False),
        (rule(resources=["*"], verbs=["*"], apiGroups=["*"]), Access(verb="get", path="/api"), False),
    ],
)
def test_what_a_rule_covers(given: Json, asked: Access, answer: bool) -> None:
    assert covers(given, asked) is answer


def test_aggregation_follows_labels(kit: Any) -> None:
    async def body(bench: Any) -> None:
        selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "sum"}}]}
        meta = {"name": "sum"}
        bench.create({"apiVersion": RBAC, "kind": "ClusterRole", "metadata": meta, "aggregationRule": selector})
        part: Json = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "part"}, "rules": [rule()]}
        made = bench.create(part)
        assert not bench.get("ClusterRole", "sum").get("rules")
        bench.update({**made, "metadata": {**made["metadata"], "labels": {"to": "sum"}}})
        assert bench.get("ClusterRole", "sum")["rules"] == [rule()]
        bench.delete("ClusterRole", "part")
        assert bench.get("ClusterRole", "sum")["rules"] == []

    kit.run(body)


def test_a_binding_counts_when_it_is_durable_and_ends_with_it(kit: Any) -> None:
    async def body(bench: Any) -> None:
        authorizer = Authorizer(bench.verbs.objects)
        user = User(name="jane", groups=("team",))
        asked = Access(verb="get", resource="pods", namespace="default")
        assert not authorizer.allows(user, asked)
        role = {"apiVersion": RBAC, "kind": "Role", "metadata": {"name": "r", "namespace": "default"}}
        bench.create(role | {"rules": [rule()]})
        binding = bench.made(
            {
                "apiVersion": RBAC,
                "kind": "RoleBinding",
                "metadata": {"name": "b", "namespace": "default"},
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [{"kind": "Group", "name": "team"}],
            }
        )
        assert binding.value["roleRef"]["apiGroup"] == "rbac.authorization.k8s.io"
        await bench.store.settled(binding.rv)
        assert authorizer.allows(user, asked)
        assert not authorizer.allows(user, Access(verb="get", resource="pods", namespace="other"))
        assert not authorizer.allows(user, Access(verb="get", resource="pods"))
        deleted = bench.delete("Role", "default/r")
        await bench.store.settled(deleted.rv)
        assert not authorizer.allows(user, asked)

    kit.run(body)


def request(**spec: Any) -> Json:
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


def test_tokens_end_and_are_bound(kit: Any) -> None:
    async def body(bench: Any) -> None:
        chance: FixedChance = bench.chance
        objects = bench.verbs.objects
        tokens = Tokens(None, "https://issuer", objects.get)
        reviews = Reviews(objects, Authorizer(objects), tokens, chance)
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "a"}
        bench.create(kit.pod("a"))
        answer = reviews.request_token(
            "default", "default", request(expirationSeconds=600, boundObjectRef=bound), dry_run=False
        )
        token = answer["status"]["token"]
        assert answer["status"]["expirationTimestamp"] == "2026-01-01T00:10:00Z"
        now = chance.now().timestamp()
        user, audiences = tokens.check(token, (), now)
        assert user.name == "system:serviceaccount:default:default" and audiences == ["https://issuer"]
        assert user.extra["authentication.kubernetes.io/pod-name"] == ("a",)
        with pytest.raises(BadToken, match="expired"):
            tokens.check(token, (), now + 601)
        with pytest.raises(BadToken, match="audience"):
            tokens.check(token, ("vault",), now)
        with pytest.raises(BadToken, match="signature"):
            tokens.check(token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB"), (), now)
        with pytest.raises(BadToken, match=r"issuer|signature"):
            Tokens(None, "https://other", objects.get).check(token, (), now)
        bench.delete("Pod", "default/a", grace_seconds=0)
        with pytest.raises(BadToken, match="gone"):
            tokens.check(token, (), now)

    kit.run(body)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "e30.e30.e30", "é.é.é", "W10.W10.W10", "e30.e30." + "A" * 86]
)
def test_hostile_tokens_are_bad_tokens(token: str) -> None:
    with pytest.raises(BadToken):
        Tokens(None, "https://issuer", lambda kind, key: None).check(token, (), 0)


@pytest.mark.parametrize("seconds", [1, 599, 1 << 40])
def test_lifetimes_are_bounded(kit: Any, seconds: int) -> None:
    async def body(bench: Any) -> None:
        objects = bench.verbs.objects
        reviews = Reviews(objects, Authorizer(objects), Tokens(None, "https://i", objects.get), bench.chance)
        with pytest.raises(StatusError) as caught:
            reviews.request_token("default", "default", request(expirationSeconds=seconds), dry_run=False)
        assert caught.value.code == 422

    kit.run(body)
