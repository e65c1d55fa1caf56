"""Service packets (P numbers of docs/design/services.md) and the driver's life with a real kernel."""

import asyncio
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.kernel.nft_world import NODES, Probe, Seen, World, change_netns, in_loop, service

from podwire.base import Cidr
from podwire.plan import ConntrackSettings, EventFact, Fact, PlaneFact, ServiceCount, digest, node_netns
from podwire.planes.nft import NftDriver, NftPlan
from podwire.planes.nft.netns import run_in_netns

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("nft")]


@pytest.fixture(scope="module", params=[4, 6], ids=["ipv4", "ipv6"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with World(families=(request.param,)) as built:
        yield built


class Run:
    """A driver and what it reported."""

    def __init__(self, world: World) -> None:
        self.facts: dict[str, Fact] = {}
        self.events: asyncio.Queue[EventFact] = asyncio.Queue()
        self.reports = 0
        self.driver = NftDriver(self._note, cluster=world.cluster)

    def _note(self, key: str, fact: Fact) -> None:
        if isinstance(fact, EventFact):
            self.events.put_nowait(fact)
            return
        self.facts[key] = fact
        self.reports += 1

    def fact(self, node: str) -> PlaneFact:
        fact = self.facts[f"nft/{node}"]
        assert isinstance(fact, PlaneFact)
        return fact


@asynccontextmanager
async def running(world: World, plan: NftPlan | None = None) -> AsyncIterator[Run]:
    run = Run(world)
    try:
        if plan is not None:
            await run.driver.apply(plan)
        yield run
    finally:
        await run.driver.close()


def nft(netns: str, *words: str) -> str:
    done = subprocess.run(["nsenter", f"--net=/run/netns/{netns}", "nft", *words], capture_output=True, check=True)
    return done.stdout.decode()


def ip(world: World) -> str:
    """The world's family as nft names it."""
    return "ip6" if world.families == (6,) else "ip"


def counted(world: World, *probes: Probe) -> Counter[str]:
    return Counter(seen.by or seen.what for seen in world.probe(*probes))


@in_loop
async def test_spread_reaches_every_endpoint(world: World) -> None:
    unit = service("web", "10.96.0.1", *(world.endpoint(p) for p in ("a1", "a2", "b1")), node_port=30080)
    async with running(world, world.plan(unit)):
        assert counted(world, *[Probe("a3", "10.96.0.1", 80)] * 60).keys() == {"a1", "a2", "b1"}
        for address in NODES.values():
            assert counted(world, *[Probe("host", address, 30080)] * 60).keys() == {"a1", "a2", "b1"}


@in_loop
async def test_affinity_is_per_client_and_survives_other_endpoints(world: World) -> None:
    """P11: one endpoint a client on every address of the Service port; only clients of a gone endpoint move."""
    pods = ("a1", "a2", "b1", "b2")
    unit = service("web", "10.96.0.1", *(world.endpoint(p) for p in pods), affinity_seconds=60, node_port=30080)
    async with running(world, world.plan(unit)) as run:
        before = counted(world, *[Probe("a3", "10.96.0.1", 80)] * 20, *[Probe("a3", NODES["node-a"], 30080)] * 20)
        assert len(before) == 1
        (chosen,) = before
        for gone in [p for p in pods if p != chosen]:
            rest = tuple(e for e in unit.endpoints if e.pod and e.pod.name != gone)
            unit = msgspec.structs.replace(unit, endpoints=rest)
            await run.driver.apply(world.plan(unit))
            assert counted(world, *[Probe("a3", "10.96.0.1", 80)] * 5) == {chosen: 5}
        other = next(p for p in pods if p != chosen)
        await run.driver.apply(world.plan(msgspec.structs.replace(unit, endpoints=(world.endpoint(other),))))
        assert counted(world, *[Probe("a3", "10.96.0.1", 80)] * 5) == {other: 5}


@in_loop
async def test_local_policy_keeps_the_client_or_drops(world: World) -> None:
    """P6, P3: client address kept where an endpoint is, dropped where none is, insiders reach all."""
    unit = service(
        "lb",
        "10.96.0.4",
        world.endpoint("b2"),
        external_local=True,
        load_balancer_ips=("10.89.9.1",),
        node_port=30081,
    )
    async with running(world, world.plan(unit)):
        seen = world.probe(
            Probe("host", "10.89.9.1", 80),
            Probe("host", NODES["node-b"], 30081),
            Probe("host", NODES["node-a"], 30081),
            Probe("a1", "10.89.9.1", 80),
            Probe("node-a", "10.89.9.1", 80),
        )
        assert seen == [
            Seen("answer", "b2", "10.89.0.1"),
            Seen("answer", "b2", "10.89.0.1"),
            Seen("drop"),
            Seen("answer", "b2", world.address("a1")),
            Seen("answer", "b2", NODES["node-a"]),
        ]


@in_loop
async def test_nobody_home_is_refused_at_once(world: World) -> None:
    """P3, P4: also more often and faster than the kernel's ICMP limit allows by default."""
    empty = service("empty", "10.96.0.2", protocol="UDP")
    web = service("web", "10.96.0.1", world.endpoint("a1"))
    async with running(world, world.plan(empty, web)):
        refused = [Probe("a3", "10.96.0.2", 80, "UDP")] * 20 + [Probe("b3", "10.96.0.1", 81)] * 20
        assert counted(world, *refused) == {"refuse": 40}
        assert world.probe(Probe("a3", "10.96.200.1", 80)) == [Seen("drop")]


@in_loop
async def test_hairpin_and_masquerade(world: World) -> None:
    """P2, P19."""
    unit = service("me", "10.96.0.6", world.endpoint("a1"))
    async with running(world, world.plan(unit)):
        seen = world.probe(
            Probe("a1", "10.96.0.6", 80),
            Probe("a2", "10.96.0.6", 80),
            Probe("host", "10.96.0.6", 80),
            Probe("b1", "10.89.0.1", 8080),
            Probe("b1", NODES["node-a"], 8080),
        )
        assert [s.client for s in seen] == [
            NODES["node-a"],
            world.address("a2"),
            NODES["node-a"],
            NODES["node-b"],
            world.address("b1"),
        ]


@in_loop
async def test_tcp_outlives_its_endpoint_and_udp_does_not(world: World) -> None:
    """P17, P16."""
    old, new = world.endpoint("b1"), world.endpoint("b2")
    tcp = service("tcp", "10.96.0.1", old)
    udp = service("udp", "10.96.0.5", old, protocol="UDP")
    async with running(world, world.plan(tcp, udp)) as run:
        with world.socket("a1") as stream, world.socket("a1", socket.SOCK_DGRAM) as datagrams:
            stream.settimeout(5)
            datagrams.settimeout(5)
            stream.connect((world.real("10.96.0.1"), 80))
            assert stream.recv(100).startswith(b"b1 ")
            datagrams.connect((world.real("10.96.0.5"), 80))
            datagrams.send(b"x")
            assert datagrams.recv(100).startswith(b"b1 ")
            await run.driver.apply(
                world.plan(
                    msgspec.structs.replace(tcp, endpoints=(new,)), msgspec.structs.replace(udp, endpoints=(new,))
                )
            )
            stream.send(b"still there?")
            assert stream.recv(100) == b"b1 again"
            datagrams.send(b"x")
            assert datagrams.recv(100).startswith(b"b2 ")
        assert run.fact("node-a").message == ""


@in_loop
async def test_second_apply_sends_nothing_and_facts_carry_digests(world: World) -> None:
    unit = service("web", "10.96.0.1", world.endpoint("a1"))
    async with running(world, world.plan(unit)) as run:
        generation = nft(world.netns("node-a"), "list", "tables")
        reports = run.reports
        await run.driver.apply(world.plan(unit))
        assert run.reports == reports
        assert "podwire-svc" in generation
        tables = set(nft(world.netns("node-b"), "list", "tables").splitlines())
        assert tables == {f"table {ip(world)} podwire-svc", f"table {ip(world)} podwire-np"}  # of no other family
        assert run.fact("node-b").applied == {unit.key: digest(world.plan(unit).services.ports[unit.key])}
    assert "podwire" not in nft(world.netns("node-a"), "list", "tables")


@in_loop
async def test_foreign_tables_stay_and_leftovers_go(world: World) -> None:
    netns = world.netns("node-a")
    nft(netns, "add table ip foreign; add table ip podwire-svc; add chain ip podwire-svc leftover")
    nft(netns, "add table ip6 podwire-np; add chain ip6 podwire-np leftover")
    unit = service("web", "10.96.0.1", world.endpoint("a1"))
    async with running(world, world.plan(unit)):
        tables = nft(netns, "list", "tables")
        assert "foreign" in tables
        assert "leftover" not in nft(netns, "list", "ruleset")
    assert "foreign" in nft(netns, "list", "tables")
    nft(netns, "delete table ip foreign")


@in_loop
async def test_deleted_tables_come_back_with_the_next_change(world: World) -> None:
    """P22."""
    web, more = service("web", "10.96.0.1", world.endpoint("a1")), service("more", "10.96.0.2", world.endpoint("a2"))
    async with running(world, world.plan(web)) as run:
        nft(world.netns("node-a"), f"delete table {ip(world)} podwire-svc")
        await run.driver.apply(world.plan(web, more))
        assert counted(world, Probe("a3", "10.96.0.1", 80), Probe("a3", "10.96.0.2", 80)) == {"a1": 1, "a2": 1}


def with_proxy(plan: NftPlan, **fields: Any) -> NftPlan:
    proxy = msgspec.structs.replace(plan.services.proxy, **fields)
    return NftPlan(msgspec.structs.replace(plan.services, proxy=proxy), plan.policy)


@in_loop
async def test_masquerade_all_hides_clients_of_cluster_ips(world: World) -> None:
    """And hides nobody any more once it is off again."""
    plan = world.plan(service("web", "10.96.0.1", world.endpoint("b1")))
    async with running(world) as run:
        for wanted, client in ((True, NODES["node-a"]), (False, world.address("a1"))):
            await run.driver.apply(with_proxy(plan, masquerade_all=wanted))
            assert world.probe(Probe("a1", "10.96.0.1", 80)) == [Seen("answer", "b1", client)]


@in_loop
async def test_local_by_node_takes_pods_of_other_nodes_for_outsiders(world: World) -> None:
    """detectLocalMode: NodeCIDR: a Local NodePort of another node no longer short-circuits."""
    plan = world.plan(service("lb", "10.96.0.4", world.endpoint("a2"), external_local=True, node_port=30081))
    probes = Probe("a1", NODES["node-b"], 30081), Probe("b1", NODES["node-b"], 30081)
    async with running(world) as run:
        await run.driver.apply(plan)
        assert [seen.what for seen in world.probe(*probes)] == ["answer", "answer"]
        await run.driver.apply(with_proxy(plan, local_by_node=True))
        assert [seen.what for seen in world.probe(*probes)] == ["drop", "answer"]


@in_loop
async def test_endpoints_are_chosen_in_turn_or_by_client(world: World) -> None:
    plan = world.plan(service("web", "10.96.0.1", *(world.endpoint(p) for p in ("a1", "a2", "b1", "b2"))))
    async with running(world) as run:
        await run.driver.apply(with_proxy(plan, draw="in-turn"))
        assert counted(world, *[Probe("a3", "10.96.0.1", 80)] * 20) == {"a1": 5, "a2": 5, "b1": 5, "b2": 5}
        await run.driver.apply(with_proxy(plan, draw="by-client"))
        chosen = counted(world, *[Probe("a3", "10.96.0.1", 80)] * 20)
        assert len(chosen) == 1 and chosen.total() == 20


@in_loop
async def test_conntrack_settings_reach_the_node_and_go_again(world: World) -> None:
    def read(name: str) -> str:
        path = Path(f"/proc/sys/net/netfilter/nf_conntrack_{name}")
        return run_in_netns(world.netns("node-a"), path.read_text).strip()

    names = ("tcp_timeout_established", "tcp_timeout_close_wait", "udp_timeout", "tcp_be_liberal")
    asked = ConntrackSettings(7200, 0, 11, 0, liberal=True)
    async with running(world, with_proxy(world.plan(), conntrack=ConntrackSettings(0, 0))) as run:
        before = [read(name) for name in names]
        await run.driver.apply(with_proxy(world.plan(), conntrack=asked))
        assert [read(name) for name in names] == ["7200", before[1], "11", "1"]
        await run.driver.apply(with_proxy(world.plan(), conntrack=ConntrackSettings(0, 0)))
        assert [read(name) for name in names] == before
        assert run.fact("node-a").message == ""


@in_loop
async def test_what_somebody_else_removes_heals_by_itself(world: World) -> None:
    """P22: without a change of ours; the table that nobody touched stays as it is; the Node's Event says who it was."""
    web = service("web", "10.96.0.1", world.endpoint("a1"), node_port=30080)
    for command in (
        "delete table {0} podwire-svc",
        "flush table {0} podwire-svc",
        "flush map {0} podwire-svc backends",
    ):
        async with running(world, world.plan(web)) as run:
            netns, policy = world.netns("node-a"), ("list", "table", ip(world), "podwire-np")
            handles = nft(netns, "-a", *policy)
            nft(netns, "add table ip foreign")  # not ours: nothing is said
            nft(netns, command.format(ip(world)))
            async with asyncio.timeout(30):
                said = await run.events.get()
            assert (said.kind, said.name, said.reason) == ("Node", "node-a", "NetworkRulesRestored")
            assert said.message.startswith("podwire-svc changed by nft (pid ")
            assert counted(world, Probe("a3", "10.96.0.1", 80), Probe("host", NODES["node-a"], 30080)) == {"a1": 2}
            assert nft(netns, "-a", *policy) == handles
            assert run.events.empty() and run.fact("node-a").ready
            nft(netns, "delete table ip foreign")


@in_loop
async def test_own_changes_are_not_taken_for_somebody_elses(world: World) -> None:
    units = [service(f"s{n}", f"10.96.3.{n}", world.endpoint("a1")) for n in range(1, 40)]
    async with running(world) as run:
        for count in range(1, 40):
            await run.driver.apply(world.plan(*units[:count]))
        assert run.events.empty()
        ((netns, agent),) = [(a.netns, a) for a in run.driver._agents.values() if a.netns == world.netns("node-a")]
        assert agent.guard is not None and not agent.guard.disturbed
        assert agent._find_changed(agent.guard, run.driver._tables["node-a"]) == (), netns


@in_loop
async def test_a_refused_unit_does_not_stop_the_others(world: World) -> None:
    """The kernel's words name the culprit; its repair is applied."""
    bad = service("bad", "10.96.0.400", world.endpoint("a1"))
    good = [service(f"good{n}", f"10.96.0.{n}", world.endpoint("a2")) for n in range(1, 6)]
    async with running(world, world.plan(*good, bad)) as run:
        for node in NODES:
            fact = run.fact(node)
            assert fact.ready
            assert list(fact.rejected) == [bad.key]
            assert fact.rejected[bad.key]
            assert fact.applied.keys() == {u.key for u in good}
        assert counted(world, *[Probe("a3", f"10.96.0.{n}", 80) for n in range(1, 6)]) == {"a2": 5}
        repaired = msgspec.structs.replace(bad, cluster_ips=("10.96.0.40",))
        await run.driver.apply(world.plan(*good, repaired))
        assert not run.fact("node-a").rejected
        assert counted(world, Probe("a3", "10.96.0.40", 80)) == {"a1": 1}


@in_loop
async def test_the_kernel_counts_what_each_service_port_carries(world: World) -> None:
    """Connections, bytes of both directions, and what was turned away and why; by the node that translated.

    Addresses of their own: connections of other tests may still be closing."""
    busy = service("busy", "10.96.77.1", world.endpoint("a1"), world.endpoint("b1"), node_port=30077)
    idle = service("idle", "10.96.77.2", world.endpoint("a2"))
    empty = service("empty", "10.96.77.3", protocol="UDP")
    local = service("local", "10.96.77.4", world.endpoint("b1"), internal_local=True)
    ranges = (Cidr.parse("198.51.100.0/24"),)
    closed = service(
        "closed", "10.96.77.5", world.endpoint("b1"), load_balancer_ips=("10.89.9.77",), source_ranges=ranges
    )
    async with running(world, world.plan(busy, idle, empty, local, closed)) as run:
        answers = counted(world, *[Probe("a3", "10.96.77.1", 80)] * 8, *[Probe("node-a", "10.96.77.1", 80)] * 4)
        assert answers.total() == 12
        counted(world, *[Probe("host", NODES["node-a"], 30077)] * 3, *[Probe("a3", "10.96.77.3", 80, "UDP")] * 5)
        counted(world, *[Probe("a3", "10.96.77.4", 80)] * 2, Probe("host", "10.89.9.77", 80))
        here = {count.key: count for count in await run.driver.count_services("node-a")}
        there = {count.key: count for count in await run.driver.count_services("node-b")}
        assert here.keys() == {busy.key, empty.key, local.key}
        assert there == {closed.key: ServiceCount(closed.key, connections=1, barred=1)}
        assert (here[busy.key].connections, here[busy.key].refused) == (15, 0)
        handshakes = 15 * (7 * (40 if world.families == (4,) else 60))
        assert handshakes < here[busy.key].bytes < 4 * handshakes
        assert here[empty.key] == ServiceCount(empty.key, connections=5, refused=5)
        assert here[local.key].dropped == here[local.key].connections >= 2
        more = msgspec.structs.replace(empty, endpoints=(world.endpoint("a2"),))
        await run.driver.apply(world.plan(msgspec.structs.replace(busy, endpoints=(world.endpoint("a1"),)), more))
        after = {count.key: count for count in await run.driver.count_services("node-a")}
        assert after == {key: here[key] for key in (busy.key, empty.key)}  # endpoints change, counts go on


@in_loop
async def test_a_list_number_that_changed_hands_takes_nothing_over(world: World) -> None:
    empty = service("empty", "10.96.77.3", protocol="UDP")
    async with running(world, world.plan(empty)) as run:
        probes = [Probe("a3", "10.96.77.3", 80, "UDP")] * 3
        counted(world, *probes)
        (before,) = await run.driver.count_services("node-a")
        await run.driver.apply(world.plan())
        assert await run.driver.count_services("node-a") == ()
        await run.driver.apply(world.plan(empty))
        counted(world, *probes)
        (after,) = await run.driver.count_services("node-a")
        assert before.refused == after.refused == 3


@in_loop
async def test_more_endpoints_than_ready_chains(world: World) -> None:
    """Counts beyond the chains made at the start, and large units, arrive whole."""
    address = world.address("a1")
    crowd = tuple(
        msgspec.structs.replace(world.endpoint("a1"), address=address, port=port) for port in (8080, 9000, 80, 443)
    ) + tuple(world.endpoint("b1", port) for port in range(20000, 26000))
    unit = service("crowd", "10.96.0.9", *crowd)
    async with running(world, world.plan(unit)) as run:
        assert not run.fact("node-a").rejected
        assert "lb6004" in nft(world.netns("node-a"), "list", "chain", ip(world), "podwire-svc", "lb6004")
        few = msgspec.structs.replace(unit, endpoints=crowd[:4])
        await run.driver.apply(world.plan(few))
        assert counted(world, *[Probe("a3", "10.96.0.9", 80)] * 20) == {"a1": 20}


@in_loop
async def test_a_node_that_comes_later_is_loaded_when_it_comes() -> None:
    """No error, no waiting: the fact says so, and becomes ready by itself."""
    absent = World()
    ready = asyncio.Event()
    facts: dict[str, PlaneFact] = {}

    def note(key: str, fact: Fact) -> None:
        assert isinstance(fact, PlaneFact)
        facts[key] = fact
        if len(facts) == 2 and all(f.ready for f in facts.values()):
            ready.set()

    driver = NftDriver(note, cluster=absent.cluster)
    names = [node_netns(absent.cluster, node) for node in NODES]
    try:
        await driver.apply(absent.plan(service("web", "10.96.0.1")))
        assert [f.ready for f in facts.values()] == [False, False]
        for name in names:
            change_netns("add", name)
        async with asyncio.timeout(10):
            await ready.wait()
        assert "podwire-svc" in nft(names[0], "list", "tables")
    finally:
        for name in names:
            change_netns("del", name)
        await driver.close()


@in_loop
async def test_without_the_library_the_command_serves(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podwire.planes.nft.driver.load_library", lambda: None)
    unit = service("web", "10.96.0.1", world.endpoint("a1"))
    async with running(world, world.plan(unit)) as run:
        assert run.fact("node-a").ready
        assert counted(world, Probe("a3", "10.96.0.1", 80)) == {"a1": 1}


def test_work_in_a_namespace_does_not_move_the_caller(world: World) -> None:
    before = Path("/proc/self/ns/net").readlink()
    inside = run_in_netns(world.netns("a1"), lambda: Path("/proc/thread-self/ns/net").readlink())
    assert inside != before
    assert Path("/proc/self/ns/net").readlink() == before
