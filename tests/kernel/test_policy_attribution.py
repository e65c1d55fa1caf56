"""Every denied packet is attributed to what ``trace`` names: in the log, in counters and in Events."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.cluster.system import NodeLayout
from podwire.explain import Branch, World, trace
from podwire.testing.clusters import running_cluster
from podwire.testing.generate import generate_cluster
from podwire.testing.probes import Observation, Probe, send_probes
from podwire.testing.process import eventually
from podwire.testing.promise import Case, make_cases

pytestmark = pytest.mark.kernel
DEADLINE_SECONDS = 30
TRANSLATED = "*"
BATCH = 400
Json = dict[str, Any]
Key = tuple[str, str, str, str, frozenset[str]]
"""Source address (or TRANSLATED), destination address, protocol, direction, policies and fields."""


async def ask(run_dir: Path, **what: object) -> list[Json]:
    reader, writer = await asyncio.open_unix_connection(run_dir / "flows.sock")
    writer.write(json.dumps(what).encode() + b"\n")
    async with asyncio.timeout(DEADLINE_SECONDS):
        lines = (await reader.read()).splitlines()
    writer.close()
    return [json.loads(line) for line in lines if line.strip()]


def denials(world: World, case: Case) -> Iterator[Key | None]:
    """For each way the packet may go, what the log must say; None when policy lets it through."""
    found = trace(world, case.source, case.target)
    branches = found.branches or (Branch("", None, (), "unknown"),)
    for branch in branches:
        hops = (*found.hops, *branch.hops)
        hop = next((h for h in hops if h.verdict == "denied" and h.kind in ("egress", "ingress")), None)
        if hop is None:
            yield None
            continue
        translated = any(h.kind == "nat" for h in hops)
        source = TRANSLATED if translated else case.source.addresses[0]
        rules = frozenset(f"{o.ref} {o.path}".strip() for o in hop.origins)
        yield source, branch.address, case.target.protocol, hop.kind, rules


def key_of(record: Json) -> Key:
    ends = record["source"]["address"], record["destination"]["address"]
    return (*ends, record["protocol"], record["direction"], frozenset(record["rules"]))


def agrees(wanted: Key, seen: Key) -> bool:
    return wanted == seen or (wanted[0] == TRANSLATED and wanted[1:] == seen[1:])


async def send_and_read(cluster: EmbeddedCluster, probes: list[Probe]) -> tuple[dict[Probe, Observation], set[Key]]:
    """In batches: the log keeps the newest records only, and every SYN is repeated."""
    observed: dict[Probe, Observation] = {}
    seen: set[Key] = set()
    for at in range(0, len(probes), BATCH):
        observed |= await send_probes(probes[at : at + BATCH])
        records = await ask(cluster.home.run, denied=True, follow=False)
        seen |= {key_of(r) for r in records if r["verdict"] == "denied"}
    return observed, seen


async def send_and_compare(cluster: EmbeddedCluster) -> int:
    assert cluster.state is not None
    world = World(cluster.state.snapshot, cluster.state.plans)
    cases = list(make_cases(cluster.state))
    predicted = {case.probe: list(denials(world, case)) for case in cases}
    observed, seen = await send_and_read(cluster, list(predicted))
    possible = {key for keys in predicted.values() for key in keys if key is not None}
    invented = [key for key in seen if not any(agrees(wanted, key) for wanted in possible)]
    assert not invented, invented[:5]
    missing = list(missing_from(predicted, observed, seen))
    assert not missing, missing[:5]
    return len(seen)


def missing_from(
    predicted: Mapping[Probe, list[Key | None]], observed: Mapping[Probe, Observation], seen: set[Key]
) -> Iterator[tuple[Probe, list[Key | None]]]:
    """Packets that policy dropped whatever way they went, without a record."""
    for probe, keys in predicted.items():
        wanted = [key for key in keys if key is not None]
        if len(wanted) == len(keys) and observed[probe].outcome == "dropped":
            found = any(agrees(key, got) for key in wanted for got in seen)
            yield from () if found else ((probe, keys),)


@pytest.mark.parametrize("seed", (1, 5, 11))
def test_every_denial_names_what_trace_names(seed: int) -> None:
    async def check() -> int:
        async with running_cluster(generate_cluster(seed)) as cluster:
            return await send_and_compare(cluster)

    assert asyncio.run(check()) > 0


def pod(name: str, labels: dict[str, str]) -> Json:
    ports = [{"name": "web", "containerPort": 8080}]
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


DENY_BACK = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "back"},
    "spec": {
        "podSelector": {"matchLabels": {"app": "back"}},
        "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "front"}}}]}],
    },
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "back"},
    "spec": {"selector": {"app": "back"}, "ports": [{"port": 80, "targetPort": "web"}]},
}


def test_a_watcher_sees_names_and_the_service_used() -> None:
    """One stranger and one friend by the Service: a denied record, an allowed record, a counter and an Event."""

    async def check() -> None:
        objects = [pod("front", {"app": "front"}), pod("back", {"app": "back"}), pod("other", {}), DENY_BACK, SERVICE]
        async with running_cluster(objects, layout=NodeLayout(nodes=1)) as cluster, asyncio.timeout(DEADLINE_SECONDS):
            await watch_two_connections(cluster)

    asyncio.run(check())


async def watch_two_connections(cluster: EmbeddedCluster) -> None:
    assert cluster.state is not None and cluster.server is not None
    unit = cluster.state.plans.services.ports["default/back:80/TCP"]
    by_source = {
        c.source.name: c.probe
        for c in make_cases(cluster.state)
        if (c.target.host, c.target.port) == (unit.cluster_ips[0], 80)
    }
    reader, writer = await asyncio.open_unix_connection(cluster.home.run / "flows.sock")
    writer.write(b"{}\n")
    while (await reader.readline()).strip():
        pass
    await send_probes([by_source["default/other"], by_source["default/front"]])
    records: dict[str, Json] = {}
    while len(records) < 2:
        record = json.loads(await reader.readline())
        if record["destination"]["name"] == "default/back":
            records.setdefault(record["verdict"], record)
    writer.close()
    denied, allowed = records["denied"], records["allowed"]
    assert denied["source"]["name"] == "default/other" and allowed["source"]["name"] == "default/front"
    assert denied["service"] == allowed["service"] == "default/back:80"
    assert denied["rules"] == ["NetworkPolicy default/back spec.podSelector"]
    assert allowed["rules"] == ["NetworkPolicy default/back spec.ingress[0].from[0]"]
    counts = {(c["verdict"], c["rule"]) for c in await ask(cluster.home.run, what="counts")}
    assert ("denied", denied["rules"][0]) in counts and ("allowed", allowed["rules"][0]) in counts
    events = await asyncio.to_thread(eventually, lambda: denials_told(cluster))
    assert events[0]["involvedObject"]["name"] == "back"
    assert "default/other" in events[0]["message"] and "isolated by default/back" in events[0]["message"]


def denials_told(cluster: EmbeddedCluster) -> list[Json]:
    assert cluster.server is not None
    events = (value for value in cluster.server.list_all()[0] if value["kind"] == "Event")
    return [event for event in events if event["reason"] == "NetworkPolicyDenied"]
