"""The table of requests in flight, with time and randomness as arguments."""

from itertools import count

import dns.message
import pytest

from podwire.planes.dns.machine import Forward, Responder
from podwire.planes.dns.table import Meta, Table
from podwire.planes.dns.upstream import MAX_IN_FLIGHT, Done, Forwarder, Send, parse_upstream


def counting() -> object:
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size, "little")


def make_forwarder(*upstreams: str) -> Forwarder:
    made = Forwarder(counting())  # type: ignore[arg-type]
    made.upstreams = tuple(map(parse_upstream, upstreams))
    made.channels = 2
    return made


def forward(name: str = "example.com", ident: int = 7) -> Forward:
    responder = Responder()
    responder.load(Table(Meta("cluster.local", (), frozenset(), 30, 1, ("192.0.2.1",))))
    made = responder.reply(dns.message.make_query(name, "A", id=ident).to_wire())
    assert isinstance(made, Forward)
    return made


def client() -> tuple[object, bool]:
    return (lambda _: None), False


def answer_to(sent: Send) -> bytes:
    return sent.packet[:2] + b"\x81\x80" + sent.packet[4:]


def submit(forwarder: Forwarder, request: Forward, now: float = 0.0) -> Send:
    sent = forwarder.submit(request, client(), now)  # type: ignore[arg-type]
    assert isinstance(sent, Send)
    return sent


def test_an_answer_ends_the_request() -> None:
    forwarder = make_forwarder("192.0.2.1")
    sent = submit(forwarder, forward())
    assert sent.upstream == ("192.0.2.1", 53)
    (done,) = forwarder.receive(sent.channel, answer_to(sent), ("192.0.2.1", 53), 0.1)
    assert isinstance(done, Done) and done.response == answer_to(sent)
    assert forwarder.in_flight == 0 and forwarder.expire(100.0) == ()


def test_forged_answers_are_ignored() -> None:
    forwarder = make_forwarder("192.0.2.1")
    sent = submit(forwarder, forward())
    good = answer_to(sent)
    other = make_forwarder("192.0.2.1")
    wrong_question = good[:2] + answer_to(submit(other, forward("example.org")))[2:]
    assert forwarder.receive(sent.channel, good, ("192.0.2.99", 53), 0.1) == ()
    assert forwarder.receive(1 - sent.channel, good, ("192.0.2.1", 53), 0.1) == ()
    assert forwarder.receive(sent.channel, b"\xff\xff" + good[2:], ("192.0.2.1", 53), 0.1) == ()
    assert forwarder.receive(sent.channel, good, ("192.0.2.1", 5353), 0.1) == ()
    assert forwarder.receive(sent.channel, sent.packet, ("192.0.2.1", 53), 0.1) == ()
    assert forwarder.receive(sent.channel, wrong_question, ("192.0.2.1", 53), 0.1) == ()
    assert forwarder.receive(sent.channel, good[:5], ("192.0.2.1", 53), 0.1) == ()
    assert len(forwarder.receive(sent.channel, good, ("192.0.2.1", 53), 0.1)) == 1


def test_the_next_upstream_is_tried_and_late_answers_count() -> None:
    forwarder = make_forwarder("192.0.2.1", "192.0.2.2")
    first = submit(forwarder, forward())
    (again,) = forwarder.expire(0.7)
    assert isinstance(again, Send) and again.upstream == ("192.0.2.2", 53)
    assert again.packet == first.packet
    assert len(forwarder.receive(first.channel, answer_to(first), ("192.0.2.1", 53), 0.1)) == 1


def test_giving_up_says_who_was_asked() -> None:
    forwarder = make_forwarder("192.0.2.1", "192.0.2.2")
    submit(forwarder, forward())
    seen: list[object] = []
    while (due := forwarder.next_deadline()) is not None:
        seen.extend(forwarder.expire(due))
    assert isinstance(seen[-1], Done) and seen[-1].response is None
    assert "192.0.2.1, 192.0.2.2" in seen[-1].why and due is None
    assert len(seen) == 4 and forwarder.in_flight == 0


def test_equal_requests_fly_once() -> None:
    forwarder = make_forwarder("192.0.2.1")
    sent = submit(forwarder, forward(ident=1))
    assert forwarder.submit(forward(ident=2), client(), 0.0) is None  # type: ignore[arg-type]
    done = forwarder.receive(sent.channel, answer_to(sent), ("192.0.2.1", 53), 0.1)
    assert [d.forward.query.ident for d in done if isinstance(d, Done)] == [b"\0\1", b"\0\2"]


def test_the_table_is_bounded() -> None:
    forwarder = make_forwarder("192.0.2.1")
    for number in range(MAX_IN_FLIGHT):
        submit(forwarder, forward(f"n{number}.example"))
    refused = forwarder.submit(forward("one-more.example"), client(), 0.0)  # type: ignore[arg-type]
    assert isinstance(refused, Done) and refused.response is None and refused.rcode == 5


def test_nobody_to_ask() -> None:
    forwarder = make_forwarder()
    assert isinstance(forwarder.submit(forward(), client(), 0.0), Done)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.53", ("10.0.0.53", 53)),
        ("10.0.0.53:5353", ("10.0.0.53", 5353)),
        ("fd00::53", ("fd00::53", 53)),
        ("[fd00::53]", ("fd00::53", 53)),
        ("[fd00::53]:5353", ("fd00::53", 5353)),
    ],
)
def test_upstream_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_upstream(text) == address
