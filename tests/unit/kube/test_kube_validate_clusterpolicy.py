"""ClusterNetworkPolicy: what the API refuses, and where it says so."""

from typing import Any

import pytest

from podwire.kube.validate import validate

Obj = dict[str, Any]
ALL: Obj = {"namespaces": {}}


def problems(**spec: Any) -> list[str]:
    full = {"tier": "Admin", "priority": 1, "subject": ALL, **spec}
    value = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
    return [error.field for error in validate({**value, "metadata": {"name": "x"}, "spec": full})]


def rule(**fields: Any) -> list[Obj]:
    return [{"action": "Deny", "from": [ALL], **fields}]


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({}, []),
        ({"ingress": rule()}, []),
        ({"tier": "Other"}, ["spec.tier"]),
        ({"priority": None}, ["spec.priority"]),
        ({"priority": 1001}, ["spec.priority"]),
        ({"subject": {}}, ["spec.subject"]),
        ({"subject": {"namespaces": {}, "pods": {}}}, ["spec.subject"]),
        ({"ingress": rule() * 26}, ["spec.ingress"]),
        ({"ingress": rule(name="n" * 101)}, ["spec.ingress[0].name"]),
        ({"ingress": rule(action="Allow")}, ["spec.ingress[0].action"]),
        ({"ingress": [{"action": "Deny", "from": []}]}, ["spec.ingress[0].from"]),
        ({"ingress": rule(**{"from": [{}]})}, ["spec.ingress[0].from[0]"]),
        ({"ingress": rule(**{"from": [{"networks": ["10.0.0.0/8"]}]})}, ["spec.ingress[0].from[0]"]),
        ({"ingress": rule(protocols=[])}, ["spec.ingress[0].protocols"]),
        ({"ingress": rule(protocols=[{"tcp": {}, "udp": {}}])}, ["spec.ingress[0].protocols[0]"]),
        (
            {"ingress": rule(protocols=[{"tcp": {"destinationPort": {"number": 0}}}])},
            ["spec.ingress[0].protocols[0].tcp.destinationPort"],
        ),
        (
            {"ingress": rule(protocols=[{"tcp": {"destinationPort": {"range": {"start": 9, "end": 8}}}}])},
            ["spec.ingress[0].protocols[0].tcp.destinationPort.range"],
        ),
        ({"egress": [{"action": "Deny", "to": [{"networks": ["10.0.0.0/33"]}]}]}, ["spec.egress[0].to[0].networks[0]"]),
        ({"egress": [{"action": "Deny", "to": [{"domainNames": ["a.b"]}]}]}, ["spec.egress[0].to[0].domainNames"]),
    ],
)
def test_refusals(spec: Obj, fields: list[str]) -> None:
    assert problems(**spec) == fields
