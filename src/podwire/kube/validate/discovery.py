"""EndpointSlice and Endpoints (S31).

Spec: k8s:pkg/apis/discovery/validation/validation.go and pkg/apis/core/validation (ValidateEndpoints).
"""

from typing import Any

from podwire.kube.names import (
    dns_label_problems,
    dns_subdomain_problems,
    label_value_problems,
    port_number_problems,
    qualified_name_problems,
)
from podwire.kube.validate.addresses import check_ip, check_routable, parse_ip
from podwire.kube.validate.errors import (
    Errors,
    duplicate,
    each_invalid,
    immutable,
    invalid,
    not_supported,
    one_of,
    required,
    too_many,
)
from podwire.kube.validate.service import PROTOCOLS

Obj = dict[str, Any]

MAX_ENDPOINTS, MAX_ADDRESSES, MAX_PORTS, MAX_HINTS = 1000, 100, 20000, 8
ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")


def check_endpoint_slice(obj: Obj, old: Obj | None) -> Errors:
    """Addresses of one family, ports, hints."""
    kind = obj.get("addressType") or ""
    if old is not None:
        yield from immutable("addressType", kind, old.get("addressType") or "")
    yield from one_of("addressType", kind, ADDRESS_TYPES)
    endpoints, ports = obj.get("endpoints") or [], obj.get("ports") or []
    stored = _stored(old)
    if len(endpoints) > MAX_ENDPOINTS:
        yield too_many("endpoints", len(endpoints), MAX_ENDPOINTS)
        return
    for index, endpoint in enumerate(endpoints):
        yield from _check_endpoint(endpoint, f"endpoints[{index}]", kind, stored)
    if len(ports) > MAX_PORTS:
        yield too_many("ports", len(ports), MAX_PORTS)
        return
    yield from _check_slice_ports(ports)


def _stored(old: Obj | None) -> frozenset[str]:
    endpoints = (old or {}).get("endpoints") or ()
    return frozenset(address for endpoint in endpoints for address in endpoint.get("addresses") or ())


def _check_endpoint(endpoint: Obj, path: str, kind: str, stored: frozenset[str]) -> Errors:
    addresses = endpoint.get("addresses") or []
    if not addresses:
        yield required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > MAX_ADDRESSES:
        yield too_many(f"{path}.addresses", len(addresses), MAX_ADDRESSES)
    for index, text in enumerate(addresses):
        yield from _check_address(text, f"{path}.addresses[{index}]", kind, stored)
    for key in ("nodeName",):
        if endpoint.get(key):
            yield from each_invalid(f"{path}.{key}", endpoint[key], dns_subdomain_problems(endpoint[key]))
    if endpoint.get("zone"):
        yield from each_invalid(f"{path}.zone", endpoint["zone"], label_value_problems(endpoint["zone"]))
    if endpoint.get("hostname"):
        yield from each_invalid(f"{path}.hostname", endpoint["hostname"], dns_label_problems(endpoint["hostname"]))
    for key, check in (("forZones", label_value_problems), ("forNodes", dns_subdomain_problems)):
        hints = (endpoint.get("hints") or {}).get(key) or []
        if len(hints) > MAX_HINTS:
            yield too_many(f"{path}.hints.{key}", len(hints), MAX_HINTS)
        for index, hint in enumerate(hints):
            name = hint.get("name") or ""
            yield from each_invalid(f"{path}.hints.{key}[{index}].name", name, check(name))
            if any(other.get("name") == name for other in hints[:index]):
                yield duplicate(f"{path}.hints.{key}[{index}].name", name)


def _check_address(text: str, path: str, kind: str, stored: frozenset[str]) -> Errors:
    if kind == "FQDN":
        yield from each_invalid(path, text, dns_subdomain_problems(text.removesuffix(".")))
        return
    yield from check_ip(path, text, stored)
    parsed = parse_ip(text)
    if parsed and kind in ("IPv4", "IPv6") and f"IPv{parsed.version}" != kind:
        yield invalid(path, text, f"must be an {kind} address")
    yield from check_routable(path, text)


def _check_slice_ports(ports: list[Obj]) -> Errors:
    names: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"ports[{index}]", port.get("name") or ""
        if name:
            yield from each_invalid(f"{path}.name", name, dns_label_problems(name))
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        if port.get("protocol") not in PROTOCOLS:
            yield not_supported(f"{path}.protocol", port.get("protocol") or "", PROTOCOLS)
        if port.get("port") is not None:
            yield from each_invalid(f"{path}.port", port["port"], port_number_problems(port["port"]))
        if port.get("appProtocol"):
            name_problems = qualified_name_problems(port["appProtocol"])
            yield from each_invalid(f"{path}.appProtocol", port["appProtocol"], name_problems)


def check_endpoints(obj: Obj, old: Obj | None) -> Errors:
    """The legacy object."""
    stored = frozenset(
        address.get("ip") or ""
        for subset in (old or {}).get("subsets") or ()
        for key in ("addresses", "notReadyAddresses")
        for address in subset.get(key) or ()
    )
    for index, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(path, "must specify `addresses` or `notReadyAddresses`")
        for key in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(key) or ()):
                text = address.get("ip") or ""
                yield from check_ip(f"{path}.{key}[{position}].ip", text, stored)
                yield from check_routable(f"{path}.{key}[{position}].ip", text)
        for position, port in enumerate(subset.get("ports") or ()):
            yield from _check_legacy_port(port, f"{path}.ports[{position}]", many=len(subset["ports"]) > 1)


def _check_legacy_port(port: Obj, path: str, *, many: bool) -> Errors:
    name = port.get("name") or ""
    if many and not name:
        yield required(f"{path}.name")
    elif name:
        yield from each_invalid(f"{path}.name", name, dns_label_problems(name))
    number = port.get("port", 0)
    yield from each_invalid(f"{path}.port", number, port_number_problems(number))
    yield from one_of(f"{path}.protocol", port.get("protocol") or "", PROTOCOLS)
