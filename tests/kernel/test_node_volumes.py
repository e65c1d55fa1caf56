"""Volumes as containers see them."""

import os
from pathlib import Path

import msgspec
import pytest
from tests.kernel.node_world import World, collect, process, run

from podwire.plan.node import ClaimVolume, EmptyVolume, File, FileVolume, HostVolume, Mount

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


def test_files_are_read_only_and_follow_their_source(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        old = FileVolume("conf", (File("a", b"1", 0o640), File("sub/b", b"2")))
        mounts = (Mount("/etc/conf", "conf"), Mount("/etc/one", "conf", "a", True))
        uid = world.add("app", process("sleep", "1000", mounts=mounts), volumes=(old,))
        await world.ready(uid)
        code, out, _ = await collect(world, uid, "sh", "-c", "cat /etc/conf/a /etc/conf/sub/b; stat -Lc %a /etc/conf/a")
        assert (code, out) == (0, b"12640\n")
        assert (await collect(world, uid, "sh", "-c", "echo x > /etc/conf/a"))[0] != 0
        new = FileVolume("conf", (File("a", b"3"), File("c", b"4")))
        world.pods[uid] = msgspec.structs.replace(world.pods[uid], volumes=(new,))
        await world.apply()
        _, out, _ = await collect(world, uid, "sh", "-c", "cat /etc/conf/a /etc/conf/c /etc/one; ls /etc/conf")
        assert out == b"341a\nc\n"  # a part of a volume stays as it was

    run(test, tmp_path)


def test_claims_outlive_pods_and_empty_volumes_do_not(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mounts = (Mount("/data", "data", "part/of"), Mount("/scratch", "tmp"))
        volumes = (ClaimVolume("data", "shop/db"), EmptyVolume("tmp"))
        tool = process("sleep", "1000", mounts=mounts)
        first = world.add("one", tool, volumes=volumes)
        await world.ready(first)
        await collect(world, first, "sh", "-c", "echo kept > /data/file; echo lost > /scratch/file")
        del world.pods[first]
        await world.apply()
        await world.until(lambda: world.facts[first].gone)
        read_only = tuple(msgspec.structs.replace(m, read_only=True) for m in mounts)
        second = world.add("two", msgspec.structs.replace(tool, mounts=read_only), volumes=volumes)
        await world.ready(second)
        code, out, _ = await collect(world, second, "sh", "-c", "cat /data/file; ls /scratch; touch /data/more")
        assert (code != 0, out) == (True, b"kept\n")

    run(test, tmp_path)


def test_host_paths_do_not_change_this_machine(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        there = tmp_path / "there"
        there.mkdir()
        (there / "file").write_text("machine\n")
        own = f"/podwire-test-{world.cluster}/data"
        volumes = (HostVolume("there", str(there), "Directory"), HostVolume("own", own, "DirectoryOrCreate"))
        tool = process("sleep", "1000", mounts=(Mount("/there", "there"), Mount("/own", "own")))
        one = world.add("one", tool, volumes=volumes)
        two = world.add("two", tool, volumes=volumes)
        other = world.add("other", tool, volumes=volumes, node="node-2")
        await world.ready(one, two, other)
        assert (await collect(world, one, "cat", "/there/file"))[1] == b"machine\n"
        assert (await collect(world, one, "touch", "/there/mine"))[0] != 0
        assert (await collect(world, one, "touch", "/own/mine"))[0] == 0
        assert (await collect(world, two, "ls", "/own"))[1] == b"mine\n"
        assert (await collect(world, other, "ls", "/own"))[1] == b""
        assert not Path(own).exists()

    run(test, tmp_path)


def test_a_host_path_of_another_type_keeps_the_pod_waiting(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        there = tmp_path / "file"
        uid = world.add("app", process("sleep", "1000"), volumes=(HostVolume("v", str(there), "File"),))
        await world.apply()
        await world.until(lambda: "FailedMount" in world.reasons())
        assert world.facts[uid].containers[0].state == "waiting"
        there.touch()
        await world.ready(uid)

    run(test, tmp_path)


def test_a_part_cannot_lead_out_of_its_volume(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        volumes = (EmptyVolume("v"),)
        writer = world.add("writer", process("sleep", "1000", mounts=(Mount("/v", "v"),)), volumes=volumes)
        await world.ready(writer)
        await collect(world, writer, "ln", "-s", "/etc", "/v/out")
        pod = world.pods[writer]
        bad = msgspec.structs.replace(pod.containers[0], name="bad", mounts=(Mount("/x", "v", "out"),))
        del world.pods[writer]
        await world.apply()
        await world.until(lambda: world.facts[writer].gone)
        claim = (ClaimVolume("v", "shop/trap"),)
        maker = world.add("maker", process("sleep", "1000", mounts=(Mount("/v", "v"),)), volumes=claim)
        await world.ready(maker)
        await collect(world, maker, "ln", "-s", "/etc", "/v/out")
        user = world.add("user", bad, volumes=claim, restart_policy="Never")
        await world.apply()
        await world.until(lambda: world.facts[user].containers[0].state == "terminated")
        assert "leads out of the volume" in world.facts[user].containers[0].message

    run(test, tmp_path)
