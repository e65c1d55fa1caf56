"""Pod addresses of a node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.base import Cidr, PodwireError
from podwire.node.ipam import Ipam


def test_begins_after_the_gateway_and_does_not_reuse_soon() -> None:
    ipam = Ipam(("10.244.1.0/24",))
    assert [ipam.allocate() for _ in range(3)] == [("10.244.1.2",), ("10.244.1.3",), ("10.244.1.4",)]
    ipam.release(("10.244.1.2",))
    assert ipam.allocate() == ("10.244.1.5",)


def test_a_small_block_wraps_around_and_runs_out() -> None:
    ipam = Ipam(("10.244.1.0/29",))
    assert [ipam.allocate() for _ in range(5)][-1] == ("10.244.1.6",)
    with pytest.raises(PodwireError, match=r"no free pod address left in 10\.244\.1\.0/29"):
        ipam.allocate()
    ipam.release(("10.244.1.3",))
    assert ipam.allocate() == ("10.244.1.3",)


@pytest.mark.parametrize("wish", ["10.244.1.9", "10.244.1.254"])
def test_a_wish_is_honoured_when_free(wish: str) -> None:
    ipam = Ipam(("10.244.1.0/24",))
    assert ipam.allocate((wish,)) == (wish,)
    assert ipam.allocate((wish,)) == ("10.244.1.2",)


@pytest.mark.parametrize("wish", ["10.244.2.9", "10.244.1.0", "10.244.1.1", "10.244.1.255"])
def test_a_wish_for_what_is_not_given_out_gets_another(wish: str) -> None:
    assert Ipam(("10.244.1.0/24",)).allocate((wish,)) == ("10.244.1.2",)


@given(st.lists(st.integers(0, 40), max_size=80))
def test_never_the_same_address_twice_at_once(choices: list[int]) -> None:
    ipam, held = Ipam(("10.0.0.0/27",)), set[str]()
    block = Cidr.parse("10.0.0.0/27")
    for choice in choices:
        if choice % 3 == 0 and held:
            gone = sorted(held)[choice % len(held)]
            held.discard(gone)
            ipam.release((gone,))
        elif len(held) < 29:
            (address,) = ipam.allocate((f"10.0.0.{choice}",) if choice < 32 else ())
            assert address not in held
            assert block.contains(address)
            held.add(address)


def test_one_address_of_each_family_in_the_order_of_the_blocks() -> None:
    ipam = Ipam(("fd00:10:244:1::/64", "10.244.1.0/24"))
    assert ipam.allocate() == ("fd00:10:244:1::2", "10.244.1.2")
    assert ipam.allocate(("10.244.1.77", "fd00:10:244:1::77")) == ("fd00:10:244:1::77", "10.244.1.77")


def test_what_one_family_cannot_give_the_other_takes_back() -> None:
    ipam = Ipam(("fd00::/64", "10.244.1.0/30"))
    assert ipam.allocate() == ("fd00::2", "10.244.1.2")
    with pytest.raises(PodwireError, match=r"no free pod address left in 10\.244\.1\.0/30"):
        ipam.allocate()
    ipam.release(("fd00::2", "10.244.1.2"))
    assert ipam.allocate(("fd00::3",)) == ("fd00::3", "10.244.1.2")
