"""Addresses and ports as plain, ordered, immutable values.

``Cidr`` keeps integers rather than :mod:`ipaddress` objects in its fields: plans hold tens of thousands of them, and
they are compared, sorted and encoded far more often than printed.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal

import msgspec

Protocol = Literal["TCP", "UDP", "SCTP"]

_WIDTH = {4: 32, 6: 128}


class Cidr(msgspec.Struct, frozen=True, order=True):
    """A block of addresses of one family, host bits zero."""

    family: int
    base: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "Cidr":
        """``10.0.0.0/8`` or a single address. Raises :class:`ValueError` on anything else, and on host bits."""
        network = ip_network(text)
        return cls(network.version, int(network.network_address), network.prefixlen)

    @classmethod
    def parse_lenient(cls, text: str) -> "Cidr":
        """As :meth:`parse`, but host bits are cleared, as the API accepts ``10.0.0.7/8`` in stored objects."""
        network = ip_network(text, strict=False)
        return cls(network.version, int(network.network_address), network.prefixlen)

    @property
    def last(self) -> int:
        """The last address of the block, as an integer."""
        return self.base | ((1 << (_WIDTH[self.family] - self.length)) - 1)

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """The block as the standard library knows it."""
        return IPv4Network((self.base, self.length)) if self.family == 4 else IPv6Network((self.base, self.length))

    def contains(self, address: str) -> bool:
        """Whether ``address`` (text) lies in the block; another family never does."""
        parsed = ip_address(address)
        return parsed.version == self.family and self.base <= int(parsed) <= self.last

    def covers(self, other: "Cidr") -> bool:
        """Whether every address of ``other`` lies in this block."""
        return self.family == other.family and self.base <= other.base and other.last <= self.last

    def __str__(self) -> str:
        """``10.0.0.0/8``."""
        return str(self.network)


class PortSpan(msgspec.Struct, frozen=True, order=True):
    """An inclusive span of ports."""

    first: int
    last: int


class PortSet(msgspec.Struct, frozen=True, order=True):
    """Disjoint, sorted, maximal spans of ports."""

    spans: tuple[PortSpan, ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[int, int]]) -> "PortSet":
        """The union of ``(first, last)`` pairs."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(spans):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        return cls(tuple(PortSpan(first, last) for first, last in merged))

    def __contains__(self, port: int) -> bool:
        """Whether the set holds ``port``."""
        return any(span.first <= port <= span.last for span in self.spans)

    def __iter__(self) -> Iterator[PortSpan]:
        """The spans, in order."""
        return iter(self.spans)


def join_port(host: str, port: object) -> str:
    """``10.0.0.1:80``, ``name:80`` or ``[fd00::1]:80``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(address: str) -> Literal[4, 6]:
    """4 or 6. Raises :class:`ValueError` when ``address`` is no address."""
    return ip_address(address).version
