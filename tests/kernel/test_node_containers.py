"""Containers from start to end: what they see, restarts, volumes, pods that end."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import pytest
from tests.kernel.node_world import (
    ORIGIN,
    RESOLV,
    WEB,
    World,
    collect,
    process,
    run,
    stand_in,
)

from podwire.plan.node import (
    Container,
    Dir,
    ExecCheck,
    File,
    Pod,
    Probe,
    ProcessWork,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def test_liveness_failure_restarts_a_process(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        alive = Probe(ExecCheck(("test", "!", "-e", "/tmp/broken")), period_seconds=0.05, failure_threshold=1)
        uid = world.add("app", process("sh", "-c", "echo begin; exec sleep 1000", liveness=alive), grace_seconds=5)
        await world.ready(uid)
        assert (await collect(world, uid, "touch", "/tmp/broken"))[0] == 0
        await world.until(lambda: world.facts[uid].containers[0].restarts == 1 and world.is_ready(uid))
        fact = world.facts[uid].containers[0]
        assert (fact.last_exit_code, fact.last_reason) == (143, "Error")
        assert "Killing" in world.reasons()
        assert [line async for _, _, line in world.runtime.logs(uid, "tool", follow=False, previous=True)] == [
            b"begin\n"
        ]

    run(test, tmp_path)


def test_a_process_sees_its_own_names_files_and_processes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        config = File("/config/app/settings.ini", b"colour=blue\n", 0o640)
        uid = world.add("app", process("sleep", "1000", env=(("COLOUR", "blue"),), files=(config,)))
        await world.ready(uid)
        address = world.address(uid)
        script = (
            "cat /etc/resolv.conf; hostname; cat /etc/hostname /config/app/settings.ini; echo $COLOUR $HOSTNAME;"
            "stat -c %a /config/app/settings.ini; ls /proc | grep -c '^[0-9]'; touch /etc/mine; echo oops >&2; exit 7"
        )
        code, out, err = await collect(world, uid, "sh", "-c", script)
        lines = out.decode().removeprefix(RESOLV).splitlines()
        assert (code, err) == (7, b"oops\n")
        assert lines[:5] == ["app", "app", "colour=blue", "blue app", "640"]
        assert int(lines[5]) < 6
        _, descriptors, _ = await collect(world, uid, "ls", "/proc/1/fd")
        assert descriptors.split() == [b"0", b"1", b"2"]
        assert not Path("/etc/mine").exists()
        _, hosts, _ = await collect(world, uid, "cat", "/etc/hosts")
        assert f"{address}\tapp" in hosts.decode()
        _, links, _ = await collect(world, uid, "cat", "/proc/net/dev")
        assert b"eth0" in links

    run(test, tmp_path)


def test_containers_of_a_pod_share_its_volumes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        shared = (Dir("/var/run/shared", "scratch"),)
        sleeper = ProcessWork(("sh", "-c", "echo mine > /data/file; exec sleep 1000"), "tool")
        writer = Container(ORIGIN, "writer", "busybox", sleeper, dirs=(Dir("/data", "scratch"),))
        reader = Container(ORIGIN, "reader", "busybox", ProcessWork(("sleep", "1000"), "tool"), dirs=shared)
        uid = world.add("app", writer, reader)
        await world.ready(uid)
        script = "while ! test -s /var/run/shared/file; do sleep 0.02; done; cat /var/run/shared/file; ls -A / /data"
        _, out, _ = await collect(world, uid, "sh", "-c", script, container="reader")
        assert out.startswith(b"mine\n")
        assert b".podwire" not in out
        del world.pods[uid]
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert not list(tmp_path.glob("volumes/*"))

    run(test, tmp_path)


def test_init_containers_run_first_and_in_order(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        steps = tuple(
            Container(ORIGIN, f"step-{i}", "busybox", ProcessWork(("sh", "-c", f"exit {i}"), "tool")) for i in (0, 0)
        )
        uid = world.add("app", stand_in(WEB), init_containers=(steps[0],))
        await world.ready(uid)
        init = world.facts[uid].init_containers[0]
        assert (init.state, init.reason, init.exit_code) == ("terminated", "Completed", 0)
        failing = Container(ORIGIN, "step", "busybox", ProcessWork(("false",), "tool"))
        broken = world.add("broken", stand_in(WEB), init_containers=(failing,), restart_policy="Never")
        await world.apply()
        await world.until(lambda: world.facts[broken].init_containers[0].state == "terminated")
        assert world.facts[broken].containers[0].state == "waiting"
        assert world.facts[broken].containers[0].reason == "PodInitializing"

    run(test, tmp_path)


def test_a_missing_program_and_a_crash_are_told_apart(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        missing = world.add("missing", process("/no/such/program"))
        crashing = world.add("crashing", process("sh", "-c", "exit 3"))
        once = world.add("once", process("true"), restart_policy="Never")
        await world.apply()
        await world.until(lambda: world.facts[missing].containers[0].reason == "RunContainerError")
        assert "/no/such/program" in world.facts[missing].containers[0].message
        await world.until(lambda: world.facts[crashing].containers[0].reason == "CrashLoopBackOff")
        fact = world.facts[crashing].containers[0]
        assert (fact.restarts, fact.last_exit_code, fact.last_reason) == (1, 3, "Error")
        await world.until(lambda: world.facts[once].containers[0].state == "terminated")
        ended = world.facts[once].containers[0]
        assert (ended.reason, ended.last_exit_code) == ("Completed", None)

    run(test, tmp_path)


def test_containers_wait_for_run_and_a_pod_leaves_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "1000"))
        pod = world.pods[uid]
        held = Pod(ORIGIN, pod.pod, uid, pod.node, pod.hostname, False, pod.containers, resolv_conf=RESOLV)
        world.pods[uid] = held
        await world.apply()
        fact = world.facts[uid]
        assert fact.addresses
        assert fact.containers[0].state == "waiting"
        world.pods[uid] = pod
        await world.ready(uid)
        address, space = world.address(uid), world.netns(uid)
        del world.pods[uid]
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert not Path("/run/netns", space).exists()
        again = world.add("app", stand_in(WEB), node="node-1", addresses=(address,))
        await world.ready(again)
        assert world.address(again) == address

    run(test, tmp_path)


def test_a_pod_waits_for_the_end_of_its_namesake(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        stubborn = process("sh", "-c", "trap 'sleep 0.3; exit 0' TERM; echo up; while :; do sleep 0.05; done")
        old = world.add("app", stubborn)
        await world.ready(old)
        async for _ in world.runtime.logs(old, "", follow=True, previous=False):
            break
        del world.pods[old]
        new = world.add("app", stand_in(WEB))
        await world.apply()
        assert new not in world.facts
        await world.until(lambda: world.is_ready(new))
        assert world.facts[old].gone
        assert world.facts[old].containers[0].exit_code == 0

    run(test, tmp_path)


def test_apply_survives_cancellation_and_the_same_plan_again(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uids = [world.add(f"p{i}", stand_in(WEB)) for i in range(8)]
        step = asyncio.create_task(world.apply())
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        await world.ready(*uids)
        assert len({world.address(uid) for uid in uids}) == len(uids)
        before = dict(world.facts)
        await world.apply()
        assert world.facts == before

    run(test, tmp_path)


def test_containers_come_back_when_the_fork_server_is_killed(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "1000"))
        await world.ready(uid)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        servers = [pid for pid in children if str(tmp_path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(servers) == 1
        os.kill(int(servers[0]), signal.SIGKILL)
        await world.until(lambda: world.facts[uid].containers[0].restarts == 1 and world.is_ready(uid))
        assert world.facts[uid].containers[0].last_exit_code == 137
        assert (await collect(world, uid, "echo", "back"))[1] == b"back\n"

    run(test, tmp_path)


def test_a_forced_deletion_does_not_wait_for_the_grace_period(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sh", "-c", "trap '' TERM; echo up; sleep 1000"), grace_seconds=1000)
        await world.ready(uid)
        async for _ in world.runtime.logs(uid, "", follow=True, previous=False):
            break
        world.pods[uid] = msgspec.structs.replace(world.pods[uid], terminating=True)
        await world.apply()
        await world.until(lambda: "Killing" in world.reasons())
        assert not world.facts[uid].gone
        del world.pods[uid]
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert world.facts[uid].containers[0].exit_code == 137

    run(test, tmp_path)
