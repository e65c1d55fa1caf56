"""exec, attach and logs of containers."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.kernel.node_world import (
    ORIGIN,
    RESOLV,
    WEB,
    World,
    collect,
    output,
    process,
    run,
    stand_in,
)

from podwire.base import PodwireError
from podwire.plan.node import (
    Container,
    ProcessWork,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def test_exec_into_a_stand_in_runs_the_machines_tools_there(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        code, out, _ = await collect(world, uid, "cat", "/etc/resolv.conf")
        assert (code, out.decode()) == (0, RESOLV)
        with pytest.raises(PodwireError, match='exec: "no-such-tool": no such program'):
            await collect(world, uid, "no-such-tool")
        with pytest.raises(PodwireError, match="container other not found"):
            await collect(world, uid, "true", container="other")

    run(test, tmp_path)


def test_exec_with_input_and_with_a_terminal(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "1000"))
        await world.ready(uid)
        piped = await world.runtime.exec(uid, "tool", ("cat",), stdin=True, tty=False)
        await piped.write(b"x" * 300_000)
        await piped.close_stdin()
        assert await output(piped) == (0, b"x" * 300_000, b"")
        terminal = await world.runtime.exec(uid, "tool", ("sh", "-c", "read a; stty size; tty"), stdin=True, tty=True)
        terminal.resize(120, 40)
        await terminal.write(b"go\n")
        code, out, _ = await output(terminal)
        assert code == 0
        assert b"40 120" in out
        assert b"not a tty" not in out
        killed = await world.runtime.exec(uid, "tool", ("sleep", "1000"), stdin=False, tty=False)
        killed.kill()
        assert (await output(killed))[0] == 137

    run(test, tmp_path)


def test_logs_follow_and_attach(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        script = "echo first; echo wrong >&2; while ! test -e /tmp/go; do sleep 0.02; done; echo last; sleep 1000"
        uid = world.add("app", process("sh", "-c", script))
        await world.ready(uid)
        seen = []
        attached = await world.runtime.attach(uid, "tool", stdin=False, tty=False)
        async for at, stream, line in world.runtime.logs(uid, "", follow=True, previous=False):
            assert at > 1_700_000_000
            seen.append((stream, line))
            if len(seen) == 2:
                await collect(world, uid, "touch", "/tmp/go")
            if line == b"last\n":
                break
        assert sorted(seen[:2]) == [("stderr", b"wrong\n"), ("stdout", b"first\n")]
        while (chunk := await attached.read()) is not None and chunk != (1, b"last\n"):
            pass
        assert chunk == (1, b"last\n")
        attached.kill()
        assert await attached.wait() == 0
        with pytest.raises(PodwireError, match="previous terminated container"):
            world.runtime.logs(uid, "tool", follow=False, previous=True)

    run(test, tmp_path)


def test_attach_with_input_and_terminal(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        shell = process("sh", stdin=True, stdin_once=True, tty=True)
        uid = world.add("debug", shell, restart_policy="Never")
        cat = world.add("cat", process("cat", stdin=True, stdin_once=True), restart_policy="Never")
        await world.ready(uid, cat)
        session = await world.runtime.attach(uid, "tool", stdin=True, tty=True)
        session.resize(100, 30)
        await session.write(b"stty size; echo $((40+2)); exit 5\n")
        code, out, _ = await output(session)
        assert code == 0
        await world.until(lambda: world.facts[uid].containers[0].exit_code == 5)
        assert b"30 100\r\n42" in out
        piped = await world.runtime.attach(cat, "tool", stdin=True, tty=False)
        await piped.write(b"over and out")
        await piped.close_stdin()
        assert await output(piped) == (0, b"over and out", b"")
        await world.until(lambda: world.facts[cat].containers[0].reason == "Completed")

    run(test, tmp_path)


def test_many_programs_start_and_end_at_once(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        many = [Container(ORIGIN, f"c{i}", "busybox", ProcessWork(("sleep", "1000"), "tool")) for i in range(40)]
        uid = world.add("many", *many)
        await world.ready(uid)
        asked = [collect(world, uid, "echo", str(i), container=f"c{i % 40}") for i in range(80)]
        answers = await asyncio.gather(*asked)
        assert [out for _, out, _ in answers] == [b"%d\n" % i for i in range(80)]

    run(test, tmp_path)
