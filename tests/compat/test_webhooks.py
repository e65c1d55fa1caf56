"""Admission webhooks, asked over HTTPS by the API server, seen through kubectl."""

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.compat.test_kubectl_api import Running
from tests.compat.webhook_rig import Authority, configuration, local_webhook
from tests.compat.webhook_server import Handler

pytestmark = [
    pytest.mark.compat,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]

Json = dict[str, Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("api"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def url(authority: Authority) -> Iterator[str]:
    with local_webhook(authority) as found:
        yield found


Hook = Callable[..., None]


@pytest.fixture
def space(api: Running) -> Iterator[str]:
    name = f"t-{uuid4().hex[:8]}"
    api.kubectl("create", "namespace", name)
    yield name
    for kind in ("mutating", "validating"):
        api.kubectl("delete", f"{kind}webhookconfigurations", "--all")


@pytest.fixture
def hook(api: Running, authority: Authority, url: str, space: str) -> Hook:
    """Put a webhook in force for the test's namespace: ``hook("Mutating", "name", "/path")``."""
    Handler.seen.clear()

    def configure(kind: str, name: str, path: str, **more: Any) -> None:
        client = {"url": url + path, "caBundle": authority.bundle, **more.pop("client", {})}
        selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space}}}
        api.kubectl("apply", "-f", "-", stdin=configuration(kind, name, client, **{**selector, **more}))

    return configure


def config(name: str = "c", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"a": "1"}}


def test_a_webhook_changes_what_is_written(api: Running, space: str, hook: Hook) -> None:
    hook("Mutating", "labels", "/label/team/shop")
    hook("Mutating", "more", "/data")
    said = api.kubectl("apply", "-n", space, "-f", "-", stdin=config())
    assert "Warning: labelled team" in said
    found = api.get("configmap", "c", "-n", space, "--show-managed-fields")
    assert found["metadata"]["labels"] == {"team": "shop"}
    assert found["data"] == {"a": "1", "by": "webhook"}
    owned = json.dumps(found["metadata"]["managedFields"])
    assert "f:a" in owned and "f:by" not in owned  # what webhooks add belongs to nobody
    first, second = Handler.seen
    assert (first["operation"], first["name"], first["namespace"], first["dryRun"]) == ("CREATE", "c", space, False)
    assert first["userInfo"]["username"] == "kubernetes-admin"
    assert first["options"]["kind"] == "CreateOptions"
    assert first["oldObject"] is None and first["resource"]["resource"] == "configmaps"
    assert second["object"]["metadata"]["labels"] == {"team": "shop"}


def test_a_webhook_denies(api: Running, space: str, hook: Hook) -> None:
    hook("Validating", "denies", "/deny", operations=["DELETE", "UPDATE"])
    api.kubectl("create", "-n", space, "-f", "-", stdin=config())
    why = 'admission webhook "denies.example.com" denied the request: not today'
    assert f"(Forbidden): {why}" in api.kubectl("delete", "configmap", "c", "-n", space, code=1)
    assert why in api.kubectl("label", "configmap", "c", "-n", space, "a=b", code=1)
    api.kubectl("delete", "validatingwebhookconfiguration", "denies")
    api.kubectl("delete", "configmap", "c", "-n", space)
    assert [entry["operation"] for entry in Handler.seen] == ["DELETE", "UPDATE"]
    assert Handler.seen[0]["object"] is None and Handler.seen[0]["oldObject"]["data"] == {"a": "1"}


def test_a_denial_without_words_is_a_400(api: Running, space: str, hook: Hook) -> None:
    hook("Validating", "bare", "/bare")
    said = api.kubectl("create", "-n", space, "-f", "-", stdin=config(), code=1)
    assert 'admission webhook "bare.example.com" denied the request without explanation' in said


@pytest.mark.parametrize(
    ("path", "more", "words"),
    [
        ("/wrong-uid", {}, "received invalid webhook response: expected response.uid="),
        ("/garbage", {}, "couldn't read the AdmissionReview"),
        ("/broken", {}, "an error on the server"),
        ("/silent", {"timeoutSeconds": 1}, "context deadline exceeded"),
        ("/", {"client": {"url": "https://127.0.0.1:1/"}}, "Connect call failed"),
        ("/", {"client": {"caBundle": ""}}, "tls: failed to verify certificate"),
        ("/", {"client": {"caBundle": "bm9uZQ=="}}, "unable to load root certificates"),
    ],
)
def test_failures(api: Running, space: str, hook: Hook, path: str, more: Json, words: str) -> None:
    hook("Validating", "fails", path, **more)
    said = api.kubectl("create", "-n", space, "-f", "-", stdin=config(), code=1)
    assert 'failed calling webhook "fails.example.com"' in said and words in said
    hook("Validating", "fails", path, failurePolicy="Ignore", **more)
    api.kubectl("create", "-n", space, "-f", "-", stdin=config())


