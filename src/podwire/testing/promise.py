"""The product's promise, as a function: every packet does what ``trace`` says.

:func:`find_mismatches` asks for every (source, destination, port) of a running cluster, sends the packet, and returns
every case in which the observation is not among the predicted ones. Nothing is left out: an unknown prediction is a
mismatch too.
"""

from collections.abc import Iterator

import msgspec

from podwire.base import Ref
from podwire.engine import State
from podwire.explain import Party, Target, Trace, World, trace
from podwire.kube import Pod
from podwire.plan import LOOPBACK, node, node_netns, pod_netns
from podwire.testing.probes import Observation, Probe, send_probes

NETNS = "/run/netns"


class Case(msgspec.Struct, frozen=True):
    """One question and its packet."""

    source: Party
    target: Target
    probe: Probe
    predicted: frozenset[Observation]


class Mismatch(msgspec.Struct, frozen=True):
    """A packet that did not do what was predicted."""

    case: Case
    observed: Observation

    def __str__(self) -> str:
        """For the test report."""
        expected = ", ".join(map(_format, sorted(self.case.predicted)))
        seen = _format(self.observed)
        return f"{self.case.source.name} -> {self.case.target}: predicted {expected}, observed {seen}"


def _format(one: Observation) -> str:
    seen = f" (sees {one.source})" if one.source else ""
    return f"{one.outcome} {one.pod}".strip() + seen


async def find_mismatches(state: State) -> tuple[int, list[Mismatch]]:
    """How many packets were sent, and every mismatch."""
    cases = list(make_cases(state))
    observed = await send_probes([case.probe for case in cases])
    wrong = [Mismatch(c, observed[c.probe]) for c in cases if not agrees(c.predicted, observed[c.probe])]
    return len(cases), wrong


def agrees(predicted: frozenset[Observation], observed: Observation) -> bool:
    """Whether what was observed is one of the predictions, as far as the answer tells."""
    return any(_is(one, observed) for one in predicted)


def _is(predicted: Observation, observed: Observation) -> bool:
    """An anonymous answer (a program, not a stand-in) agrees with any connection, ``/name`` with a pod of that name;
    who does not say whom it saw agrees with any source."""
    if predicted.outcome != observed.outcome:
        return False
    if observed.outcome != "connects":
        return True
    suffix = observed.pod.startswith("/") and predicted.pod.endswith(observed.pod)
    source = not observed.source or not predicted.source or predicted.source == observed.source
    return source and (suffix or observed.pod in ("", predicted.pod))


def make_cases(state: State) -> Iterator[Case]:
    """Every pod, every node and the host as a source, every address and port somebody could mean as a destination.

    The host asks for addresses it has a route to: where else its packets go is the business of its own network.
    """
    world = World(state.snapshot, state.plans)
    outside = sorted(set(_outside_targets(world)))
    targets = sorted({*_inside_targets(world), *outside})
    for source, netns in _sources(world):
        for address, port, protocol in targets if source.node else outside:
            target = Target(address, port, protocol)  # type: ignore[arg-type]
            predicted = predicted_by(trace(world, source, target))
            yield Case(source, target, Probe(netns, address, port, protocol), predicted)


def predicted_by(found: Trace) -> frozenset[Observation]:
    """What a trace says a client may observe, with the pod that answers and whom it sees."""
    return frozenset(
        Observation(b.observes, b.pod.key, b.source) if b.pod and b.observes == "connects" else Observation(b.observes)
        for b in found.branches
    )


def netns_of(world: World, source: Party) -> str:
    """The namespace a party's packets come from; empty for the host."""
    cluster = world.snapshot.settings.cluster
    pod = world.subject(source.pod)
    if pod is not None:
        return f"{NETNS}/{pod_netns(cluster, pod.pod, pod.uid)}"
    return f"{NETNS}/{node_netns(cluster, source.node)}" if source.node else ""


def _sources(world: World) -> Iterator[tuple[Party, str]]:
    pods = (world.pod_party(pod.pod) for pod in world.plans.policy.pods.values())
    nodes = (world.node_party(name) for name in world.plans.services.nodes)
    for party in (*pods, *nodes, world.host_party()):
        assert party is not None
        yield party, netns_of(world, party)


Place = tuple[str, int, str]
UNUSED_PORT = 4321


def _inside_targets(world: World) -> Iterator[Place]:
    """Pod ports and cluster IPs, and ports nobody serves."""
    ports = {(p.port, p.protocol) for pod in world.plans.nodes.pods.values() for p in _ports(pod)}
    for pod in world.plans.policy.pods.values():
        runtime = world.plans.nodes.pods[pod.pod.key]
        stand_in = all(isinstance(c.work, node.StandInWork) for c in runtime.containers)
        wanted = ports if stand_in else _declared(world, pod.pod)
        yield from ((address, *port) for address in pod.addresses for port in wanted)
    for unit in world.plans.services.ports.values():
        for address in unit.cluster_ips:
            yield address, unit.port, unit.protocol
            yield address, UNUSED_PORT, "TCP"


def _outside_targets(world: World) -> Iterator[Place]:
    """Load balancer and external addresses, NodePorts on every node."""
    for unit in world.plans.services.ports.values():
        for address in (*unit.load_balancer_ips, *unit.external_ips):
            yield address, unit.port, unit.protocol
            yield address, UNUSED_PORT, "TCP"
        yield from ((a, unit.port, unit.protocol) for a in unit.host_ips if a != LOOPBACK)
        if unit.node_port:
            families = {":" in address for address in unit.cluster_ips}
            nodes = world.plans.services.nodes.values()
            addresses = (a for n in nodes for a in n.addresses if (":" in a) in families)
            yield from ((address, unit.node_port, unit.protocol) for address in addresses)


def _declared(world: World, pod: Ref) -> set[tuple[int, str]]:
    """What a pod with a program of its own says it listens on."""
    found = world.snapshot.get(Pod, pod.namespace, pod.name)
    containers = found.spec.containers if found else ()
    return {(p.container_port, p.protocol) for c in containers for p in c.ports}


def _ports(pod: node.Pod) -> Iterator[node.StandInPort]:
    for container in pod.containers:
        if isinstance(container.work, node.StandInWork):
            yield from (p for p in container.work.ports if p.protocol in ("TCP", "UDP"))
