"""A DNS server that is killed or restarted while it is asked as fast as it answers, alone and as one of two replicas.

Rolling restart: none of the questions is lost. SIGKILL: at most the one that the dead process had read and not
answered; whoever keeps its sockets hands them on, and questions wait in them.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import pytest
from tests.compat.test_dns_clients import Server, Z, make_plan, serving

pytestmark = pytest.mark.compat

NAME = f"api.shop.svc.{Z}"
WINDOW = 40
"""Questions of one client that are under way at a time; ``CLIENTS`` of them are well below the socket's buffer."""
CLIENTS = 4


class Load(asyncio.DatagramProtocol):
    """Keeps :data:`WINDOW` questions under way. One that is lost is never answered, so it stays in ``open``."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.answered = self.sent = self.refused = 0
        self.stopping = False
        self.progress = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        for _ in range(WINDOW):
            self.send()

    def send(self) -> None:
        ident = self.sent & 0xFFFF
        self.sent += 1
        self.open.add(ident)
        self.transport.sendto(dns.message.make_query(NAME, "A", id=ident).to_wire())

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = dns.message.from_wire(data)
        assert message.rcode() == dns.rcode.NOERROR and message.answer
        self.open.discard(message.id)
        self.answered += 1
        self.progress.set()
        if not self.stopping:
            self.send()

    def error_received(self, exc: Exception) -> None:
        self.refused += 1
        self.progress.set()


async def start_load(server: Server) -> list[Load]:
    loop = asyncio.get_running_loop()
    address = ("127.0.0.1", server.ports["serving"])
    made = [await loop.create_datagram_endpoint(Load, remote_addr=address) for _ in range(CLIENTS)]
    return [load for _, load in made]


async def further(loads: list[Load], count: int) -> None:
    """Every client gets ``count`` more answers."""
    wanted = [load.answered + count for load in loads]
    for load, number in zip(loads, wanted, strict=True):
        while load.answered < number:
            load.progress.clear()
            await load.progress.wait()


async def lost(loads: list[Load]) -> int:
    """Questions without an answer, when everything else is answered: what is asked last comes last."""
    for load in loads:
        load.stopping = True
    for load in loads:
        count = load.answered
        load.send()
        while load.answered == count or load.sent - 1 & 0xFFFF in load.open:
            load.progress.clear()
            await load.progress.wait()
        load.transport.close()
    assert not any(load.refused for load in loads), "a port was closed"
    return sum(len(load.open) for load in loads)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_rolling_restart_loses_nothing(tmp_path: Path, replicas: int) -> None:
    asyncio.run(check_rolling(tmp_path, replicas))


async def check_rolling(folder: Path, replicas: int) -> None:
    async with serving(folder, make_plan(), replicas=replicas) as server:
        loads = await start_load(server)
        await further(loads, 200)
        for process in server.processes:
            process.send_signal(signal.SIGHUP)
            await further(loads, 200)
        assert await lost(loads) == 0
        assert all(process.returncode is None for process in server.processes)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_killed_server_loses_what_it_had_in_its_hands(tmp_path: Path, replicas: int) -> None:
    asyncio.run(check_killed(tmp_path, replicas))


async def check_killed(folder: Path, replicas: int) -> None:
    async with serving(folder, make_plan(), replicas=replicas) as server:
        loads = await start_load(server)
        for _ in range(2):
            await further(loads, 100)  # at full speed, never idle
            victim = server.processes[0]
            os.kill(victim.pid, signal.SIGKILL)
            await victim.wait()
            await server.respawn(0)
            for load in loads:
                load.send()  # in place of the one that may be lost
        await further(loads, 50)
        assert await lost(loads) <= 2
