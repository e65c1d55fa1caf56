"""Homes: names, modes, one process per cluster, fabrics that never collide."""

import stat
from pathlib import Path

import pytest

from podwire.base import EnvironmentUnfit
from podwire.cluster import home as homes
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
        found.append(home.ensure_fabric())
    assert len(set(found)) == 3
    for home in held:
        home.close()
    again = ClusterHome("b")
    again.open()
    assert again.ensure_fabric() == found[1]
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
