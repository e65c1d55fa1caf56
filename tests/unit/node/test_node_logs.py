"""Log lines: stored form, rotation, followers."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from podwire.base import PodwireError
from podwire.node import logs
from podwire.node.logs import Capture, Line, LogStore


async def texts(lines: AsyncIterator[Line]) -> list[bytes]:
    return [line async for _, _, line in lines]


@pytest.mark.parametrize("line", [b"plain\n", b"no newline", b"\n", b"with spaces \xff\n", b""])
def test_stored_form_round_trips(line: bytes) -> None:
    stored = logs.format_line(1764000000.25, "stderr", line)
    assert stored.endswith(b"\n")
    assert logs.parse_line(stored) == (1764000000.25, "stderr", line)


def test_current_and_previous_run(tmp_path: Path) -> None:
    store = LogStore(tmp_path)
    with pytest.raises(PodwireError, match="has not started yet"):
        store.read("u", "c", follow=False, previous=False)
    for number in range(3):
        log = store.open_run("u", "c", number)
        log.write("stdout", [b"run %d\n" % number, b"x" * logs.HEAD_BYTES + b"\n"])
        log.close()

    async def read() -> tuple[list[bytes], list[bytes]]:
        now = await texts(store.read("u", "c", follow=True, previous=False))
        before = await texts(store.read("u", "c", follow=False, previous=True))
        return now, before

    assert [[line for line in lines if line[:1] != b"x"] for lines in asyncio.run(read())] == [
        [b"run 2\n"],
        [b"run 1\n"],
    ]
    assert sorted(p.name for p in (tmp_path / "u" / "c").iterdir()) == ["1.0.log", "2.0.log"]
    assert (tmp_path / "u" / "c" / "2.0.log").stat().st_mode & 0o777 == 0o600
    store.remove("u")
    assert not (tmp_path / "u").exists()


def test_a_few_words_need_no_file(tmp_path: Path) -> None:
    log = LogStore(tmp_path).open_run("u", "c", 0)
    log.write("stdout", [b"one\rtwo\n"])

    async def read() -> list[bytes]:
        seen: list[bytes] = []
        async for _, _, line in log.read(follow=True):
            seen.append(line)
            if len(seen) == 1:  # what follows moves everything to a file, under the reader
                log.write("stdout", [b"y" * logs.HEAD_BYTES + b"\n"])
                log.close()
        return seen

    assert not list(tmp_path.iterdir())
    assert [line[:7] for line in asyncio.run(read())] == [b"one\rtwo", b"yyyyyyy"]
    assert list(tmp_path.glob("u/c/*.log"))


def test_rotation_keeps_two_files_and_readers_cross_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ROTATE_BYTES", 200)
    log = LogStore(tmp_path).open_run("u", "c", 0)

    async def main() -> list[bytes]:
        log.write("stdout", [b"line 0\n"])
        seen = []
        async for _, _, line in log.read(follow=True):
            seen.append(line)
            if len(seen) < 30:
                log.write("stdout", [b"line %d\n" % len(seen)])
            else:
                log.close()
        return seen

    assert asyncio.run(main()) == [b"line %d\n" % i for i in range(30)]
    assert len(list((tmp_path / "u" / "c").iterdir())) == 2


def test_capture_splits_lines_and_keeps_a_last_one_without_newline(tmp_path: Path) -> None:
    async def main() -> list[Line]:
        log = LogStore(tmp_path).open_run("u", "c", 0)
        heard: list[bytes] = []
        log.listeners.add(lambda _, data: heard.append(data))
        out, out_in = os.pipe()
        capture = Capture(out, "stderr", log)
        os.write(out_in, b"one\ntw")
        os.write(out_in, b"o\n" + b"x" * (logs.LINE_BYTES + 5))
        os.close(out_in)
        await capture.ended.wait()
        log.close()
        assert b"".join(heard) == b"one\ntwo\n" + b"x" * (logs.LINE_BYTES + 5)
        return [line async for line in log.read(follow=True)]

    lines = asyncio.run(main())
    assert [line for _, _, line in lines] == [b"one\n", b"two\n", b"x" * logs.LINE_BYTES, b"x" * 5]
    assert {stream for _, stream, _ in lines} == {"stderr"}
