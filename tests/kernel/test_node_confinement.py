"""What is kept from a program: capabilities, its root file system, more rights; and the signal that ends it."""

import os
from pathlib import Path

import pytest
from tests.kernel.node_world import World, collect, process, run

from podwire.plan.node import EmptyVolume, HostVolume, Mount, User

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def status(text: bytes, name: str) -> int:
    return int(next(line.split()[1] for line in text.decode().splitlines() if line.startswith(name)), 16)


def test_capabilities_that_are_dropped_are_gone_for_exec_too(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        sleep = ("sleep", "1000")
        none = world.add("none", process(*sleep, capabilities=(), no_new_privileges=True))
        one = world.add("one", process(*sleep, capabilities=("NET_BIND_SERVICE",)))
        all_ = world.add("all", process(*sleep))
        await world.ready(none, one, all_)
        seen = {}
        for name, uid in (("none", none), ("one", one), ("all", all_)):
            _, out, _ = await collect(world, uid, "cat", "/proc/1/status", "/proc/self/status")
            seen[name] = out
        assert (status(seen["none"], "CapEff"), status(seen["none"], "NoNewPrivs")) == (0, 1)
        assert (status(seen["one"], "CapEff"), status(seen["one"], "NoNewPrivs")) == (1 << 10, 0)
        assert status(seen["all"], "CapEff") & (1 << 12)
        code, _, _ = await collect(world, none, "chown", "1", "/tmp")
        assert code != 0
        code, out, _ = await collect(world, none, "sh", "-c", "grep CapEff /proc/self/status")
        assert status(out, "CapEff") == 0

    run(test, tmp_path)


def test_a_read_only_root_leaves_volumes_writable(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        host = HostVolume("host", "/etc")
        mounts = (Mount("/room", "work"), Mount("/host", "host"))
        volumes = (host, EmptyVolume("work"))
        container = process("sleep", "1000", read_only_root=True, mounts=mounts, user=User("1000"))
        uid = world.add("app", container, volumes=volumes)
        other = world.add("other", process("sleep", "1000"))
        await world.ready(uid, other)
        places = "/new /etc/new /usr/new /tmp/new /home/new /host/new"
        probe = f"for p in {places}; do touch $p 2>/dev/null && echo wrote $p; done; touch /room/new && echo fine"
        root = process("sleep", "1000", read_only_root=True, mounts=mounts)
        second = world.add("root", root, volumes=volumes)
        await world.ready(second)
        for who in (uid, second):
            code, out, err = await collect(world, who, "sh", "-c", probe)
            assert (code, out) == (0, b"fine\n"), err
        code, _, _ = await collect(world, other, "touch", "/new")
        assert code == 0

    run(test, tmp_path)


def test_the_stop_signal_is_the_containers(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        script = "trap 'echo usr1; exit 0' USR1; trap 'exit 9' TERM; while :; do sleep 0.05; done"
        uid = world.add("app", process("sh", "-c", script, stop_signal="SIGUSR1"))
        await world.ready(uid)
        await _until_said(world, uid)
        world.pods.clear()
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert world.facts[uid].containers[0].exit_code == 0

    run(test, tmp_path)


async def _until_said(world: World, uid: str) -> None:
    """The traps are set once an exec sees the program's handlers."""
    while True:
        _, out, _ = await collect(world, uid, "cat", "/proc/1/status")
        if status(out, "SigCgt") >> 9 & 1:
            return
