"""Section 6 of the DNS reference: what strangers may send, and what every reply looks like."""

from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.planes.dns import wire
from podwire.planes.dns.chain import PLAIN
from podwire.planes.dns.machine import Forward, Responder, complete, fail
from podwire.planes.dns.table import Meta, Table

Z = "cluster.local"
API = f"api.shop.svc.{Z}"


def make_table(*records: tuple[str, str, int, str], upstreams: tuple[str, ...] = ()) -> Table:
    table = Table(Meta(Z, ("in-addr.arpa",), frozenset({"shop"}), 30, 1, upstreams))
    soa = (Z, "SOA", 30, f"ns.dns.{Z} hostmaster.{Z} 1 7200 1800 86400 30")
    table.put("apex", [soa, (API, "A", 30, "10.96.0.20"), *records])
    return table


@pytest.fixture
def responder() -> Responder:
    made = Responder()
    made.load(make_table(*((f"big.shop.svc.{Z}", "A", 30, f"10.0.{n // 250}.{n % 250}") for n in range(300))))
    return made


def query(name: str = API, rtype: str = "A", **options: Any) -> bytes:
    return dns.message.make_query(name, rtype, **options).to_wire()


def read(reply: object) -> dns.message.Message:
    assert isinstance(reply, bytes)
    return dns.message.from_wire(reply)


@pytest.mark.parametrize("size", range(12))
def test_short_messages_are_dropped(responder: Responder, size: int) -> None:
    assert responder.reply(query()[:size]) is None


def test_responses_are_dropped(responder: Responder) -> None:
    packet = bytearray(query())
    packet[2] |= 0x80
    assert responder.reply(bytes(packet)) is None


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 6, 15])
def test_other_opcodes_are_not_implemented(responder: Responder, opcode: int) -> None:
    packet = bytearray(query())
    packet[2] = opcode << 3 | 1
    reply = responder.reply(bytes(packet))
    assert isinstance(reply, bytes) and len(reply) == 12
    assert reply[:2] == packet[:2] and reply[3] & 15 == wire.NOTIMP and not reply[2] & 4
    assert (reply[2] >> 3) & 15 == opcode and reply[2] & 1


def replaced(offset: int, data: bytes) -> bytes:
    packet = query()
    return packet[:offset] + data + packet[offset + len(data) :]


OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


@pytest.mark.parametrize(
    "packet",
    [
        replaced(4, b"\0\0"),
        replaced(4, b"\0\2"),
        replaced(6, b"\0\1"),
        replaced(8, b"\0\1"),
        replaced(10, b"\0\1"),
        query() + b"x",
        query()[:-1],
        query()[:13],
        query()[:12] + b"\xc0\x0c\0\1\0\1",
        query()[:12] + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
        query()[:12] + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
        replaced(10, b"\0\2") + OPT + OPT,
        replaced(10, b"\0\1") + b"\1x" + OPT,
        replaced(10, b"\0\1") + OPT[:-2] + b"\0\3abc",
        replaced(10, b"\0\1") + OPT[:-2] + b"\0\6\0\x0a\0\x09ab",
        replaced(10, b"\0\1") + OPT[:-2] + b"\0\x09",
    ],
    ids=lambda packet: str(len(packet)),  # message ids are random, test ids must not be
)
def test_malformed_messages(responder: Responder, packet: bytes) -> None:
    reply = responder.reply(packet)
    assert isinstance(reply, bytes) and len(reply) == 12
    assert reply[3] & 15 == wire.FORMERR and reply[:2] == packet[:2] and reply[4:12] == bytes(8)


def test_flags_out(responder: Responder) -> None:
    packet = bytearray(query())
    packet[3] |= 0x70  # Z, AD, CD
    message = read(responder.reply(bytes(packet)))
    assert message.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD | dns.flags.RA
    packet[2] = 0
    assert not read(responder.reply(bytes(packet))).flags & dns.flags.RD


def test_no_opt_unless_asked(responder: Responder) -> None:
    assert read(responder.reply(query())).edns == -1
    message = read(responder.reply(query(use_edns=0, payload=4096, want_dnssec=True)))
    assert (message.edns, message.payload, message.ednsflags) == (0, 1232, dns.flags.DO)


