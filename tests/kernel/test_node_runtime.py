"""The node runtime with real namespaces, links, processes and stand-ins.

Longer than other files: test folders share no modules, and all of this needs the one harness at its top.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from podwire.base import EnvironmentUnfit, Origin, PodwireError, Ref
from podwire.node import NodeRuntime, list_clusters
from podwire.node.fabric import host_link
from podwire.node.sockets import open_socket
from podwire.node.streams import ExecSession
from podwire.plan import EventFact, Fact, NodeFact, NodePlan, PodFact, node_netns, pod_netns
from podwire.plan.node import (
    Container,
    Dir,
    ExecCheck,
    ExternalRoute,
    File,
    GrpcCheck,
    HttpCheck,
    Node,
    Pod,
    Probe,
    ProcessWork,
    StandInPort,
    StandInWork,
    TcpCheck,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]
ORIGIN = Origin(Ref("Pod", "shop", "any"))
RESOLV = "search shop.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"


class World:
    """A runtime, the facts it reported, and a plan that tests edit."""

    def __init__(self, state_dir: Path) -> None:
        self.cluster = f"t{os.getpid()}-{uuid.uuid4().hex[:6]}"
        second, third = random.randrange(100, 200), random.randrange(1, 255)
        self.prefix = f"10.{second}.{third}"
        self.facts: dict[str, PodFact] = {}
        self.nodes: dict[str, NodeFact] = {}
        self.events: list[EventFact] = []
        self.pods: dict[str, Pod] = {}
        self.routes: dict[str, ExternalRoute] = {}
        self.pod_bits = 24
        self.node_names = ["node-1", "node-2"]
        self._changed = asyncio.Event()
        self.runtime = NodeRuntime(self._report, state_dir=state_dir)

    def _report(self, key: str, fact: Fact) -> None:
        if isinstance(fact, PodFact):
            self.facts[key] = fact
        elif isinstance(fact, NodeFact):
            self.nodes[key] = fact
        elif isinstance(fact, EventFact):
            self.events.append(fact)
        self._changed.set()

    def plan(self) -> NodePlan:
        nodes = {
            name: Node(ORIGIN, name, "a", f"{self.prefix}.{i + 2}", f"10.244.{i + 1}.0/{self.pod_bits}")
            for i, name in enumerate(self.node_names)
        }
        pods = {pod.pod.key: pod for pod in self.pods.values()}
        return NodePlan(
            self.cluster, f"{self.prefix}.0/24", nodes, pods, dict(self.routes), ("10.96.0.0/12",), "10.244.0.0/16"
        )

    def add(self, name: str, *containers: Container, node: str = "node-1", **more: object) -> str:
        uid = f"uid-{name}-{uuid.uuid4().hex[:6]}"
        pod = Pod(ORIGIN, Ref("Pod", "shop", name), uid, node, name, True, containers, resolv_conf=RESOLV, **more)  # type: ignore[arg-type]
        self.pods[uid] = pod
        return uid

    async def apply(self) -> None:
        await self.runtime.apply(self.plan())

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def ready(self, *uids: str) -> None:
        await self.apply()
        await self.until(lambda: all(self.is_ready(uid) for uid in uids))

    def is_ready(self, uid: str) -> bool:
        fact = self.facts.get(uid)
        return fact is not None and bool(fact.containers) and all(c.ready for c in fact.containers)

    def address(self, uid: str) -> str:
        return self.facts[uid].addresses[0]

    def netns(self, uid: str) -> str:
        pod = self.pods[uid]
        return node_netns(self.cluster, pod.node) if pod.host_network else pod_netns(self.cluster, pod.pod, uid)

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]


def run(test: Callable[[World], Awaitable[None]], tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path)
        try:
            async with asyncio.timeout(60):
                await test(world)
        finally:
            await world.runtime.close()
        assert world.cluster not in list_clusters()

    asyncio.run(main())


def stand_in(*ports: StandInPort, **more: object) -> Container:
    return Container(ORIGIN, "web", "nginx:1.27", StandInWork(ports, "no mapping: stand-in"), **more)  # type: ignore[arg-type]


def process(*argv: str, **more: object) -> Container:
    return Container(ORIGIN, "tool", "busybox", ProcessWork(argv, "known tool image"), **more)  # type: ignore[arg-type]


WEB = StandInPort(80)


async def talk(space: str, address: str, port: int, request: bytes, *, tls: bool = False) -> bytes:
    """Send bytes from inside a namespace and read until the other side ends or pauses after an answer."""
    connection = open_socket(space, socket.SOCK_STREAM)
    await asyncio.get_running_loop().sock_connect(connection, (address, port))
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname="" if tls else None)
    writer.write(request)
    answer = await reader.read() if b"HTTP/1.1\r\n" in request else await reader.readexactly(len(request))
    writer.close()
    return answer


def get(path: str = "/", extra: str = "", method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: web.shop\r\nConnection: close\r\n{extra}\r\n".encode()


def status_of(answer: bytes) -> int:
    return int(answer.split()[1])


def body_of(answer: bytes) -> dict[str, object]:
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])  # type: ignore[no-any-return]


async def output(session: ExecSession) -> tuple[int, bytes, bytes]:
    streams = {1: b"", 2: b""}
    while (chunk := await session.read()) is not None:
        streams[chunk[0]] += chunk[1]
    return await session.wait(), streams[1], streams[2]


async def collect(world: World, uid: str, *argv: str, container: str = "") -> tuple[int, bytes, bytes]:
    return await output(await world.runtime.exec(uid, container, argv, stdin=False, tty=False))


def test_pods_reach_each_other_and_the_nodes(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB))
        far = world.add("far", stand_in(WEB), node="node-2")
        edge = world.add("edge", stand_in(StandInPort(8080)), node="node-2", host_network=True)
        await world.ready(one, two, far, edge)
        assert world.nodes == {"node-1": NodeFact(ready=True), "node-2": NodeFact(ready=True)}
        assert world.address(edge) == f"{world.prefix}.3"
        for source, target in ((one, two), (one, far), (far, one), (edge, one)):
            answer = body_of(await talk(world.netns(source), world.address(target), 80, get("/x?y=1")))
            assert (answer["pod"], answer["path"], answer["query"]) == (world.pods[target].pod.name, "/x", "y=1")
            assert str(answer["caller"]).split(":")[0] == world.address(source)
            assert answer["node"] == world.pods[target].node
        for source in (one, far):
            answer = body_of(await talk(world.netns(source), world.address(edge), 8080, get()))
            assert answer["pod"] == "edge"
        # The host is on the fabric: it reaches nodes, and nodes reach it.
        reader, writer = await asyncio.open_connection(f"{world.prefix}.3", 8080)
        writer.write(get())
        assert body_of(await reader.read())["caller"].split(":")[0] == f"{world.prefix}.1"  # type: ignore[attr-defined]
        writer.close()

    run(test, tmp_path)


def test_same_node_traffic_crosses_the_forward_hook(tmp_path: Path) -> None:
    if shutil.which("nft") is None:
        pytest.skip("needs nft")

    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB))
        await world.ready(one, two)
        rules = "table ip t { chain c { type filter hook forward priority 0; tcp dport 80 reject with tcp reset; }; }"
        command = ["ip", "netns", "exec", node_netns(world.cluster, "node-1"), "nft", "-f", "-"]
        await asyncio.to_thread(subprocess.run, command, input=rules.encode(), check=True)
        with pytest.raises(ConnectionError):
            await talk(world.netns(one), world.address(two), 80, get())

    run(test, tmp_path)


def test_stand_in_speaks_http_tls_websocket_tcp_and_udp(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        client = world.add("client", stand_in())
        server = world.add("server", stand_in(WEB, StandInPort(53, "UDP")))
        await world.ready(client, server)
        space, address = world.netns(client), world.address(server)
        plain = body_of(await talk(space, address, 80, get("/a", "X-One: 1\r\n")))
        assert plain["tls"] is False
        assert plain["headers"]["X-One"] == "1"  # type: ignore[index]
        assert plain["protocol"] == "HTTP/1.1"
        secure = body_of(await talk(space, address, 80, get("/b"), tls=True))
        assert (secure["tls"], secure["path"]) == (True, "/b")
        chunked = get("/c", "Transfer-Encoding: chunked\r\n", "POST") + b"5\r\nhello\r\n0\r\n\r\n"
        assert body_of(await talk(space, address, 80, chunked))["body"] == "hello"
        twice = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n" + get("/2")
        assert (await talk(space, address, 80, twice)).count(b"200 OK") == 2
        assert await talk(space, address, 80, b"\x00\x01raw bytes\n") == b"\x00\x01raw bytes\n"
        assert await talk(space, address, 80, b"raw over tls", tls=True) == b"raw over tls"
        assert status_of(await talk(space, address, 80, get("/status/418"))) == 418
        assert status_of(await talk(space, address, 80, get("/?status=503"))) == 503
        assert await ask_udp(space, address, 53, b"ping") == b"server ping"
        await check_websocket(space, address)

    run(test, tmp_path)


async def ask_udp(space: str, address: str, port: int, data: bytes) -> bytes:
    with open_socket(space, socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        client.send(data)
        async with asyncio.timeout(5):
            return await asyncio.get_running_loop().sock_recv(client, 2048)


async def check_websocket(space: str, address: str) -> None:
    connection = open_socket(space, socket.SOCK_STREAM)
    await asyncio.get_running_loop().sock_connect(connection, (address, 80))
    reader, writer = await asyncio.open_connection(sock=connection)
    upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(f"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{upgrade}\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"101 Switching Protocols" in head
    assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    writer.write(b"\x81\x82\x00\x00\x00\x00hi")
    assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.close()


def test_a_failing_path_turns_the_pod_unready_and_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        quick = Probe(HttpCheck(80, "/healthz"), period_seconds=0.05, failure_threshold=2)
        web = world.add("web", stand_in(WEB, readiness=quick))
        await world.ready(web)
        space, address = world.netns(web), world.address(web)
        fail = get("/_podwire/fail?path=/healthz&status=500", method="PUT")
        assert body_of(await talk(space, address, 80, fail)) == {"failing": {"/healthz": 500}}
        await world.until(lambda: not world.is_ready(web))
        assert "Unhealthy" in world.reasons()
        assert "HTTP probe failed with statuscode: 500" in [e.message.split(": ", 1)[-1] for e in world.events]
        await talk(space, address, 80, get("/_podwire/fail?path=/healthz", method="DELETE"))
        await world.until(lambda: world.is_ready(web))
        assert world.facts[web].containers[0].restarts == 0

    run(test, tmp_path)


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


def test_startup_gates_readiness_and_grpc_is_said_to_be_reduced(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        start = Probe(TcpCheck(81), period_seconds=0.05, failure_threshold=1000)
        ready = Probe(GrpcCheck(80), period_seconds=0.05)
        uid = world.add("slow", stand_in(WEB, startup=start, readiness=ready))
        await world.apply()
        await world.until(lambda: "Unhealthy" in world.reasons())
        assert not world.facts[uid].containers[0].started
        pod = world.pods[uid]
        more = Container(
            ORIGIN, "web", "nginx:1.27", StandInWork((WEB, StandInPort(81)), "x"), (), (), ready, None, start
        )
        world.pods[uid] = Pod(
            ORIGIN, pod.pod, uid, pod.node, pod.hostname, True, (more,), address=world.address(uid), resolv_conf=RESOLV
        )
        await world.ready(uid)
        assert world.facts[uid].containers[0].started
        assert world.facts[uid].containers[0].restarts == 0
        assert "ProbeReduced" in world.reasons()

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


def test_port_forward_reaches_localhost_of_the_pod(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        reader, writer = await world.runtime.connect(uid, 80)
        writer.write(get("/through"))
        assert body_of(await reader.read())["path"] == "/through"
        writer.close()
        with pytest.raises(PodwireError, match="cannot connect to port 81"):
            await world.runtime.connect(uid, 81)

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
        again = world.add("app", stand_in(WEB), node="node-1", address=address)
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


def test_external_routes_lead_through_their_node(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.routes["a"] = ExternalRoute(f"{world.prefix}.200", "node-2", ORIGIN)
        await world.apply()

        def routes() -> str:
            link = ["ip", "-4", "route", "show", "dev", host_link(world.cluster)]
            return subprocess.run(link, capture_output=True, text=True, check=True).stdout

        assert f"{world.prefix}.200 via {world.prefix}.3" in routes()
        world.routes.clear()
        await world.apply()
        assert f"{world.prefix}.200" not in routes()
        assert f"{world.prefix}.0/24" in routes()

    run(test, tmp_path)


def test_a_node_that_leaves_takes_its_pods_and_comes_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        one, two = world.add("one", stand_in(WEB)), world.add("two", stand_in(WEB), node="node-2")
        await world.ready(one, two)
        world.node_names.remove("node-2")
        await world.apply()
        assert "node node-2 has no namespace" in world.facts[two].message
        assert not world.nodes["node-2"].ready
        world.node_names.append("node-2")
        await world.ready(two)
        answer = body_of(await talk(world.netns(one), world.address(two), 80, get()))
        assert answer["pod"] == "two"

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


def test_a_second_runtime_of_the_same_cluster_is_refused(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.apply()
        other = NodeRuntime(lambda key, fact: None, state_dir=tmp_path / "other")
        with pytest.raises(PodwireError, match="running in another process"):
            await other.apply(world.plan())
        await other.close()
        assert world.cluster in list_clusters()

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


def test_without_privilege_the_missing_thing_is_named() -> None:
    program = (
        "import os; from podwire.base import EnvironmentUnfit; from podwire.node.netns import check_privilege\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try: check_privilege()\n"
        "except EnvironmentUnfit as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.startswith("nodes and pods need CAP_NET_ADMIN and CAP_SYS_ADMIN; run podwire as root")


def test_another_cluster_on_the_same_subnet_is_refused(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        await world.apply()
        other = World(tmp_path / "other")
        other.prefix = world.prefix
        with pytest.raises(EnvironmentUnfit, match="is already routed to pw"):
            await other.apply()
        await other.runtime.close()
        assert other.cluster not in list_clusters()
        assert world.cluster in list_clusters()

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


def test_a_pod_waits_for_a_free_address(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        world.pod_bits = 30
        first = world.add("first", stand_in(WEB), grace_seconds=0)
        await world.ready(first)
        second = world.add("second", stand_in(WEB))
        await world.apply()
        assert "no free pod address left" in world.facts[second].message
        del world.pods[first]
        await world.ready(second)

    run(test, tmp_path)
