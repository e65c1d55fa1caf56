"""The behaviours that network-policy-api publishes as conformance tests, each with packets of its own.

Every sub-run is a policy about one subject pod of its own, so all of them are in force in one cluster at the same time
and one round of packets serves all. Outcomes are written out here, not taken from ``trace``. Names are upstream's
(``docs/reference/policy-conformance.md`` has the list); objects and policies are ours.
"""

import asyncio
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernel.sctp_rig import SctpProbe, send_inits

from podwire.cluster.embedded import EmbeddedCluster
from podwire.explain import World
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Probe, send_probes
from podwire.testing.promise import netns_of

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("policy-conformance")]
Json = dict[str, Any]

PORTS = {"TCP": (8080, 8081), "UDP": (5353, 5454), "SCTP": (9003, 9005)}
FRIEND: Json = {"namespaces": {"matchLabels": {"house": "friend"}}}
FOE: Json = {"namespaces": {"matchLabels": {"house": "foe"}}}
ALL: Json = {"namespaces": {}}
OPPOSITE = {"Accept": "Deny", "Deny": "Accept", "Pass": "Deny"}
FIELD = {"ingress": "from", "egress": "to"}


class Expect(NamedTuple):
    """A packet between the subject and a pod (``friend``, ``foe``), and whether it arrives."""

    direction: str
    peer: str
    protocol: str
    port: int
    arrives: bool


class SubRun(NamedTuple):
    """One behaviour: policies about one subject, and what its packets do."""

    test: str
    subject: str
    policies: tuple[Json, ...]
    expected: tuple[Expect, ...]


def rule(action: str, direction: str, *peers: Json, ports: Sequence[Json] = ()) -> Json:
    found: Json = {"action": action, FIELD[direction]: list(peers)}
    return {**found, "protocols": list(ports)} if ports else found


def at(protocol: str, port: int) -> Json:
    return {protocol.lower(): {"destinationPort": {"number": port}}}


class Writer:
    """Numbers sub-runs, so that each has names and a priority of its own."""

    def __init__(self) -> None:
        self.runs: list[SubRun] = []

    def add(self, test: str, *policies: Json, expected: Sequence[Expect]) -> None:
        number = len(self.runs)
        subject = f"s{number}"
        named = tuple(self._about(subject, policy, f"{subject}-{i}", i) for i, policy in enumerate(policies))
        self.runs.append(SubRun(test, subject, named, tuple(expected)))

    @staticmethod
    def _about(subject: str, policy: Json, name: str, order: int) -> Json:
        meta = {"name": name, **policy.get("metadata", {})}
        if policy.get("kind") == "NetworkPolicy":
            spec = {**policy["spec"], "podSelector": {"matchLabels": {"run": subject}}}
            return {**policy, "metadata": {**meta, "namespace": "home"}, "spec": spec}
        mine = {"podSelector": {"matchLabels": {"run": subject}}, "namespaceSelector": {}}
        return {
            "apiVersion": "policy.networking.k8s.io/v1alpha2",
            "kind": "ClusterNetworkPolicy",
            "metadata": meta,
            "spec": {"priority": order, **policy, "subject": {"pods": mine}},
        }


def one_direction(writer: Writer, tier: str, direction: str, protocol: str) -> None:
    """The first rule that matches decides; at a port it decides about that port only."""
    test = f"CNP{tier}Tier{direction.capitalize()}{protocol}"
    first, second = PORTS[protocol]
    for action in ("Accept", "Deny", "Pass") if tier == "Admin" else ("Accept", "Deny"):
        after = rule(OPPOSITE[action], direction, FRIEND)
        passes = action != "Deny"
        others = Expect(direction, "foe", protocol, first, True)
        ordering = {"tier": tier, direction: [rule(action, direction, FRIEND), after]}
        both = [Expect(direction, "friend", protocol, port, passes) for port in (first, second)]
        writer.add(test, ordering, expected=[*both, others])
        at_port = {"tier": tier, direction: [rule(action, direction, FRIEND, ports=[at(protocol, first)]), after]}
        ports = [Expect(direction, "friend", protocol, p, passes == (p == first)) for p in (first, second)]
        writer.add(test, at_port, expected=[*ports, others])


