"""Ephemeral containers, and containers that share their processes."""

import os
from pathlib import Path

import msgspec
import pytest
from tests.kernel.node_world import (
    ORIGIN,
    WEB,
    World,
    collect,
    process,
    run,
    stand_in,
)

from podwire.plan import ContainerFact
from podwire.plan.node import Container, ProcessWork

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def guest(name: str, *argv: str, **more: object) -> Container:
    return Container(ORIGIN, name, "busybox", ProcessWork(argv, "known tool image"), **more)  # type: ignore[arg-type]


async def invite(world: World, uid: str, *guests: Container) -> None:
    pod = world.pods[uid]
    world.pods[uid] = msgspec.structs.replace(pod, ephemeral_containers=(*pod.ephemeral_containers, *guests))
    await world.apply()


def fact_of(world: World, uid: str, name: str) -> ContainerFact:
    return next(f for f in world.facts[uid].ephemeral_containers if f.name == name)


async def logs(world: World, uid: str, name: str) -> bytes:
    return b"".join([data async for _, _, data in world.runtime.logs(uid, name, follow=True, previous=False)])


def test_a_guest_runs_once_in_the_pods_network(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        await invite(world, uid, guest("look", "sh", "-c", "hostname; cat /proc/net/tcp; exit 3"))
        await world.until(lambda: fact_of(world, uid, "look").state == "terminated")
        ended = fact_of(world, uid, "look")
        assert (ended.exit_code, ended.restarts, ended.ready) == (3, 0, False)
        said = await logs(world, uid, "look")
        assert said.startswith(b"web\n") and b"00000000:0050" in said  # the stand-in listens on port 80
        await invite(world, uid, guest("second", "sleep", "1000"))
        await world.until(lambda: fact_of(world, uid, "second").state == "running")
        assert world.is_ready(uid)
        assert fact_of(world, uid, "look") == ended
        code, out, _ = await collect(world, uid, "hostname", container="second")
        assert (code, out) == (0, b"web\n")
        world.pods.clear()
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert fact_of(world, uid, "second").state == "terminated"

    run(test, tmp_path)


def test_a_guest_sees_the_processes_of_its_target(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "31337"))
        await world.ready(uid)
        script = "tr '\\0' ' ' < /proc/1/cmdline; ls /proc/1/root/ >/dev/null && echo root; touch /mine; echo done"
        await invite(world, uid, guest("near", "sh", "-c", script, target="tool"), guest("apart", "sh", "-c", script))
        await world.until(lambda: all(fact_of(world, uid, n).state == "terminated" for n in ("near", "apart")))
        assert await logs(world, uid, "near") == b"sleep 31337 root\ndone\n"
        assert b"31337" not in await logs(world, uid, "apart")
        code, _, _ = await collect(world, uid, "test", "-e", "/mine", container="tool")
        assert code == 1  # its root is its own

    run(test, tmp_path)


def test_a_guest_leaves_no_process_behind_in_its_target(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "1000"))
        await world.ready(uid)
        script = "setsid sleep 4242 & sleep 0.2; echo started; exec sleep 1000"
        await invite(world, uid, guest("near", "sh", "-c", script, target="tool"))
        await world.until(lambda: fact_of(world, uid, "near").state == "running")
        async for _, _, line in world.runtime.logs(uid, "near", follow=True, previous=False):
            if b"started" in line:
                break
        code, out, _ = await collect(world, uid, "sh", "-c", "kill -9 $(pgrep -x -f 'sleep 1000' | grep -vx 1)")
        assert code == 0, out
        await world.until(lambda: fact_of(world, uid, "near").state == "terminated")
        code, out, _ = await collect(world, uid, "pgrep", "-f", "sleep 4242")
        assert code == 1, out
        assert world.is_ready(uid)

    run(test, tmp_path)


def test_a_target_that_is_a_stand_in_has_no_processes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        await invite(world, uid, guest("near", "sleep", "1000", target="web"))
        await world.until(lambda: fact_of(world, uid, "near").state == "running")
        assert "NoProcessesToShare" in world.reasons()
        await invite(world, uid, guest("lost", "sleep", "1000", target="other"))
        await world.until(lambda: fact_of(world, uid, "lost").state == "terminated")
        assert fact_of(world, uid, "lost").message == "unable to find target container 'other'"

    run(test, tmp_path)


def test_containers_share_their_processes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one = Container(ORIGIN, "one", "busybox", ProcessWork(("sleep", "1111"), "known tool image"))
        two = Container(ORIGIN, "two", "busybox", ProcessWork(("sleep", "2222"), "known tool image"))
        uid = world.add("app", one, two, share_processes=True)
        await world.ready(uid)
        code, out, _ = await collect(world, uid, "pgrep", "-f", "sleep", container="one")
        assert code == 0 and len(out.split()) == 3  # the first process and both containers'
        code, _, _ = await collect(world, uid, "pkill", "-f", "sleep 2222", container="one")
        assert code == 0
        await world.until(lambda: world.facts[uid].containers[1].restarts == 1)
        await world.until(lambda: world.is_ready(uid))
        assert world.facts[uid].containers[0].restarts == 0
        assert world.facts[uid].containers[1].last_exit_code == 143
        # what nobody waits for is collected
        await collect(world, uid, "sh", "-c", "(sleep 0.01 &) ; sleep 0.1", container="one")
        code, out, _ = await collect(world, uid, "sh", "-c", "grep -l 'State:.Z' /proc/[0-9]*/status; true")
        assert (code, out) == (0, b"")

    run(test, tmp_path)
