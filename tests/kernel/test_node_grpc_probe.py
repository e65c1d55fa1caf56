"""gRPC probes against a real gRPC server in a pod, and against stand-ins."""

import os
import sys
from pathlib import Path

import pytest
from tests.kernel.node_world import WEB, World, process, run, stand_in

from podwire.plan.node import GrpcCheck, Probe

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
]

SERVER = """
import grpc, sys
from concurrent.futures import ThreadPoolExecutor
states = {b"": b"\\x08\\x01", b"\\x0a\\x04shop": b"\\x08\\x01", b"\\x0a\\x05\\x73ick\\x21": b"\\x08\\x02"}
def check(request, context):
    if request not in states:
        context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
    return states[request]
handler = grpc.unary_unary_rpc_method_handler(check)
server = grpc.server(ThreadPoolExecutor(2))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})])
server.add_insecure_port("0.0.0.0:50051")
server.start()
server.wait_for_termination()
"""


def probe(service: str = "", port: int = 50051) -> Probe:
    return Probe(GrpcCheck(port, service), period_seconds=0.1, failure_threshold=1, timeout_seconds=5)


def test_grpc_health_is_asked_by_service(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        argv = (sys.executable, "-c", SERVER)
        well = world.add("well", process(*argv, readiness=probe("shop")))
        plain = world.add("plain", process(*argv, readiness=probe()))
        sick = world.add("sick", process(*argv, readiness=probe("sick!")))
        unknown = world.add("unknown", process(*argv, readiness=probe("other")))
        await world.ready(well, plain)
        await world.until(lambda: any("'NOT_SERVING'" in e.message for e in world.events))
        await world.until(lambda: any("does not know the service" in e.message for e in world.events))
        assert not world.is_ready(sick)
        assert not world.is_ready(unknown)

    run(test, tmp_path)


def test_a_server_without_http2_is_told_apart(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        argv = (sys.executable, "-m", "http.server", "50051")
        uid = world.add("app", process(*argv, readiness=probe()))
        await world.apply()
        await world.until(lambda: any("does not speak HTTP/2" in e.message for e in world.events))
        assert not world.is_ready(uid)

    run(test, tmp_path)


def test_a_stand_in_is_healthy_by_grpc(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        uid = world.add("app", stand_in(WEB, readiness=probe("any", 80)))
        await world.ready(uid)

    run(test, tmp_path)