def gress(writer: Writer, tier: str) -> None:
    """Both directions and all protocols in one policy."""
    for action in ("Accept", "Deny", "Pass") if tier == "Admin" else ("Accept", "Deny"):
        passes = action != "Deny"
        cells = [(d, protocol, at) for d in FIELD for protocol in PORTS for at in (0, 1)]
        whole: Json = {"tier": tier}
        ported: Json = {"tier": tier}
        for d in FIELD:
            after = rule(OPPOSITE[action], d, FRIEND)
            whole[d] = [rule(action, d, FRIEND), after]
            ported[d] = [rule(action, d, FRIEND, ports=[at(p, PORTS[p][0]) for p in PORTS]), after]
        anyhow = [Expect(d, "friend", p, PORTS[p][i], passes) for d, p, i in cells]
        writer.add(f"CNP{tier}TierGress", whole, expected=anyhow)
        by_port = [Expect(d, "friend", p, PORTS[p][i], passes == (i == 0)) for d, p, i in cells]
        writer.add(f"CNP{tier}TierGress", ported, expected=by_port)


def inline_cidrs(writer: Writer, tier: str, addresses: dict[str, str]) -> None:
    friend: Json = {"networks": [f"{addresses['friend']}/32"]}
    world: Json = {"networks": ["0.0.0.0/0"]}
    test, both = f"CNP{tier}TierEgressInlineCIDRPeers", [("friend", p) for p in ("TCP", "UDP", "SCTP")]
    deny = {"tier": tier, "egress": [rule("Deny", "egress", friend)]}
    accept = {"tier": tier, "egress": [rule("Accept", "egress", friend), rule("Deny", "egress", world)]}
    for policy, arrives in ((deny, False), (accept, True)):
        near = [Expect("egress", peer, p, PORTS[p][0], arrives) for peer, p in both]
        writer.add(test, policy, expected=[*near, Expect("egress", "foe", "TCP", 8080, not arrives)])


def named_ports(writer: Writer, tier: str) -> None:
    for d in FIELD:
        accept = rule("Accept", d, FRIEND, ports=[{"destinationNamedPort": "web"}])
        policy = {"tier": tier, d: [accept, rule("Deny", d, FRIEND)]}
        expected = [Expect(d, "friend", "TCP", port, port == 8080) for port in PORTS["TCP"]]
        writer.add(f"CNP{tier}Tier{d.capitalize()}NamedPort", policy, expected=expected)


def node_peers(writer: Writer, tier: str) -> None:
    """A node arrives at refuses: nobody listens on the port."""
    test = f"CNP{tier}TierEgressNodePeers"
    nodes: Json = {"nodes": {}}
    world: Json = {"networks": ["0.0.0.0/0"]}
    for action in ("Accept", "Deny", "Pass") if tier == "Admin" else ("Accept", "Deny"):
        after = rule("Deny" if action != "Deny" else "Accept", "egress", world)
        policy = {"tier": tier, "egress": [rule(action, "egress", nodes), after]}
        expected = [Expect("egress", "node", "TCP", 4321, action != "Deny")]
        writer.add(test, policy, expected=[*expected, Expect("egress", "foe", "TCP", 8080, action == "Deny")])


def network_policy(*rules: str) -> Json:
    """Isolates in both directions; lets friends in and out in the named ones."""
    friend = [{"namespaceSelector": {"matchLabels": {"house": "friend"}}}]
    spec: Json = {"policyTypes": ["Ingress", "Egress"]}
    for d in rules:
        spec[d] = [{FIELD[d]: friend}]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec}


def integration(writer: Writer) -> None:
    """Admin decides over NetworkPolicies and Baseline; Pass leaves it to them."""
    test = "CNPAdminTierIntegration"
    for d in FIELD:
        base = {"tier": "Baseline", d: [rule("Deny", d, ALL)]}
        friend = Expect(d, "friend", "TCP", 8080, False)
        deny = {"tier": "Admin", d: [rule("Deny", d, FRIEND)]}
        writer.add(test, deny, network_policy("ingress", "egress"), base, expected=[friend])
        passing = {"tier": "Admin", d: [rule("Pass", d, FRIEND)]}
        allowed = [friend._replace(arrives=True), Expect(d, "foe", "TCP", 8080, False)]
        writer.add(test, passing, network_policy("ingress", "egress"), base, expected=allowed)
        writer.add(test, passing, network_policy(), base, expected=[friend])
        writer.add(test, passing, base, expected=[friend, Expect(d, "foe", "TCP", 8080, False)])


def priority(writer: Writer) -> None:
    """The lower number goes first, whatever it says."""
    test = "CNPAdminTierPriorityField"
    base: Json = {"tier": "Baseline", **{d: [rule("Deny", d, ALL)] for d in FIELD}}
    for first, second, arrives in (("Deny", "Accept", False), ("Accept", "Deny", True), ("Pass", "Accept", False)):
        policies: list[Json] = [
            {"tier": "Admin", **{d: [rule(action, d, FRIEND)] for d in FIELD}} for action in (first, second)
        ]
        expected = [Expect(d, "friend", p, PORTS[p][0], arrives) for d in FIELD for p in PORTS]
        writer.add(test, *policies, base, expected=expected)


