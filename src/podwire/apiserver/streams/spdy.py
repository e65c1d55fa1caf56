"""SPDY/3.1 frames, sans I/O: bytes to frames and back.

1. A framer belongs to one connection: header blocks are compressed with one zlib stream per direction.
2. Input is hostile: frames, header blocks and their expansion are limited; a violation ends the connection.
3. There is no flow control (the Go peer, moby/spdystream, neither sends nor honours WINDOW_UPDATE).

Spec: SPDY Protocol - Draft 3.1, sections 2.2, 2.6; moby/spdystream spdy/{read,write,types}.go.
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from podwire.apiserver.streams.dictionary import DICTIONARY

VERSION: Final = 3
FIN: Final = 1
MAX_DATA_BYTES: Final = 1024 * 1024
MAX_CONTROL_BYTES: Final = 64 * 1024
MAX_HEADERS_BYTES: Final = 64 * 1024
SEND_BYTES: Final = 32 * 1024
"""Largest data frame sent."""

PROTOCOL_ERROR, REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 1, 3, 5, 6

_SYN_STREAM, _SYN_REPLY, _RST, _SETTINGS, _PING, _GOAWAY, _HEADERS, _WINDOW = 1, 2, 3, 4, 6, 7, 8, 9


class SpdyError(Exception):
    """The peer does not speak SPDY/3.1, or too much of it."""


class SynStream(msgspec.Struct, frozen=True):
    """The peer opens a stream. Header names are lower case."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class SynReply(msgspec.Struct, frozen=True):
    """The peer accepted our stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class Headers(msgspec.Struct, frozen=True):
    """More headers of a stream."""

    stream: int
    headers: Mapping[str, str]
    fin: bool = False


class Data(msgspec.Struct, frozen=True):
    """Bytes of a stream; ``fin`` closes the sender's half."""

    stream: int
    data: bytes
    fin: bool = False


class Reset(msgspec.Struct, frozen=True):
    """A stream is over at once."""

    stream: int
    status: int


class Ping(msgspec.Struct, frozen=True):
    """To be sent back when the peer's (odd numbers are the client's)."""

    number: int


class GoAway(msgspec.Struct, frozen=True):
    """The peer opens no more streams."""

    last_stream: int


Frame = SynStream | SynReply | Headers | Data | Reset | Ping | GoAway


class Framer:
    """Both directions of one connection."""

    def __init__(self) -> None:
        """A fresh connection."""
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(level=1, zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that ``data`` completes; frames that mean nothing here are left out. Raises :class:`SpdyError`."""
        self._buffer += data
        frames: list[Frame] = []
        while len(self._buffer) >= 8:
            first, second = struct.unpack_from(">II", self._buffer)
            control, length = bool(first >> 31), second & 0xFFFFFF
            if length > (MAX_CONTROL_BYTES if control else MAX_DATA_BYTES):
                raise SpdyError(f"a frame of {length} bytes is too long")
            if len(self._buffer) < 8 + length:
                break
            body = bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            fin = bool(second >> 24 & FIN)
            frame = self._control(first, body, fin=fin) if control else Data(first, body, fin)
            if frame is not None:
                frames.append(frame)
        return frames

    def _control(self, first: int, body: bytes, *, fin: bool) -> Frame | None:
        if first >> 16 & 0x7FFF != VERSION:
            raise SpdyError("only SPDY/3.1 is spoken here")
        kind = first & 0xFFFF
        try:
            match kind:
                case 1:
                    return SynStream(_stream(body), self._unpack(body[10:]), fin)
                case 2:
                    return SynReply(_stream(body), self._unpack(body[4:]), fin)
                case 8:
                    return Headers(_stream(body), self._unpack(body[4:]), fin)
                case 3:
                    return Reset(_stream(body), struct.unpack_from(">I", body, 4)[0])
                case 6:
                    return Ping(struct.unpack_from(">I", body)[0])
                case 7:
                    return GoAway(_stream(body))
                case _:
                    return (
                        None  # SETTINGS, WINDOW_UPDATE, CREDENTIAL: rule 3; unknown types are ignored (section 2.2.1)
                    )
        except struct.error as error:
            raise SpdyError(f"a control frame of type {kind} is too short") from error

    def _unpack(self, block: bytes) -> dict[str, str]:
        """A header block. Values of a repeated name are joined by commas."""
        try:
            plain = self._inflate.decompress(block, MAX_HEADERS_BYTES)
        except zlib.error as error:
            raise SpdyError(f"a header block cannot be decompressed: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("a header block is too long")
        headers: dict[str, str] = {}
        (count,) = struct.unpack_from(">I", plain)
        at = 4
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            headers[name.lower()] = value.replace("\0", ",")
        return headers

    def _pack(self, headers: Mapping[str, str]) -> bytes:
        plain = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower().encode("latin-1"), value.encode("latin-1", "replace")):
                plain += [struct.pack(">I", len(text)), text]
        return self._deflate.compress(b"".join(plain)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """Open a stream (a client's side; tests use it)."""
        body = struct.pack(">IIBB", stream, 0, 0, 0) + self._pack(headers)
        return _frame(_SYN_STREAM, body, fin=fin)

    def syn_reply(self, stream: int, headers: Mapping[str, str] | None = None) -> bytes:
        """Accept a stream."""
        return _frame(_SYN_REPLY, struct.pack(">I", stream) + self._pack(headers or {}))


def data_frames(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """Data in frames of at most :data:`SEND_BYTES`."""
    pieces = [data[at : at + SEND_BYTES] for at in range(0, len(data), SEND_BYTES)] or [b""]
    last = len(pieces) - 1
    return b"".join(
        struct.pack(">II", stream, (FIN << 24 if fin and index == last else 0) | len(piece)) + piece
        for index, piece in enumerate(pieces)
    )


def reset_frame(stream: int, status: int) -> bytes:
    """End a stream at once."""
    return _frame(_RST, struct.pack(">II", stream, status))


def ping_frame(number: int) -> bytes:
    """A ping, or the answer to one."""
    return _frame(_PING, struct.pack(">I", number))


def goaway_frame(last_stream: int, status: int = 0) -> bytes:
    """No more streams; ``status`` 0 is a normal end."""
    return _frame(_GOAWAY, struct.pack(">II", last_stream, status))


def _frame(kind: int, body: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">HHI", 0x8000 | VERSION, kind, (FIN << 24 if fin else 0) | len(body)) + body


def _stream(body: bytes) -> int:
    number: int = struct.unpack_from(">I", body)[0] & 0x7FFFFFFF
    return number


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise SpdyError("a header is longer than its block")
    return plain[at + 4 : end].decode("latin-1"), end
