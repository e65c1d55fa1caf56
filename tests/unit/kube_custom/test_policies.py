"""ValidatingAdmissionPolicies: what they look at, what they refuse, how they say it."""

from typing import Any

import pytest

from podwire.apiserver.identity import User
from podwire.apiserver.status import StatusError

ALICE = User(name="alice", groups=("dev",))


def policy(expression: str, **more: Any) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}
    check = {"expression": expression, **more.pop("check", {})}
    match = {"resourceRules": [{**rule, **more.pop("rule", {})}], **more.pop("match", {})}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": match, "validations": [check], **more},
    }


def binding(*actions: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": [*actions] or ["Deny"], **more},
    }


def config(name: str = "c", labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels or {}}, "data": data}


def denied(custom: Any, value: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(StatusError) as found:
        custom.create(value, user=ALICE)
    return found.value.code, str(found.value)


def test_a_violation_is_refused(custom: Any) -> None:
    custom.create(policy("object.data.size() <= 1", check={"messageExpression": "'has ' + string(object.data.size())"}))
    custom.create(config(a="1", b="2"), user=ALICE)
    custom.create(binding("Deny"))
    why = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: has 2"
    assert denied(custom, config("d", a="1", b="2")) == (422, f'configmaps "d" is forbidden: {why}')
    made = custom.create(config("e", a="1"), user=ALICE)
    with pytest.raises(StatusError, match="has 2"):
        custom.patch(made, {"data": {"b": "2"}}, user=ALICE)
    custom.create(config("podwires-own", a="1", b="2"))


def test_warnings_and_reasons(custom: Any) -> None:
    custom.create(policy("false", check={"message": "no", "reason": "Forbidden"}))
    custom.create(binding("Warn", "Audit"))
    made = custom.made(config(), user=ALICE)
    assert made.warnings == ("Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no",)
    bound = custom.store.head("ValidatingAdmissionPolicyBinding", "b")
    custom.patch(bound, {"spec": {"validationActions": ["Deny"]}})
    assert denied(custom, config("d"))[0] == 403


@pytest.mark.parametrize(
    ("more", "name", "labels"),
    [
        ({"rule": {"resources": ["secrets"]}}, "d", {}),
        ({"rule": {"operations": ["DELETE"]}}, "d", {}),
        ({"rule": {"resourceNames": ["other"]}}, "d", {}),
        ({"rule": {"scope": "Cluster"}}, "d", {}),
        ({"match": {"objectSelector": {"matchLabels": {"a": "b"}}}}, "d", {"a": "c"}),
        ({"match": {"namespaceSelector": {"matchLabels": {"a": "b"}}}}, "d", {}),
        ({"matchConditions": [{"name": "x", "expression": "request.userInfo.username != 'alice'"}]}, "d", {}),
        ({"failurePolicy": "Ignore", "check": {"expression": "object.nope == 1"}}, "d", {}),
    ],
)
def test_what_a_policy_does_not_look_at(custom: Any, more: dict[str, Any], name: str, labels: dict[str, str]) -> None:
    custom.create(policy("false", **more))
    custom.create(binding())
    custom.create(config(name, labels), user=ALICE)


def test_errors_are_violations(custom: Any) -> None:
    custom.create(policy("object.nope == 1"))
    custom.create(binding())
    assert "expression 'object.nope == 1' resulted in error: no such key: nope" in denied(custom, config())[1]


def test_variables_and_params(custom: Any) -> None:
    variables = [{"name": "limit", "expression": "int(params.data.limit)"}]
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    custom.create(policy("object.data.size() <= variables.limit", variables=variables, paramKind=kind))
    custom.create(config("limits", limit="1"))
    reference = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    custom.create(binding("Deny", paramRef=reference))
    custom.create(config("one", a="1"), user=ALICE)
    assert "failed expression: object.data.size() <= variables.limit" in denied(custom, config("two", a="1", b="2"))[1]
    custom.delete(config("limits"))
    assert "no params found" in denied(custom, config("three"))[1]


def test_deletion(custom: Any) -> None:
    from podwire.apiserver.verbs import WriteOptions

    custom.create(policy("oldObject.metadata.name != 'kept'", rule={"operations": ["DELETE"]}))
    custom.create(binding())
    kept = custom.create(config("kept"), user=ALICE)
    with pytest.raises(StatusError, match="denied request"):
        custom.verbs.admit_delete(custom.kind(kept), "default/kept", WriteOptions(user=ALICE))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (policy("object.x +"), "spec.validations[0].expression: Invalid value"),
        (policy("'text'"), "must evaluate to bool"),
        (policy("authorizer.path('/x')"), "undeclared reference to 'authorizer'"),
        (policy("true", rule={"operations": ["CONNECT"]}), 'Unsupported value: "CONNECT"'),
        (policy("true", rule={"apiGroups": []}), "apiGroups: Required value"),
        (policy("true", check={"reason": "Bad"}), 'Unsupported value: "Bad"'),
        (binding("Deny", "Warn"), "must not contain both Deny and Warn"),
        (binding("Shout"), 'Unsupported value: "Shout"'),
    ],
)
def test_what_is_no_policy(custom: Any, value: dict[str, Any], words: str) -> None:
    with pytest.raises(StatusError) as found:
        custom.create(value)
    assert (found.value.code, words in str(found.value)) == (422, True), str(found.value)
