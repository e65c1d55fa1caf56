"""Stand-ins over real sockets, and the probes that look at them."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.kernel.node_world import (
    ORIGIN,
    RESOLV,
    WEB,
    World,
    body_of,
    get,
    run,
    stand_in,
    status_of,
    talk,
)

from podwire.node.sockets import open_socket
from podwire.plan.node import (
    Container,
    GrpcCheck,
    HttpCheck,
    Pod,
    Probe,
    StandInPort,
    StandInWork,
    TcpCheck,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]


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


def test_startup_gates_readiness(tmp_path: Path) -> None:
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
            ORIGIN,
            pod.pod,
            uid,
            pod.node,
            pod.hostname,
            True,
            (more,),
            addresses=(world.address(uid),),
            resolv_conf=RESOLV,
        )
        await world.ready(uid)
        assert world.facts[uid].containers[0].started
        assert world.facts[uid].containers[0].restarts == 0

    run(test, tmp_path)
