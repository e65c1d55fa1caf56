"""The runtime without packets keeps the promises of the real one."""

import asyncio

import msgspec
import pytest

from podwire.base import Origin, PodwireError, Ref
from podwire.node import FakeNodeRuntime
from podwire.plan import Fact, NodeFact, NodePlan, PodFact
from podwire.plan.node import Container, Node, Pod, StandInPort, StandInWork

ORIGIN = Origin(Ref("Pod", "shop", "web"))
WEB = Container(ORIGIN, "web", "nginx", StandInWork((StandInPort(80),), "no mapping"))
POD = Pod(ORIGIN, Ref("Pod", "shop", "web"), "u1", "node-1", "web", False, (WEB,))
NODE = Node(ORIGIN, "node-1", "a", ("10.89.0.2",), ("10.244.1.0/24",))


def plan(*pods: Pod, nodes: tuple[Node, ...] = (NODE,)) -> NodePlan:
    by_name = {node.name: node for node in nodes}
    return NodePlan("c", ("10.89.0.0/24",), by_name, {p.pod.key: p for p in pods}, {}, (), ("10.244.0.0/16",))


def play(*plans: NodePlan) -> list[tuple[str, Fact]]:
    said: list[tuple[str, Fact]] = []

    async def main() -> None:
        runtime = FakeNodeRuntime(lambda key, fact: said.append((key, fact)))
        for one in plans:
            await runtime.apply(one)
        await runtime.close()

    asyncio.run(main())
    return said


def pod_facts(said: list[tuple[str, Fact]]) -> list[PodFact]:
    return [fact for _, fact in said if isinstance(fact, PodFact)]


def test_address_first_then_running_then_gone() -> None:
    running = msgspec.structs.replace(POD, run=True)
    held, ready, gone = pod_facts(play(plan(POD), plan(running), plan(running), plan()))
    assert (held.addresses, held.containers[0].state) == (("10.244.1.2",), "waiting")
    assert (ready.containers[0].ready, ready.containers[0].state) == (True, "running")
    assert gone.gone


def test_terminating_pods_end_even_when_never_seen() -> None:
    (gone,) = pod_facts(play(plan(msgspec.structs.replace(POD, terminating=True))))
    assert gone.gone


def test_host_network_shares_the_node_address_and_a_missing_node_is_said() -> None:
    on_host = msgspec.structs.replace(POD, host_network=True)
    assert pod_facts(play(plan(on_host)))[0].addresses == ("10.89.0.2",)
    (lost,) = pod_facts(play(plan(POD, nodes=())))
    assert "node node-1 has no namespace" in lost.message


def test_a_removed_node_takes_its_pods() -> None:
    said = play(plan(POD), plan(nodes=()))
    assert ("node-1", NodeFact(ready=True)) in said
    assert pod_facts(said)[-1].gone
    assert said[-1][0] == "node-1"


def test_streams_raise() -> None:
    runtime = FakeNodeRuntime(lambda key, fact: None)
    with pytest.raises(PodwireError, match="print nothing"):
        runtime.logs("u1", "web", follow=False, previous=False)
