"""ClusterNetworkPolicies of both tiers over NetworkPolicies: every packet does what ``trace`` says."""

import asyncio
from random import Random

import pytest

from podwire.testing.clusters import running_cluster
from podwire.testing.generate import generate_cluster
from podwire.testing.generate_policies import generate_cluster_policy
from podwire.testing.promise import find_mismatches

pytestmark = pytest.mark.kernel
SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_generated_tiers(seed: int) -> None:
    random = Random(1000 + seed)
    objects = [
        *generate_cluster(seed),
        *(generate_cluster_policy(random, f"cnp{i}") for i in range(random.randint(2, 5))),
    ]

    async def check() -> None:
        async with running_cluster(objects) as cluster:
            assert cluster.state is not None
            assert cluster.state.plans.policy.decisions
            sent, mismatches = await find_mismatches(cluster.state)
        assert not mismatches, "\n".join(map(str, mismatches[:20]))
        assert sent >= 60

    asyncio.run(check())
