"""Conditions of the plugin ``view``: trees that the compiler checked, as functions of a question. Pure.

The grammar and the types are those of ``podwire.compile.corefile_view``; a tree that is not one of its is refused when
the configuration is built. Source: coredns:plugin/pkg/expression.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from podwire.planes.dns import message as m
from podwire.planes.dns import wire
from podwire.planes.dns.chain import Request

Condition = Callable[[Request], Any]
_CLASSES = {1: "IN", 3: "CH", 4: "HS", 255: "ANY"}

_READERS: Mapping[str, Condition] = {
    "type": lambda r: m.TYPE_NAMES.get(r.query.rtype, f"TYPE{r.query.rtype}"),
    "name": lambda r: wire.decode_name(r.key).rstrip(".") + ".",
    "class": lambda r: _CLASSES.get(r.query.rclass, f"CLASS{r.query.rclass}"),
    "proto": lambda r: "tcp" if r.tcp else "udp",
    "size": lambda r: len(r.packet),
    "client_ip": lambda r: r.client,
    "port": lambda r: str(r.port),
    "id": lambda r: int.from_bytes(r.query.ident, "big"),
    "opcode": lambda r: 0,
    "do": lambda r: r.query.dnssec_ok,
    "bufsize": lambda r: r.query.size,
    "server_ip": lambda r: r.server,
    "server_port": lambda r: str(r.server_port),
}
_PAIRS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "contains": lambda a, b: b in a,
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
}


def compile_condition(tree: Any) -> Condition:
    """A tree as a function. Raises :class:`ValueError` for one that is not known."""
    name, *parts = tree
    match name:
        case "text" | "number" | "bool":
            value = parts[0]
            return lambda _: value
        case "matches":
            subject, pattern = compile_condition(parts[0]), re.compile(parts[1][1])
            return lambda r: pattern.search(subject(r)) is not None
        case "incidr":
            subject, network = compile_condition(parts[0]), ip_network(parts[1][1], strict=False)
            return lambda r: _holds(network, subject(r))
    if name in _READERS:
        return _READERS[name]
    made = [compile_condition(part) for part in parts]
    if name in _PAIRS and len(made) == 2:
        (left, right), compare = made, _PAIRS[name]
        return lambda r: compare(left(r), right(r))
    match name, made:
        case "or", [left, right]:
            return lambda r: left(r) or right(r)
        case "and", [left, right]:
            return lambda r: left(r) and right(r)
        case "not", [only]:
            return lambda r: not only(r)
        case "in", [left, right]:
            return lambda r: left(r) in right(r)
        case "list", _:
            return lambda r: [part(r) for part in made]
    raise ValueError(f"an expression of plugin view has {name!r}, which this server does not know")


def _holds(network: Any, text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address.version == network.version and address in network
