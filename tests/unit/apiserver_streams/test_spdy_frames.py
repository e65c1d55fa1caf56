"""SPDY/3.1 frames: what one framer writes another reads, however the bytes are cut; hostile bytes are refused."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.apiserver.streams.dictionary import DICTIONARY
from podwire.apiserver.streams.spdy import (
    SEND_BYTES,
    Data,
    Framer,
    GoAway,
    Ping,
    Reset,
    SpdyError,
    SynReply,
    SynStream,
    data_frames,
    goaway_frame,
    ping_frame,
    reset_frame,
)

TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


def test_the_dictionary_is_the_one_of_the_draft() -> None:
    """Both ends must hold the same bytes; zlib names a dictionary by its Adler-32."""
    assert len(DICTIONARY) == 1423
    assert DICTIONARY[:15] == b"\0\0\0\x07options\0\0\0\x04"
    assert DICTIONARY.endswith(b"charset=iso-8859-1,utf-,*,enq=0.")
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@given(
    st.lists(st.tuples(st.dictionaries(TEXT, TEXT, max_size=4), st.binary(max_size=50), st.booleans()), max_size=5),
    st.integers(1, 40),
)
def test_frames_survive_any_cut(streams: list[tuple[dict[str, str], bytes, bool]], step: int) -> None:
    sender, receiver = Framer(), Framer()
    wire, wanted = b"", []
    for number, (headers, data, fin) in enumerate(streams):
        stream = 2 * number + 1
        wire += sender.syn_stream(stream, headers, fin=fin) + data_frames(stream, data, fin=fin)
        wanted += [SynStream(stream, {k.lower(): v for k, v in headers.items()}, fin), Data(stream, data, fin)]
    got = [frame for at in range(0, len(wire), step) for frame in receiver.feed(wire[at : at + step])]
    assert got == wanted


def test_small_frames() -> None:
    framer = Framer()
    wire = ping_frame(7) + reset_frame(3, 5) + goaway_frame(9) + Framer().syn_reply(1, {"a": "b"})
    assert framer.feed(wire) == [Ping(7), Reset(3, 5), GoAway(9), SynReply(1, {"a": "b"})]


def test_settings_and_windows_mean_nothing_here() -> None:
    settings = struct.pack(">HHI", 0x8003, 4, 4) + struct.pack(">I", 0)
    window = struct.pack(">HHI", 0x8003, 9, 8) + struct.pack(">II", 1, 100)
    assert Framer().feed(settings + window + ping_frame(1)) == [Ping(1)]


def test_long_data_is_cut_and_only_its_last_piece_ends_the_stream() -> None:
    frames = Framer().feed(data_frames(1, b"x" * (2 * SEND_BYTES + 1), fin=True))
    assert [(len(f.data), f.fin) for f in frames if isinstance(f, Data)] == [
        (SEND_BYTES, False),
        (SEND_BYTES, False),
        (1, True),
    ]


def block(plain: bytes) -> bytes:
    packer = zlib.compressobj(zdict=DICTIONARY)
    packed = packer.compress(plain) + packer.flush(zlib.Z_SYNC_FLUSH)
    body = struct.pack(">IIBB", 1, 0, 0, 0) + packed
    return struct.pack(">HHI", 0x8003, 1, len(body)) + body


@pytest.mark.parametrize(
    "wire",
    [
        struct.pack(">HHI", 0x8002, 6, 4) + b"\0\0\0\1",
        struct.pack(">HHI", 0x8003, 6, 2) + b"\0\0",
        struct.pack(">HHI", 0x8003, 1, 0xFFFFFF),
        struct.pack(">II", 1, 0xFFFFFF),
        struct.pack(">HHI", 0x8003, 1, 14) + b"\0\0\0\1" + b"\xff" * 10,
        block(struct.pack(">I", 1) + b"\0" * (1 << 20)),
        block(struct.pack(">II", 1, 999) + b"name"),
        block(b"\0"),
        block(struct.pack(">I", 0xFFFFFFFF)),
    ],
    ids=["version", "short", "long-control", "long-data", "no-zlib", "bomb", "beyond", "no-count", "many"],
)
def test_hostile_frames_are_refused(wire: bytes) -> None:
    with pytest.raises(SpdyError):
        Framer().feed(wire)


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_refusal(data: bytes) -> None:
    with suppress(SpdyError):
        Framer().feed(data)
