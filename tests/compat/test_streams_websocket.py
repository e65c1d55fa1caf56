"""The Python clients' way: WebSocket channels without kubectl."""

import asyncio
import base64
import ssl
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.compat.streams_rig import Rig, status_of

pytestmark = pytest.mark.compat
POD = "/api/v1/namespaces/default/pods/one"
V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("streams"))
    made.pod("one")
    yield made
    made.stop()


@asynccontextmanager
async def session(rig: Rig) -> AsyncIterator[aiohttp.ClientSession]:
    url, ca, cert, key = rig.credentials()
    context = ssl.create_default_context(cafile=str(ca))
    context.load_cert_chain(cert, key)
    connector = aiohttp.TCPConnector(ssl=context)
    async with asyncio.timeout(30), aiohttp.ClientSession(url, connector=connector) as client:
        yield client


def run(rig: Rig, use: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
    async def main() -> None:
        async with session(rig) as client:
            await use(client)

    asyncio.run(main())


async def read_all(socket: aiohttp.ClientWebSocketResponse) -> dict[int, bytes]:
    out: dict[int, bytes] = {}
    async for message in socket:
        assert message.type == aiohttp.WSMsgType.BINARY
        out[message.data[0]] = out.get(message.data[0], b"") + message.data[1:]
    return out


@pytest.mark.parametrize("protocol", [V4, V5])
def test_the_status_comes_last_on_channel_3_and_the_socket_closes_normally(rig: Rig, protocol: str) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = [("command", "sh"), ("command", "-c"), ("command", "echo a; exit 7"), ("stdout", "1"), ("stderr", "1")]
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=(protocol,)) as socket:
            assert socket.protocol == protocol
            got = await read_all(socket)
            assert socket.close_code == 1000
        assert got[1] == b"a\n"
        status = status_of(got[3])
        assert status["reason"] == "NonZeroExitCode"
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]

    run(rig, use)


def test_v5_closes_stdin_by_channel_255(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": "cat", "stdin": "true", "stdout": "true"}
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=(V5,)) as socket:
            await socket.send_bytes(b"\x00hello")
            await socket.send_bytes(b"\xff\x00")
            got = await read_all(socket)
        assert got[1] == b"hello"
        assert status_of(got[3])["status"] == "Success"

    run(rig, use)


def test_without_a_subprotocol_channels_still_work_and_success_is_silent(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": "pwd", "stdout": "true"}
        async with client.ws_connect(f"{POD}/exec", params=query) as socket:
            got = await read_all(socket)
        assert set(got) == {1}

    run(rig, use)


def test_text_messages_are_taken_as_bytes(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": "cat", "stdin": "true", "stdout": "true"}
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=(V5,)) as socket:
            await socket.send_str("\x00hello")
            await socket.send_bytes(b"\xff\x00")
            got = await read_all(socket)
        assert got[1] == b"hello"

    run(rig, use)


@pytest.mark.parametrize("protocol", ["base64.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_base64_subprotocols(rig: Rig, protocol: str) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": ["head", "-n", "1"], "stdin": "true", "stdout": "true"}
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=(protocol,)) as socket:
            assert socket.protocol == protocol
            await socket.send_str("0" + base64.b64encode(b"typed\n").decode())
            texts = [message.data async for message in socket]
        assert [base64.b64decode(text[1:]) for text in texts if text[0] == "1"] == [b"typed\n"]
        assert [text[0] for text in texts if text[0] == "3"] == (["3"] if protocol.startswith("v4") else [])

    run(rig, use)


def test_what_is_not_base64_ends_the_session(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": "cat", "stdin": "true", "stdout": "true"}
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=("v4.base64.channel.k8s.io",)) as socket:
            await socket.send_str("0$$$")
            assert await read_all(socket) == {}
            assert socket.close_code == 1003

    run(rig, use)
    session = rig.backend.sessions[-1]
    rig.call(session.process.wait())
    assert session.killed


@pytest.mark.parametrize(
    ("path", "protocol", "code", "words"),
    [
        ("exec?stdout=true", V4, 400, "at least one command"),
        ("exec?command=true", V4, 400, "at least one of stdin, stdout, stderr"),
        ("exec?command=true&stdout=1&container=x", V4, 400, "container x is not valid"),
        ("exec?command=true&stdout=1", "v9.example.com", 400, "is supported"),
        ("portforward", V4, 400, "required"),
        ("portforward?ports=0", V4, 400, "as a port"),
    ],
)
def test_refusals_are_statuses(rig: Rig, path: str, protocol: str, code: int, words: str) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        headers = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            "Sec-WebSocket-Protocol": protocol,
        }
        async with client.get(f"{POD}/{path}", headers=headers) as answer:
            assert answer.status == code
            status = await answer.json()
            assert words in status["message"]

    run(rig, use)


def test_plain_requests_are_told_to_upgrade(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{POD}/exec?command=true&stdout=1") as answer:
            assert answer.status == 400
            assert (await answer.json())["message"] == "Upgrade request required"

    run(rig, use)


def test_port_forward_by_channels(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            writer.close()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        query = {"ports": f"{port},1"}
        async with client.ws_connect(f"{POD}/portforward", params=query, protocols=(V4,)) as socket:
            await socket.send_bytes(b"\x00hello\n")
            got = await read_all(socket)
        assert got[0] == struct.pack("<H", port) + b"HELLO\n"
        assert got[1] == struct.pack("<H", port)
        assert got[2] == struct.pack("<H", 1)
        assert b"connection refused by port 1" in got[3]
        server.close()

    run(rig, use)


def test_a_command_that_does_not_read_leaves_pings_answered(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        query = {"command": "yes", "stdin": "true", "stdout": "true"}  # writes for ever and reads nothing
        async with client.ws_connect(f"{POD}/exec", params=query, protocols=(V4,), autoping=False) as socket:
            for _ in range(8):
                await socket.send_bytes(b"\x00" + b"x" * 100_000)
            await socket.ping(b"there?")
            while (message := await socket.receive()).type != aiohttp.WSMsgType.PONG:
                assert message.type == aiohttp.WSMsgType.BINARY
            assert message.data == b"there?"

    run(rig, use)


def test_log_options_that_contradict_are_invalid(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        for query, code in [
            ("sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z", 422),
            ("sinceSeconds=0", 422),
            ("limitBytes=0", 422),
            ("tailLines=-1", 422),
            ("tailLines=x", 400),
            ("stream=Other", 422),
            ("sinceTime=never", 400),
            ("follow=maybe", 400),
        ]:
            async with client.get(f"{POD}/log?{query}") as answer:
                assert (query, answer.status) == (query, code)

    run(rig, use)


def test_one_stream_of_a_log(rig: Rig) -> None:
    async def use(client: aiohttp.ClientSession) -> None:
        async with client.get(f"{POD}/log?stream=Stderr") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert await answer.read() == b"bad\n"

    rig.backend.lines.clear()
    rig.do(rig.backend.log, "good\n")
    rig.do(rig.backend.log, "bad\n", "stderr")
    run(rig, use)
