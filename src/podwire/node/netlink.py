"""The few rtnetlink messages that pods need: build them as bytes, send them in batches, read the answers.

Owns the encoding of links (veth, bridge, VXLAN), addresses, routes and neighbours, and one blocking socket. Building is
pure.

Rules:

1. A message is a value; nothing is sent until :meth:`Netlink.send`, which checks every acknowledgement.
2. A socket belongs to the network namespace it was opened in, whatever thread uses it later.
3. Interface indexes are chosen by the caller where that saves a question to the kernel.

Why not a library or the ``ip`` command: pyroute2 costs 137 ms to import, which is a seventh of the start budget, and
each ``ip`` costs 2-3 ms of fork and exec where a pod needs eight settings. The family is seen from the addresses.

Source: linux/rtnetlink.h, linux/if_link.h, rtnetlink(7); docs/lab/2026-11-24-namespaces-and-links.md.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from podwire.base import PodwireError

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEIGH, RTM_DELNEIGH = (
    16,
    17,
    20,
    24,
    25,
    28,
    29,
)
NLM_REQUEST, NLM_ACK, NLM_REPLACE, NLM_EXCL, NLM_CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
IFF_UP: Final = 1
SCOPE_UNIVERSE, SCOPE_LINK = 0, 253
NUD_PERMANENT: Final = 0x80
NO_DETECTION: Final = 0x02
"""IFA_F_NODAD: an IPv6 address is used at once, without a second of asking whether somebody else has it."""
_NLMSG_ERROR: Final = 2
_ON_LINK, _NTF_SELF = 4, 2
_BATCH_BYTES: Final = 32 * 1024
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")


class NetlinkError(PodwireError):
    """The kernel refused a message. ``code`` is the errno."""

    def __init__(self, code: int, what: str) -> None:
        """``what`` says in words what was asked."""
        super().__init__(f"cannot {what}: {os.strerror(code)}")
        self.code = code


class Message(msgspec.Struct, frozen=True):
    """One request. ``tolerate`` lists errnos that mean it is already so."""

    kind: int
    flags: int
    body: bytes
    what: str
    tolerate: tuple[int, ...] = ()


class Peer(msgspec.Struct, frozen=True):
    """The far end of a veth pair, created inside the namespace ``netns_fd``. ``mtu`` holds for both ends; 0: 1500."""

    name: str
    index: int
    netns_fd: int
    mac: bytes = b""
    mtu: int = 0


class Tunnel(msgspec.Struct, frozen=True):
    """What a VXLAN device needs to know: its network identifier, the node's own address, the UDP port."""

    vni: int
    local: str
    port: int


def width_of(address: str) -> int:
    """How long the block of that one address is: 32 or 128 bits."""
    return 128 if ":" in address else 32


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _packed(address: str) -> bytes:
    return socket.inet_pton(_family(address), address)


def encode_attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def _text(kind: int, text: str) -> bytes:
    return encode_attribute(kind, text.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return encode_attribute(kind, struct.pack("=I", value))


def _link_header(index: int, *, up: bool) -> bytes:
    return _LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP if up else 0)


def _new_link(kind: str, name: str, index: int, attributes: bytes, data: bytes = b"") -> Message:
    info = _text(1, kind) + (encode_attribute(2, data) if data else b"")
    body = _link_header(index, up=True) + _text(3, name) + attributes + encode_attribute(18, info)
    return Message(RTM_NEWLINK, NLM_CREATE | NLM_EXCL, body, f"create {kind} {name}")


def add_veth(name: str, peer: Peer, *, index: int = 0, mac: bytes = b"", master: int = 0) -> Message:
    """A veth pair: ``name`` here and up, ``peer`` down in its namespace. ``index`` 0: the kernel chooses both.

    The far end must be brought up from its side: created up, it fails with ENOTCONN, as it has no peer yet then.
    """
    both = _number(4, peer.mtu) if peer.mtu else b""
    far = _link_header(peer.index, up=False) + _text(3, peer.name) + _number(28, peer.netns_fd) + both
    far += encode_attribute(1, peer.mac) if peer.mac else b""
    near = (encode_attribute(1, mac) if mac else b"") + (_number(10, master) if master else b"")
    return _new_link("veth", name, index, near + both, encode_attribute(1, far))


