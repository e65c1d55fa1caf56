"""Noticing that somebody else changed a namespace's nftables (P22), and whether that touched what is ours.

Rules:

1. The kernel tells each transaction's end (``NFT_MSG_NEWGEN``) before the one who asked for it gets his answer. So
   what is in the queue before a transaction of ours, and all but one after it, is others'. A filter in the kernel drops
   every other message, so a transaction of 5,000 elements costs one.
2. Only after a foreign transaction is anything looked at: rules by their handles, maps by how many elements they hold.
   A table where either differs is loaded anew, the others are left alone.
3. Elements that packets make (``affinity``, ``rejected``, ``hits``) are not ours to compare.

Source: linux ``net/netfilter/nf_tables_api.c`` (``nf_tables_gen_notify``), ``uapi/linux/netfilter/nf_tables.h``.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Mapping

from podwire.planes.nft.elements import count_elements, read_rule_handles
from podwire.planes.nft.tables import FAMILIES, Family
from podwire.planes.nft.wire import NETLINK_NETFILTER, split_attributes, split_messages

_NEW_GENERATION = 10 << 8 | 15
_GROUP_NFTABLES = 1 << 6
_PROCESS_ID, _PROCESS_NAME = 2, 3
_TIMEOUT_SECONDS = 5
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06
_KEEP_ALL = 0xFFFFFFFF
_SO_ATTACH_FILTER = 26

INEXACT = frozenset(name for f in FAMILIES for name in (f.cidr_identity, f.inside, f.own_pods))
"""Interval maps of one field: the kernel tells the ends of intervals, so only empty or not is compared."""


class Guard:
    """Two sockets of one namespace: one that hears of transactions, one to ask. Used under the agent's lock, except
    :meth:`fileno` and :meth:`close`."""

    def __init__(self) -> None:
        """Open both in the namespace of the calling thread. Raises :class:`OSError`."""
        self.disturbed = False
        self.by = ""
        self._handles: dict[tuple[str, str], frozenset[int]] = {}
        self._ear = _open(_GROUP_NFTABLES)
        try:
            _attach_filter(self._ear)
            self._ear.setblocking(False)
            self._asker = _open(0)
        except BaseException:
            self._ear.close()
            raise

    def fileno(self) -> int:
        """Readable when there was a transaction."""
        return self._ear.fileno()

    def close(self) -> None:
        """Give both back."""
        self._ear.close()
        self._asker.close()

    def listen(self, *, own: int) -> None:
        """Take in what happened, ``own`` of which at most were our transactions."""
        foreign = -own
        while True:
            try:
                data = self._ear.recv(1 << 12)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                foreign += own + 1
                continue
            foreign += 1
            if foreign > 0:
                self.by = _who(data) or self.by
        self.disturbed = self.disturbed or foreign > 0

    def note_rules(self, family: Family, table: str) -> None:
        """Remember the rules of a table that was just changed by us. Raises :class:`OSError`."""
        self._handles[family.nft, table] = read_rule_handles(self._asker, family.nft, table)

    def is_whole(self, family: Family, table: str, expected: Mapping[str, int]) -> bool:
        """Whether a table holds the rules it held, and as many elements in each map as ``expected``.

        Raises :class:`OSError` when the kernel cannot be asked.
        """
        if read_rule_handles(self._asker, family.nft, table) != self._handles.get((family.nft, table)):
            return False
        return all(_is_equal(name, count_elements(self._asker, name), count) for name, count in expected.items())


def _is_equal(name: str, seen: int, expected: int) -> bool:
    return bool(seen) == bool(expected) if name in INEXACT else seen == expected


def _who(data: bytes) -> str:
    for _, body in split_messages(data):
        attributes = dict(split_attributes(body[4:]))
        name = attributes.get(_PROCESS_NAME, b"").rstrip(b"\0").decode(errors="replace")
        return f"{name} (pid {int.from_bytes(attributes.get(_PROCESS_ID, b''), 'big')})"
    return ""


def _open(groups: int) -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    made.settimeout(_TIMEOUT_SECONDS)
    made.bind((0, groups))
    return made


def _attach_filter(ear: socket.socket) -> None:
    """Keep messages of one type only. The filter reads big-endian, the header is in the machine's order."""
    wanted = socket.htons(_NEW_GENERATION)
    code = [(_LOAD_HALF, 0, 0, 4), (_JUMP_EQUAL, 0, 1, wanted), (_RETURN, 0, 0, _KEEP_ALL), (_RETURN, 0, 0, 0)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
    ear.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HxxxxxxQ", len(code), ctypes.addressof(program)))