def write_runs(addresses: dict[str, str]) -> list[SubRun]:
    writer = Writer()
    for tier in ("Admin", "Baseline"):
        for d in FIELD:
            for protocol in PORTS:
                one_direction(writer, tier, d, protocol)
        gress(writer, tier)
        inline_cidrs(writer, tier, addresses)
        named_ports(writer, tier)
        node_peers(writer, tier)
    integration(writer)
    priority(writer)
    return writer.runs


def pod(name: str, namespace: str) -> Json:
    ports: list[Json] = [{"name": "web", "containerPort": 8080}, {"name": "other", "containerPort": 8081}]
    ports += [{"name": f"u{port}", "containerPort": port, "protocol": "UDP"} for port in PORTS["UDP"]]
    meta = {"name": name, "namespace": namespace, "labels": {"run": name}}
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": ports}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def space(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"house": name}}}


async def observe(cluster: EmbeddedCluster, runs: list[SubRun]) -> dict[tuple[str, Expect], bool]:
    """Whether each expected packet arrives; all are sent at the same time."""
    assert cluster.state is not None
    world = World(cluster.state.snapshot, cluster.state.plans)

    def ends(run: SubRun, want: Expect) -> tuple[Any, Any]:
        subject, peer = (world.plans.policy.pods[key] for key in (f"home/{run.subject}", f"{want.peer}/{want.peer}"))
        return (subject, peer) if want.direction == "egress" else (peer, subject)

    plain: dict[tuple[str, Expect], Probe] = {}
    sctp: dict[tuple[str, Expect], SctpProbe] = {}
    nodes = {name: node.addresses[0] for name, node in world.plans.services.nodes.items()}
    for run in runs:
        for want in run.expected:
            if want.peer == "node":
                subject = world.plans.policy.pods[f"home/{run.subject}"]
                far = next(address for name, address in nodes.items() if name != subject.node)
                party = world.pod_party(subject.pod)
                assert party is not None
                plain[run.subject, want] = Probe(netns_of(world, party), far, want.port, want.protocol)
                continue
            source, target = ends(run, want)
            netns = [netns_of(world, party) for p in (source, target) if (party := world.pod_party(p.pod))]
            address = target.addresses[0]
            if want.protocol == "SCTP":
                names = [Path(name).name for name in netns]
                sctp[run.subject, want] = SctpProbe(names[0], names[1], address, want.port)
            else:
                plain[run.subject, want] = Probe(netns[0], address, want.port, want.protocol)
    answers, arrived = await asyncio.gather(send_probes(list(plain.values())), send_inits(sctp.values()))
    seen = {key: answers[probe].outcome in ("connects", "refused") for key, probe in plain.items()}
    return seen | {key: arrived[probe] for key, probe in sctp.items()}


async def run_all() -> dict[str, list[str]]:
    """What did not do as published, by upstream's name of the test."""
    places = [space("home"), space("friend"), space("foe"), pod("friend", "friend"), pod("foe", "foe")]
    subjects = [pod(run.subject, "home") for run in write_runs({"friend": "192.0.2.1"})]
    async with running_cluster([*places, *subjects]) as cluster:
        assert cluster.state is not None
        pods = cluster.state.plans.policy.pods
        runs = write_runs({"friend": pods["friend/friend"].addresses[0]})
        refused = await cluster.apply([policy for run in runs for policy in run.policies])
        assert not refused, refused[:3]
        waiting = await cluster.wait_ready(60)
        assert not waiting, waiting
        seen = await observe(cluster, runs)
    wrong: dict[str, list[str]] = {run.test: [] for run in runs}
    for run in runs:
        wrong[run.test] += [f"{run.subject}: {e}" for e in run.expected if seen[run.subject, e] != e.arrives]
    return wrong


TESTS = sorted({run.test for run in write_runs({"friend": "192.0.2.1"})})


@pytest.fixture(scope="module")
def wrong() -> Iterator[dict[str, list[str]]]:
    yield asyncio.run(run_all())


@pytest.mark.parametrize("name", TESTS)
def test_published_behaviour(name: str, wrong: dict[str, list[str]]) -> None:
    assert not wrong[name]


def test_the_page_lists_what_is_proven_here() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "policy-conformance.md").read_text()
    assert set(re.findall(r"::test_published_behaviour\[(\w+)\]", page)) == set(TESTS)
