"""A real worker on a loopback port under real clients: dig, nslookup, raw sockets; and a real upstream of the test."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import msgspec
import pytest

from podwire.base import Origin, Ref
from podwire.compile.corefile_blocks import compile_corefile
from podwire.plan import PlaneFact, PodsMode, Record, ZonePlan, ZoneUnit
from podwire.planes.dns.driver import DnsDriver, dns_argv

pytestmark = pytest.mark.compat

Z = "cluster.local"
ORIGIN = Origin(Ref("Service", "shop", "api"))
DEADLINE_SECONDS = 20


def record(name: str, rtype: str, data: str) -> Record:
    return Record(name, rtype, 30, data, ORIGIN)  # type: ignore[arg-type]


def unit(*records: Record) -> ZoneUnit:
    return ZoneUnit(ORIGIN, tuple(sorted(records)))


def make_plan(*upstreams: str, **services: ZoneUnit) -> ZonePlan:
    soa = f"ns.dns.{Z} hostmaster.{Z} 1 7200 1800 86400 30"
    names = [record(zone, "SOA", soa) for zone in (Z, "in-addr.arpa")]
    apex = unit(*names, record(Z, "NS", f"ns.dns.{Z}"), record(f"ns.dns.{Z}", "A", "10.96.0.10"))
    host = f"db-0.db.shop.svc.{Z}"
    units = {
        "apex": apex,
        "Namespace/shop": ZoneUnit(ORIGIN, (), (f"shop.svc.{Z}",)),
        "Service/shop/api": unit(
            record(f"api.shop.svc.{Z}", "A", "10.96.0.20"),
            record("20.0.96.10.in-addr.arpa", "PTR", f"api.shop.svc.{Z}"),
        ),
        "Service/shop/db": unit(
            record(f"_pg._tcp.db.shop.svc.{Z}", "SRV", f"0 100 5432 {host}"),
            record(host, "A", "10.244.0.5"),
            record(host, "AAAA", "fd00::5"),
        ),
        "Service/shop/big": unit(*(record(f"big.shop.svc.{Z}", "A", f"10.1.{n // 250}.{n % 250}") for n in range(200))),
        "Service/shop/ext": unit(record(f"ext.shop.svc.{Z}", "CNAME", "www.example.com")),
        **{f"Service/shop/{name}": value for name, value in services.items()},
    }
    return ZonePlan(Z, ("in-addr.arpa",), units, ("shop",), PodsMode("insecure", 30), 1, 30, upstreams)


class Server:
    """A driver and its worker process."""

    def __init__(
        self, driver: DnsDriver, facts: list[PlaneFact], changed: asyncio.Event, argv: tuple[str, ...]
    ) -> None:
        self.driver, self.facts, self.changed, self.argv = driver, facts, changed, argv
        self.processes: list[asyncio.subprocess.Process] = []
        self.host = "127.0.0.1"
        self.prefix: tuple[str, ...] = ()
        self.ports: dict[str, int] = {}
        self.lines: list[str] = []

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The first one."""
        return self.processes[0] if self.processes else None

    async def spawn(self) -> None:
        listen = f"{self.host}:{self.ports.get('serving', 0)}"
        http = (word for name in ("--health", "--ready", "--metrics") for word in (name, "127.0.0.1:0"))
        extra = ("--listen", listen, *http, "--upstream-timeout", "0.8")
        self.processes[:1] = [
            await asyncio.create_subprocess_exec(*self.prefix, *self.argv, *extra, stdout=asyncio.subprocess.PIPE)
        ]
        for _ in range(4):
            line = await self.line()
            found = re.search(r"(/health|/ready|/metrics|serving).* \S+:(\d+)", line)
            assert found, line
            self.ports[found[1]] = int(found[2])

    async def respawn(self, number: int) -> None:
        """Another replica at the same port, or in place of one that is dead."""
        extra = ("--listen", f"{self.host}:{self.ports['serving']}", "--number", str(number))
        http = ("--health", "", "--ready", "", "--metrics", "")
        self.processes[number : number + 1] = [
            await asyncio.create_subprocess_exec(*self.argv, *extra, *http, stdout=asyncio.subprocess.PIPE)
        ]

    async def line(self) -> str:
        assert self.process is not None and self.process.stdout is not None
        text = (await self.process.stdout.readline()).decode()
        self.lines.append(text)
        return text

    async def log(self, pattern: str) -> str:
        while True:
            line = await self.line()
            assert line, "the worker ended"
            if re.search(pattern, line):
                return line

    async def fact(self, holds: Callable[[PlaneFact], bool]) -> PlaneFact:
        while not self.facts or not holds(self.facts[-1]):
            self.changed.clear()
            await self.changed.wait()
        return self.facts[-1]

    async def dig(self, *words: str) -> str:
        return await run(
            *self.prefix, "dig", "@127.0.0.1", "-p", str(self.ports["serving"]), "+tries=1", "+time=5", *words
        )

    async def short(self, *words: str) -> list[str]:
        return sorted((await self.dig("+short", *words)).split("\n")[:-1])

    async def udp(self, name: str, rtype: str = "A", **options: Any) -> dns.message.Message:
        query = dns.message.make_query(name, rtype, **options)
        return await dns.asyncquery.udp(query, "127.0.0.1", port=self.ports["serving"], timeout=10)

    async def tcp(self, name: str, rtype: str = "A") -> dns.message.Message:
        query = dns.message.make_query(name, rtype)
        return await dns.asyncquery.tcp(query, "127.0.0.1", port=self.ports["serving"], timeout=10)

    def http(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[path]}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()


