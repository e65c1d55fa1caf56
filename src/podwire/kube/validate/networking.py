"""Ingress, IngressClass, NetworkPolicy (N23).

Spec: k8s:pkg/apis/networking/validation/validation.go.
"""

import re
from collections.abc import Container, Iterator
from typing import Any

from podwire.kube.names import (
    dns_label_problems,
    dns_subdomain_problems,
    path_segment_problems,
    port_name_problems,
    port_number_problems,
    wildcard_subdomain_problems,
)
from podwire.kube.validate.addresses import check_cidr, check_ip, parse_cidr, parse_ip
from podwire.kube.validate.errors import (
    Errors,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    not_supported,
    required,
    too_long,
)
from podwire.kube.validate.meta import check_selector
from podwire.kube.validate.service import PROTOCOLS, check_balancer_host

Obj = dict[str, Any]

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_SUFFIXES = ("/..", "/.")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_LIMIT = 250


def check_ingress(obj: Obj, old: Obj | None) -> Errors:
    """Rules, backends, TLS, class."""
    spec = obj.get("spec") or {}
    rules = spec.get("rules") or []
    if not rules and not spec.get("defaultBackend"):
        yield invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if spec.get("defaultBackend"):
        yield from _check_backend(spec["defaultBackend"], "spec.defaultBackend")
    for index, rule in enumerate(rules):
        yield from _check_rule(rule, f"spec.rules[{index}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            yield from _check_host(f"spec.tls[{index}].hosts[{position}]", host)
        name = tls.get("secretName") or ""
        if name:
            yield from each_invalid(f"spec.tls[{index}].secretName", name, dns_subdomain_problems(name))
    name = spec.get("ingressClassName")
    if name is not None:
        yield from each_invalid("spec.ingressClassName", name, dns_subdomain_problems(name))
    annotation = ((obj.get("metadata") or {}).get("annotations") or {}).get(_CLASS_ANNOTATION)
    if old is None and annotation is not None and name is not None and annotation != name:
        detail = "must match `ingressClassName` when both are specified"
        yield invalid(f"annotations.{_CLASS_ANNOTATION}", annotation, detail)


def check_ingress_status(obj: Obj) -> Errors:
    """``status.loadBalancer``."""
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    for index, entry in enumerate(ingress):
        path = f"status.loadBalancer.ingress[{index}]"
        if entry.get("ip"):
            yield from check_ip(f"{path}.ip", entry["ip"])
        yield from check_balancer_host(f"{path}.hostname", entry.get("hostname") or "")


def _check_host(path: str, host: str) -> Errors:
    problems = wildcard_subdomain_problems(host) if "*" in host else dns_subdomain_problems(host)
    return each_invalid(path, host, problems)


def _check_rule(rule: Obj, path: str) -> Errors:
    host = rule.get("host") or ""
    if host:
        if parse_ip(host):
            yield invalid(f"{path}.host", host, "must be a DNS name, not an IP address")
        yield from _check_host(f"{path}.host", host)
    if rule.get("http") is None:
        return
    paths = rule["http"].get("paths") or []
    if not paths:
        yield required(f"{path}.http.paths")
    for index, entry in enumerate(paths):
        yield from _check_path(entry, f"{path}.http.paths[{index}]")


def _check_path(entry: Obj, where: str) -> Errors:
    kind, path = entry.get("pathType"), entry.get("path") or ""
    if kind is None:
        yield required(f"{where}.pathType", "pathType must be specified")
        return
    if kind not in PATH_TYPES:
        yield not_supported(f"{where}.pathType", kind, PATH_TYPES)
    elif (path or kind != "ImplementationSpecific") and not path.startswith("/"):
        yield invalid(f"{where}.path", path, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for sequence in _BAD_SEQUENCES:
            if sequence in path:
                yield invalid(f"{where}.path", path, f"must not contain '{sequence}'")
        for suffix in _BAD_SUFFIXES:
            if path.endswith(suffix):
                yield invalid(f"{where}.path", path, f"cannot end with '{suffix}'")
    yield from _check_backend(entry.get("backend") or {}, f"{where}.backend")


def _check_backend(backend: Obj, path: str) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _check_reference(resource, f"{path}.resource")
    elif service is not None:
        yield from _check_service_backend(service, path)
    else:
        yield invalid(path, "", "resource or service backend is required")


def _check_service_backend(service: Obj, path: str) -> Errors:
    name, port = service.get("name") or "", service.get("port") or {}
    if not name:
        yield required(f"{path}.service.name")
    else:
        yield from each_invalid(f"{path}.service.name", name, dns_label_problems(name))
    port_name, number = port.get("name") or "", port.get("number") or 0
    if port_name and number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif port_name:
        yield from each_invalid(f"{path}.service.port.name", port_name, port_name_problems(port_name))
    elif number:
        yield from each_invalid(f"{path}.service.port.number", number, port_number_problems(number))
    else:
        yield required(path, "port name or number is required")


def _check_reference(reference: Obj, path: str) -> Errors:
    group = reference.get("apiGroup")
    if group is not None:
        yield from each_invalid(f"{path}.apiGroup", group, dns_subdomain_problems(str(group)))
    for key in ("kind", "name"):
        value = reference.get(key) or ""
        if not value:
            yield required(f"{path}.{key}")
        else:
            yield from each_invalid(f"{path}.{key}", value, path_segment_problems(str(value)))


def check_ingress_class(obj: Obj, old: Obj | None) -> Errors:
    """Controller name and parameters."""
    spec = obj.get("spec") or {}
    controller = spec.get("controller") or ""
    if old is not None:
        before = (old.get("spec") or {}).get("controller") or ""
        yield from immutable("spec.controller", controller, before)
    if not controller:
        yield required("spec.controller")
    else:
        if len(controller.encode()) > _CONTROLLER_LIMIT:
            yield too_long("spec.controller", _CONTROLLER_LIMIT)
        yield from _check_domain_path("spec.controller", controller)
    parameters = spec.get("parameters")
    if parameters is not None:
        yield from _check_parameters(parameters, "spec.parameters")


def _check_domain_path(path: str, text: str) -> Errors:
    domain, slash, rest = text.partition("/")
    if not slash or not domain or not rest:
        yield invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    yield from each_invalid(path, domain, dns_subdomain_problems(domain))
    if not re.fullmatch(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", rest):
        yield invalid(
            path,
            rest,
            "Invalid path (e.g. 'example.com/path', regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
        )


def _check_parameters(parameters: Obj, path: str) -> Errors:
    yield from _check_reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        yield required(f"{path}.scope")
    elif scope not in ("Cluster", "Namespace"):
        yield not_supported(f"{path}.scope", scope, ("Cluster", "Namespace"))
    elif scope == "Namespace":
        if namespace is None:
            yield required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from each_invalid(f"{path}.namespace", namespace, dns_label_problems(namespace))
    elif namespace is not None:
        yield forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def check_network_policy(obj: Obj, old: Obj | None) -> Errors:
    """Peers, ports, types; blocks stored earlier stay accepted."""
    spec = obj.get("spec") or {}
    stored = frozenset(_blocks((old or {}).get("spec") or {}))
    yield from check_selector(spec.get("podSelector"), "spec.podSelector")
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for position, port in enumerate(rule.get("ports") or ()):
                yield from _check_policy_port(port, f"{path}.ports[{position}]")
            for position, peer in enumerate(rule.get(side) or ()):
                yield from _check_peer(peer, f"{path}.{side}[{position}]", stored)
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        yield invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(types):
        if kind not in ("Ingress", "Egress"):
            yield not_supported(f"spec.policyTypes[{index}]", kind, ("Egress", "Ingress"))


def _blocks(spec: Obj) -> Iterator[str]:
    """Every block the policy has in any place."""
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            for peer in rule.get(side) or ():
                block = peer.get("ipBlock") or {}
                yield block.get("cidr") or ""
                yield from block.get("except") or ()


def _check_policy_port(port: Obj, path: str) -> Errors:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", protocol, PROTOCOLS)
    if isinstance(number, int):
        yield from each_invalid(f"{path}.port", number, port_number_problems(number))
        if end is not None:
            if end < number:
                yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
            yield from each_invalid(f"{path}.endPort", end, port_number_problems(end))
        return
    if number is not None:
        yield from each_invalid(f"{path}.port", number, port_name_problems(number))
    if end is not None:
        why = "is not specified" if number is None else "is non-numeric"
        yield invalid(f"{path}.endPort", end, f"may not be specified when `port` {why}")


def _check_peer(peer: Obj, path: str, stored: Container[str]) -> Errors:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in ("podSelector", "namespaceSelector"):
        yield from check_selector(peer.get(key), f"{path}.{key}")
    if peer.get("ipBlock") is not None:
        yield from _check_block(peer["ipBlock"], f"{path}.ipBlock", stored)
    if not given:
        yield required(path, "must specify a peer")
    elif len(given) > 1 and "ipBlock" in given:
        yield forbidden(path, "may not specify both ipBlock and another peer")


def _check_block(block: Obj, path: str, stored: Container[str]) -> Errors:
    text = block.get("cidr") or ""
    if not text:
        yield required(f"{path}.cidr")
        return
    yield from check_cidr(f"{path}.cidr", text, stored)
    outer = parse_cidr(text)
    if outer is None:
        return
    for index, inner_text in enumerate(block.get("except") or ()):
        where = f"{path}.except[{index}]"
        yield from check_cidr(where, inner_text, stored)
        inner = parse_cidr(inner_text)
        if inner is None:
            continue
        inside = inner.version == outer.version and inner.network_address in outer
        if not inside or outer.prefixlen >= inner.prefixlen:
            yield invalid(where, inner_text, "must be a strict subset of `cidr`")