def add_bridge(name: str, *, index: int) -> Message:
    """A bridge without STP or multicast snooping: its ports forward at once."""
    return _new_link("bridge", name, index, b"", encode_attribute(23, b"\0"))


def add_vxlan(name: str, tunnel: Tunnel, *, index: int, mac: bytes, mtu: int) -> Message:
    """A VXLAN device that learns nothing: where frames go is said by :func:`set_forwarding`."""
    local = 17 if ":" in tunnel.local else 4
    data = _number(1, tunnel.vni) + encode_attribute(local, _packed(tunnel.local)) + encode_attribute(7, b"\0")
    data += encode_attribute(15, struct.pack("!H", tunnel.port))
    return _new_link("vxlan", name, index, encode_attribute(1, mac) + _number(4, mtu), data)


def set_up(index: int) -> Message:
    """Bring a link up."""
    return Message(RTM_NEWLINK, 0, _link_header(index, up=True), f"bring up link {index}")


def set_link(name: str, *, up: bool) -> Message:
    """Bring a link up or down by its name."""
    header = _LINK.pack(socket.AF_UNSPEC, 0, 0, IFF_UP if up else 0, IFF_UP)
    return Message(RTM_NEWLINK, 0, header + _text(3, name), f"bring {'up' if up else 'down'} link {name}")


def delete_link(name: str) -> Message:
    """Remove a link (and the far end of a veth pair); one that is not there is fine."""
    return Message(RTM_DELLINK, 0, _link_header(0, up=False) + _text(3, name), f"delete link {name}", (errno.ENODEV,))


def add_address(index: int, address: str, length: int) -> Message:
    """``address/length`` on the link."""
    packed = _packed(address)
    body = _ADDRESS.pack(_family(address), length, NO_DETECTION if ":" in address else 0, SCOPE_UNIVERSE, index)
    body += encode_attribute(1, packed) + encode_attribute(2, packed)
    return Message(RTM_NEWADDR, NLM_CREATE | NLM_REPLACE, body, f"add address {address}/{length}")


def _route(destination: str, *, via: str, index: int, source: str, flags: int = 0) -> bytes:
    address, _, length = destination.partition("/")
    scope = SCOPE_UNIVERSE if via or ":" in address else SCOPE_LINK
    body = _ROUTE.pack(_family(address), int(length or width_of(address)), 0, 0, 254, 3, scope, 1, flags)
    if length != "0":
        body += encode_attribute(1, _packed(address))
    body += encode_attribute(5, _packed(via)) if via else b""
    body += encode_attribute(7, _packed(source)) if source else b""
    return body + (_number(4, index) if index else b"")


def set_route(destination: str, *, via: str = "", index: int = 0, source: str = "", on_link: bool = False) -> Message:
    """A route in the main table, replacing one to the same destination. ``0.0.0.0/0`` and ``::/0`` are the default
    routes.

    ``on_link``: ``via`` is a neighbour on the link whatever the addresses say.
    """
    body = _route(destination, via=via, index=index, source=source, flags=_ON_LINK if on_link else 0)
    return Message(RTM_NEWROUTE, NLM_CREATE | NLM_REPLACE, body, f"route {destination} via {via or index}")


def add_route(destination: str, *, via: str = "", index: int = 0, source: str = "") -> Message:
    """As :func:`set_route`, but a route that is there to the same destination stays."""
    body = _route(destination, via=via, index=index, source=source)
    flags = NLM_CREATE | NLM_EXCL
    return Message(RTM_NEWROUTE, flags, body, f"route {destination} via {via or index}", (errno.EEXIST,))


def delete_route(destination: str, *, via: str = "", index: int = 0) -> Message:
    """Remove a route; one that is not there is fine."""
    body = _route(destination, via=via, index=index, source="")
    return Message(RTM_DELROUTE, 0, body, f"delete route {destination}", (errno.ESRCH, errno.ENODEV, errno.ENETUNREACH))


