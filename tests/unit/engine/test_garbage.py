"""Collections rest inside, work again afterwards, and after a failure too."""

import gc
from itertools import count

import pytest

from podwire.engine import garbage


@pytest.fixture(autouse=True)
def thaw() -> None:
    gc.unfreeze()


def test_collections_rest_and_come_back() -> None:
    with garbage.without_collections():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_after_a_failure_too() -> None:
    with pytest.raises(ValueError), garbage.without_collections():
        raise ValueError
    assert gc.isenabled()


def test_only_a_long_stretch_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    with garbage.without_collections():
        pass
    assert gc.get_freeze_count() == 0
    seconds = count(step=garbage.LARGE_SECONDS * 2)
    monkeypatch.setattr("time.monotonic", lambda: next(seconds))
    with garbage.without_collections():
        pass
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
