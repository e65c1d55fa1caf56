"""Mutated questions and mutated answers of upstreams: no exception, no reply longer than allowed, no growth.

``PODWIRE_FUZZ_SECONDS`` makes it run for longer than the moment it takes in the tests.
"""

import os
import random
import time

import dns.exception
import dns.message
import dns.rrset
import pytest

from podwire.planes.dns.chain import PLAIN, Arrival
from podwire.planes.dns.machine import REMEMBERED, REMEMBERED_BYTES, Forward, Responder, complete, fail
from podwire.planes.dns.plugins_cache import Cache
from podwire.planes.dns.table import Meta, Table
from podwire.planes.dns.upstream import Forwarder, question_of

Z = "cluster.local"
ROUNDS = 3_000
SECONDS = float(os.environ.get("PODWIRE_FUZZ_SECONDS", "0"))
NAMES = (f"api.shop.svc.{Z}", f"_http._tcp.api.shop.svc.{Z}", f"ext.shop.svc.{Z}", f"no.{Z}", "www.example.com", ".")
TYPES = ("A", "AAAA", "SRV", "ANY", "SOA", "TYPE1000", "AXFR")


def make_responder() -> Responder:
    plugins = [
        {"plugin": "loadbalance", "prefer": ()},
        {
            "plugin": "cache", "zones": [""], "success": 100, "success_ttl": 30, "success_min": 5, "denial": 100,
            "denial_ttl": 30, "denial_min": 5, "prefetch": 0, "prefetch_seconds": 60, "prefetch_percent": 10,
            "stale_seconds": 60, "stale_refresh": "verify", "servfail_seconds": 5, "success_disabled": [],
            "denial_disabled": [], "keepttl": False,
        },
        {"plugin": "kubernetes"},
        {"plugin": "forward", "zone": "", "excepts": [], "next_rcodes": [], "upstreams": ["192.0.2.1"]},
    ]  # fmt: skip
    made = Responder()
    table = Table(Meta(Z, (), frozenset({"shop"}), 30, 1, ("192.0.2.1",), (), [{"zones": [""], "plugins": plugins}]))
    soa = f"ns.dns.{Z} hostmaster.{Z} 1 7200 1800 86400 30"
    table.put("apex", [(Z, "SOA", 30, soa)])
    owner = f"api.shop.svc.{Z}"
    table.put("api", [(owner, "A", 30, f"10.96.0.{n}") for n in range(200)])
    table.put("srv", [(f"_http._tcp.{owner}", "SRV", 30, f"0 100 80 {owner}")])
    table.put("ext", [(f"ext.shop.svc.{Z}", "CNAME", 30, "www.example.com")])
    made.load(table)
    return made


def mutate(chance: random.Random, packet: bytes) -> bytes:
    out = bytearray(packet)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(out)) if out else 0
        match chance.randrange(6):
            case 0 if out:
                out[at] = chance.randrange(256)
            case 1 if out:
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                del out[at : at + chance.randrange(1, 9)]
            case 3:
                out[at:at] = chance.randbytes(chance.randrange(1, 9))
            case 4:
                out[at:at] = out[: chance.randrange(1, 40)]
            case 5 if out:
                out[at] = chance.choice((0xC0, 0, 0x3F, 0xFF, 12))
    return bytes(out)


def query(chance: random.Random) -> bytes:
    made = dns.message.make_query(chance.choice(NAMES), chance.choice(TYPES), id=chance.randrange(65536))
    if chance.random() < 0.5:
        made.use_edns(0, payload=chance.choice((0, 512, 1232, 65535)))
    return made.to_wire()


def answer_of(chance: random.Random, request: bytes) -> bytes:
    reply = dns.message.make_response(dns.message.from_wire(request))
    name = reply.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", "b.example.com."))
    reply.answer.append(dns.rrset.from_text("b.example.com.", 60, "IN", "A", "192.0.2.9"))
    if chance.random() < 0.5:
        reply.answer.clear()
        soa = "a.example.com. b.example.com. 1 2 3 4 60"
        reply.authority.append(dns.rrset.from_text("example.com.", 60, "IN", "SOA", soa))
    return reply.to_wire()


@pytest.mark.parametrize("seed", [1, 2])
def test_questions_and_answers_of_strangers(seed: int) -> None:
    chance = random.Random(seed)
    responder = make_responder()
    end = time.monotonic() + SECONDS
    count = 0
    while count < ROUNDS or time.monotonic() < end:
        count += 1
        tcp = chance.random() < 0.2
        packet = mutate(chance, query(chance))
        reply = responder.reply(packet, Arrival("10.244.0.9", 4000, tcp, float(count)))
        steps = 0
        while isinstance(reply, Forward) and steps < 20:
            steps += 1
            request = dns_request(reply.request)
            answer = mutate(chance, answer_of(chance, request))
            ours = len(answer) >= 12 and answer[2] & 0x80 and question_of(answer) == question_of(request)
            reply = complete(reply, answer) if ours else fail(reply, "no answer")
        assert steps < 20
        if isinstance(reply, bytes):
            assert reply[:2] == packet[:2] and reply[2] & 0x80
            assert len(reply) <= (65_535 if tcp else max(512, 1232))
    assert len(responder.memory(PLAIN)) <= REMEMBERED and responder._bytes <= REMEMBERED_BYTES
    (cache,) = responder.built.caches
    assert isinstance(cache, Cache) and all(size <= 100 for size in cache.counts.sizes.values())


def dns_request(request: bytes) -> bytes:
    """A request as dnspython reads it, or an ordinary one where a mutation went through verbatim."""
    try:
        dns.message.from_wire(request)
    except (dns.exception.DNSException, ValueError):
        return dns.message.make_query("www.example.com", "A").to_wire()
    return request


def test_memory_stays_bounded_under_random_names() -> None:
    chance = random.Random(3)
    responder = make_responder()
    packet = dns.message.make_query(f"xxxxxxxx.{Z}", "A").to_wire()
    for _ in range(REMEMBERED + 2_000):
        name = f"{chance.randrange(1 << 32):08x}".encode()
        assert isinstance(responder.reply(packet.replace(b"xxxxxxxx", name)), bytes)
    assert len(responder.memory(PLAIN)) <= REMEMBERED


def test_one_slow_name_does_not_collect_clients() -> None:
    responder = make_responder()
    made = Forwarder(lambda size: bytes(size))
    made.upstreams, made.channels = (("192.0.2.1", 53),), 1
    packet = dns.message.make_query("www.example.com", "A").to_wire()
    forward = responder.reply(packet)
    assert isinstance(forward, Forward)
    refused = [made.submit(forward, ((lambda _: None), False), 0.0) for _ in range(1000)]
    assert sum(item is not None for item in refused) >= 700
