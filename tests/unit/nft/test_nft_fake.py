"""The shipped fake behaves as a driver: same facts, no-op the second time, nothing left behind."""

import asyncio

from podwire.base import Cidr, Origin, Ref
from podwire.plan import Fact, PlaneFact, PolicyPlan, PolicyPod, ServiceNode, ServicePlan, ServicePort, digest
from podwire.planes.nft import FakeNft, NftPlan
from podwire.planes.nft.driver import Digests

NODE = ServiceNode("node-a", "a", ("10.89.0.2",), (), Origin(Ref("Node", "", "node-a")))
UNIT = ServicePort(
    origin=Origin(Ref("Service", "t", "web")),
    service=Ref("Service", "t", "web"),
    port_name="",
    protocol="TCP",
    port=80,
    node_port=0,
    cluster_ips=("10.96.0.1",),
    load_balancer_ips=(),
    external_ips=(),
    affinity_seconds=0,
    internal_local=False,
    external_local=False,
    source_ranges=(),
    endpoints=(),
)
POD = PolicyPod(Ref("Pod", "t", "p"), "uid", "node-a", ("10.244.0.2",), (5,), {}, "")


def plan_of(*units: ServicePort, pods: tuple[PolicyPod, ...] = ()) -> NftPlan:
    cidrs = (Cidr.parse("10.96.0.0/12"),), (Cidr.parse("10.244.0.0/16"),)
    services = ServicePlan({u.key: u for u in units}, {"node-a": NODE}, *cidrs)
    return NftPlan(services, PolicyPlan({p.pod.key: p for p in pods}, {}, (), {}, {}))


def test_facts_follow_the_plan() -> None:
    facts: list[tuple[str, Fact]] = []
    fake = FakeNft(lambda key, fact: facts.append((key, fact)))

    async def scenario() -> None:
        await fake.apply(plan_of(UNIT, pods=(POD,)))
        sent = fake.transactions
        await fake.apply(plan_of(UNIT, pods=(POD,)))
        assert fake.transactions == sent
        await fake.apply(plan_of())
        await fake.close()

    asyncio.run(scenario())
    applied = {UNIT.key: digest(UNIT), "uid": digest(POD)}
    assert facts == [
        ("nft/node-a", PlaneFact(ready=True, applied=applied)),
        ("nft/node-a", PlaneFact(ready=True, applied={})),
    ]
    assert fake.kernels == {}


def test_a_pod_without_an_address_is_not_in_force() -> None:
    """The compiler starts its containers on this fact (N20)."""
    bare = PolicyPod(Ref("Pod", "t", "p"), "uid", "node-a", (), (), {"ingress": 1}, "")
    assert Digests().update(plan_of(pods=(bare,))) == {}


def test_digests_are_made_anew_only_for_changes() -> None:
    digests = Digests()
    first = digests.update(plan_of(UNIT, pods=(POD,)))
    assert digests.update(plan_of(UNIT, pods=(POD,))) is first
    assert digests.update(plan_of(UNIT)) == {UNIT.key: digest(UNIT)}
