"""IPAddress and ServiceCIDR (reference/services.md S6, S7).

Spec: k8s pkg/apis/networking/validation/validation.go.
"""

from typing import Any

from podwire.kube.names import dns_subdomain_problems, path_segment_problems
from podwire.kube.validate.addresses import check_cidr, parse_cidr
from podwire.kube.validate.errors import Errors, each_invalid, immutable, invalid, required

Obj = dict[str, Any]

_SHORTEST_V6 = 64


def check_service_cidr(obj: Obj, old: Obj | None) -> Errors:
    """One block, or one of each family; a second may be added later, nothing else may change."""
    spec = obj.get("spec") or {}
    cidrs, where = spec.get("cidrs") or [], "spec.cidrs"
    if not cidrs:
        yield required(where, "at least one CIDR required")
        return
    if len(cidrs) > 2:
        yield invalid(where, spec, "may only hold up to 2 values")
        return
    blocks = [parse_cidr(text) for text in cidrs]
    if len(cidrs) == 2 and (None in blocks or len({block.version for block in blocks if block}) < 2):
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        yield invalid(where, spec, why)
        return
    before = (((old or {}).get("spec")) or {}).get("cidrs") or []
    for index, (text, block) in enumerate(zip(cidrs, blocks, strict=True)):
        yield from check_cidr(f"{where}[{index}]", text, before)
        if block is not None and block.version == 6 and block.prefixlen < _SHORTEST_V6:
            # An allocator of a shorter one is refused by kube-apiserver too (S5).
            yield invalid(f"{where}[{index}]", text, "the shortest IPv6 prefix of Services is /64")
    if old is None:
        return
    if len(before) == 2 or len(cidrs) < len(before):
        yield from immutable(where, cidrs, before)
    else:
        yield from immutable(f"{where}[0]", cidrs[0], before[0] if before else cidrs[0])


def check_ip_address(obj: Obj, old: Obj | None) -> Errors:
    """Whose it is; the name was checked with metadata."""
    spec, where = obj.get("spec") or {}, "spec.parentRef"
    parent = spec.get("parentRef")
    if parent is None:
        yield required(where)
        return
    if parent.get("group"):
        yield from each_invalid(f"{where}.group", parent["group"], dns_subdomain_problems(parent["group"]))
    for field in ("resource", "name"):
        if not parent.get(field):
            yield required(f"{where}.{field}")
        else:
            yield from each_invalid(f"{where}.{field}", parent[field], path_segment_problems(parent[field]))
    if parent.get("namespace"):
        yield from each_invalid(f"{where}.namespace", parent["namespace"], path_segment_problems(parent["namespace"]))
    if old is not None:
        yield from immutable(where, parent, (old.get("spec") or {}).get("parentRef"))