async def run(*argv: str) -> str:
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


@asynccontextmanager
async def serving(
    run_dir: Path, plan: ZonePlan | None, *prefix: str, listen: str = "127.0.0.1", replicas: int = 1
) -> AsyncIterator[Server]:
    facts: list[PlaneFact] = []
    changed = asyncio.Event()

    def report(key: str, fact: Any) -> None:
        assert key == "dns"
        facts.append(fact)
        changed.set()

    driver = DnsDriver(report, run_dir=run_dir)
    argv = dns_argv(run_dir)
    server = Server(driver, facts, changed, (*argv, "--share", "1") if replicas > 1 else argv)
    server.prefix, server.host = prefix, listen
    async with asyncio.timeout(DEADLINE_SECONDS):
        try:
            await driver.start()
            if plan is not None:
                await driver.apply(plan)
            await server.spawn()
            for number in range(1, replicas):
                await server.respawn(number)
            if plan is not None:
                await server.fact(lambda f: f.ready and driver.workers == replicas)
            yield server
        finally:
            await driver.close()
            for process in server.processes:
                if process.returncode is None:
                    process.terminate()
                    assert await process.wait() == 0


class Upstream(asyncio.DatagramProtocol):
    """Answers A with 192.0.2.80; ``big.…`` truncated by UDP and whole by TCP; ``gone.…`` NXDOMAIN; ``dead.…`` not."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        reply = self.answer(data, tcp=False)
        if reply is not None:
            self.transport.sendto(b"\0\0" + reply[2:], addr)  # a forger's guess, to be ignored
            self.transport.sendto(reply, addr)

    def answer(self, data: bytes, *, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(data)
        name = query.question[0].name
        self.asked.append(name.to_text(True))
        reply = dns.message.make_response(query)
        first = name.labels[0]
        if first == b"dead":
            return None
        if first == b"gone":
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif first == b"big" and not tcp:
            reply.flags |= dns.flags.TC
        elif query.question[0].rdtype == dns.rdatatype.A:
            count = 100 if first == b"big" else 1
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", *(f"192.0.2.{80 + n}" for n in range(count))))
        return reply.to_wire(max_size=65535 if tcp else 0)

    async def on_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        reply = self.answer(await reader.readexactly(size), tcp=True) or b""
        writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()


async def bind_upstream() -> tuple[asyncio.DatagramTransport, Upstream, asyncio.Server]:
    """UDP and TCP on one free port: a port that is free for UDP may be taken for TCP."""
    loop = asyncio.get_running_loop()
    while True:
        transport, protocol = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        try:
            return transport, protocol, await asyncio.start_server(protocol.on_tcp, "127.0.0.1", port)
        except OSError:
            transport.close()


@asynccontextmanager
async def upstream() -> AsyncIterator[tuple[Upstream, str]]:
    transport, protocol, server = await bind_upstream()
    port = transport.get_extra_info("sockname")[1]
    try:
        yield protocol, f"127.0.0.1:{port}"
    finally:
        server.close()
        transport.close()


def test_dig_and_nslookup(tmp_path: Path) -> None:
    asyncio.run(check_dig(tmp_path))


async def check_dig(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        api, pg = f"api.shop.svc.{Z}", f"_pg._tcp.db.shop.svc.{Z}"
        for variant in ([], ["+tcp"], ["+noedns"], ["+edns=0", "+nocookie"], ["+bufsize=4096"], ["+dnssec"]):
            assert await server.short(*variant, api) == ["10.96.0.20"], variant
        assert await server.short(pg, "SRV") == [f"0 100 5432 db-0.db.shop.svc.{Z}."]
        assert await server.short("-x", "10.96.0.20") == [f"{api}."]
        assert await server.short(f"db-0.db.shop.svc.{Z}", "AAAA") == ["fd00::5"]
        assert await server.short(Z, "NS") == [f"ns.dns.{Z}."]
        assert await server.short(f"10-1-2-3.shop.pod.{Z}") == ["10.1.2.3"]
        assert len(await server.short(f"big.shop.svc.{Z}")) == 200, "truncated, asked again over TCP"
        for words in ([api], ["+tcp", api], [f"no.shop.svc.{Z}"], [pg, "SRV"], ["+bufsize=512", f"big.shop.svc.{Z}"]):
            text = await server.dig(*words)
            unexpected = [x for x in text.splitlines() if x.startswith(";;") and "WARN" in x and "mDNS" not in x]
            assert "malformed" not in text.lower(), text
            assert not [x for x in unexpected if "Multicast" not in x], text
        assert "status: NXDOMAIN" in await server.dig(f"no.shop.svc.{Z}")
        assert "status: BADVERS" in await server.dig("+edns=1", "+noednsnegotiation", api)
        assert "status: REFUSED" in await server.dig("CH", "TXT", "version.bind")
        assert "Transfer failed" in await server.dig("AXFR", Z)
        port = f"-port={server.ports['serving']}"
        text = await run("nslookup", port, "-type=SRV", pg, "127.0.0.1")
        assert f"{pg}\tservice = 0 100 5432 db-0.db.shop.svc.{Z}." in text
        assert "Address: 10.96.0.20" in await run("nslookup", port, api, "127.0.0.1")
        assert "can't find" in await run("nslookup", port, f"no.shop.svc.{Z}", "127.0.0.1")


def test_an_idle_worker_stops_when_told(tmp_path: Path) -> None:
    asyncio.run(check_stop(tmp_path))


async def check_stop(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        assert server.process is not None
        await server.log("zone cluster.local")
        server.process.terminate()
        assert await server.process.wait() == 0
        assert await server.log("stopped")


def test_changes_reach_the_worker(tmp_path: Path) -> None:
    asyncio.run(check_changes(tmp_path))


async def check_changes(run_dir: Path) -> None:
    first = make_plan()
    async with serving(run_dir, first) as server:
        new = f"new.shop.svc.{Z}"
        before = server.facts[-1].applied
        assert await server.short(new) == []
        second = make_plan(new=unit(record(new, "A", "10.96.0.99")))
        await server.driver.apply(second)
        await server.fact(lambda f: f.applied != before)
        assert await server.short(new) == ["10.96.0.99"]
        await server.driver.apply(first)
        await server.fact(lambda f: f.applied == before)
        assert await server.short(new) == []
        count = len(server.facts)
        await server.driver.apply(first)
        assert len(server.facts) == count, "nothing changed, nothing said"


def test_probes_and_answers_before_the_table(tmp_path: Path) -> None:
    asyncio.run(check_probes(tmp_path))


async def check_probes(run_dir: Path) -> None:
    async with serving(run_dir, None) as server:
        assert await asyncio.to_thread(server.http, "/health") == (200, "OK")
        assert (await asyncio.to_thread(server.http, "/ready"))[0] == 503
        assert (await server.udp(f"api.shop.svc.{Z}")).rcode() == dns.rcode.SERVFAIL
        await server.driver.apply(make_plan())
        await server.fact(lambda f: f.ready)
        assert await asyncio.to_thread(server.http, "/ready") == (200, "OK")
        assert await server.log("zone cluster.local serial 1")


def test_killed_worker_comes_back(tmp_path: Path) -> None:
    asyncio.run(check_killed(tmp_path))


async def check_killed(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        assert server.process is not None
        os.kill(server.process.pid, signal.SIGKILL)
        await server.process.wait()
        await server.fact(lambda f: not f.ready)
        await server.spawn()
        await server.fact(lambda f: f.ready)
        assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]


def test_worker_outlives_its_driver(tmp_path: Path) -> None:
    asyncio.run(check_driver_restart(tmp_path))


async def check_driver_restart(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        await server.driver.close()
        assert await server.log("control connection is lost")
        assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]
        ready = asyncio.Event()
        again = DnsDriver(lambda _, fact: ready.set(), run_dir=run_dir)
        await again.start()
        try:
            await again.apply(make_plan(api=unit(record(f"api.shop.svc.{Z}", "A", "10.96.0.21"))))
            await ready.wait()
            assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.21"]
            while not again._keeper.count:
                await server.short(f"api.shop.svc.{Z}")  # the worker lends its sockets to the new driver soon after
        finally:
            await again.close()


def test_forwarding(tmp_path: Path) -> None:
    asyncio.run(check_forwarding(tmp_path))


async def check_forwarding(run_dir: Path) -> None:
    async with upstream() as (other, address), serving(run_dir, make_plan(address)) as server:
        assert await server.short("www.example.com") == ["192.0.2.80"]
        assert await server.short("+tcp", "www.example.com") == ["192.0.2.80"]
        assert await server.short(f"ext.shop.svc.{Z}") == ["192.0.2.80", "www.example.com."]
        assert (await server.udp("gone.example.com")).rcode() == dns.rcode.NXDOMAIN
        assert await server.short("-x", "192.0.2.7") == []
        assert "7.2.0.192.in-addr.arpa" in other.asked, "unknown addresses fall through"
        assert f"api.shop.svc.{Z}" not in other.asked
        assert (await server.udp("big.example.com")).flags & dns.flags.TC
        for _ in range(10):
            assert len((await server.tcp("big.example.com")).answer[0]) == 100


def test_own_names_do_not_wait_for_a_dead_upstream(tmp_path: Path) -> None:
    asyncio.run(check_dead(tmp_path))


async def check_dead(run_dir: Path) -> None:
    async with upstream() as (_, address), serving(run_dir, make_plan(address)) as server:
        waiting = [asyncio.create_task(server.udp(f"dead.{n}.example.com", use_edns=0)) for n in range(50)]
        assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]
        assert not any(task.done() for task in waiting)
        for reply in await asyncio.gather(*waiting):
            assert reply.rcode() == dns.rcode.SERVFAIL and "no answer from 127.0.0.1" in reply.options[0].to_text()
        assert await server.log("no answer from 127.0.0.1")


@pytest.mark.kernel
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a network namespace")
def test_a_pod_asks_upstreams_through_the_host(tmp_path: Path) -> None:
    name = f"podwire-dns-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        asyncio.run(check_namespace(tmp_path, name))
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


async def check_namespace(run_dir: Path, name: str) -> None:
    """The upstream listens on the host's loopback, which the worker's namespace cannot reach."""
    inside = ("ip", "netns", "exec", name)
    async with upstream() as (_, address), serving(run_dir, make_plan(address), *inside) as server:
        assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]
        assert await server.short("www.example.com") == ["192.0.2.80"]
        assert len(await server.short("+tcp", "big.example.com")) == 100


def test_tcp_pipelining_and_bad_peers(tmp_path: Path) -> None:
    asyncio.run(check_tcp(tmp_path))


async def check_tcp(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        port = server.ports["serving"]
        queries = [dns.message.make_query(f"api.shop.svc.{Z}", "A", id=n).to_wire() for n in range(1, 101)]
        framed = b"".join(len(q).to_bytes(2, "big") + q for q in queries)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for start in range(0, len(framed), 7):
            writer.write(framed[start : start + 7])
        writer.write_eof()
        for n in range(1, 101):
            size = int.from_bytes(await reader.readexactly(2), "big")
            assert int.from_bytes((await reader.readexactly(size))[:2], "big") == n
        assert await reader.read() == b""
        writer.close()
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        assert (await server.tcp(f"api.shop.svc.{Z}")).rcode() == dns.rcode.NOERROR
        for _, each in idle:
            each.close()


def test_socket_is_private_and_removed(tmp_path: Path) -> None:
    asyncio.run(check_socket(tmp_path))


async def check_socket(run_dir: Path) -> None:
    driver = DnsDriver(lambda *_: None, run_dir=run_dir)
    await driver.start()
    path = run_dir / "dns.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, str(path))
        peer.send(b"\0\0\0\2{]")
    await driver.apply(make_plan())
    await driver.close()
    await driver.close()
    assert not path.exists()


def with_corefile(plan: ZonePlan, corefile: str, upstream: str) -> ZonePlan:
    """``plan`` served as this Corefile says."""
    config = compile_corefile(corefile, ORIGIN, resolv_conf=(upstream,)).config
    return msgspec.structs.replace(plan, config=config, fallthrough=())


def test_a_corefile_is_served_and_its_changes_apply(tmp_path: Path) -> None:
    asyncio.run(check_corefile(tmp_path))


async def check_corefile(run_dir: Path) -> None:
    async with upstream() as (asked, address):
        first = f". {{\n prometheus\n cache 30\n kubernetes {Z}\n forward . {address}\n}}\n"
        plan = with_corefile(make_plan(address), first, address)
        async with serving(run_dir, plan) as server:
            assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]
            for _ in range(3):
                assert await server.short("www.example.com") == ["192.0.2.80"]
            assert len(asked.asked) == 1  # the cache has it
            status, metrics = await asyncio.to_thread(server.http, "/metrics")
            hits = 'coredns_cache_hits_total{server="dns://:53",view="",zones="0",type="success"} 2'
            assert status == 200 and hits in metrics
            await server.driver.apply(
                with_corefile(
                    plan,
                    f". {{\n hosts {{\n 192.0.2.7 www.example.com\n fallthrough\n }}\n kubernetes {Z}\n}}\n",
                    address,
                )
            )
            await server.fact(lambda f: f.ready and f.applied != server.facts[0].applied)
            assert await server.short("www.example.com") == ["192.0.2.7"]
            assert (await asyncio.to_thread(server.http, "/metrics"))[0] == 404
            assert await server.short(f"api.shop.svc.{Z}") == ["10.96.0.20"]


def test_a_restart_by_hand_over_loses_no_question(tmp_path: Path) -> None:
    asyncio.run(check_hand_over(tmp_path))


class Asker(asyncio.DatagramProtocol):
    """Sends the next question when an answer comes, so that some are always under way."""

    def __init__(self) -> None:
        self.answered = 0
        self.open: set[int] = set()
        self.sent = 0
        self.stopping = False
        self.idle = asyncio.Event()
        self.progress = asyncio.Event()
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport
        for _ in range(20):
            self.send()

    def send(self) -> None:
        ident = self.sent & 0xFFFF
        self.sent += 1
        self.open.add(ident)
        query = dns.message.make_query(f"api.shop.svc.{Z}", "A", id=ident)
        self.transport.sendto(query.to_wire())

    def datagram_received(self, data: bytes, addr: Any) -> None:
        message = dns.message.from_wire(data)
        assert message.rcode() == dns.rcode.NOERROR and message.answer
        self.open.discard(message.id)
        self.answered += 1
        self.progress.set()
        if not self.stopping:
            self.send()
        elif not self.open:
            self.idle.set()

    async def wait_for(self, count: int) -> None:
        while self.answered < count:
            self.progress.clear()
            await self.progress.wait()


async def check_hand_over(run_dir: Path) -> None:
    async with serving(run_dir, make_plan()) as server:
        loop = asyncio.get_running_loop()
        address = ("127.0.0.1", server.ports["serving"])
        transport, asker = await loop.create_datagram_endpoint(Asker, remote_addr=address)
        assert server.process is not None
        pid = server.process.pid
        await asker.wait_for(100)
        for _ in range(2):
            server.process.send_signal(signal.SIGHUP)
            await server.log("starting again with open sockets")
            await server.log("names of .* objects")
            await asker.wait_for(asker.answered + 100)
        asker.stopping = True
        await asker.idle.wait()
        transport.close()
        assert asker.answered == asker.sent and server.process.pid == pid
        assert (await server.tcp(f"api.shop.svc.{Z}")).answer
        assert (await asyncio.to_thread(server.http, "/ready"))[0] == 200


def test_a_client_beyond_its_rate_is_told_to_use_tcp(tmp_path: Path) -> None:
    asyncio.run(check_rate(tmp_path))


async def check_rate(run_dir: Path) -> None:
    async with serving(run_dir, msgspec.structs.replace(make_plan(), client_rate=5)) as server:
        name = f"api.shop.svc.{Z}"
        query = dns.message.make_query(name, "A").to_wire()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.ports["serving"]))
            for _ in range(40):
                sock.send(query)
            reply = b""
            while not reply[2:3] or not reply[2] & 2:  # the first ones are answers, then come those with TC
                reply = await asyncio.get_running_loop().sock_recv(sock, 4096)
            assert len(reply) <= len(query)
        assert await server.short("+tcp", name) == ["10.96.0.20"]
