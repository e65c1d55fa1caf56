"""The promise of this plane: random Services and policies, every probe held against the deciding functions."""

import asyncio
import random
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernel.nft_families import Families, translate_plan, translate_port
from tests.kernel.nft_model import Model
from tests.kernel.nft_world import HOST, NODES, PORTS, Probe, World

from podwire.base import Cidr, Origin, Ref
from podwire.plan import (
    Decision,
    Endpoint,
    Fact,
    Matched,
    PlaneFact,
    PolicyPlan,
    PolicyPod,
    PortClass,
    RuleKey,
    ServicePort,
)
from podwire.plan.policy import Direction
from podwire.planes.nft import NftDriver, NftPlan

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("nft")]

NUMBERS = {1: "allow", 2: "deny", 3: "allow", 4: "deny"}
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def random_port(rng: random.Random, world: World, index: int) -> ServicePort:
    pods = rng.sample(sorted(world.pods), rng.randint(0, 4))
    states = ("ready", "ready", "ready", "terminating", "unready")
    hints = rng.choice(("", "", "zone", "node"))
    endpoints = [world.endpoint(pod, rng.choice(PORTS), rng.choice(states)) for pod in pods]
    if hints:
        endpoints = [_hinted(e, hints) for e in endpoints]
    return ServicePort(
        origin=Origin(Ref("Service", "t", f"s{index}")),
        service=Ref("Service", "t", f"s{index}"),
        port_name="",
        protocol=rng.choice(("TCP", "TCP", "UDP")),
        port=rng.choice((80, 81)),
        node_port=rng.choice((0, 30000 + index)),
        cluster_ips=(f"10.96.0.{index + 1}",),
        load_balancer_ips=rng.choice(((), (f"10.89.9.{index + 1}",))),
        external_ips=rng.choice(((), (), (f"10.89.9.{index + 101}",))),
        affinity_seconds=rng.choice((0, 0, 60)),
        internal_local=rng.random() < 0.25,
        external_local=rng.random() < 0.4,
        source_ranges=rng.choice(((), (), (Cidr.parse("10.89.0.0/24"),), (Cidr.parse("10.244.0.0/24"),))),
        endpoints=tuple(sorted(endpoints)),
    )


def _hinted(endpoint: Endpoint, hints: str) -> Endpoint:
    zones = (endpoint.zone,)
    return msgspec.structs.replace(endpoint, for_zones=zones, for_nodes=(endpoint.node,) if hints == "node" else ())


def random_policy(rng: random.Random, world: World) -> PolicyPlan:
    identities = [rng.randint(1, 0xFFFFF) for _ in range(4)]
    cidr_numbers = [rng.randint(1, 0xFFFFF) for _ in range(3)]
    cidrs = {Cidr.parse(t): rng.choice(cidr_numbers) for t in ("10.89.0.0/31", "10.89.0.2/32", "10.244.1.0/24")}
    cuts = sorted(rng.sample([79, 80, 81, 443, 444, 8000, 8080, 8081], 3))
    ports = tuple(
        PortClass(protocol, first, last - 1, number)
        for protocol in ("TCP", "UDP")
        for number, (first, last) in enumerate(pairwise(cuts), start=1)
    )
    peers = [0, *identities, *cidr_numbers]
    rule_sets: dict[str, Mapping[RuleKey, int]] = {
        f"set{n}": {
            RuleKey(rng.choice(DIRECTIONS), rng.choice(peers), rng.choice((0, 0, 1, 2))): rng.choice(list(NUMBERS))
            for _ in range(rng.randint(0, 12))
        }
        for n in range(3)
    }
    pods = {}
    for pod, (node, address) in world.pods.items():
        isolated = {d: rng.choice((2, 4)) for d in DIRECTIONS if rng.random() < 0.4}
        pods[f"uid-{pod}"] = PolicyPod(
            pod=Ref("Pod", "t", pod),
            uid=f"uid-{pod}",
            node=node,
            addresses=(address,),
            identities=(rng.choice(identities),),
            isolated=isolated,
            rule_set=rng.choice(sorted(rule_sets)) if isolated else "",
        )
    matched = (Matched(Origin(Ref("NetworkPolicy", "t", "p"))),)
    decisions = {n: Decision("allow" if a == "allow" else "deny", "ingress", matched) for n, a in NUMBERS.items()}
    return PolicyPlan(pods=pods, cidrs=cidrs, ports=ports, rule_sets=rule_sets, decisions=decisions)


