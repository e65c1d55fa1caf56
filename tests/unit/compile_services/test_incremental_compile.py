"""A compile that looks only at what was touched gives what a compile without memory gives."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.compile import Compiler, compile_plans
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing.build import NOW, endpoint, endpoint_slice, namespace, node, pod, service

NAMES = ("red", "green", "blue", "cyan")


def change(random: Random, builder: SnapshotBuilder) -> None:
    name, space = random.choice(NAMES), random.choice("ab")
    key = f"{space}/{name}"
    match random.randrange(9):
        case 0:
            builder.put(service(key, f"10.96.0.{NAMES.index(name) + 10 * 'ab'.index(space) + 1}"))
        case 1:
            ports = [{"name": n, "port": p, "protocol": "TCP"} for n, p in (("x", 80), ("y", 81))][
                : random.randint(1, 2)
            ]
            address = f"10.96.0.{NAMES.index(name) + 10 * 'ab'.index(space) + 1}"
            kind = random.choice(("ClusterIP", "LoadBalancer"))
            builder.put(service(key, address, selector={"app": name}, ports=ports, type=kind))
        case 2:
            builder.remove("Service", key)
        case 3:
            addresses = [f"10.244.0.{random.randint(2, 9)}" for _ in range(random.randint(0, 3))]
            builder.put(endpoint_slice(key, *map(endpoint, sorted(set(addresses))), suffix=random.choice("st")))
        case 4:
            builder.remove("EndpointSlice", f"{key}-{random.choice('st')}")
        case 5:
            address = f"10.244.0.{random.randint(2, 200)}"
            builder.put(pod(f"{space}/p{random.randint(0, 3)}", address, labels={"app": name}))
        case 6:
            builder.remove("Pod", f"{space}/p{random.randint(0, 3)}")
        case 7:
            meta = {"name": name, "namespace": space, "uid": f"ep-{key}"}
            subsets = [{"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": random.randint(1, 9)}]}]
            builder.put({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets})
        case 8:
            builder.put(node("node-1", "10.89.0.10", zone=random.choice("ab")))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_the_same_plans_as_without_memory(seed: int) -> None:
    random = Random(seed)
    builder, compiler = SnapshotBuilder(Settings(planes=False)), Compiler()
    for value in (namespace("a"), namespace("b"), node("node-1", "10.89.0.10")):
        builder.put(value)
    for _ in range(25):
        for _ in range(random.randint(1, 3)):
            change(random, builder)
        seen = builder.snapshot(NOW)
        found, fresh = compiler.compile(seen).plans, compile_plans(seen)
        assert list(found.services.ports.items()) == list(fresh.services.ports.items())
        assert found.writes == fresh.writes
        assert found.findings == fresh.findings


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.7.7", "0.0.0.0", "224.0.0.1", "239.9.9.9"])
def test_addresses_that_lead_nowhere_else_are_not_proxied(address: str) -> None:
    builder = SnapshotBuilder(Settings(planes=False))
    builder.put(service("a/red", "10.96.0.1"))
    builder.put(endpoint_slice("a/red", endpoint("240.0.0.9"), endpoint("9.0.0.1"), endpoint(address)))
    plans = compile_plans(builder.snapshot(NOW))
    assert [e.address for e in plans.services.ports["a/red:80/TCP"].endpoints] == ["9.0.0.1", "240.0.0.9"]
    assert [f.code for f in plans.findings] == ["PW1119"]
