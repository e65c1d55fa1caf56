"""Policies change while numbered packets run: no forbidden one ever passes, no allowed one is lost.

One-way UDP is asked about packet by packet (a connection without an answer stays new), so every packet meets the rules
as they are at that moment. With each allowed packet a forbidden one is sent just before it.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.explain import World
from podwire.planes.nft import NftDriver, NftPlan
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import open_sockets
from podwire.testing.promise import netns_of

pytestmark = [pytest.mark.kernel, pytest.mark.xdist_group("policy-live")]
Json = dict[str, Any]
PORT = 7000
DEADLINE_SECONDS = 30
AT_LEAST = 20
"""Packets of each kind during every change."""


def pod(name: str, namespace: str, **labels: str) -> Json:
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": [{"containerPort": 8080}]}]}
    meta = {"name": name, "namespace": namespace, "labels": {"app": name, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def space(name: str, **labels: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def policy(name: str, peers: list[Json], *, app: str = "server", direction: str = "ingress") -> Json:
    rules = [{"from" if direction == "ingress" else "to": peers}]
    spec = {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": [direction.capitalize()], direction: rules}
    meta = {"name": name, "namespace": "home"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


FRIENDS: list[Json] = [{"namespaceSelector": {"matchLabels": {"team": "friends"}}}]
BY_ROLE: list[Json] = [
    {"namespaceSelector": {}, "podSelector": {"matchExpressions": [{"key": "role", "operator": "Exists"}]}}
]
BOTH: list[Json] = [*FRIENDS, *BY_ROLE]
OBJECTS: list[Json] = [
    space("home"),
    space("friends", team="friends"),
    space("others", team="others"),
    pod("server", "home"),
    pod("friend", "friends", role="caller"),
    pod("stranger", "others"),
    pod("bystander", "others", color="red"),
    policy("in", BOTH),
]


class Traffic:
    """Numbered packets from a friend and a stranger to the server, in step with what arrives."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        assert cluster.state is not None
        self._world = World(cluster.state.snapshot, cluster.state.plans)
        server = self._world.plans.policy.pods["home/server"].addresses[0]
        (self._server,) = open_sockets(self._netns("home/server"), [("UDP", server)])
        self._server.bind((server, PORT))
        self._clients = {}
        for name in ("friends/friend", "others/stranger"):
            (made,) = open_sockets(self._netns(name), [("UDP", server)])
            made.connect((server, PORT))
            self._clients[name] = made
        self.sent = 0
        self.passed: list[int] = []
        self._stop = False

    def _netns(self, key: str) -> str:
        party = self._world.pod_party(self._world.plans.policy.pods[key].pod)
        assert party is not None
        return netns_of(self._world, party)

    async def run(self) -> None:
        """Until stopped; fails when an allowed packet does not arrive."""
        while not self._stop:
            self.sent += 1
            await self._send("others/stranger")
            await self._send("friends/friend")
            try:
                async with asyncio.timeout(5):
                    await self._arrive()
            except TimeoutError:
                raise AssertionError(f"allowed packet {self.sent} was lost") from None
            await self._breathe()  # what is sent is here at once: without a pause nobody else would run

    async def _send(self, name: str) -> None:
        data = json.dumps([name, self.sent]).encode()
        await asyncio.get_running_loop().sock_sendall(self._clients[name], data)

    async def _arrive(self) -> None:
        while True:
            name, number = json.loads(await asyncio.get_running_loop().sock_recv(self._server, 200))
            if name == "others/stranger":
                self.passed.append(number)
            elif number == self.sent:
                return

    async def during(self, change: Callable[[], Awaitable[None]]) -> None:
        """Carry out a change with enough packets before, while and after."""
        for act in (None, change, None):
            before = self.sent
            if act is not None:
                await act()
            async with asyncio.timeout(DEADLINE_SECONDS):
                while self.sent < before + AT_LEAST:
                    await self._breathe()

    async def _breathe(self) -> None:
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.001, future.set_result, None)
        await future

    def stop(self) -> None:
        self._stop = True

    def close(self) -> None:
        for each in (self._server, *self._clients.values()):
            each.close()