def test_a_patch_that_breaks_the_object(api: Running, space: str, hook: Hook) -> None:
    hook("Mutating", "breaks", "/bad-type")
    said = api.kubectl("create", "-n", space, "-f", "-", stdin=config(), code=1)
    assert "(InternalError)" in said and "the object as admission webhooks changed it cannot be used" in said


def test_dry_run_asks_too(api: Running, space: str, hook: Hook) -> None:
    hook("Mutating", "labels", "/label/team/shop", sideEffects="NoneOnDryRun")
    api.kubectl("create", "-n", space, "--dry-run=server", "-f", "-", stdin=config())
    assert Handler.seen[0]["dryRun"] is True
    api.kubectl("get", "configmap", "c", "-n", space, code=1)


def test_reinvocation(api: Running, space: str, hook: Hook) -> None:
    hook("Mutating", "a", "/count", reinvocationPolicy="IfNeeded")
    hook("Mutating", "b", "/label/team/shop")
    api.kubectl("create", "-n", space, "-f", "-", stdin=config())
    assert api.get("configmap", "c", "-n", space)["metadata"]["labels"] == {"count": "2", "team": "shop"}


def test_match_conditions_and_object_selector(api: Running, space: str, hook: Hook) -> None:
    only = [{"name": "only", "expression": "object.metadata.name.startsWith('x') && request.userInfo.username != ''"}]
    hook("Validating", "some", "/deny", matchConditions=only)
    hook("Validating", "marked", "/deny", objectSelector={"matchLabels": {"check": "yes"}})
    api.kubectl("create", "-n", space, "-f", "-", stdin=config("c"))
    assert "some.example.com" in api.kubectl("create", "-n", space, "-f", "-", stdin=config("x"), code=1)
    assert "marked.example.com" in api.kubectl("label", "-n", space, "configmap", "c", "check=yes", code=1)


def test_scale_exec_and_eviction_are_asked(api: Running, space: str, hook: Hook) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "a", "image": "x"}]}
    api.kubectl("create", "-n", space, "-f", "-", stdin=pod)
    api.kubectl("create", "deployment", "d", "--image=x", "-n", space)
    rule = {"resources": ["pods/exec", "pods/eviction"]}
    hook("Validating", "pods", "/deny", rule=rule, operations=["CONNECT", "CREATE"])
    scale = {"apiGroups": ["apps"], "resources": ["deployments/scale"]}
    hook("Validating", "scale", "/deny", rule=scale)
    assert "denied the request: not today" in api.kubectl("exec", "p", "-n", space, "--", "true", code=1)
    assert "scale.example.com" in api.kubectl("scale", "deployment", "d", "-n", space, "--replicas=3", code=1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": space}}
    said = api.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{space}/pods/p/eviction", "-f", "-", stdin=eviction, code=1
    )
    assert "not today" in said
    kinds = dict.fromkeys((entry["subResource"], entry["kind"]["kind"]) for entry in Handler.seen)
    assert [*kinds] == [("exec", "PodExecOptions"), ("scale", "Scale"), ("eviction", "Eviction")]


def test_wrong_configurations_are_refused(api: Running) -> None:
    wrong = configuration("Validating", "w", {"url": "http://user@example.com?a=b"}, timeoutSeconds=31)
    wrong["webhooks"][0] |= {"name": "short", "sideEffects": "Some", "admissionReviewVersions": ["v1beta1"]}
    said = api.kubectl("create", "-f", "-", stdin=wrong, code=1)
    for words in (
        'webhooks[0].name: Invalid value: "short": should be a domain with at least three segments',
        "'https' is the only allowed URL scheme; desired format: https://host[/path]",
        "user information is not permitted in the URL",
        "query parameters are not permitted in the URL",
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"',
        "must include at least one of v1",
    ):
        assert words in said
    both = configuration("Mutating", "w", {}, reinvocationPolicy="Often")
    both["webhooks"][0]["rules"][0]["operations"] = ["*", "CREATE"]
    said = api.kubectl("create", "-f", "-", stdin=both, code=1)
    assert "webhooks[0].clientConfig: Required value: exactly one of url or service is required" in said
    assert "if '*' is present, must not specify other operations" in said
    assert 'webhooks[0].reinvocationPolicy: Unsupported value: "Often"' in said


def test_tables_and_defaults(api: Running, space: str, hook: Hook) -> None:
    hook("Mutating", "shown", "/")
    assert "WEBHOOKS" in api.kubectl("get", "mutatingwebhookconfigurations")
    found = api.get("mutatingwebhookconfigurations", "shown")["webhooks"][0]
    assert (found["failurePolicy"], found["matchPolicy"], found["timeoutSeconds"]) == ("Fail", "Equivalent", 10)
    assert (found["reinvocationPolicy"], found["rules"][0]["scope"]) == ("Never", "*")
    assert "FIELD" in api.kubectl("explain", "validatingwebhookconfigurations.webhooks.rules")
