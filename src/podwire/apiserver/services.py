"""What an update of a Service keeps and drops before it is validated (reference/services.md S4, S9, S11, S12).

1. An update that omits an allocated value keeps it: cluster addresses, node ports by port name, healthCheckNodePort.
2. A field that the new type does not have is wiped, unless the same request changed it (then validation refuses it).
3. ``selector`` and ``externalName`` are never wiped.

Pure: JSON values in, new JSON values out. Spec: k8s pkg/registry/core/service/storage/storage.go
(``patchAllocatedValues``, ``normalizeClusterIPs``) and strategy.go (``dropTypeDependentFields``).
"""

from typing import Any

from podwire.apiserver.families import trim_families

Json = dict[str, Any]

_WITH_ADDRESS = ("ClusterIP", "NodePort", "LoadBalancer")


def needs_address(spec: Json) -> bool:
    """Whether the type has a cluster address (or is headless)."""
    return spec.get("type", "ClusterIP") in _WITH_ADDRESS


def needs_node_ports(spec: Json) -> bool:
    """Whether the type may have node ports."""
    return spec.get("type") in ("NodePort", "LoadBalancer")


def wants_node_ports(spec: Json) -> bool:
    """Whether ports without a node port get one."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False)


def needs_health_port(spec: Json) -> bool:
    """Whether a healthCheckNodePort exists."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def is_external(spec: Json) -> bool:
    """Whether externalTrafficPolicy has a meaning."""
    return needs_node_ports(spec) or bool(spec.get("type", "ClusterIP") == "ClusterIP" and spec.get("externalIPs"))


def merge_allocated(new: Json, old: Json) -> Json:
    """``new`` with the allocated values it omits taken from ``old``, and what its type does not have removed."""
    before, spec = old.get("spec", {}), dict(new.get("spec", {}))
    _keep_addresses(spec, before)
    _keep_ports(spec, before)
    _normalize(spec, before)
    trim_families(spec, before)
    _drop(spec, before)
    return {**new, "spec": spec}


def _keep_addresses(spec: Json, before: Json) -> None:
    if not (needs_address(spec) and needs_address(before)):
        return
    if not spec.get("clusterIP") and before.get("clusterIP"):
        spec["clusterIP"] = before["clusterIP"]
    if not spec.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP") and before.get("clusterIPs"):
        spec["clusterIPs"] = before["clusterIPs"]
    if not spec.get("ipFamilyPolicy") and before.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = before["ipFamilyPolicy"]


def _keep_ports(spec: Json, before: Json) -> None:
    if needs_health_port(spec) and needs_health_port(before) and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort", 0)
    if not (needs_node_ports(spec) and needs_node_ports(before)):
        return
    by_name = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports", ())}
    used = node_ports(spec) & node_ports(before)
    ports = []
    for port in spec.get("ports", ()):
        kept = by_name.get(port.get("name", ""), 0)
        if not port.get("nodePort") and kept and kept not in used:
            used.add(kept)
            port = {**port, "nodePort": kept}
        ports.append(port)
    if ports:
        spec["ports"] = ports


def _normalize(spec: Json, before: Json) -> None:
    """S4: a client that knows only ``clusterIP`` (or only ``clusterIPs``) changes both."""
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    same_many = many == before.get("clusterIPs", [])
    if one != before.get("clusterIP", "") and same_many:
        spec["clusterIPs"] = [one] if one else []
    elif one == before.get("clusterIP", "") and not many:
        spec["clusterIP"] = ""


def _drop(spec: Json, before: Json) -> None:
    def wipe(needed: bool, still: bool, *fields: str) -> None:
        if needed and not still:
            for field in fields:
                if spec.get(field) == before.get(field):
                    spec.pop(field, None)

    wipe(needs_address(before), needs_address(spec), "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    wipe(needs_health_port(before), needs_health_port(spec), "healthCheckNodePort")
    balanced, still = before.get("type") == "LoadBalancer", spec.get("type") == "LoadBalancer"
    wipe(balanced, still, "loadBalancerClass", "allocateLoadBalancerNodePorts")
    wipe(is_external(before), is_external(spec), "externalTrafficPolicy")
    if needs_node_ports(before) and not needs_node_ports(spec) and _port_list(before) == _port_list(spec):
        spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec.get("ports", ())]


def node_ports(spec: Json) -> set[int]:
    """Every node port of the ports."""
    return {port["nodePort"] for port in spec.get("ports", ()) if port.get("nodePort")}


def _port_list(spec: Json) -> list[int]:
    return sorted(node_ports(spec))