def set_neighbour(index: int, address: str, mac: bytes) -> Message:
    """A permanent neighbour entry: nobody is ever asked for ``address``."""
    body = _NEIGHBOUR.pack(_family(address), index, NUD_PERMANENT, 0, 0)
    body += encode_attribute(1, _packed(address)) + encode_attribute(2, mac)
    return Message(RTM_NEWNEIGH, NLM_CREATE | NLM_REPLACE, body, f"set neighbour {address}")


def set_forwarding(index: int, mac: bytes, address: str) -> Message:
    """Frames for ``mac`` leave the VXLAN device ``index`` to the node at ``address``."""
    body = _NEIGHBOUR.pack(socket.AF_BRIDGE, index, NUD_PERMANENT, _NTF_SELF, 0)
    body += encode_attribute(1, _packed(address)) + encode_attribute(2, mac)
    return Message(RTM_NEWNEIGH, NLM_CREATE | NLM_REPLACE, body, f"forward frames to {address}")


def delete_forwarding(index: int, mac: bytes, address: str) -> Message:
    """Undo :func:`set_forwarding`; one that is not there is fine."""
    body = _NEIGHBOUR.pack(socket.AF_BRIDGE, index, 0, _NTF_SELF, 0)
    body += encode_attribute(1, _packed(address)) + encode_attribute(2, mac)
    return Message(RTM_DELNEIGH, 0, body, f"stop forwarding to {address}", (errno.ENOENT, errno.ENODEV))


def delete_neighbour(index: int, address: str) -> Message:
    """Remove a neighbour entry; one that is not there is fine."""
    body = _NEIGHBOUR.pack(_family(address), index, 0, 0, 0) + encode_attribute(1, _packed(address))
    return Message(RTM_DELNEIGH, 0, body, f"delete neighbour {address}", (errno.ENOENT, errno.ENODEV))


def encode(message: Message, sequence: int) -> bytes:
    """The message with its header, asking for an acknowledgement."""
    flags = message.flags | NLM_REQUEST | NLM_ACK
    return _HEADER.pack(_HEADER.size + len(message.body), message.kind, flags, sequence, 0) + message.body


def decode_acknowledgements(data: bytes) -> Iterable[tuple[int, int]]:
    """``(sequence, errno)`` of every acknowledgement in one datagram; errno 0 is success."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
        if kind == _NLMSG_ERROR:
            yield sequence, -struct.unpack_from("=i", data, offset + _HEADER.size)[0]
        offset += max(length + (-length % 4), _HEADER.size)


class Netlink:
    """A blocking rtnetlink socket of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        """Open it. Raises :class:`OSError` when the kernel has no rtnetlink."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        with suppress(OSError):  # NETLINK_CAP_ACK: answers without a copy of the request
            self._socket.setsockopt(270, 10, 1)
        self._sequence = 0

    def send(self, messages: Sequence[Message]) -> None:
        """Send all in order and wait for all. Raises :class:`NetlinkError` for the first refusal, after all ran."""
        refused: NetlinkError | None = None
        for batch in _batches(messages):
            refused = self._send_batch(batch) or refused
        if refused is not None:
            raise refused

    def _send_batch(self, batch: Sequence[Message]) -> NetlinkError | None:
        waiting = {}
        data = b""
        for message in batch:
            self._sequence += 1
            waiting[self._sequence] = message
            data += encode(message, self._sequence)
        self._socket.send(data)
        refused: NetlinkError | None = None
        while waiting:
            for sequence, code in decode_acknowledgements(self._socket.recv(65536)):
                asked = waiting.pop(sequence, None)
                if asked is not None and code and code not in asked.tolerate:
                    refused = refused or NetlinkError(code, asked.what)
        return refused

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _batches(messages: Sequence[Message]) -> Iterable[list[Message]]:
    batch: list[Message] = []
    size = 0
    for message in messages:
        if size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += _HEADER.size + len(message.body)
    if batch:
        yield batch