class Changes:
    """What happens meanwhile. Through all of it the friend may and the stranger may not."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster

    async def _apply(self, *objects: Json) -> None:
        assert not await self._cluster.apply(list(objects))
        assert not await self._cluster.wait_ready(DEADLINE_SECONDS)

    async def _delete(self, name: str) -> None:
        assert self._cluster.server is not None
        await self._cluster.server.delete("NetworkPolicy", "home", name)
        assert not await self._cluster.wait_ready(DEADLINE_SECONDS)

    async def an_equivalent_policy_replaces_the_first(self) -> None:
        await self._apply(policy("in-too", BOTH))
        await self._delete("in")
        await self._apply(policy("in", BOTH))
        await self._delete("in-too")

    async def rules_come_and_go(self) -> None:
        await self._apply(policy("in", [*BOTH, {"ipBlock": {"cidr": "198.51.100.0/24"}}]))
        await self._apply(policy("in", FRIENDS))
        await self._apply(policy("in", BOTH))

    async def the_friend_is_known_by_another_rule(self) -> None:
        await self._apply(pod("friend", "friends", role="other"))
        await self._apply(space("friends", team="renamed"))
        await self._apply(space("friends", team="friends"))
        await self._apply(pod("friend", "friends"))
        await self._apply(pod("friend", "friends", role="caller"))

    async def somebody_else_is_relabelled(self) -> None:
        for color in ("green", "blue", "red"):
            await self._apply(pod("bystander", "others", color=color), space("others", team=f"others-{color}"))

    async def the_friend_is_isolated_too(self) -> None:
        out = policy("out", [{"namespaceSelector": {}}], app="friend", direction="egress")
        await self._apply({**out, "metadata": {"name": "out", "namespace": "friends"}})

    async def many_policies_come_at_once(self) -> None:
        many = [policy(f"many-{i}", [{"podSelector": {"matchLabels": {"n": str(i)}}}]) for i in range(60)]
        await self._apply(*many)

    async def the_packet_plane_starts_anew(self) -> None:
        """What a restart does: another driver, which knows nothing, loads everything over what is there."""
        state = self._cluster.state
        assert state is not None
        again = NftDriver(lambda key, fact: None, cluster=state.snapshot.settings.cluster)
        for _ in range(3):
            await again.apply(NftPlan(state.plans.services, state.plans.policy))
            again = NftDriver(lambda key, fact: None, cluster=state.snapshot.settings.cluster)

    async def the_packet_plane_dies_in_between(self) -> None:
        """Cancelled at any of many moments, then done by the next."""
        state = self._cluster.state
        assert state is not None
        plan = NftPlan(state.plans.services, state.plans.policy)
        for moment in (0.0, 0.002, 0.01, 0.03):
            dying = NftDriver(lambda key, fact: None, cluster=state.snapshot.settings.cluster)
            task = asyncio.create_task(dying.apply(plan))
            asyncio.get_running_loop().call_later(moment, task.cancel)
            await asyncio.gather(task, return_exceptions=True)
        await self.the_packet_plane_starts_anew()


CHANGES = sorted(name for name in vars(Changes) if not name.startswith("_"))


def test_no_forbidden_packet_passes_and_no_allowed_one_is_lost() -> None:
    async def check() -> None:
        async with running_cluster(OBJECTS) as cluster:
            traffic, changes = Traffic(cluster), Changes(cluster)
            running = asyncio.create_task(traffic.run())
            try:
                for name in CHANGES:
                    doing = asyncio.create_task(traffic.during(getattr(changes, name)))
                    await asyncio.wait({doing, running}, return_when=asyncio.FIRST_COMPLETED)
                    assert not running.done(), f"during {name}: {running.exception()}"
                    await doing
                    assert not traffic.passed, f"during {name}: {len(traffic.passed)} forbidden packets passed"
            finally:
                traffic.stop()
                await asyncio.gather(running, return_exceptions=True)
                traffic.close()
            assert traffic.sent >= 3 * AT_LEAST * len(CHANGES)

    asyncio.run(check())
