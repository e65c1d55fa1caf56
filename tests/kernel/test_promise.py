"""Every packet does what ``trace`` says: the shop, and generated clusters with random Services and policies."""

import asyncio
from pathlib import Path

import pytest

from podwire.cluster.addresses import IpFamily
from podwire.cluster.system import NodeLayout
from podwire.cluster.worlds import read_paths
from podwire.testing.clusters import running_cluster
from podwire.testing.families import mix_families, move_to_ipv6
from podwire.testing.generate import generate_cluster
from podwire.testing.promise import find_mismatches

pytestmark = pytest.mark.kernel
SHOP = Path(__file__).parents[2] / "examples" / "shop"
SEEDS = range(32)
FAMILY_SEEDS = range(100, 112)


async def check(objects: list[dict[str, object]], *, at_least: int, family: IpFamily = "ipv4") -> None:
    async with running_cluster(objects, layout=NodeLayout(ip_family=family)) as cluster:
        assert cluster.state is not None
        sent, mismatches = await find_mismatches(cluster.state)
    assert not mismatches, "\n".join(map(str, mismatches[:20]))
    assert sent >= at_least


@pytest.mark.parametrize("family", ["ipv4", "ipv6", "dual"])
def test_the_shop(family: IpFamily) -> None:
    objects, findings = read_paths([SHOP])
    assert not findings
    asyncio.run(check(objects, at_least=500, family=family))


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_clusters(seed: int) -> None:
    asyncio.run(check(generate_cluster(seed), at_least=60))


@pytest.mark.parametrize("seed", FAMILY_SEEDS)
def test_generated_clusters_with_ipv6_alone(seed: int) -> None:
    asyncio.run(check(move_to_ipv6(generate_cluster(seed)), at_least=60, family="ipv6"))


@pytest.mark.parametrize("seed", FAMILY_SEEDS)
def test_generated_clusters_of_both_families(seed: int) -> None:
    asyncio.run(check(mix_families(generate_cluster(seed), seed), at_least=60, family="dual"))
