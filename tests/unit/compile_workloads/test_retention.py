"""What becomes of the claims of a StatefulSet."""

import pytest
from tests.unit.simulate import World, stateful_set

CLAIM = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}


def claims(world: World) -> list[str]:
    return [c["metadata"]["name"] for c in world.all("PersistentVolumeClaim")]


@pytest.mark.parametrize(
    ("policy", "scaled", "deleted"),
    [
        ({}, ["data-db-0", "data-db-1"], ["data-db-0", "data-db-1"]),
        ({"whenScaled": "Delete"}, ["data-db-0"], ["data-db-0"]),
        ({"whenDeleted": "Delete"}, ["data-db-0", "data-db-1"], []),
    ],
)
def test_claims_go_or_stay(policy: dict[str, str], scaled: list[str], deleted: list[str]) -> None:
    world = World()
    value = stateful_set("db", 2, volumeClaimTemplates=[CLAIM], persistentVolumeClaimRetentionPolicy=policy)
    world.apply(value)
    world.settle()
    assert claims(world) == ["data-db-0", "data-db-1"]
    world.edit("StatefulSet", "db", lambda s: s["spec"].update(replicas=1))
    world.settle()
    assert claims(world) == scaled
    world.delete("StatefulSet", "db")
    world.settle()
    assert claims(world) == deleted
