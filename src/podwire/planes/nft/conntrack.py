"""Forgetting UDP flows that lead nowhere (P16): list and delete conntrack entries by netlink.

Rules:

1. An entry is stale when its original destination is a target of a UDP Service port (or its node port on an address
   of the node) and its reply source is none of the port's serving endpoints.
2. Only UDP entries are read; TCP connections survive the removal of their endpoint (P17).
3. The ``conntrack`` program is not needed.

Source: linux ``include/uapi/linux/netfilter/nfnetlink_conntrack.h``; services P16.
"""

import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from podwire.base import PodwireError
from podwire.planes.nft.netns import run_in_netns
from podwire.planes.nft.tables import UdpFlows
from podwire.planes.nft.wire import (
    ACK,
    DONE,
    DUMP,
    ERROR,
    NETLINK_NETFILTER,
    REQUEST,
    make_message,
    parse_tuple,
    split_attributes,
    split_messages,
    tuple_family,
)

_GET = 1 << 8 | 1  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET
_DELETE = 1 << 8 | 2
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_TIMEOUT_SECONDS = 5


class Flow(msgspec.Struct, frozen=True):
    """One UDP entry: what the client sent to, and who answers. ``raw`` is the original tuple as the kernel wrote it,
    ``family`` its address family."""

    destination: tuple[str, int]
    answerer: tuple[str, int]
    raw: bytes
    family: int = socket.AF_INET


def select_stale(flows: Iterable[Flow], ports: Sequence[UdpFlows], node_addresses: Collection[str]) -> list[Flow]:
    """The flows rule 1 condemns."""
    by_target = {target: port for port in ports for target in port.targets}
    by_node_port = {port.node_port: port for port in ports if port.node_port}
    stale = []
    for flow in flows:
        port = by_target.get(flow.destination)
        if port is None and flow.destination[0] in node_addresses:
            port = by_node_port.get(flow.destination[1])
        if port is not None and flow.answerer not in port.keep:
            stale.append(flow)
    return stale


def delete_stale_flows(netns: str, ports: Sequence[UdpFlows], node_addresses: Collection[str]) -> int:
    """Delete stale UDP flows inside ``netns``; how many went. Raises :class:`PodwireError` when the kernel refuses."""
    try:
        connection = run_in_netns(netns, open_conntrack)
    except OSError as error:
        raise PodwireError(f"conntrack of {netns} cannot be read: {error}") from error
    with connection:
        try:
            stale = select_stale(_list_udp(connection), ports, node_addresses)
            for flow in stale:
                _delete(connection, flow)
        except OSError as error:
            raise PodwireError(f"conntrack of {netns} cannot be changed: {error}") from error
    return len(stale)


def open_conntrack() -> socket.socket:
    """A blocking netlink socket in the namespace of the calling thread."""
    connection = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    connection.settimeout(_TIMEOUT_SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    connection.bind((0, 0))
    return connection


def _list_udp(connection: socket.socket) -> list[Flow]:
    connection.send(make_message(_GET, REQUEST | DUMP))
    flows: list[Flow] = []
    while True:
        data = connection.recv(1 << 17)
        for kind, body in split_messages(data):
            if kind == DONE:
                return flows
            if kind == ERROR:
                raise OSError(-struct.unpack_from("=i", body)[0], "the kernel refused to list conntrack entries")
            flows += _parse_flow(dict(split_attributes(body[4:])))


def _delete(connection: socket.socket, flow: Flow) -> None:
    body = struct.pack("=HH", len(flow.raw) + 4, _TUPLE_ORIG | 0x8000) + flow.raw
    acknowledged(connection, _DELETE, body, family=flow.family)


def acknowledged(connection: socket.socket, kind: int, body: bytes, *, family: int) -> None:
    """Change one entry; an entry that went away by itself meanwhile is success. Raises :class:`OSError`."""
    connection.send(make_message(kind, REQUEST | ACK, body, family=family))
    for kind_seen, answer in split_messages(connection.recv(1 << 16)):
        code = -struct.unpack_from("=i", answer)[0] if kind_seen == ERROR else 0
        if code not in (0, 2):  # ENOENT
            raise OSError(code, "the kernel refused to change a conntrack entry")


def _parse_flow(attributes: dict[int, bytes]) -> Iterator[Flow]:
    raw = attributes.get(_TUPLE_ORIG, b"")
    original, reply = parse_tuple(raw), parse_tuple(attributes.get(_TUPLE_REPLY, b""))
    if original is not None and reply is not None and original.protocol == "UDP":
        asked = (original.destination, original.destination_port)
        yield Flow(asked, (reply.source, reply.source_port), raw, tuple_family(original))
