"""SCTP packets on a kernel without SCTP: raw sockets send INIT chunks and see what arrives.

Policy matches SCTP by protocol number and port, so the protocol itself need not be spoken. Source: RFC 9260, 3.3.2.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from podwire.planes.nft.netns import run_in_netns
from podwire.testing.probes import SILENCE_SECONDS

PROTOCOL = 132
SOURCE_PORT = 40000


class SctpProbe(NamedTuple):
    """An INIT from a namespace to a pod's address, to be seen in the pod's namespace."""

    source: str
    destination: str
    address: str
    port: int


def crc32c(data: bytes) -> int:
    """The checksum of SCTP; connection tracking drops packets with a wrong one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def make_init(port: int, tag: int) -> bytes:
    """An INIT chunk with a tag to recognize it by."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, tag, 65536, 1, 1, 1)
    header = struct.pack("!HHI", SOURCE_PORT + tag, port, 0)
    checksum = struct.pack("<I", crc32c(header + bytes(4) + chunk))
    return header + checksum + chunk


async def send_inits(probes: Iterable[SctpProbe]) -> dict[SctpProbe, bool]:
    """Whether each INIT arrives."""
    tagged = dict(enumerate(dict.fromkeys(probes), start=1))
    ears = {name: _open(name) for name in {p.destination for p in tagged.values()}}
    missing, all_there, loop = set(tagged), asyncio.Event(), asyncio.get_running_loop()

    def hear(ear: socket.socket) -> None:
        missing.discard(_tag_of(ear.recv(2048)))
        if not missing:
            all_there.set()

    for ear in ears.values():
        loop.add_reader(ear, hear, ear)
    try:
        for tag, probe in tagged.items():
            with await asyncio.to_thread(_open, probe.source) as sender:
                sender.sendto(make_init(probe.port, tag), (probe.address, 0))
        with suppress(TimeoutError):
            await asyncio.wait_for(all_there.wait(), SILENCE_SECONDS)
    finally:
        for ear in ears.values():
            loop.remove_reader(ear)
            ear.close()
    return {probe: tag not in missing for tag, probe in tagged.items()}


def _open(netns: str) -> socket.socket:
    made = run_in_netns(netns, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, PROTOCOL))
    made.setblocking(False)
    return made


def _tag_of(packet: bytes) -> int:
    """The initiate tag; 0 when it is no INIT."""
    start = (packet[0] & 15) * 4
    if len(packet) < start + 20 or packet[start + 12] != 1:
        return 0
    return int.from_bytes(packet[start + 16 : start + 20], "big")
