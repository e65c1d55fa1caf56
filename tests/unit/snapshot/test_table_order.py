"""Tables are in key order whatever the order of arrival, and earlier snapshots never change."""

from hypothesis import given
from hypothesis import strategies as st

from podwire.kube import Namespace
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing import build

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])


@given(st.lists(st.tuples(st.sampled_from(["put", "remove", "look"]), NAMES), max_size=30))
def test_tables_stay_in_key_order(actions: list[tuple[str, str]]) -> None:
    builder = SnapshotBuilder(Settings(planes=False))
    there: set[str] = set()
    seen = []
    for action, name in actions:
        if action == "put":
            builder.put(build.namespace(name))
            there.add(name)
        elif action == "remove":
            builder.remove("Namespace", name)
            there.discard(name)
        else:
            table = builder.snapshot(0.0).all(Namespace)
            seen.append((table, list(table)))
        assert list(builder.snapshot(0.0).all(Namespace)) == sorted(there)
    assert all(list(table) == keys for table, keys in seen)