def test_unknown_options_are_ignored_and_not_echoed(responder: Responder) -> None:
    options = [dns.edns.GenericOption(dns.edns.OptionType.make(code), b"12345678") for code in (3, 9, 10, 100, 65001)]
    message = read(responder.reply(query(use_edns=0, options=options, ednsflags=0x0080)))
    assert message.options == () and message.ednsflags == 0 and message.rcode() == 0
    assert responder.memory(PLAIN) == {}


def test_bad_version(responder: Responder) -> None:
    packet = dns.message.make_query(API, "A", use_edns=1).to_wire()
    message = read(responder.reply(packet))
    assert message.rcode() == dns.rcode.BADVERS and not message.answer and not message.flags & dns.flags.AA
    assert message.edns == 0


@pytest.mark.parametrize("rtype", ["MX", "ANY", "TYPE1000", "SOA", "NS", "AAAA", "SVCB"])
def test_missing_types_are_nodata(responder: Responder, rtype: str) -> None:
    message = read(responder.reply(query(API, rtype)))
    assert (message.rcode(), message.answer) == (dns.rcode.NOERROR, [])
    assert message.authority[0].rdtype == dns.rdatatype.SOA


@pytest.mark.parametrize("rtype", ["AXFR", "IXFR"])
@pytest.mark.parametrize("tcp", [False, True])
def test_transfers_are_refused(responder: Responder, rtype: str, tcp: bool) -> None:
    packet = query(Z)
    number = {"AXFR": 252, "IXFR": 251}[rtype]
    packet = packet[:-4] + number.to_bytes(2, "big") + packet[-2:]
    reply = responder.reply(packet, tcp=tcp)
    assert isinstance(reply, bytes) and reply[3] & 15 == wire.REFUSED


@pytest.mark.parametrize("rclass", ["CH", "ANY"])
def test_other_classes_are_refused(responder: Responder, rclass: str) -> None:
    message = read(responder.reply(dns.message.make_query("version.bind", "TXT", rclass).to_wire()))
    assert message.rcode() == dns.rcode.REFUSED


def test_not_loaded_is_servfail_with_a_reason() -> None:
    message = read(Responder().reply(query(use_edns=0)))
    assert message.rcode() == dns.rcode.SERVFAIL and not message.flags & dns.flags.AA
    (option,) = message.options
    assert isinstance(option, dns.edns.EDEOption) and option.code == 14


@pytest.mark.parametrize(("advertised", "limit"), [(None, 512), (100, 512), (1000, 1000), (4096, 1232)])
def test_truncation(responder: Responder, advertised: int | None, limit: int) -> None:
    options: dict[str, Any] = {} if advertised is None else {"use_edns": 0, "payload": advertised}
    reply = responder.reply(query(f"big.shop.svc.{Z}", **options))
    assert isinstance(reply, bytes) and len(reply) <= limit
    message = dns.message.from_wire(reply)
    assert message.flags & dns.flags.TC
    assert message.edns == (-1 if advertised is None else 0)
    assert limit - len(reply) < 16, "as many records as fit"


def test_tcp_gets_everything(responder: Responder) -> None:
    message = read(responder.reply(query(f"big.shop.svc.{Z}"), tcp=True))
    assert not message.flags & dns.flags.TC and len(message.answer[0]) == 300


def test_dropped_glue_is_no_truncation() -> None:
    made = Responder()
    hosts = [f"host-{n}.db.shop.svc.{Z}" for n in range(8)]
    records = [(f"db.shop.svc.{Z}", "SRV", 30, f"0 12 80 {h}") for h in hosts]
    made.load(make_table(*records, *((h, "A", 30, "10.0.0.1") for h in hosts)))
    reply = made.reply(query(f"db.shop.svc.{Z}", "SRV"))
    message = read(reply)
    assert isinstance(reply, bytes) and len(reply) <= 512
    assert len(message.answer[0]) == 8 and not message.flags & dns.flags.TC
    assert 0 < len(message.additional) < 8