class Case(NamedTuple):
    """A plan in IPv4, and which families each Service port is of."""

    plain: NftPlan
    families: Mapping[str, Families]

    def of(self, family: int) -> NftPlan:
        """What one family must do, in IPv4 words."""
        ports = {key: port for key, port in self.plain.services.ports.items() if family in self.families[key]}
        return NftPlan(msgspec.structs.replace(self.plain.services, ports=ports), self.plain.policy)

    def real(self, world: World) -> NftPlan:
        """What the driver gets."""
        plan = translate_plan(self.plain, world.families)
        ports = {key: translate_port(port, self.families[key]) for key, port in self.plain.services.ports.items()}
        return NftPlan(msgspec.structs.replace(plan.services, ports=ports), plan.policy)


def random_case(rng: random.Random, world: World) -> Case:
    units = [random_port(rng, world, index) for index in range(8)]
    choices = (world.families, *((f,) for f in world.families))
    families = {unit.key: rng.choice(choices) for unit in units}
    return Case(world.plain_plan(*units, policy=random_policy(rng, world)), families)


def all_probes(world: World, plan: NftPlan) -> list[Probe]:
    places = [*world.pods, *NODES, "host"]
    targets: set[tuple[str, int, str]] = {("10.96.7.7", 80, "TCP")}
    for unit in plan.services.ports.values():
        for address in (*unit.cluster_ips, *unit.load_balancer_ips, *unit.external_ips):
            targets.add((address, unit.port, unit.protocol))
        targets.update((unit.cluster_ips[0], 82, p) for p in ("TCP", "UDP"))
        if unit.node_port:
            targets.update((a, unit.node_port, unit.protocol) for a in NODES.values())
    for _, address in world.pods.values():
        targets.update((address, port, protocol) for port in PORTS for protocol in ("TCP", "UDP"))
    targets.update((a, 8080, "TCP") for a in (*NODES.values(), HOST))
    return [
        Probe(place, *target)
        for place in places
        for target in sorted(targets)
        if world.address(place) != target[0] or place in NODES
    ]


def mismatches(world: World, case: Case, family: int) -> list[str]:
    """Probes that did not do what the model says, each tried again slowly before it counts."""
    model = Model(world, case.of(family))
    probes = [probe._replace(family=family) for probe in all_probes(world, case.of(family))]
    wrong = [p for p, seen in zip(probes, world.probe(*probes), strict=True) if seen not in model.expect(p)]
    again = world.probe_patiently(wrong, 2.0)
    return [
        f"{p}: saw {seen}, expected {sorted(model.expect(p))}"
        for p, seen in zip(wrong, again, strict=True)
        if seen not in model.expect(p)
    ]


SEEDS = [(seed, (4,)) for seed in range(6)] + [(seed, (6,)) for seed in range(6, 9)] + [(9, (4, 6)), (10, (6, 4))]


@pytest.mark.parametrize(("seed", "families"), SEEDS)
def test_every_probe_does_what_the_plan_says(seed: int, families: Families) -> None:
    """Fresh load of one random plan, then a live change to another, then nothing left."""
    rng = random.Random(seed)
    facts: dict[str, Fact] = {}

    async def scenario(world: World) -> None:
        driver = NftDriver(facts.__setitem__, cluster=world.cluster)
        try:
            for _ in range(2):
                case = random_case(rng, world)
                await driver.apply(case.real(world))
                planes = [fact for fact in facts.values() if isinstance(fact, PlaneFact)]
                assert planes and all(fact.ready and not fact.rejected for fact in planes), facts
                for family in families:
                    wrong = await asyncio.to_thread(mismatches, world, case, family)
                    assert not wrong, "\n".join(wrong[:20])
        finally:
            await driver.close()

    with World(families=families) as world:
        asyncio.run(scenario(world))
