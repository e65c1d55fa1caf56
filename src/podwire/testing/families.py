"""Manifests and questions that name IPv4 addresses, as a cluster with IPv6 would have them.

So one case serves both families: every address of the text moves to the place that means the same (the pod network, the
Service network, the fabric, documentation's networks), and ``addressType`` with it.

1. The third part of an IPv4 address becomes the fourth group, the fourth the last: 10.244.1.12 is fd00:10:244:1::c.
2. A block holds the same addresses after the move as before.
3. 0.0.0.0 without a length is left alone: programs are told so where to listen.
"""

import re
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

Json = dict[str, Any]

_ADDRESS = re.compile(r"(?<![\w.:-])(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:/(\d{1,2}))?(?![\w.])(?=(:\d)?)")
_NETWORKS = {"10.244": "fd00:10:244", "10.89": "fd00:10:89", "192.0": "2001:db8:192", "198.51": "2001:db8:198"}


def to_ipv6(text: str) -> str:
    """``text`` with every IPv4 address and block replaced; before a port in brackets."""
    return _ADDRESS.sub(_replace, text)


def move_to_ipv6(value: Any) -> Any:
    """Objects with every text in them moved."""
    match value:
        case dict():
            return {k: "IPv6" if (k, v) == ("addressType", "IPv4") else move_to_ipv6(v) for k, v in value.items()}
        case list():
            return [move_to_ipv6(item) for item in value]
        case str():
            return to_ipv6(value)
        case _:
            return value


def _replace(found: re.Match[str]) -> str:
    made = _moved(found)
    in_place = found[6] or found.string[: found.start()].endswith("//")
    return f"[{made}]" if in_place and made != found[0] else made


def _moved(found: re.Match[str]) -> str:
    a, b, c, d = (int(part) for part in found.groups()[:4])
    length = int(found[5]) if found[5] else None
    if (a, b, c, d) == (0, 0, 0, 0):
        return "::/0" if length == 0 else found[0]
    if a == 127:
        return "::1" if length is None else "::1/128"
    if a == 10 and 96 <= b <= 111:
        made, six = f"fd00:10:96::{c << 8 | d:x}", max(112, 96 + (length or 32))
    else:
        network = _NETWORKS.get(f"{a}.{b}", f"2001:db8:{a}" if a != 10 else "fd00")
        made, six = f"{network}:{c:x}::{d:x}" if c else f"{network}::{d:x}", _length(length or 32)
    return str(ip_address(made)) if length is None else str(ip_network(f"{made}/{six}", strict=False))


def _length(length: int) -> int:
    """The third part of an IPv4 address is the low half of the fourth group, the fourth the low half of the last."""
    if length <= 16:
        return 16 if length <= 8 else 48
    return 56 + length - 16 if length <= 24 else 96 + length


def mix_families(objects: list[Json], seed: int) -> list[Json]:
    """For a cluster of two families: Services of either family or both, and blocks of either in policies."""
    random = Random(seed)
    mixed = []
    for value in objects:
        if value["kind"] == "Service":
            value = {**value, "spec": {**value["spec"], **random.choice(_CHOICES)}}
        elif value["kind"] == "NetworkPolicy" and random.random() < 0.5:
            value = move_to_ipv6(value)
        mixed.append(value)
    return mixed


_CHOICES: tuple[Json, ...] = (
    {},
    {"ipFamilies": ["IPv6"]},
    {"ipFamilyPolicy": "PreferDualStack"},
    {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]},
)
