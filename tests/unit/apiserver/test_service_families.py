"""Address families of Services (S4, S5, S12) on clusters of one and of two families."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.apiserver.status import StatusError

V4, V6 = "10.96.0.0/12", "fd00:10:96::/112"
FIRST4, FIRST6 = "10.96.1.1", "fd00:10:96::101"
"""What is given first: bands of 256 are left to static use."""
LONELY = {"clusterIP": "None"}
HEADLESS = {"clusterIP": "None", "selector": {"a": "b"}}

GIVEN = [
    ((V4, V6), {}, ("SingleStack", ["IPv4"], [FIRST4])),
    ((V6, V4), {}, ("SingleStack", ["IPv6"], [FIRST6])),
    ((V6,), {}, ("SingleStack", ["IPv6"], [FIRST6])),
    ((V4, V6), {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"], [FIRST4, FIRST6])),
    ((V4,), {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4"], [FIRST4])),
    ((V6,), {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv6"], [FIRST6])),
    ((V4, V6), {"ipFamilyPolicy": "RequireDualStack"}, ("RequireDualStack", ["IPv4", "IPv6"], [FIRST4, FIRST6])),
    ((V4, V6), {"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], [FIRST6])),
    (
        (V4, V6),
        {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "PreferDualStack"},
        ("PreferDualStack", ["IPv6", "IPv4"], [FIRST6, FIRST4]),
    ),
    ((V4, V6), {"clusterIP": "fd00:10:96::7"}, ("SingleStack", ["IPv6"], ["fd00:10:96::7"])),
    (
        (V4, V6),
        {
            "clusterIP": "fd00:10:96::7",
            "clusterIPs": ["fd00:10:96::7", "10.96.0.7"],
            "ipFamilyPolicy": "RequireDualStack",
        },
        ("RequireDualStack", ["IPv6", "IPv4"], ["fd00:10:96::7", "10.96.0.7"]),
    ),
    (
        (V4, V6),
        {"clusterIP": "10.96.0.7", "ipFamilyPolicy": "PreferDualStack"},
        ("PreferDualStack", ["IPv4", "IPv6"], ["10.96.0.7", FIRST6]),
    ),
    ((V4, V6), {"clusterIP": "fd00:10:96::ffff"}, ("SingleStack", ["IPv6"], ["fd00:10:96::ffff"])),
    ((V4,), LONELY, ("RequireDualStack", ["IPv4", "IPv6"], ["None"])),
    ((V6, V4), LONELY, ("RequireDualStack", ["IPv6", "IPv4"], ["None"])),
    ((V4,), {**LONELY, "ipFamilyPolicy": "SingleStack"}, ("SingleStack", ["IPv4"], ["None"])),
    ((V4,), {**LONELY, "ipFamilies": ["IPv6"]}, ("RequireDualStack", ["IPv6", "IPv4"], ["None"])),
    ((V4, V6), HEADLESS, ("SingleStack", ["IPv4"], ["None"])),
    ((V4, V6), {**HEADLESS, "ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"], ["None"])),
]
"""Ranges of the cluster, what is asked for, and (policy, families, addresses)."""


def shape(value: dict[str, Any]) -> tuple[Any, Any, Any]:
    spec = value["spec"]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], spec["clusterIPs"]


@pytest.mark.parametrize(("ranges", "asked", "expected"), GIVEN)
def test_a_new_service_gets(kit: Any, ranges: tuple[str, ...], asked: Any, expected: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", **asked))
        assert shape(made) == expected
        assert made["spec"]["clusterIP"] == expected[2][0]

    kit.run(body, *ranges)


TWO = ["10.96.0.7", "fd00:10:96::7"]
MULTIPLE = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
REFUSED = [
    (
        (V4,),
        {"ipFamilyPolicy": "RequireDualStack"},
        '"RequireDualStack": this cluster is not configured for dual-stack services',
    ),
    ((V6,), {"ipFamilies": ["IPv4"]}, 'spec.ipFamilies[0]: Invalid value: "IPv4": not configured on this cluster'),
    (
        (V4,),
        {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"},
        'spec.ipFamilies[1]: Invalid value: "IPv6": not configured on this cluster',
    ),
    (
        (V4,),
        {"clusterIP": "fd00:10:96::7"},
        'spec.clusterIPs[0]: Invalid value: ["fd00:10:96::7"]: IPv6 is not configured',
    ),
    (
        (V4, V6),
        {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "SingleStack"},
        f"{MULTIPLE} IP families are specified",
    ),
    (
        (V4, V6),
        {"clusterIP": TWO[0], "clusterIPs": TWO, "ipFamilyPolicy": "SingleStack"},
        f"{MULTIPLE} cluster IPs are specified",
    ),
    (
        (V4, V6),
        {"ipFamilies": ["IPv6", "IPv4"], "clusterIP": TWO[0], "clusterIPs": TWO, "ipFamilyPolicy": "PreferDualStack"},
        "expected an IPv6 value as indicated by `ipFamilies[0]`",
    ),
    (
        (V4, V6),
        {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "10.96.0.8"], "ipFamilyPolicy": "PreferDualStack"},
        "may specify no more than one IP for each IP family",
    ),
    ((V4, V6), {"clusterIP": "fd00:10:97::7"}, "The range of valid IPs is fd00:10:96::/112"),
    ((V4, V6), {"clusterIP": "fd00:10:96::"}, "The range of valid IPs is fd00:10:96::/112"),
    ((V4, V6), {"ipFamilies": ["IPv7"]}, 'spec.ipFamilies[0]: Unsupported value: "IPv7"'),
]


@pytest.mark.parametrize(("ranges", "asked", "words"), REFUSED)
def test_refused(kit: Any, ranges: tuple[str, ...], asked: Any, words: str) -> None:
    async def body(bench: Any) -> None:
        with pytest.raises(StatusError) as caught:
            bench.create(kit.service("s", **asked))
        assert caught.value.code == 422 and words in str(caught.value)

    kit.run(body, *ranges)


DUAL = {"ipFamilyPolicy": "RequireDualStack"}
BOTH = ["IPv4", "IPv6"]
CHANGED = [
    # What is there, what a PUT says instead (None: no such field), and what comes of it.
    (DUAL, {"ipFamilyPolicy": "SingleStack"}, ("SingleStack", ["IPv4"], [FIRST4])),
    ({}, {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", BOTH, [FIRST4, FIRST6])),
    ({}, {"ipFamilyPolicy": "RequireDualStack"}, ("RequireDualStack", BOTH, [FIRST4, FIRST6])),
    (DUAL, {"ipFamilyPolicy": None}, ("RequireDualStack", BOTH, [FIRST4, FIRST6])),
    (DUAL, {"ipFamilies": None, "clusterIPs": None}, ("RequireDualStack", BOTH, [FIRST4, FIRST6])),
    (DUAL, {"ipFamilies": None, "clusterIPs": None, "clusterIP": None}, ("RequireDualStack", BOTH, [FIRST4, FIRST6])),
    (
        {},
        {"ipFamilyPolicy": "PreferDualStack", "clusterIPs": [FIRST4, "fd00:10:96::9"]},
        ("PreferDualStack", BOTH, [FIRST4, "fd00:10:96::9"]),
    ),
    (
        DUAL,
        {"ipFamilyPolicy": "SingleStack", "clusterIPs": [FIRST4], "ipFamilies": ["IPv4"]},
        ("SingleStack", ["IPv4"], [FIRST4]),
    ),
    (HEADLESS, {"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], ["None"])),
]


def changed(made: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    spec = {k: v for k, v in {**made["spec"], **change}.items() if v is not None}
    return {**made, "spec": spec}


@pytest.mark.parametrize(("first", "change", "expected"), CHANGED)
def test_an_update_makes_of_it(kit: Any, first: Any, change: Any, expected: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", **first))
        assert shape(bench.update(changed(made, change))) == expected
        allocator = bench.verbs.objects.allocator
        assert sum(len(allocator.taken(family)) for family in ("IPv4", "IPv6")) == sum(a != "None" for a in expected[2])

    kit.run(body, V4, V6)


NOT_CHANGED = [
    (DUAL, {"clusterIPs": [FIRST4]}, "must be 'SingleStack' to release the secondary cluster IP"),
    (
        DUAL,
        {"ipFamilies": ["IPv4"], "clusterIPs": [FIRST4]},
        "must be 'SingleStack' to release the secondary IP family",
    ),
    (
        DUAL,
        {"ipFamilies": ["IPv6", "IPv4"], "clusterIPs": [FIRST6, FIRST4], "clusterIP": FIRST6},
        "may not change once set",
    ),
    (DUAL, {"clusterIPs": [FIRST4, "fd00:10:96::9"]}, "may not change once set"),
    ({}, {"ipFamilies": ["IPv6"]}, "spec.ipFamilies[0]: Invalid value"),
]


@pytest.mark.parametrize(("first", "change", "words"), NOT_CHANGED)
def test_an_update_is_refused(kit: Any, first: Any, change: Any, words: str) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", **first))
        with pytest.raises(StatusError) as caught:
            bench.update(changed(made, change))
        assert caught.value.code == 422 and words in str(caught.value)

    kit.run(body, V4, V6)


def test_a_preference_stays_as_it_is_when_the_cluster_has_other_families_now(kit: Any) -> None:
    async def body(bench: Any) -> None:
        from podwire.apiserver.allocate import Allocator

        made = bench.create(kit.service("s", ipFamilyPolicy="PreferDualStack"))
        bench.verbs.objects.allocator = Allocator((V4, V6), bench.chance.pick)
        same = bench.update({**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}})
        assert shape(same) == ("PreferDualStack", ["IPv4"], [FIRST4])
        assert shape(bench.update(changed(same, DUAL)))[1] == BOTH

    kit.run(body, V4)


def test_a_type_change_gives_back_both(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = bench.create(kit.service("s", **DUAL))
        named = bench.update(changed(made, {"type": "ExternalName", "externalName": "example.com"}))
        assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(named["spec"])
        assert not any(bench.verbs.objects.allocator.taken(family) for family in ("IPv4", "IPv6"))
        back = bench.update(changed(named, {"type": "ClusterIP"}))
        assert shape(back)[:2] == ("SingleStack", ["IPv4"])

    kit.run(body, V4, V6)


def test_the_second_range_runs_out(kit: Any) -> None:
    async def body(bench: Any) -> None:
        made = [bench.create(kit.service(f"s{n}", ipFamilies=["IPv6"]))["spec"]["clusterIP"] for n in range(7)]
        assert "fd00::7" in made and "fd00::" not in made
        with pytest.raises(StatusError, match="range is full") as caught:
            bench.create(kit.service("more", ipFamilyPolicy="PreferDualStack"))
        assert caught.value.code == 500
        assert bench.create(kit.service("four"))["spec"]["ipFamilies"] == ["IPv4"]

    kit.run(body, V4, "fd00::/125")


STEP = st.tuples(
    st.sampled_from(["SingleStack", "PreferDualStack", "RequireDualStack", "ExternalName", "delete"]), st.integers(0, 3)
)


@given(st.lists(STEP, max_size=30))
@settings(max_examples=50, deadline=None)
def test_addresses_match_families_and_nothing_leaks(kit: Any, steps: list[tuple[str, int]]) -> None:
    async def body(bench: Any) -> None:
        for word, number in steps:
            key, value = f"default/s{number}", kit.service(f"s{number}")
            if word == "delete":
                if bench.get("Service", key):
                    bench.delete("Service", key)
                continue
            value["spec"] |= (
                {"type": word, "externalName": "example.com"} if word == "ExternalName" else {"ipFamilyPolicy": word}
            )
            bench.update(value)
        taken: dict[str, set[str]] = {"IPv4": set(), "IPv6": set()}
        for _, value in bench.store.heads("Service"):
            spec = value["spec"]
            assert len(spec.get("clusterIPs", ())) == len(spec.get("ipFamilies", ()))
            for family, address in zip(spec.get("ipFamilies", ()), spec.get("clusterIPs", ()), strict=True):
                assert (":" in address) == (family == "IPv6") and address not in taken[family]
                taken[family].add(address)
        for family, addresses in taken.items():
            assert len(bench.verbs.objects.allocator.taken(family)) == len(addresses)

    kit.run(body, V4, V6)
