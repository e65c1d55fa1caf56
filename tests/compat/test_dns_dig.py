"""RFC 8906 with dig: whatever a stock client puts into a question gets the answer that the RFC wants, and no timeout.

A row is what dig is told, what its output must hold, and what it must not hold.
"""

import asyncio
from pathlib import Path

import dns.message
import dns.opcode
import dns.rcode
import pytest
from tests.compat.test_dns_clients import Z, make_plan, serving

from podwire.plan import ZonePlan

pytestmark = pytest.mark.compat

API = f"api.shop.svc.{Z}"
BIG = f"big.shop.svc.{Z}"
EDNS = "EDNS: version: 0"
GOOD = ("status: NOERROR", "10.96.0.20", " aa ")

ROWS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("8.1.1 plain", f"+noedns +noad {API}", GOOD, ("OPT PSEUDO", " ad")),
    ("8.1.1 SOA of the zone", f"+noedns +noad +norec SOA {Z}", ("status: NOERROR", "SOA"), (" rd",)),
    ("8.1.2 unknown type", f"+noedns +noad TYPE1000 {API}", ("status: NOERROR", "ANSWER: 0", "AUTHORITY: 1"), ()),
    ("8.1.3.1 CD", f"+noedns +cd {API}", GOOD, ("connection timed out",)),
    ("8.1.3.2 AD", f"+noedns +ad {API}", GOOD, (" ad ", " ad;")),
    ("8.1.3.3 reserved bit", f"+noedns +zflag {API}", GOOD, ("MBZ",)),
    ("8.1.3.4 recursion", f"+noedns +rec {API}", (*GOOD, " rd "), ("WARNING: recursion",)),
    ("8.1.4 unknown opcode", f"+noedns +opcode=15 +header-only {API}", ("status: NOTIMP",), (" aa",)),
    ("8.1.5 TCP", f"+noedns +tcp {API}", (*GOOD, "(TCP)"), ()),
    ("8.2.1 EDNS 0", f"+edns=0 +nocookie {API}", (*GOOD, EDNS, "udp: 1232"), ("COOKIE",)),
    ("8.2.2 EDNS 1", f"+edns=1 +noednsneg +nocookie {API}", ("status: BADVERS", EDNS), ("10.96.0.20", " aa")),
    ("8.2.3 unknown option", f"+edns=0 +ednsopt=100 {API}", (*GOOD, EDNS), ("OPT=100",)),
    ("8.2.4 unknown flag", f"+edns=0 +ednsflags=0x80 {API}", (*GOOD, EDNS), ("MBZ",)),
    ("8.2.5 EDNS 1, unknown flag", f"+edns=1 +noednsneg +ednsflags=0x80 {API}", ("status: BADVERS",), ("MBZ",)),
    ("8.2.6 EDNS 1, unknown option", f"+edns=1 +noednsneg +ednsopt=100 {API}", ("status: BADVERS",), ("OPT=100",)),
    ("8.2.7 truncation", f"+dnssec +bufsize=512 +ignore {BIG}", (" tc ", EDNS, "flags: do"), ()),
    ("8.2.8 DO", f"+dnssec {API}", (*GOOD, "flags: do"), ()),
    ("8.2.9 EDNS over TCP", f"+edns=0 +tcp {API}", (*GOOD, EDNS), ()),
    ("8.2.10 several options", f"+nsid +subnet=192.0.2.0/24 +expire +cookie {API}", (*GOOD, EDNS), ("CLIENT-SUBNET",)),
    ("our size, not the client's", f"+bufsize=4096 {API}", (*GOOD, "udp: 1232"), ("udp: 4096",)),
    ("over the size by TCP", BIG, ("ANSWER: 200", "(TCP)"), ()),
    ("no question", f"+header-only {API}", ("status: FORMERR",), ()),
    ("class CH", "CH TXT version.bind", ("status: REFUSED",), ()),
    ("class ANY", f"-c ANY -t A {API}", ("status: REFUSED",), ()),
    ("ANY", f"-t ANY +notcp {API}", ("status: NOERROR", "ANSWER: 0", "SOA"), ()),
    ("case of the question", "+noedns aPi.ShOp.sVc.ClUsTeR.lOcAl", ("SECTION:\naPi.ShOp.sVc.ClUsTeR.lOcAl.",), ()),
    ("PTR", "-x 10.96.0.20", (f"{API}.", "status: NOERROR"), ()),
    ("unknown address", "-x 10.96.0.99", ("status: NXDOMAIN", "SOA"), ()),
    ("NXDOMAIN", f"no.shop.svc.{Z}", ("status: NXDOMAIN", "AUTHORITY: 1", "SOA", " aa "), ()),
    ("NODATA", f"AAAA {API}", ("status: NOERROR", "ANSWER: 0", "SOA", " aa "), ()),
    ("empty non-terminal", f"_tcp.db.shop.svc.{Z}", ("status: NOERROR", "ANSWER: 0", "SOA"), ()),
    ("outside every zone", "www.example.com", ("status: REFUSED", "EDE: 20"), (" aa ",)),
)  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What dig prints for every row, asked of one server."""

    async def ask(folder: Path, plan: ZonePlan) -> dict[str, str]:
        async with serving(folder, plan) as server:
            return {name: await server.dig(*words.split()) for name, words, _, _ in ROWS}

    return asyncio.run(ask(tmp_path_factory.mktemp("dig"), make_plan()))


@pytest.mark.parametrize(("name", "words", "wanted", "unwanted"), ROWS, ids=[row[0] for row in ROWS])
def test_dig(
    answers: dict[str, str], name: str, words: str, wanted: tuple[str, ...], unwanted: tuple[str, ...]
) -> None:
    text = answers[name]
    assert "timed out" not in text and "malformed" not in text.lower(), text
    for part in wanted:
        assert part in text or part.strip() + ";" in text, (part, text)
    for part in unwanted:
        assert part not in text, (part, text)


def test_what_dig_cannot_send(tmp_path: Path) -> None:
    asyncio.run(check_raw(tmp_path))


async def check_raw(folder: Path) -> None:
    """Two questions, a response, an update: by hand; then the server is asked again."""
    async with serving(folder, make_plan()) as server:
        good = dns.message.make_query(API, "A")
        two = dns.message.make_query(API, "A")
        two.question.append(dns.message.make_query(API, "AAAA").question[0])
        for packet, rcode in ((two, dns.rcode.FORMERR), (_with_opcode(5), dns.rcode.NOTIMP)):
            where = ("127.0.0.1", server.ports["serving"])
            reply = await _exchange(packet.to_wire(), where)
            assert reply[2] & 0x80 and reply[3] & 15 == rcode
        response = dns.message.make_response(good).to_wire()
        with pytest.raises(TimeoutError):
            await _exchange(response, ("127.0.0.1", server.ports["serving"]), seconds=0.3)
        assert (await server.udp(API)).answer


def _with_opcode(opcode: int) -> dns.message.Message:
    made = dns.message.make_query(API, "A")
    made.set_opcode(dns.opcode.Opcode(opcode))
    return made


async def _exchange(packet: bytes, where: tuple[str, int], *, seconds: float = 5) -> bytes:
    loop = asyncio.get_running_loop()
    received: asyncio.Future[bytes] = loop.create_future()

    class Once(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(Once, remote_addr=where)
    try:
        transport.sendto(packet)
        async with asyncio.timeout(seconds):
            return await received
    finally:
        transport.close()
