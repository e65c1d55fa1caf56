"""Which address families a Service has, before it is given addresses (reference/services.md S12).

1. Without ``ipFamilyPolicy`` a Service keeps the one it had; a new one is SingleStack, headless without a selector
   RequireDualStack.
2. Families follow the addresses that are asked for, else the cluster's primary family; a policy other than SingleStack
   adds the second family where the cluster has one.
3. Headless without a selector: both families whatever the cluster has, as somebody else writes its endpoints.
4. PreferDualStack that an update sends back as it was stays as it was, also when the cluster has other families now.
5. SingleStack on a Service with two of anything drops the second, if the same request did not change them.

Pure: JSON values in, problems out. Spec: k8s pkg/registry/core/service/storage/alloc.go (``initIPFamilyFields``).
"""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
Problem = tuple[str, Any, str]
"""Path, value, and why it is refused."""

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def family_of(address: str) -> str:
    """``IPv4`` or ``IPv6``, by the look of it."""
    return "IPv6" if ":" in address else "IPv4"


def trim_families(spec: Json, before: Json) -> None:
    """Rule 5, on ``spec``."""
    if spec.get("ipFamilyPolicy") == "SingleStack":
        for field in ("clusterIPs", "ipFamilies"):
            if len(spec.get(field) or ()) > 1 and spec[field] == before.get(field):
                spec[field] = spec[field][:1]


def keeps_preference(spec: Json, before: Json) -> bool:
    """Rule 4: nothing about families or addresses is to be done."""
    same = all(spec.get(field) == before.get(field) for field in ("type", "ipFamilyPolicy", "clusterIPs", "ipFamilies"))
    return same and spec.get("ipFamilyPolicy") == "PreferDualStack"


def settle_families(spec: Json, before: Json, configured: tuple[str, ...]) -> list[Problem]:
    """Rules 1 to 3, on ``spec``. ``configured`` are the cluster's families, the primary one first."""
    lonely = spec.get("clusterIP") == "None" and not spec.get("selector")
    default = "RequireDualStack" if lonely else "SingleStack"
    policy = spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or default
    families, problems = _by_addresses(spec, configured)
    if not problems and not lonely:
        problems = list(_unavailable(policy, families, configured))
    if problems:
        return problems
    families = families or [configured[0]]
    if policy != "SingleStack" and len(families) == 1 and (lonely or len(configured) == 2):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []


def _by_addresses(spec: Json, configured: tuple[str, ...]) -> tuple[list[str], list[Problem]]:
    families, problems = list(spec.get("ipFamilies") or ()), []
    asked = spec.get("clusterIPs") or ()
    for index, address in enumerate(asked if "None" not in asked else ()):
        if index < len(families):
            continue
        family = family_of(address)
        if family in configured:
            families.append(family)
        else:
            problems.append((f"spec.clusterIPs[{index}]", asked, f"{family} is not configured on this cluster"))
    return families, problems


def _unavailable(policy: str, families: list[str], configured: tuple[str, ...]) -> Iterator[Problem]:
    if policy == "RequireDualStack" and len(configured) < 2:
        yield "spec.ipFamilyPolicy", policy, "this cluster is not configured for dual-stack services"
    for index, family in enumerate(families):
        if family not in configured:
            yield f"spec.ipFamilies[{index}]", family, "not configured on this cluster"