def test_a_dot_inside_a_label_is_not_a_label_border(responder: Responder) -> None:
    name = b"\x08api.shop" + wire.encode_name(f"svc.{Z}")
    reply = responder.reply(query()[:12] + name + b"\0\1\0\1")
    assert isinstance(reply, bytes) and reply[3] & 15 == wire.NXDOMAIN
    inside = b"\x0fx\x07cluster\x05local\0"
    reply = responder.reply(query()[:12] + inside + b"\0\1\0\1")
    assert isinstance(reply, bytes) and reply[3] & 15 == wire.REFUSED, "not a name of the zone"


def test_remembered_replies_are_the_same(responder: Responder) -> None:
    packet = query(use_edns=0)
    first = responder.reply(packet)
    assert isinstance(first, bytes)
    assert {key: kept.rest for key, kept in responder.memory(PLAIN).items()} == {packet[2:]: first[2:]}
    responder.load(make_table())
    assert responder.memory(PLAIN) == {}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_noise_never_breaks_the_server(noise: bytes, tcp: bool) -> None:
    made = Responder()
    made.load(make_table(upstreams=("192.0.2.1",)))
    for packet in (noise, query()[:12] + noise, query(use_edns=0) + noise, query()[:4] + noise):
        reply = made.reply(packet, tcp=tcp)
        if isinstance(reply, bytes):
            assert reply[2] & 0x80 and reply[:2] == packet[:2]


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([False, True]))
def test_noise_from_upstreams_never_breaks_the_server(noise: bytes, head: bool) -> None:
    made = Responder()
    alias = f"ext.shop.svc.{Z}"
    made.load(make_table((alias, "CNAME", 30, "example.com"), upstreams=("192.0.2.1",)))
    forward = made.reply(query(alias))
    assert isinstance(forward, Forward)
    response = forward.request[:2] + b"\x81\x80\0\1\0\2\0\1\0\0" + forward.request[12:] if head else b"\0" * 12
    message = read(complete(forward, response + noise))
    assert message.answer[0][0].to_text() == "example.com."


def test_alias_is_completed_from_upstream() -> None:
    made = Responder()
    alias = f"ext.shop.svc.{Z}"
    made.load(make_table((alias, "CNAME", 30, "www.example.com"), upstreams=("192.0.2.1",)))
    forward = made.reply(query(alias, use_edns=0))
    assert isinstance(forward, Forward)
    asked = dns.message.from_wire(forward.request)
    assert asked.question[0].to_text() == "www.example.com. IN A" and asked.flags & dns.flags.RD
    text = "id 0\nopcode QUERY\nrcode NOERROR\nflags QR RD RA\n;QUESTION\nwww.example.com. IN A\n;ANSWER\n"
    text += "www.example.com. 60 IN CNAME a.example.com.\na.example.com. 60 IN A 192.0.2.80\n"
    message = read(complete(forward, dns.message.from_text(text).to_wire()))
    lines = [line for rrset in message.answer for line in rrset.to_text().splitlines()]
    assert lines == [
        f"{alias}. 30 IN CNAME www.example.com.",
        "www.example.com. 60 IN CNAME a.example.com.",
        "a.example.com. 60 IN A 192.0.2.80",
    ]
    assert message.edns == 0


def test_alias_stays_when_the_upstream_fails() -> None:
    made = Responder()
    alias = f"ext.shop.svc.{Z}"
    made.load(make_table((alias, "CNAME", 30, "example.com"), upstreams=("192.0.2.1",)))
    forward = made.reply(query(alias, use_edns=0))
    assert isinstance(forward, Forward)
    message = read(fail(forward, "no answer"))
    assert message.rcode() == dns.rcode.NOERROR and len(message.answer) == 1
    assert isinstance(message.options[0], dns.edns.EDEOption)


def test_names_outside_the_zone() -> None:
    made = Responder()
    made.load(make_table(upstreams=("192.0.2.1",)))
    forward = made.reply(query("example.com"), tcp=True)
    assert isinstance(forward, Forward)
    message = read(fail(forward, "because"))
    assert message.rcode() == dns.rcode.SERVFAIL
    made.load(make_table())
    message = read(made.reply(query("example.com", use_edns=0)))
    assert message.rcode() == dns.rcode.REFUSED and "no upstream" in message.options[0].to_text()
