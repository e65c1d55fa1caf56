"""Every packet does what ``trace`` says: the shop, and generated clusters with random Services and policies."""

import asyncio
from pathlib import Path

import pytest

from podwire.cluster.worlds import read_paths
from podwire.testing.clusters import running_cluster
from podwire.testing.generate import generate_cluster
from podwire.testing.promise import find_mismatches

pytestmark = pytest.mark.kernel
SHOP = Path(__file__).parents[2] / "examples" / "shop"
SEEDS = range(32)


async def check(objects: list[dict[str, object]], *, at_least: int) -> None:
    async with running_cluster(objects) as cluster:
        assert cluster.state is not None
        sent, mismatches = await find_mismatches(cluster.state)
    assert not mismatches, "\n".join(map(str, mismatches[:20]))
    assert sent >= at_least


def test_the_shop() -> None:
    objects, findings = read_paths([SHOP])
    assert not findings
    asyncio.run(check(objects, at_least=500))


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_clusters(seed: int) -> None:
    asyncio.run(check(generate_cluster(seed), at_least=60))
