"""ClusterNetworkPolicy: what its CustomResourceDefinition refuses.

Spec: network-policy-api apis/v1alpha2/clusternetworkpolicy_types.go (the kubebuilder markers).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from podwire.kube.validate.addresses import check_cidr
from podwire.kube.validate.errors import Errors, invalid, not_supported, required, too_long
from podwire.kube.validate.meta import check_selector

Obj = dict[str, Any]

TIERS = ("Admin", "Baseline")
ACTIONS = ("Accept", "Deny", "Pass")
MAX_ITEMS = 25
MAX_NAME = 100
MAX_PRIORITY = 1000
INGRESS_PEERS = ("namespaces", "pods")
EGRESS_PEERS = ("namespaces", "pods", "nodes", "networks", "domainNames")
PROTOCOLS = ("tcp", "udp", "sctp", "destinationNamedPort")


def check_cluster_network_policy(obj: Obj, old: Obj | None) -> Errors:
    """Tier, priority, subject and rules."""
    spec = obj.get("spec") or {}
    if spec.get("tier") not in TIERS:
        yield not_supported("spec.tier", spec.get("tier") or "", TIERS)
    priority = spec.get("priority")
    if priority is None:
        yield required("spec.priority", "")
    elif not 0 <= priority <= MAX_PRIORITY:
        yield invalid("spec.priority", priority, "must be between 0 and 1000, inclusive")
    subject = spec.get("subject") or {}
    yield from _one_of("spec.subject", subject, ("namespaces", "pods"))
    yield from _check_selectors("spec.subject", subject)
    for direction, peers, known in (("ingress", "from", INGRESS_PEERS), ("egress", "to", EGRESS_PEERS)):
        rules = spec.get(direction) or []
        yield from _check_count(f"spec.{direction}", rules, least=0)
        for index, rule in enumerate(rules):
            yield from _check_rule(rule, f"spec.{direction}[{index}]", peers=peers, known=known)


def _check_rule(rule: Obj, path: str, *, peers: str, known: Sequence[str]) -> Errors:
    if len(rule.get("name") or "") > MAX_NAME:
        yield too_long(f"{path}.name", MAX_NAME)
    if rule.get("action") not in ACTIONS:
        yield not_supported(f"{path}.action", rule.get("action") or "", ACTIONS)
    items = rule.get(peers) or []
    yield from _check_count(f"{path}.{peers}", items, least=1)
    for index, peer in enumerate(items):
        where = f"{path}.{peers}[{index}]"
        yield from _one_of(where, peer, known)
        yield from _check_selectors(where, peer)
        yield from _check_lists(where, peer, rule)
    protocols = rule.get("protocols")
    if protocols is not None:
        yield from _check_count(f"{path}.protocols", protocols, least=1)
    for index, item in enumerate(protocols or ()):
        yield from _check_protocol(item, f"{path}.protocols[{index}]")


def _check_lists(path: str, peer: Obj, rule: Obj) -> Errors:
    for name in ("networks", "domainNames"):
        if peer.get(name) is not None:
            yield from _check_count(f"{path}.{name}", peer[name], least=1)
    for index, network in enumerate(peer.get("networks") or ()):
        yield from check_cidr(f"{path}.networks[{index}]", network)
    if peer.get("domainNames") and rule.get("action") != "Accept":
        yield invalid(f"{path}.domainNames", peer["domainNames"], "domainNames may only be used with action Accept")
    named = any(item.get("destinationNamedPort") for item in rule.get("protocols") or ())
    if named and any(peer.get(name) for name in ("networks", "nodes", "domainNames")):
        yield invalid(path, "", "networks, nodes and domainNames may not be combined with destinationNamedPort")


def _check_protocol(item: Obj, path: str) -> Errors:
    yield from _one_of(path, item, PROTOCOLS)
    for name in PROTOCOLS[:3]:
        port = (item.get(name) or {}).get("destinationPort")
        if port is None:
            continue
        where = f"{path}.{name}.destinationPort"
        yield from _one_of(where, port, ("number", "range"))
        span = port.get("range") or {}
        numbers = [port["number"]] if port.get("number") is not None else [span.get("start", 1), span.get("end", 1)]
        for number in numbers:
            if not 1 <= number <= 65535:
                yield invalid(where, number, "must be between 1 and 65535, inclusive")
        if span and span.get("start", 0) >= span.get("end", 0):
            yield invalid(f"{where}.range", span, "start must be less than end")


def _one_of(path: str, value: Obj, known: Sequence[str]) -> Errors:
    present = [name for name in known if value.get(name) is not None]
    if len(present) != 1:
        yield invalid(path, value, f"exactly one of {', '.join(known)} must be set")


def _check_selectors(path: str, value: Obj) -> Errors:
    for name in ("namespaces", "nodes"):
        if value.get(name) is not None:
            yield from check_selector(value[name], f"{path}.{name}")
    pods = value.get("pods") or {}
    for name in ("namespaceSelector", "podSelector"):
        if pods.get(name) is not None:
            yield from check_selector(pods[name], f"{path}.pods.{name}")


def _check_count(path: str, items: Sequence[Any], *, least: int) -> Iterator[Any]:
    if not least <= len(items) <= MAX_ITEMS:
        yield invalid(path, len(items), f"must have at least {least} and at most {MAX_ITEMS} items")
