"""Network functions Kubernetes adds to CEL: URLs, addresses, CIDRs, and named formats.

``ip()`` takes neither zones, nor IPv4 in IPv6, nor leading zeros; ``cidr()`` no host bits.
Spec: k8s apiserver/pkg/cel/library/{urls,ip,cidr,format}.go.
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from podwire.kube.cel_functions import Function, overload
from podwire.kube.cel_values import CelError, CidrBlock, Ip, Url


def read_ip(text: str) -> Ip:
    """An address. Raises :class:`CelError`."""
    if "%" in text:
        raise CelError(f'IP Address "{text}" with zone value is not allowed')
    try:
        found = ip_address(text)
    except ValueError as error:
        raise CelError(f'IP Address "{text}" parse error during conversion from string') from error
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        raise CelError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Ip(found)


def read_cidr(text: str) -> CidrBlock:
    """A network without host bits. Raises :class:`CelError`."""
    address, slash, length = text.partition("/")
    if not slash or not length.isdecimal() or (len(length) > 1 and length[0] == "0"):
        raise CelError(f'network address parse error during conversion from string: "{text}"')
    read_ip(address)
    try:
        return CidrBlock(ip_network(text))
    except ValueError as error:
        raise CelError(f'network address parse error during conversion from string: "{text}"') from error


def read_url(text: str) -> Url:
    """An absolute URI or an absolute path, as Go's ``url.ParseRequestURI``. Raises :class:`CelError`."""
    plain = text.isprintable() and not any(char in text for char in ' "<>\\^`{|}')
    try:
        found = urlsplit(text)
        port = found.netloc.rpartition("@")[2].rpartition(":")[2] if found.port is not None else ""
    except ValueError as error:
        raise CelError(f"URL parse error during conversion from string: parse {text!r}: invalid URL") from error
    if not plain or not (text.startswith("/") or (found.scheme and (found.netloc or found.path))):
        raise CelError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    host = found.netloc.rpartition("@")[2]
    name = host.removesuffix(f":{port}") if port else host
    query: dict[str, list[str]] = {}
    for key, value in parse_qsl(found.query, keep_blank_values=True, max_num_fields=1000):
        query.setdefault(key, []).append(value)
    path = unquote(found.path + (f"#{found.fragment}" if found.fragment else ""))
    pairs = tuple((key, tuple(values)) for key, values in query.items())
    return Url(found.scheme, host, name.strip("[]"), port, path, pairs)


def _is(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except (CelError, ValueError):
            return False
        return True

    return check


def _canonical(text: str) -> bool:
    return str(read_ip(text).value) == text


def _global(held: Ip) -> bool:
    """Go's IsGlobalUnicast: private addresses count."""
    found = held.value
    special = found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local
    return not special and found != IPv4Address("255.255.255.255")


def _link_local_multicast(held: Ip) -> bool:
    packed = held.value.packed
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 2


def _holds_ip(block: CidrBlock, held: Ip) -> bool:
    return held.value.version == block.value.version and held.value in block.value


def _holds(block: CidrBlock, other: CidrBlock) -> bool:
    if isinstance(block.value, IPv4Network):
        return isinstance(other.value, IPv4Network) and other.value.subnet_of(block.value)
    return not isinstance(other.value, IPv4Network) and other.value.subnet_of(block.value)


def _escaped_path(held: Url) -> str:
    from urllib.parse import quote

    return quote(held.path, safe="/:@!$&'()*+,;=~-._")


NETWORK: Mapping[str, Function] = MappingProxyType(
    {
        "url": (overload("string>url", read_url),),
        "isURL": (overload("string>bool", _is(read_url)),),
        "getScheme": (overload("url.>string", lambda held: held.scheme),),
        "getHost": (overload("url.>string", lambda held: held.host),),
        "getHostname": (overload("url.>string", lambda held: held.hostname),),
        "getPort": (overload("url.>string", lambda held: held.port),),
        "getEscapedPath": (overload("url.>string", _escaped_path),),
        "getQuery": (overload("url.>map", lambda held: {key: list(values) for key, values in held.query}),),
        "ip": (overload("string>ip", read_ip), overload("cidr.>ip", lambda block: Ip(block.value.network_address))),
        "isIP": (overload("string>bool", _is(read_ip)),),
        "ip.isCanonical": (overload("string>bool", _canonical),),
        "family": (overload("ip.>int", lambda held: held.value.version),),
        "isLoopback": (overload("ip.>bool", lambda held: held.value.is_loopback),),
        "isUnspecified": (overload("ip.>bool", lambda held: held.value.is_unspecified),),
        "isLinkLocalMulticast": (overload("ip.>bool", _link_local_multicast),),
        "isLinkLocalUnicast": (overload("ip.>bool", lambda held: held.value.is_link_local),),
        "isGlobalUnicast": (overload("ip.>bool", _global),),
        "cidr": (overload("string>cidr", read_cidr),),
        "isCIDR": (overload("string>bool", _is(read_cidr)),),
        "containsIP": (
            overload("cidr.ip>bool", _holds_ip),
            overload("cidr.string>bool", lambda block, text: _holds_ip(block, read_ip(text))),
        ),
        "containsCIDR": (
            overload("cidr.cidr>bool", _holds),
            overload("cidr.string>bool", lambda block, text: _holds(block, read_cidr(text))),
        ),
        "prefixLength": (overload("cidr.>int", lambda block: block.value.prefixlen),),
        "masked": (overload("cidr.>cidr", lambda block: block),),
    }
)
"""By name; merged with the others in ``cel_table``."""
