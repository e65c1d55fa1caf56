"""One Envoy for all tests of a module."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.envoy.envoy_rig import Backend, Rig


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    made = Rig()
    try:
        made.start_envoy()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def backends() -> Iterator[tuple[Backend, ...]]:
    made = tuple(Backend(name) for name in ("one", "two", "three"))
    yield made
    for backend in made:
        backend.close()
