"""Answers that wait for the kernels, and the store behind them."""

import socket
from typing import Any

from podwire.planes.dns import wire
from podwire.planes.dns.hold import GRACE_SECONDS, HOLD_SECONDS, Hold
from podwire.planes.dns.learned import MAX_NAMES, Learned

Json = dict[str, Any]


def answer(name: str, *addresses: str, ttl: int = 60, rcode: int = 0) -> bytes:
    head = b"\x12\x34" + (0x8180 | rcode).to_bytes(2, "big") + b"\0\1" + len(addresses).to_bytes(2, "big") + bytes(4)
    question = wire.encode_name(name) + b"\0\1\0\1"
    records = b"".join(b"\xc0\x0c\0\1\0\1" + ttl.to_bytes(4, "big") + b"\0\4" + socket.inet_aton(a) for a in addresses)
    return head + question + records


class Rig:
    """A hold, what it told, and what went out."""

    def __init__(self, *patterns: str, driver: bool = True) -> None:
        self.told: list[Json] = []
        self.sent: list[str] = []
        self.driver = driver
        self.hold = Hold(self._tell)
        self.hold.watch(patterns, "cluster.local")

    def _tell(self, value: Json) -> bool:
        self.told.append(value)
        return self.driver

    def keep(self, name: str, *addresses: str, now: float = 0.0, **more: Any) -> bool:
        return self.hold.keep(answer(name, *addresses, **more), lambda: self.sent.append(name), now)


def test_a_new_address_of_a_watched_name_waits_until_it_is_released() -> None:
    rig = Rig("api.example.com")
    assert rig.keep("API.example.com", "192.0.2.1")
    assert rig.told == [{"learned": 1, "name": "api.example.com", "addresses": [("192.0.2.1", 60)]}]
    assert not rig.sent
    rig.hold.release(1, 0.1)
    assert rig.sent == ["API.example.com"]
    assert not rig.keep("api.example.com", "192.0.2.1", now=0.2)
    assert len(rig.told) == 1


def test_other_names_the_own_zone_and_errors_go_out_at_once() -> None:
    rig = Rig("*.example.com", "*.local")
    assert not rig.keep("example.com", "192.0.2.1")
    assert not rig.keep("web.default.svc.cluster.local", "10.96.0.1")
    assert not rig.keep("x.example.com", rcode=3)
    assert not rig.keep("x.example.com")
    assert rig.keep("a.b.example.com", "192.0.2.1")


def test_it_goes_out_all_the_same_after_a_second_and_without_a_driver() -> None:
    rig = Rig("api.example.com")
    assert rig.keep("api.example.com", "192.0.2.1")
    assert rig.hold.expire(0.5) == HOLD_SECONDS - 0.5 and not rig.sent
    assert rig.hold.expire(HOLD_SECONDS) is None
    assert rig.sent == ["api.example.com"] and rig.hold.late == 1
    rig.hold.release(1, 2.0)
    assert len(rig.sent) == 1
    assert not Rig("api.example.com", driver=False).keep("api.example.com", "192.0.2.1")


def test_an_answer_that_lives_longer_is_told_without_waiting() -> None:
    rig = Rig("api.example.com")
    rig.keep("api.example.com", "192.0.2.1", ttl=60)
    rig.hold.release(1, 0.0)
    assert not rig.keep("api.example.com", "192.0.2.1", ttl=60, now=20.0)
    assert len(rig.told) == 2
    assert rig.keep("api.example.com", "192.0.2.1", "192.0.2.2", ttl=60, now=21.0)


def test_nonsense_is_nobodys_answer() -> None:
    rig = Rig("api.example.com")
    whole = answer("api.example.com", "192.0.2.1")
    for length in range(12, len(whole)):
        rig.hold.keep(whole[:length], lambda: None, 0.0)
    assert not rig.sent


def test_learned_addresses_are_prolonged_and_pruned() -> None:
    store = Learned()
    assert store.take("x", [("192.0.2.1", 5)], now=100.0) == 1
    assert store.fact().names == {"x": (("192.0.2.1", 100.0 + GRACE_SECONDS),)}
    assert store.take("x", [("192.0.2.1", 5)], now=100.0) == 1
    assert store.take("x", [("192.0.2.2", 60)], now=131.0) == 2
    assert store.fact().names == {"x": (("192.0.2.2", 191.0),)}


def test_a_flood_of_names_pushes_out_the_oldest() -> None:
    store = Learned()
    for number in range(MAX_NAMES + 3):
        store.take(f"n{number}.example.com", [("192.0.2.1", 60)], now=0.0)
    assert store.evicted == 3 and len(store.fact().names) == MAX_NAMES
    assert "n0.example.com" not in store.fact().names


def test_the_store_survives_a_restart_and_nonsense() -> None:
    store, again = Learned(), Learned()
    store.take("x", [("192.0.2.1", 60), ("192.0.2.2", 600)], now=0.0)
    again.load(store.dump(), now=100.0)
    assert again.fact().names == {"x": (("192.0.2.2", 600.0),)}
    empty = Learned()
    for data in (b"", b"[]", b'{"x": 3}'):
        empty.load(data, now=0.0)
    assert empty.revision == 0
