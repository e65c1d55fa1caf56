"""policy.networking.k8s.io/v1alpha1: AdminNetworkPolicy and BaselineAdminNetworkPolicy, superseded by v1alpha2.

They are served and read, never enforced; :func:`convert_admin_policy` writes them anew as ClusterNetworkPolicies.

Spec: network-policy-api apis/v1alpha1; what changed in v1alpha2: ``Allow`` is ``Accept``, ``ports`` are ``protocols``,
the kind of the object is the tier.
"""

from typing import Any

from podwire.kube.meta import KubeObject

Json = dict[str, Any]
SUCCESSOR = "policy.networking.k8s.io/v1alpha2"
BASELINE_PRIORITY = 1000
"""There was one baseline; among several it goes last."""


class AdminNetworkPolicy(KubeObject, frozen=True):
    """Rules before NetworkPolicies, as v1alpha1 wrote them."""

    spec: dict[str, Any] = {}


class BaselineAdminNetworkPolicy(KubeObject, frozen=True):
    """Rules behind NetworkPolicies, as v1alpha1 wrote them."""

    spec: dict[str, Any] = {}


def convert_admin_policy(policy: AdminNetworkPolicy | BaselineAdminNetworkPolicy) -> Json:
    """The ClusterNetworkPolicy that says the same."""
    spec, baseline = policy.spec, isinstance(policy, BaselineAdminNetworkPolicy)
    made: Json = {
        "tier": "Baseline" if baseline else "Admin",
        "priority": spec.get("priority", BASELINE_PRIORITY),
        "subject": spec.get("subject") or {},
    }
    for direction in ("ingress", "egress"):
        if spec.get(direction):
            made[direction] = [_rule(rule) for rule in spec[direction]]
    return {
        "apiVersion": SUCCESSOR,
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": policy.metadata.name},
        "spec": made,
    }


def _rule(rule: Json) -> Json:
    made = {key: value for key, value in rule.items() if key not in ("action", "ports")}
    made["action"] = "Accept" if rule.get("action") == "Allow" else rule.get("action", "")
    if rule.get("ports"):
        made["protocols"] = [_protocol(port) for port in rule["ports"]]
    return made


def _protocol(port: Json) -> Json:
    if "namedPort" in port:
        return {"destinationNamedPort": port["namedPort"]}
    if "portRange" in port:
        span = port["portRange"]
        where = {"range": {"start": span.get("start"), "end": span.get("end")}}
        return {_name(span): {"destinationPort": where}}
    single = port.get("portNumber") or {}
    return {_name(single): {"destinationPort": {"number": single.get("port")}}}


def _name(port: Json) -> str:
    return str(port.get("protocol") or "TCP").lower()
