"""Addresses and blocks as the API accepts them: strictly since 1.36 (KEP-4858), except values stored earlier."""

import re
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from podwire.kube.validate.errors import Errors, each_invalid, invalid

_BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """The address, tolerating leading zeros as Go's sloppy parser does; None when it is none."""
    try:
        return ip_address(_without_zeros(text)) if "%" not in text else None
    except ValueError:
        return None


def parse_cidr(text: str) -> IPv4Network | IPv6Network | None:
    """The block, host bits cleared; None when it is none. A length is required."""
    address, slash, length = text.partition("/")
    if not slash or not re.fullmatch(r"\d{1,3}", length) or "%" in text:
        return None
    try:
        return ip_network(f"{_without_zeros(address)}/{int(length)}", strict=False)
    except ValueError:
        return None


def ip_problems(text: str) -> list[str]:
    """Why the address is refused."""
    parsed = parse_ip(text)
    if parsed is None:
        return [_BAD_IP]
    if parsed.version == 4 and _without_zeros(text) != text:
        return ["must not have leading 0s"]
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        return ["must not be an IPv4-mapped IPv6 address"]
    return []


def check_ip(field: str, text: str, stored: Container[str] = ()) -> Errors:
    """Errors of an address; values stored earlier stay accepted."""
    return each_invalid(field, text, () if text in stored else ip_problems(text))


def check_cidr(field: str, text: str, stored: Container[str] = ()) -> Errors:
    """Errors of a block; values stored earlier stay accepted."""
    if text in stored:
        return
    parsed = parse_cidr(text)
    if parsed is None:
        yield invalid(field, text, _BAD_CIDR)
        return
    address, _, length = text.partition("/")
    written = parse_ip(address)
    if _without_zeros(address) != address or length != str(int(length)):
        yield invalid(field, text, "must not have leading 0s in IP or prefix length")
    elif isinstance(written, IPv6Address) and written.ipv4_mapped:
        yield invalid(field, text, "must not have an IPv4-mapped IPv6 address")
    elif written != parsed.network_address:
        yield invalid(field, text, "must not have bits set beyond the prefix length")


def check_routable(field: str, text: str) -> Errors:
    """Addresses that can never be an endpoint or an external address."""
    parsed = parse_ip(text)
    if parsed is None:
        return
    if parsed.is_unspecified:
        yield invalid(field, text, f"may not be unspecified ({text})")
    if parsed.is_loopback:
        yield invalid(field, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if parsed.is_link_local:
        yield invalid(field, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if parsed.is_multicast and (text.startswith("224.0.0.") or text.lower().startswith("ff02:")):
        yield invalid(field, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


def _without_zeros(text: str) -> str:
    return ".".join(re.sub(r"^0+(?=\d)", "", part) for part in text.split(".")) if ":" not in text else text
