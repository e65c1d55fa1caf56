"""Services (S1-S20).

Spec: k8s:pkg/apis/core/validation/validation.go ValidateService and its parts.
"""

from collections.abc import Container
from typing import Any

from podwire.kube.names import (
    dns_label_problems,
    dns_subdomain_problems,
    port_name_problems,
    port_number_problems,
    qualified_name_problems,
)
from podwire.kube.validate.addresses import check_cidr, check_ip, check_routable, parse_ip
from podwire.kube.validate.errors import (
    Errors,
    duplicate,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    non_negative,
    not_supported,
    one_of,
    required,
)
from podwire.kube.validate.meta import check_labels

Obj = dict[str, Any]

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
FAMILIES = ("IPv4", "IPv6")
POLICIES = ("SingleStack", "PreferDualStack", "RequireDualStack")
NODE_PORTS = (30000, 32767)
KUBELET_PORT = 10250
MAX_AFFINITY_SECONDS = 86400
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def check_service(obj: Obj, old: Obj | None) -> Errors:
    """The whole Service; ``old`` allows what was stored earlier and forbids what is immutable."""
    spec = obj.get("spec") or {}
    before = (old or {}).get("spec") or {}
    if old is not None:
        yield from _check_update(spec, before)
    kind = spec.get("type") or ""
    headless = spec.get("clusterIP") == "None"
    ports = spec.get("ports") or []
    if not ports and not headless and kind != "ExternalName":
        yield required("spec.ports")
    yield from one_of("spec.type", kind, TYPES)
    yield from _check_type(spec, kind)
    for index, port in enumerate(ports):
        yield from _check_port(port, f"spec.ports[{index}]", many=len(ports) > 1, kind=kind)
    yield from _check_unique_ports(ports)
    yield from check_labels(spec.get("selector"), "spec.selector")
    yield from _check_affinity(spec)
    yield from _check_addresses(spec, before, kind)
    yield from _check_source_ranges(obj, spec, before, kind)
    yield from _check_policies(spec, kind)


