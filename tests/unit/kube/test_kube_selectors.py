"""Selector strings: what they match, and how wrong ones are refused."""

from typing import Any

import pytest

from podwire.kube.fields import field_value, supported_fields
from podwire.kube.selectors import SelectorError, parse_field_selector, parse_label_selector

LABELS = {"a": "b", "n": "5", "empty": "", "app.kubernetes.io/name": "x"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("  ", True),
        ("a", True),
        ("!a", False),
        ("!z", True),
        ("a=b", True),
        ("a==b", True),
        ("a = b", True),
        ("a!=b", False),
        ("z!=b", True),
        ("a=b,n=5", True),
        ("a=b,n=6", False),
        ("a in (b,c)", True),
        ("a in (c)", False),
        ("z in (c)", False),
        ("a notin (c)", True),
        ("z notin (c)", True),
        ("a notin (b , c)", False),
        ("n>4", True),
        ("n<5", False),
        ("z>4", False),
        ("empty=", True),
        ("a=", False),
        ("empty in ()", True),
        ("app.kubernetes.io/name=x,!z,a in (b)", True),
        ("in=x", False),
    ],
)
def test_labels(text: str, matches: bool) -> None:
    assert parse_label_selector(text)(LABELS) is matches


@pytest.mark.parametrize(
    "text",
    ["a=b,", ",a", "a in b", "a in (b", "a b", "=b", "a=b=c", "a==", "a ~ b", "!", "a>b", "a in (b))", "-a", "a=-"],
)
def test_wrong_labels(text: str) -> None:
    if text == "a==":
        assert parse_label_selector(text)({"a": ""})
        return
    with pytest.raises(SelectorError, match="unable to parse requirement"):
        parse_label_selector(text)


POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"nodeName": "node-1", "hostNetwork": True},
    "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "::1"}]},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("metadata.name=p", True),
        ("metadata.name==p,spec.nodeName=node-1", True),
        ("spec.nodeName!=node-1", False),
        ("status.phase!=Failed", True),
        ("spec.nodeName=", False),
        ("spec.hostNetwork=true", True),
        ("status.podIPs=10.0.0.1\\,::1", True),
    ],
)
def test_fields(text: str, matches: bool) -> None:
    assert parse_field_selector("Pod", text)(POD) is matches


def test_wrong_fields() -> None:
    with pytest.raises(SelectorError, match=r'field label not supported: "spec\.x"'):
        parse_field_selector("Pod", "spec.x=1")
    with pytest.raises(SelectorError, match=r'"spec\.x" is not a known field selector: only "metadata\.name"'):
        parse_field_selector("ConfigMap", "spec.x=1")
    with pytest.raises(SelectorError, match="invalid selector: 'abc'; can't understand 'abc'"):
        parse_field_selector("Pod", "abc")
    with pytest.raises(KeyError):
        field_value("Pod", POD, "spec.containers")


def test_values() -> None:
    assert field_value("Pod", {}, "spec.nodeName") == ""
    assert field_value("Node", {}, "spec.unschedulable") == "false"
    assert field_value("Event", {"source": {"component": "kubelet"}}, "source") == "kubelet"
    assert field_value("Event", {"reportingComponent": "x"}, "source") == "x"
    assert field_value("Secret", {"type": "Opaque"}, "type") == "Opaque"
    assert field_value("ReplicaSet", {}, "status.replicas") == "0"
    assert supported_fields("ConfigMap") == ("metadata.name", "metadata.namespace")
