"""The harness of the node runtime's kernel tests: a runtime, the plan it gets, and small clients."""

import asyncio
import json
import os
import random
import ssl
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from podwire.base import Origin, Ref
from podwire.node import NodeRuntime, list_clusters, sockets
from podwire.node.streams import ExecSession
from podwire.plan import EventFact, Fact, NodeFact, NodePlan, PodFact, node_netns, pod_netns
from podwire.plan.node import (
    Container,
    ExternalRoute,
    Network,
    Node,
    Pod,
    ProcessWork,
    StandInPort,
    StandInWork,
)

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
        self.families: tuple[int, ...] = (4,)
        self.prefix6 = f"fd00:{second}:{third}:"
        self.network: Network = "host-gw"
        self.mtu = 1500
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

    def of_families(self, four: str, six: str) -> tuple[str, ...]:
        """The values of the families that the world has, in their order."""
        return tuple(four if family == 4 else six for family in self.families)

    def plan(self) -> NodePlan:
        nodes = {
            name: Node(
                ORIGIN,
                name,
                "a",
                self.of_families(f"{self.prefix}.{i + 2}", f"{self.prefix6}:{i + 2}"),
                self.of_families(f"10.244.{i + 1}.0/{self.pod_bits}", f"fd00:10:244:{i + 1}::/64"),
            )
            for i, name in enumerate(self.node_names)
        }
        pods = {pod.pod.key: pod for pod in self.pods.values()}
        plan = NodePlan(
            self.cluster,
            self.of_families(f"{self.prefix}.0/24", f"{self.prefix6}:/64"),
            nodes,
            pods,
            dict(self.routes),
            self.of_families("10.96.0.0/12", "fd00:10:96::/112"),
            self.of_families("10.244.0.0/16", "fd00:10:244::/56"),
        )
        return msgspec.structs.replace(plan, network=self.network, mtu=self.mtu)

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
    connection = await sockets.connect(space, address, port)
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