def check_service_status(obj: Obj, old: Obj | None) -> Errors:
    """``status.loadBalancer``."""
    kind = (obj.get("spec") or {}).get("type")
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    stored = {
        entry.get("ip") for entry in (((old or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    }
    if ingress and kind != "LoadBalancer":
        yield forbidden("status.loadBalancer.ingress", 'may only be used when `spec.type` is "LoadBalancer"')
    for index, entry in enumerate(ingress):
        path = f"status.loadBalancer.ingress[{index}]"
        if entry.get("ip"):
            yield from check_ip(f"{path}.ip", entry["ip"], {text for text in stored if text})
            if entry.get("ipMode") not in ("VIP", "Proxy"):
                yield from one_of(f"{path}.ipMode", entry.get("ipMode") or "", ("Proxy", "VIP"))
        elif entry.get("ipMode"):
            yield forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
        yield from check_balancer_host(f"{path}.hostname", entry.get("hostname") or "")


def check_balancer_host(path: str, host: str) -> Errors:
    """A load balancer's name is a DNS name and no address."""
    if host:
        yield from each_invalid(path, host, dns_subdomain_problems(host))
        if parse_ip(host):
            yield invalid(path, host, "must be a DNS name, not an IP address")


def _check_type(spec: Obj, kind: str) -> Errors:
    match kind:
        case "LoadBalancer":
            for index, port in enumerate(spec.get("ports") or ()):
                if port.get("port") == KUBELET_PORT:
                    detail = f"may not expose port {KUBELET_PORT} externally since it is used by kubelet"
                    yield invalid(f"spec.ports[{index}]", KUBELET_PORT, detail)
        case "ExternalName":
            for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(key):
                    yield forbidden(f"spec.{key}", "may not be set for ExternalName services")
            name = (spec.get("externalName") or "").removesuffix(".")
            if name:
                yield from each_invalid("spec.externalName", name, dns_subdomain_problems(name))
            else:
                yield required("spec.externalName")
        case _:
            pass
    if kind in ("LoadBalancer", "NodePort") and spec.get("clusterIP") == "None":
        # clusterIPs is what clients are told to look at since dual stack.
        yield invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")


def _check_port(port: Obj, path: str, *, many: bool, kind: str) -> Errors:
    name = port.get("name") or ""
    if many and not name:
        yield required(f"{path}.name")
    elif name:
        yield from each_invalid(f"{path}.name", name, dns_label_problems(name))
    number = port.get("port", 0)
    yield from each_invalid(f"{path}.port", number, port_number_problems(number))
    yield from one_of(f"{path}.protocol", port.get("protocol") or "", PROTOCOLS)
    yield from check_number_or_name(f"{path}.targetPort", port.get("targetPort") or number)
    if port.get("appProtocol"):
        yield from each_invalid(
            f"{path}.appProtocol", port["appProtocol"], qualified_name_problems(port["appProtocol"])
        )
    node_port = port.get("nodePort") or 0
    if node_port and kind == "ClusterIP":
        yield forbidden(f"{path}.nodePort", "may not be used when `type` is 'ClusterIP'")
    elif node_port and kind in ("NodePort", "LoadBalancer") and not NODE_PORTS[0] <= node_port <= NODE_PORTS[1]:
        detail = f"provided port is not in the valid range. The range of valid ports is {NODE_PORTS[0]}-{NODE_PORTS[1]}"
        yield invalid(f"{path}.nodePort", node_port, detail)


def check_number_or_name(path: str, port: int | str) -> Errors:
    """A port by number or by name."""
    problems = port_number_problems(port) if isinstance(port, int) else port_name_problems(port)
    return each_invalid(path, port, problems)


def _check_unique_ports(ports: list[Obj]) -> Errors:
    names: set[str] = set()
    pairs: set[tuple[str, int]] = set()
    node_pairs: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        path, protocol = f"spec.ports[{index}]", port.get("protocol") or ""
        name, number, node_port = port.get("name") or "", port.get("port", 0), port.get("nodePort") or 0
        if name and name in names:
            yield duplicate(f"{path}.name", name)
        if node_port and (protocol, node_port) in node_pairs:
            yield duplicate(f"{path}.nodePort", node_port)
        if (protocol, number) in pairs:
            yield duplicate(path, {"protocol": protocol, "port": number})
        names.add(name)
        node_pairs.add((protocol, node_port))
        pairs.add((protocol, number))


def _check_affinity(spec: Obj) -> Errors:
    affinity = spec.get("sessionAffinity") or ""
    config = spec.get("sessionAffinityConfig")
    yield from one_of("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    if affinity == "None" and config is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    if affinity != "ClientIP":
        return
    path = "spec.sessionAffinityConfig"
    timeout = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if timeout is None:
        yield required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")
    elif not 0 < timeout <= MAX_AFFINITY_SECONDS:
        detail = f"must be greater than 0 and less than {MAX_AFFINITY_SECONDS}"
        yield invalid(f"{path}.clientIP.timeoutSeconds", timeout, detail)


def _check_addresses(spec: Obj, before: Obj, kind: str) -> Errors:
    """S4, S12, S16, S20."""
    if kind != "ExternalName":
        addresses, families = _addresses(spec), spec.get("ipFamilies") or []
        yield from _check_cluster_ips(spec, addresses, families, stored=_addresses(before))
    for index, text in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        yield from check_ip(path, text, before.get("externalIPs") or ())
        yield from check_routable(path, text)


def _check_cluster_ips(spec: Obj, addresses: list[str], families: list[str], *, stored: Container[str]) -> Errors:
    path = "spec.clusterIPs"
    if spec.get("clusterIP") and addresses[0] != spec["clusterIP"]:
        yield invalid(path, addresses, "first value must match `clusterIP`")
    elif addresses and not spec.get("clusterIP"):
        yield invalid(path, addresses, "must be empty when `clusterIP` is not specified")
    yield from _check_families(spec, addresses, families)
    if addresses[:1] == ["None"]:
        if len(addresses) > 1:
            yield invalid(path, addresses, "'None' must be the first and only value")
        return
    problems = [error for i, text in enumerate(addresses) for error in check_ip(f"{path}[{i}]", text, stored)]
    yield from problems
    if len(addresses) > 2:
        yield invalid(path, addresses, "may only hold up to 2 values")
    if not problems:
        yield from _check_address_families(addresses, families)


def _check_families(spec: Obj, addresses: list[str], families: list[str]) -> Errors:
    policy = spec.get("ipFamilyPolicy")
    for index, family in enumerate(families):
        if family not in FAMILIES:
            yield not_supported(f"spec.ipFamilies[{index}]", family, FAMILIES)
        if family in families[:index]:
            yield duplicate(f"spec.ipFamilies[{index}]", family)
    if policy is not None and policy not in POLICIES:
        yield not_supported("spec.ipFamilyPolicy", policy, POLICIES)
    for values, what in ((addresses, "cluster IPs"), (families, "IP families")):
        if policy == "SingleStack" and len(values) == 2:
            detail = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            yield invalid("spec.ipFamilyPolicy", policy, detail)


def _check_address_families(addresses: list[str], families: list[str]) -> Errors:
    versions = [f"IPv{parsed.version}" for parsed in map(parse_ip, addresses) if parsed]
    if len(versions) > 1 and len(set(versions)) == 1:
        yield invalid("spec.clusterIPs", addresses, "may specify no more than one IP for each IP family")
    for index, (text, version, family) in enumerate(zip(addresses, versions, families, strict=False)):
        if family in FAMILIES and version != family:
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"spec.clusterIPs[{index}]", text, detail)


def _check_source_ranges(obj: Obj, spec: Obj, before: Obj, kind: str) -> Errors:
    ranges = spec.get("loadBalancerSourceRanges") or []
    annotation = ((obj.get("metadata") or {}).get("annotations") or {}).get(_SOURCE_RANGES)
    if ranges:
        path = "spec.loadBalancerSourceRanges"
        if kind != "LoadBalancer":
            yield forbidden(path, "may only be used when `type` is 'LoadBalancer'")
        for index, text in enumerate(ranges):
            # Spaces around a range have always been trimmed.
            yield from check_cidr(f"{path}[{index}]", text.strip(), before.get("loadBalancerSourceRanges") or ())
    elif annotation is not None:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        if kind != "LoadBalancer":
            yield forbidden(path, "may only be used when `type` is 'LoadBalancer'")
        for text in annotation.split(",") if annotation.strip() else ():
            if list(check_cidr(path, text.strip())):
                detail = "must be a comma separated list of CIDRs e.g. 192.168.0.0/16,10.0.0.0/8"
                yield invalid(path, annotation, detail)
                break


def _check_policies(spec: Obj, kind: str) -> Errors:
    external = kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    policy = spec.get("externalTrafficPolicy") or ""
    if external:
        yield from one_of("spec.externalTrafficPolicy", policy, ("Cluster", "Local"))
    elif policy:
        yield invalid("spec.externalTrafficPolicy", policy, "may only be set for externally-accessible services")
    health = spec.get("healthCheckNodePort") or 0
    yield from non_negative("spec.healthCheckNodePort", health)
    if health > 0 and not _needs_health_check(spec):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield invalid("spec.healthCheckNodePort", health, detail)
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        yield from one_of("spec.internalTrafficPolicy", spec.get("internalTrafficPolicy") or "", ("Cluster", "Local"))
    yield from _check_balancer_fields(spec, kind)
    distribution = spec.get("trafficDistribution")
    supported = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if distribution is not None and distribution not in supported:
        yield not_supported("spec.trafficDistribution", distribution, supported)


def _check_balancer_fields(spec: Obj, kind: str) -> Errors:
    if kind == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            yield required("spec.allocateLoadBalancerNodePorts")
        name = spec.get("loadBalancerClass")
        if name is not None:
            yield from each_invalid("spec.loadBalancerClass", name, qualified_name_problems(name))
        return
    for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
        if spec.get(key) is not None:
            yield forbidden(f"spec.{key}", "may only be used when `type` is 'LoadBalancer'")


def _needs_health_check(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _check_update(spec: Obj, before: Obj) -> Errors:
    """S10."""
    if _needs_health_check(spec) and _needs_health_check(before):
        yield from immutable(
            "spec.healthCheckNodePort", spec.get("healthCheckNodePort"), before.get("healthCheckNodePort")
        )
    balancer_class = spec.get("loadBalancerClass")
    both_balancers = spec.get("type") == before.get("type") == "LoadBalancer"
    if both_balancers and balancer_class != before.get("loadBalancerClass"):
        yield invalid("spec.loadBalancerClass", balancer_class, "may not change once set")
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        yield from _check_kept_addresses(spec, before)


def _check_kept_addresses(spec: Obj, before: Obj) -> Errors:
    """The first address and family stay; headless Services may change families."""
    path = "spec.clusterIPs"
    new, old = _addresses(spec), _addresses(before)
    if old and not new:
        yield invalid(f"{path}[0]", new, "primary clusterIP can not be unset")
    elif old and new[0] != old[0]:
        yield invalid(f"{path}[0]", new, "may not change once set")
    if len(old) == len(new) == 2 and new[1] != old[1]:
        yield invalid(f"{path}[1]", new, "may not change once set")
    policy = spec.get("ipFamilyPolicy")
    if len(old) > len(new) == 1 and policy != "SingleStack":
        yield invalid("spec.ipFamilyPolicy", policy, "must be 'SingleStack' to release the secondary cluster IP")
    families, before_families = spec.get("ipFamilies") or [], before.get("ipFamilies") or []
    if "None" in (*new[:1], *old[:1]):
        return
    if len(before_families) > len(families) == 1 and policy != "SingleStack":
        yield invalid("spec.ipFamilyPolicy", policy, "must be 'SingleStack' to release the secondary IP family")
    if any(one != other for one, other in zip(families, before_families, strict=False)):
        yield invalid("spec.ipFamilies[0]", families, "may not change once set")


def _addresses(spec: Obj) -> list[str]:
    """``clusterIPs``, or the one ``clusterIP`` when a client sent only that (S4)."""
    return spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
