"""Homes: names, modes, one process per cluster, fabrics that never collide."""

import stat
from pathlib import Path

import pytest

from podwire.base import Cidr, EnvironmentUnfit
from podwire.cluster import home as homes
from podwire.cluster.addresses import IpFamily, give_addresses
from podwire.cluster.home import ClusterHome
from podwire.cluster.system import NodeLayout, lay_out, node_objects
from podwire.snapshot import Settings


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODWIRE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(homes, "CLAIMS", tmp_path / "claims")


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", "x" * 33])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(EnvironmentUnfit):
        ClusterHome(name)


def test_the_home_is_private() -> None:
    home = ClusterHome("a")
    home.open()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.path.parent.stat().st_mode) == 0o700
    home.close()


def test_a_second_process_is_told_who_holds_the_cluster() -> None:
    first, second = ClusterHome("a"), ClusterHome("a")
    first.open()
    with pytest.raises(EnvironmentUnfit, match="already running"):
        second.open()
    assert second.pid() is not None
    first.close()
    assert second.pid() is None


def test_clusters_get_fabrics_of_their_own_and_keep_them() -> None:
    found = []
    held = [ClusterHome(name) for name in ("a", "b", "c")]
    for home in held:
        home.open()
        found.append(home.ensure_number())
    assert len(set(found)) == 3
    for home in held:
        home.close()
    again = ClusterHome("b")
    again.open()
    assert again.ensure_number() == found[1]
    again.close()


@pytest.mark.parametrize("layout", [NodeLayout(nodes=257), NodeLayout(mask=8), NodeLayout(nodes=181)])
def test_layouts_that_do_not_fit_say_what_to_change(layout: NodeLayout) -> None:
    with pytest.raises(EnvironmentUnfit, match="nodes"):
        node_objects(Settings(), layout, version="test")


def test_nodes_have_zones_by_turns_and_shares_of_their_own() -> None:
    nodes = node_objects(Settings(), NodeLayout(nodes=3), version="test")
    assert [n["metadata"]["labels"]["topology.kubernetes.io/zone"] for n in nodes] == ["a", "b", "a"]
    assert len({n["spec"]["podCIDR"] for n in nodes}) == 3


@pytest.mark.parametrize(
    ("layout", "mtu"),
    [
        (NodeLayout(), 1500),
        (NodeLayout(network="vxlan"), 1450),
        (NodeLayout(network="vxlan", mtu=1500), 1500),
        (NodeLayout(mtu=65535), 65535),
    ],
)
def test_a_pod_may_send_what_the_network_leaves(layout: NodeLayout, mtu: int) -> None:
    assert lay_out(Settings(), layout).mtu == mtu


@pytest.mark.parametrize("layout", [NodeLayout(mtu=1279), NodeLayout(mtu=-1), NodeLayout(network="vxlan", mtu=65486)])
def test_an_impossible_mtu_is_refused_with_what_would_do(layout: NodeLayout) -> None:
    with pytest.raises(EnvironmentUnfit, match="use 1280 to "):
        lay_out(Settings(), layout)


def test_a_cluster_keeps_its_families() -> None:
    home = ClusterHome("a")
    home.open()
    number = home.ensure_number("dual")
    home.close()
    home.open()
    assert home.ensure_number("dual") == number
    home.close()
    home.open()
    with pytest.raises(EnvironmentUnfit, match=r"made with --ip-family dual.*podwire down --name a"):
        home.ensure_number("ipv4")
    home.close()


@pytest.mark.parametrize(
    ("family", "families", "dns"),
    [
        ("ipv4", ("IPv4",), "10.96.0.10"),
        ("ipv6", ("IPv6",), "fd00:10:96::a"),
        ("dual", ("IPv4", "IPv6"), "10.96.0.10"),
    ],
)
def test_addresses_by_family(family: IpFamily, families: tuple[str, ...], dns: str) -> None:
    settings = give_addresses(Settings(), family, 7)
    assert settings.families == families and settings.dns_address == dns
    parts = (settings.fabrics, settings.cluster_cidrs, settings.service_cidrs)
    assert all(tuple(f"IPv{Cidr.parse(b).family}" for b in part) == families for part in parts)
    for pool, fabric in zip(settings.load_balancer_pools, settings.fabrics, strict=True):
        assert Cidr.parse(fabric).contains(pool.first) and Cidr.parse(fabric).contains(pool.last)
    nodes = node_objects(settings, NodeLayout(nodes=3, ip_family=family), version="test")
    assert all(len(n["spec"]["podCIDRs"]) == len(families) for n in nodes)
    assert len({cidr for n in nodes for cidr in n["spec"]["podCIDRs"]}) == 3 * len(families)


def test_ipv4_is_what_settings_have_without_being_asked() -> None:
    assert give_addresses(Settings(), "ipv4") == Settings()
