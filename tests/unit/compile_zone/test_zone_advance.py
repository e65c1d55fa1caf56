"""One change costs one Service, and the result is that of compiling everything anew."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.plan import ZonePlan
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing import build

NAMES = st.sampled_from(["a", "b", "c"])
ADDRESSES = st.lists(st.sampled_from(["10.244.0.2", "10.244.0.3", "10.96.0.1"]), max_size=2, unique=True)


def compile_with(memo: Memo, builder: SnapshotBuilder) -> tuple[ZonePlan, Any]:
    piece = compile_zone(Context(builder.snapshot(0.0), memo))
    memo.sweep()
    assert piece.zone is not None
    return piece.zone, piece.findings


def versioned(value: dict[str, Any], version: int) -> dict[str, Any]:
    value["metadata"]["resourceVersion"] = str(version)
    return value


ACTIONS = st.one_of(
    st.tuples(st.just("slice"), NAMES, st.sampled_from(["x", "y"]), ADDRESSES, st.integers(1, 50)),
    st.tuples(st.just("drop"), NAMES, st.sampled_from(["x", "y"])),
    st.tuples(st.just("service"), NAMES, st.sampled_from(["None", "10.96.0.1", "10.96.0.2"])),
    st.tuples(st.just("remove"), NAMES),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(ACTIONS, max_size=12))
def test_advancing_is_compiling_anew(actions: list[tuple[Any, ...]]) -> None:
    builder, memo = SnapshotBuilder(Settings(planes=False)), Memo()
    builder.put(build.namespace("shop"))
    for action in actions:
        match action:
            case ("slice", name, suffix, addresses, version):
                ends = [build.endpoint(a) for a in addresses]
                builder.put(versioned(build.endpoint_slice(f"shop/{name}", *ends, suffix=suffix), version))
            case ("drop", name, suffix):
                builder.remove("EndpointSlice", f"shop/{name}-{suffix}")
            case ("service", name, address):
                builder.put(build.service(f"shop/{name}", address))
            case ("remove", name):
                builder.remove("Service", f"shop/{name}")
        assert compile_with(memo, builder) == compile_with(Memo(), builder)


def test_units_of_other_services_stay_the_same_objects() -> None:
    builder, memo = SnapshotBuilder(Settings(planes=False)), Memo()
    for name in ("a", "b"):
        builder.put(build.service(f"shop/{name}", "None"))
        builder.put(build.endpoint_slice(f"shop/{name}", build.endpoint("10.244.0.2")))
    before, _ = compile_with(memo, builder)
    builder.put(build.endpoint_slice("shop/a", build.endpoint("10.244.0.9")))
    after, _ = compile_with(memo, builder)
    assert after.units["Service/shop/b"] is before.units["Service/shop/b"]
    assert after.units["Service/shop/a"] is not before.units["Service/shop/a"]
