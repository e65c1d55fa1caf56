"""Stand-ins speak HTTP/2: by prior knowledge, by upgrade, by TLS; and gRPC."""

import asyncio
import json
import os
from pathlib import Path

import pytest
from tests.kernel.node_world import WEB, World, body_of, collect, get, run, stand_in, talk

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]

GRPC = """
import grpc, sys
channel = grpc.insecure_channel(sys.argv[1] + ":80")
echo = channel.unary_unary("/shop.Cart/Add")
answer, call = echo.with_call(b"hello" * 20000, timeout=20)
print(len(answer), dict(call.trailing_metadata())["x-podwire-pod"])
stream = channel.stream_stream("/shop.Cart/Talk")
print(b" ".join(stream(iter([b"one", b"two"]), timeout=20)).decode())
health = channel.unary_unary("/grpc.health.v1.Health/Check")
print(health(b"", timeout=20).hex())
watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
print(next(watch).hex())
"""


@pytest.mark.parametrize(
    "options",
    [("--http2-prior-knowledge", "http"), ("--http2", "http"), ("--http2", "-k", "https")],
    ids=["prior", "upgrade", "tls"],
)
def test_curl_speaks_http2(tmp_path: Path, options: tuple[str, ...]) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        *flags, scheme = options
        url = f"{scheme}://{world.address(uid)}:80/deep%20path?status=201&x=1"
        code, out, err = await collect(
            world, uid, "curl", "-sS", *flags, "-H", "X-A: b", "-w", "\n%{http_version} %{http_code}", url
        )
        assert code == 0, err
        text, _, version = out.decode().rpartition("\n")
        values = json.loads(text)
        assert version == "2 201"
        assert (values["path"], values["query"], values["headers"]["x-a"]) == ("/deep path", "status=201&x=1", "b")
        assert (values["protocol"], values["tls"]) == ("HTTP/2.0", scheme == "https")

    run(test, tmp_path)


def test_grpc_calls_get_their_messages_back(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        import sys

        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        code, out, err = await collect(world, uid, sys.executable, "-c", GRPC, world.address(uid))
        assert code == 0, err
        assert out.decode().splitlines() == ["100000 web", "one two", "0801", "0801"]
        path = "/_podwire/fail?path=/grpc.health.v1.Health/Check"
        await talk(world.netns(uid), world.address(uid), 80, get(path, method="PUT"))
        code, out, err = await collect(world, uid, sys.executable, "-c", GRPC, world.address(uid))
        assert out.decode().splitlines()[2] == "0802"

    run(test, tmp_path)


def test_what_is_not_http2_ends_the_connection_and_nothing_else(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("web", stand_in(WEB))
        await world.ready(uid)
        space, address = world.netns(uid), world.address(uid)
        garbage = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\1\0\0\0\0\0\1x"
        upgrade = get("/", "Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n")
        for request in (garbage, upgrade):
            async with asyncio.timeout(10):
                with_end = talk(space, address, 80, request)
                await asyncio.gather(with_end, return_exceptions=True)
        assert body_of(await talk(space, address, 80, get("/")))["pod"] == "web"

    run(test, tmp_path)
