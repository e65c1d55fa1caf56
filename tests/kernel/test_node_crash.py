"""``kill -9`` of the process that runs the nodes: no process survives, and the next start cleans up."""

import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.base import PodwireError
from podwire.node import clean, list_clusters
from podwire.node.fabric import host_link

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]
PROGRAM = """
import asyncio, sys
from pathlib import Path
from podwire.base import Origin, Ref
from podwire.node import NodeRuntime
from podwire.plan import NodePlan, PodFact
from podwire.plan.node import Container, ExecCheck, Node, Pod, Probe, ProcessWork, StandInPort, StandInWork

cluster, prefix, state, marker, mode = sys.argv[1:]
origin = Origin(Ref("Pod", "shop", "x"))
script = f"trap '' TERM; (exec sleep {marker}) & exec sleep {marker}"
both = ExecCheck(("sh", "-c", "grep -lx sleep /proc/[0-9]*/comm | wc -l | grep -qx 2"))
tool = Container(origin, "tool", "busybox", ProcessWork(("sh", "-c", script), "tool"), readiness=Probe(both))
web = Container(origin, "web", "nginx", StandInWork((StandInPort(80),), "none"))

async def main():
    ready = asyncio.Event()
    def report(key, fact):
        if isinstance(fact, PodFact) and fact.containers and all(c.ready for c in fact.containers):
            ready.set()
    node = Node(origin, "node-1", "a", (prefix + ".2",), ("10.244.1.0/24",))
    pod = Pod(origin, Ref("Pod", "shop", "app"), "uid-1", "node-1", "app", True, (tool, web))
    runtime = NodeRuntime(report, state_dir=Path(state))
    plan = NodePlan(cluster, (prefix + ".0/24",), {"node-1": node}, {"shop/app": pod}, {}, (), ("10.244.0.0/16",))
    await runtime.apply(plan)
    await ready.wait()
    print("ready", flush=True)
    if mode == "stay":
        await asyncio.Event().wait()
    await runtime.close()

asyncio.run(main())
"""


class Runner:
    """A runtime in a process of its own."""

    def __init__(self, tmp_path: Path) -> None:
        self.cluster = f"k{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self.started: list[subprocess.Popen[str]] = []
        self.marker = str(random.randrange(10**7, 10**8))
        prefix = f"10.{random.randrange(100, 200)}.{random.randrange(1, 255)}"
        self._arguments = [sys.executable, "-c", PROGRAM, self.cluster, prefix, str(tmp_path), self.marker]

    def start(self, mode: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen([*self._arguments, mode], stdout=subprocess.PIPE, text=True)
        self.started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def processes(self) -> list[int]:
        """Container processes of this test, by the odd number of seconds they sleep."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if line[:2] == [b"sleep", self.marker.encode()]:
                    found.append(int(entry.name))
        return found


def wait_for_end(pids: list[int]) -> None:
    """Until every process has ended, at most 10 seconds each."""
    import select

    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        with open(handle, "rb"):
            readable, _, _ = select.select([handle], [], [], 10)
            assert readable, f"process {pid} survived"


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    made = Runner(tmp_path)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
    clean(made.cluster)


def test_kill_9_leaves_no_process_and_the_next_start_cleans_up(runner: Runner) -> None:
    first = runner.start("stay")
    pids = runner.processes()
    assert len(pids) == 2
    with pytest.raises(PodwireError, match="running in another process"):
        clean(runner.cluster)
    first.send_signal(signal.SIGKILL)
    first.wait()
    wait_for_end(pids)
    assert runner.processes() == []
    assert runner.cluster in list_clusters()

    second = runner.start("close")
    assert second.wait(timeout=30) == 0
    assert runner.processes() == []
    assert runner.cluster not in list_clusters()
    assert not Path("/sys/class/net", host_link(runner.cluster)).exists()


def test_clean_removes_what_a_dead_runtime_left(runner: Runner) -> None:
    first = runner.start("stay")
    first.kill()
    first.wait()
    assert Path("/sys/class/net", host_link(runner.cluster)).exists()
    clean(runner.cluster)
    assert runner.cluster not in list_clusters()
    assert not Path("/sys/class/net", host_link(runner.cluster)).exists()
    clean(runner.cluster)
