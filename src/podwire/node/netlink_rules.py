"""Policy routing for the edge, as rtnetlink messages: which table a marked packet is routed by. Pure.

Source: linux/fib_rules.h, ip-rule(8).
"""

import errno
import socket
import struct
from typing import Final

from podwire.node.netlink import NLM_CREATE, NLM_EXCL, NLM_REPLACE, RTM_NEWROUTE, Message, encode_attribute

_NEW_RULE, _DELETE_RULE = 32, 33
_RULE = struct.Struct("=BBBBBBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_TO_TABLE, _UNICAST, _STATIC = 1, 1, 4
_PRIORITY, _MARK, _TABLE = 6, 10, 15
_ROUTE_GATEWAY, _ROUTE_TABLE = 5, 15
_FIRST_PRIORITY: Final = 1000


def _number(kind: int, value: int) -> bytes:
    return encode_attribute(kind, struct.pack("=I", value))


def _rule(mark: int, table: int) -> bytes:
    head = _RULE.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    return head + _number(_PRIORITY, _FIRST_PRIORITY) + _number(_MARK, mark) + _number(_TABLE, table)


def set_rule(mark: int, table: int) -> Message:
    """Packets with ``mark`` are routed by ``table``. One that is there is fine."""
    flags = NLM_CREATE | NLM_EXCL
    return Message(_NEW_RULE, flags, _rule(mark, table), f"route mark {mark} by table {table}", (errno.EEXIST,))


def delete_rule(mark: int, table: int) -> Message:
    """Undo :func:`set_rule`; one that is not there is fine."""
    return Message(_DELETE_RULE, 0, _rule(mark, table), f"forget mark {mark}", (errno.ENOENT,))


def set_way_out(table: int, via: str) -> Message:
    """The default route of a table, replacing the one it has."""
    head = _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0, _STATIC, 0, _UNICAST, 0)
    body = head + encode_attribute(_ROUTE_GATEWAY, socket.inet_aton(via)) + _number(_ROUTE_TABLE, table)
    return Message(RTM_NEWROUTE, NLM_CREATE | NLM_REPLACE, body, f"table {table} via {via}")
