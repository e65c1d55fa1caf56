"""Manifests of one family, moved to the other."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwire.testing.families import move_to_ipv6, to_ipv6


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("10.244.1.12", "fd00:10:244:1::c"),
        ("10.244.1.0/24", "fd00:10:244:1::/64"),
        ("10.244.0.0/28", "fd00:10:244::/124"),
        ("tcp://10.96.77.77:80", "tcp://[fd00:10:96::4d4d]:80"),
        ("http://10.89.0.10/x", "http://[fd00:10:89::a]/x"),
        ("0.0.0.0/0", "::/0"),
        ("0.0.0.0:10256", "0.0.0.0:10256"),
        ("version 1.2.3, 1.2.3.4.5", "version 1.2.3, 1.2.3.4.5"),
        ("192.0.2.0/24,10.96.0.0/12", "2001:db8:192:2::/64,fd00:10:96::/112"),
    ],
)
def test_addresses_in_text(text: str, moved: str) -> None:
    assert to_ipv6(text) == moved


def test_objects_are_moved_whole() -> None:
    value = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.2"]}], "ports": [{"port": 80}]}
    moved = {"addressType": "IPv6", "endpoints": [{"addresses": ["fd00:10:244::2"]}], "ports": [{"port": 80}]}
    assert move_to_ipv6(value) == moved


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.integers(16, 32))
def test_a_block_holds_after_the_move_what_it_held_before(a: int, b: int, c: int, d: int, length: int) -> None:
    address, other = ip_address(f"10.244.{a}.{b}"), ip_address(f"10.244.{c}.{d}")
    block = ip_network(f"{address}/{length}", strict=False)
    moved = ip_network(to_ipv6(str(block)))
    assert (other in block) == (ip_address(to_ipv6(str(other))) in moved)
