"""Domain names in policies: identities of learned addresses, when they end, and what is released."""

from typing import Any

import pytest

from podwire.compile.compiler import Compiled, Compiler
from podwire.compile.policy_views import NamePeer
from podwire.plan import NAMES_UNIT, NamesFact, PlaneFact, PolicyPlan, decide_policy, identity_of
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing.build import NOW, namespace, node, pod

Json = dict[str, Any]
FIRST, SECOND, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.9"


def cluster(*names: str, deny: str = "0.0.0.0/0") -> Json:
    accept = {"action": "Accept", "to": [{"domainNames": list(names)}]}
    spec = {
        "tier": "Admin",
        "priority": 1,
        "subject": {"namespaces": {}},
        "egress": [accept, {"action": "Deny", "to": [{"networks": [deny]}]}],
    }
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "names", "uid": "names", "generation": 1},
        "spec": spec,
    }


class World:
    """A compiler with its memory, and what is told to it."""

    def __init__(self, *policies: Json) -> None:
        self.builder, self.compiler = SnapshotBuilder(Settings()), Compiler()
        for value in (namespace("a"), node("node-1", "10.89.0.2"), pod("a/web", "10.244.0.2"), *policies):
            self.builder.put(value)

    def learn(self, revision: int, **names: tuple[tuple[str, float], ...]) -> None:
        facts = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.builder.observe("dns/names", NamesFact(facts, revision))

    def compile(self, now: float = NOW) -> Compiled:
        return self.compiler.compile(self.builder.snapshot(now))


def verdict(plan: PolicyPlan, peer: str) -> str:
    subject = plan.pods["a/web"]
    return decide_policy(plan, subject=subject, direction="egress", peer=peer, protocol="TCP", port=443).action


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("example.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "notexample.com", False),
    ],
)
def test_a_wildcard_stands_for_one_or_more_labels(pattern: str, name: str, expected: bool) -> None:
    assert NamePeer(pattern).matches(name) is expected


def test_addresses_count_from_when_they_are_learned_until_they_end() -> None:
    world = World(cluster("api.example.com"))
    assert verdict(world.compile().plans.policy, FIRST) == "deny"
    world.learn(1, api_example_com=((FIRST, NOW + 30),), other_example_com=((OTHER, NOW + 30),))
    found = world.compile()
    assert [verdict(found.plans.policy, a) for a in (FIRST, SECOND, OTHER)] == ["allow", "deny", "deny"]
    assert found.wake_at == NOW + 30
    assert verdict(world.compile(NOW + 30).plans.policy, FIRST) == "deny"


def test_an_address_of_two_names_has_the_rules_of_both() -> None:
    second = cluster("*.example.org")
    second["metadata"] = {"name": "second", "uid": "second", "generation": 1}
    world = World(cluster("api.example.com"), second)
    world.learn(1, api_example_com=((FIRST, NOW + 30),), x_example_org=((FIRST, NOW + 30), (SECOND, NOW + 30)))
    plan = world.compile().plans.policy
    assert plan.names[FIRST] != plan.names[SECOND]
    assert verdict(plan, FIRST) == "allow"


def test_learning_is_an_element_and_no_rule() -> None:
    """No block holds the addresses: the class of the name is there from the start."""
    world = World(cluster("api.example.com", deny="198.51.100.0/24"))
    before = world.compile().plans.policy
    world.learn(1, api_example_com=((FIRST, NOW + 30),))
    after = world.compile().plans.policy
    assert after.names and not before.names
    assert after.rule_sets is before.rule_sets and after.pods is before.pods
    fresh = Compiler().compile(world.builder.snapshot(NOW)).plans.policy
    assert fresh == after


def test_blocks_and_names_together_equal_compiling_from_nothing() -> None:
    world = World(cluster("api.example.com"))
    world.compile()
    for revision, names in enumerate(((FIRST,), (FIRST, SECOND), (SECOND,), ()), start=1):
        world.learn(revision, api_example_com=tuple((a, NOW + 30) for a in names))
        found = world.compile().plans.policy
        assert found == Compiler().compile(world.builder.snapshot(NOW)).plans.policy


def test_the_zone_watches_the_names_and_releases_what_every_kernel_has() -> None:
    world = World(cluster("API.example.com.", "*.example.org"))
    assert world.compile().plans.zone.watched == ("*.example.org", "api.example.com")
    world.learn(7, api_example_com=((FIRST, NOW + 30),))
    assert world.compile().plans.policy.names_revision == 7
    assert world.compile().plans.zone.released == 0
    world.builder.observe("nft/node-1", PlaneFact(ready=True, applied={NAMES_UNIT: "7"}))
    assert world.compile().plans.zone.released == 7


def test_a_pod_is_what_it_is_whoever_has_a_name_for_its_address() -> None:
    world = World(cluster("api.example.com"))
    world.learn(1, api_example_com=(("10.244.0.2", NOW + 30),))
    plan = world.compile().plans.policy
    assert identity_of(plan, "10.244.0.2") == plan.pods["a/web"].identities[0]
    assert NAMES_UNIT > "pod/"  # the least unit name holds an element of the kernel's
