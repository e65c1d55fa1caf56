"""What strangers send around a question: HTTP/1.1, HTTP/2 and lengths, as a server and as a client; EDNS options; zone
transfers. Mutated at random: no crash, no hang, nothing grows. ``PODWIRE_FUZZ_SECONDS`` lets it run longer."""

import base64
import os
import random
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import dns.message
import dns.rrset
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from tests.unit.dns.plugin_rig import Rig, Z
from tests.unit.dns.test_dns_fuzz import mutate, query

from podwire.planes.dns import wire
from podwire.planes.dns.chain import Arrival
from podwire.planes.dns.doh import MAX_BODY, MAX_HEAD, MAX_STREAMS, Http1, Http2
from podwire.planes.dns.edns import change_option
from podwire.planes.dns.machine import Forward
from podwire.planes.dns.upstream import Secure
from podwire.planes.dns.upstream_secure import MAX_ANSWER, Doh1, Doh2, Dot, _Https

SECONDS = float(os.environ.get("PODWIRE_FUZZ_SECONDS", "0"))
ROUNDS = 300
SPEC = find_spec("h2")
LIBRARIES = str(Path(SPEC.origin).parents[1]) if SPEC and SPEC.origin else ""


def rounds(seed: int) -> Iterator[random.Random]:
    chance = random.Random(seed)
    end = time.monotonic() + SECONDS
    count = 0
    while count < ROUNDS or time.monotonic() < end:
        count += 1
        yield chance


def pieces(chance: random.Random, data: bytes) -> Iterator[bytes]:
    """As a network may cut it."""
    while data:
        size = chance.randrange(1, 400)
        yield data[:size]
        data = data[size:]


def serve(question: bytes, answered: Callable[[bytes | None], None]) -> None:
    """An answer where the question is one."""
    try:
        parsed = wire.parse_query(question)
    except wire.Malformed as error:
        answered(wire.header_only(question, error.rcode))
        return
    answered(wire.error_reply(parsed, wire.REFUSED) if parsed is not None else None)


def http1_request(chance: random.Random) -> bytes:
    body = query(chance)
    if chance.random() < 0.5:
        text = base64.urlsafe_b64encode(body).rstrip(b"=")
        return b"GET /dns-query?dns=" + text + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    head = b"POST /dns-query HTTP/1.1\r\ncontent-type: application/dns-message\r\ncontent-length: "
    return head + str(len(body)).encode() + b"\r\n\r\n" + body


def test_http1_of_strangers() -> None:
    for chance in rounds(1):
        sent = bytearray()
        session = Http1(sent.extend, serve)
        data = b"".join(mutate(chance, http1_request(chance)) for _ in range(chance.randrange(1, 6)))
        for piece in pieces(chance, data):
            if not session.receive(piece) or session.finished:
                break
        assert len(session._data) <= MAX_HEAD + MAX_BODY + 400 and len(session._waiting) <= 40
        assert not sent or sent.startswith(b"HTTP/1.1 ")


def http2_requests(chance: random.Random) -> bytes:
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    for _ in range(chance.randrange(1, 8)):
        stream = client.get_next_available_stream_id()
        body = query(chance)
        headers = [(":method", "POST"), (":scheme", "https"), (":authority", "x"), (":path", "/dns-query")]
        client.send_headers(stream, [*headers, ("content-type", "application/dns-message")])
        client.send_data(stream, body, end_stream=chance.random() < 0.9)
    return client.data_to_send()


def test_http2_of_strangers() -> None:
    for chance in rounds(2):
        sent = bytearray()
        session = Http2(sent.extend, serve, LIBRARIES)
        data = http2_requests(chance)
        if chance.random() < 0.8:
            data = data[:24] + mutate(chance, data[24:])
        for piece in pieces(chance, data):
            if not session.receive(piece):
                break
        assert len(session._heads) <= MAX_STREAMS and sum(map(len, session._bodies.values())) <= len(data)


@pytest.mark.parametrize("kind", ["dot", "http1", "http2"])
def test_answers_of_upstreams_over_tls(kind: str) -> None:
    https = _Https(Secure("192.0.2.1", 443, "https", "x", "/dns-query"), "POST")
    for chance in rounds(3):
        sent: list[bytes] = []
        framing: Dot | Doh1 | Doh2
        match kind:
            case "dot":
                framing = Dot(sent.append)
            case "http1":
                framing = Doh1(sent.append, https)
            case _:
                framing = Doh2(sent.append, https, LIBRARIES)
        for number in range(1, 4):
            framing.send(number, query(chance))
        received = bytearray()
        answers = mutate(chance, answers_of(chance, kind, b"".join(sent)))
        try:
            for piece in pieces(chance, answers):
                received += piece
                for number, message in framing.receive(received):
                    assert isinstance(number, int) and len(message) <= MAX_ANSWER
        except ValueError:
            continue  # the connection ends
        assert len(received) <= 2 * MAX_ANSWER + 400


def answers_of(chance: random.Random, kind: str, sent: bytes) -> bytes:
    message = dns.message.make_response(dns.message.make_query("a.org", "A")).to_wire()
    if kind == "dot":
        return b"".join(len(message).to_bytes(2, "big") + n.to_bytes(2, "big") + message[2:] for n in (1, 2, 3))
    if kind == "http1":
        head = b"HTTP/1.1 200 OK\r\ncontent-length: " + str(len(message)).encode() + b"\r\n\r\n"
        return (head + message) * 3
    server = H2Connection(H2Configuration(client_side=False))
    server.initiate_connection()
    server.receive_data(sent)
    for stream in (1, 3, 5):
        server.send_headers(stream, [(":status", "200")])
        server.send_data(stream, message, end_stream=True)
    return server.data_to_send()


def test_options_are_changed_in_well_formed_queries_only_into_well_formed_ones() -> None:
    for chance in rounds(4):
        packet = mutate(chance, query(chance))
        try:
            parsed = wire.parse_query(packet)
        except wire.Malformed:
            continue
        if parsed is None or int.from_bytes(packet[10:12], "big") > 1:
            continue
        how = chance.choice(("set", "append", "replace", "unset"))
        data = None if how == "unset" else chance.randbytes(chance.randrange(20))
        changed = wire.parse_query(change_option(packet, chance.choice((3, 8, 0xFFEE)), data, how=how))
        assert changed is not None and changed.question == parsed.question


def test_transfers_of_strangers() -> None:
    rig = Rig(f". {{\n transfer {Z} {{\n to *\n }}\n kubernetes {Z}\n}}\n")
    for chance in rounds(5):
        made = dns.message.make_query(Z, chance.choice(("AXFR", "IXFR")))
        if chance.random() < 0.5:
            made.authority.append(dns.rrset.from_text(f"{Z}.", 0, "IN", "SOA", "a. b. 1 2 3 4 5"))
        reply = rig.responder.reply(mutate(chance, made.to_wire()), Arrival("10.0.0.1", 4000, True, 1.0))
        assert not isinstance(reply, Forward)
        if reply is not None and not isinstance(reply, bytes):
            assert all(len(message) <= 65_535 for message in reply)
