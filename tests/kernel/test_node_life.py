"""The life of containers: hooks, sidecars, own restart policies, last words, deadlines, users."""

import os
from pathlib import Path

import msgspec
import pytest
from tests.kernel.node_world import ORIGIN, WEB, World, collect, process, run, stand_in

from podwire.plan.node import (
    Container,
    EmptyVolume,
    ExecCheck,
    Hook,
    HttpCheck,
    Mount,
    Probe,
    ProcessWork,
    RestartRule,
    Sleep,
    TcpCheck,
    User,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def shell(name: str, script: str, **more: object) -> Container:
    return Container(ORIGIN, name, "busybox", ProcessWork(("sh", "-c", script), "tool"), **more)  # type: ignore[arg-type]


def test_hooks_run_after_start_and_before_stop(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        stay = "trap 'echo term; exit 0' TERM; echo begun; while :; do sleep 0.01; done"
        hooks = {
            "post_start": Hook(ExecCheck(("sh", "-c", "echo warm > /tmp/warm"))),
            "pre_stop": Hook(ExecCheck(("sh", "-c", "echo drained > /proc/1/fd/1"))),
        }
        uid = world.add("app", shell("tool", stay, **hooks), grace_seconds=10, restart_policy="Never")
        await world.ready(uid)
        assert (await collect(world, uid, "cat", "/tmp/warm"))[1] == b"warm\n"
        lines = world.runtime.logs(uid, "tool", follow=True, previous=False)
        del world.pods[uid]
        await world.apply()
        assert [line async for _, _, line in lines] == [b"begun\n", b"drained\n", b"term\n"]
        await world.until(lambda: world.facts[uid].gone)

    run(test, tmp_path)


def test_a_hook_that_fails_ends_the_run(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        failing = Hook(ExecCheck(("false",)))
        uid = world.add("app", process("sleep", "1000", post_start=failing), grace_seconds=1, restart_policy="Never")
        tcp = world.add("tcp", process("sleep", "9", post_start=Hook(TcpCheck(1))), restart_policy="Never")
        await world.apply()
        await world.until(lambda: all(world.facts[p].containers[0].state == "terminated" for p in (uid, tcp)))
        assert world.reasons().count("FailedPostStartHook") == 2
        assert not any(world.facts[uid].containers[0].ready for uid in (uid, tcp))

    run(test, tmp_path)


def test_a_hook_can_sleep_or_ask_over_http_and_is_bounded_by_the_grace_period(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        asks = Hook(HttpCheck(80, "/begin?status=500"))
        uid = world.add("app", stand_in(WEB, post_start=asks, pre_stop=Hook(Sleep(1000))), grace_seconds=0.2)
        await world.ready(uid)
        del world.pods[uid]
        await world.apply()
        await world.until(lambda: world.facts[uid].gone)
        assert "FailedPreStopHook" in world.reasons()
        assert "FailedPostStartHook" not in world.reasons()

    run(test, tmp_path)


def test_sidecars_start_first_in_order_and_end_last(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        log = "trap 'echo {0}-ends >> /log/all; exit 0' TERM; echo {0} >> /log/all; while :; do sleep 0.01; done"
        share = (Mount("/log", "log"),)
        up = Probe(ExecCheck(("test", "-s", "/log/all")), period_seconds=0.05)
        one = shell("one", log.format("one"), restart_policy="Always", mounts=share, startup=up)
        step = shell("step", "echo step >> /log/all", mounts=share)
        two = shell("two", log.format("two"), restart_policy="Always", mounts=share)
        # The job ends only when both sidecars have begun to write; then they are ended, the last one first.
        job = shell("job", "while ! grep -q two /log/all; do sleep 0.01; done; echo job >> /log/all", mounts=share)
        uid = world.add(
            "app",
            job,
            init_containers=(one, step, two),
            volumes=(EmptyVolume("log"),),
            restart_policy="Never",
            grace_seconds=20,
        )
        await world.apply()
        await world.until(lambda: all(c.state == "terminated" for c in world.facts[uid].init_containers))
        fact = world.facts[uid]
        assert (fact.containers[0].exit_code, [c.exit_code for c in fact.init_containers]) == (0, [0, 0, 0])
        written = next(tmp_path.glob("volumes/*/log/all")).read_text().split()
        assert written == ["one", "step", "two", "job", "two-ends", "one-ends"]

    run(test, tmp_path)


def test_a_container_has_its_own_restart_policy_and_rules(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        count = "echo x >> /log/n; test $(wc -l < /log/n) -ge 2 && exit 0; exit 42"
        rules = (RestartRule((42,)),)
        mount = (Mount("/log", "log"),)
        again = shell("again", count, restart_policy="Never", restart_rules=rules, mounts=mount)
        never = shell("never", "exit 3", restart_policy="Never")
        uid = world.add("app", again, never, volumes=(EmptyVolume("log"),))
        await world.apply()
        await world.until(lambda: all(c.state == "terminated" for c in world.facts[uid].containers))
        await world.until(lambda: world.facts[uid].containers[0].last_exit_code == 42)
        await world.until(lambda: world.facts[uid].containers[0].exit_code == 0)
        await world.until(lambda: world.facts[uid].containers[0].state == "terminated")
        first, second = world.facts[uid].containers
        assert (first.exit_code, first.last_exit_code) == (0, 42)
        assert (second.exit_code, second.restarts) == (3, 0)

    run(test, tmp_path)


def test_last_words_come_from_the_file_or_from_the_log(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        spoken = shell("spoken", "echo bye > /dev/termination-log", message_path="/dev/termination-log")
        logged = shell("logged", "echo broken; exit 1", message_path="/tmp/last/words", message_from_logs=True)
        uid = world.add("app", spoken, logged, restart_policy="Never")
        await world.apply()
        await world.until(lambda: all(c.state == "terminated" for c in world.facts[uid].containers))
        assert [c.message for c in world.facts[uid].containers] == ["bye\n", "broken\n"]
        assert not Path("/dev/termination-log").exists()

    run(test, tmp_path)


def test_a_pod_that_is_active_too_long_fails(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", process("sleep", "1000"), deadline_seconds=0.2, grace_seconds=5)
        await world.apply()
        await world.until(lambda: world.facts[uid].containers[0].state == "terminated")
        assert world.facts[uid].reason == "DeadlineExceeded"

    run(test, tmp_path)


def test_a_liveness_probe_can_have_a_grace_period_of_its_own(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        dead = Probe(ExecCheck(("false",)), period_seconds=0.05, failure_threshold=1, grace_seconds=0.1)
        deaf = shell("tool", "trap '' TERM; while :; do sleep 1; done", liveness=dead)
        uid = world.add("app", deaf, grace_seconds=1000, restart_policy="Never")
        await world.apply()
        await world.until(lambda: world.facts[uid].containers[0].state == "terminated")
        assert world.facts[uid].containers[0].exit_code == 137
        world.pods[uid] = msgspec.structs.replace(world.pods[uid], grace_seconds=0)

    run(test, tmp_path)


def test_a_program_runs_as_the_user_asked_for(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        tool = process("sh", "-c", "id > /dev/stdout; exec sleep 1000", user=User("12345", "", (77,)))
        uid = world.add("app", tool, volumes=(EmptyVolume("data"),), fs_group=77)
        unknown = world.add("unknown", process("id", user=User("nobody-here")), restart_policy="Never")
        await world.ready(uid)
        assert (await collect(world, uid, "id", "-u"))[1] == b"12345\n"
        assert (await collect(world, uid, "id", "-G"))[1] == b"0 77\n"
        await world.until(lambda: world.facts[unknown].containers[0].state == "terminated")
        assert "unable to find user nobody-here" in world.facts[unknown].containers[0].message

    run(test, tmp_path)
