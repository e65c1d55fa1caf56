"""A kernel that refuses a policy's tables: the rules of before stay in force, and the policy says so.

What is refused is the unit of one pod; all that changed with it is held back, also who is who: the rules of before
admit exactly whom they admitted before.
"""

import asyncio
from typing import Any

import pytest

from podwire.cluster.embedded import EmbeddedCluster
from podwire.explain import World
from podwire.explain.policies import PolicyState, explain_policies
from podwire.planes.nft import driver as nft_driver
from podwire.planes.nft.nftlib import Library, Session, open_session
from podwire.testing.clusters import running_cluster
from podwire.testing.probes import Probe, send_probes
from podwire.testing.promise import netns_of

pytestmark = pytest.mark.kernel
DEADLINE_SECONDS = 60
WORDS = "Could not process rule: No buffer space available"
Json = dict[str, Any]


class Faulty:
    """A session whose kernel refuses every transaction with ``word`` in it, while there is a word."""

    word = ""

    def __init__(self, inner: Session) -> None:
        self._inner = inner

    def run(self, text: str) -> str:
        return WORDS if Faulty.word and Faulty.word in text else self._inner.run(text)

    def close(self) -> None:
        self._inner.close()


def open_faulty(library: Library | None, netns: str) -> Session:
    return Faulty(open_session(library, netns))


def pod(name: str) -> Json:
    spec = {"containers": [{"name": "main", "image": "example.com/standin", "ports": [{"containerPort": 8080}]}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def admit(*names: str, to: str = "server") -> Json:
    """The policy of one pod: who may come in."""
    peers = [{"podSelector": {"matchLabels": {"app": name}}} for name in names]
    spec = {"podSelector": {"matchLabels": {"app": to}}, "ingress": [{"from": peers}] if peers else []}
    meta = {"name": to, "namespace": "default"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta, "spec": spec}


async def who_connects(cluster: EmbeddedCluster) -> set[str]:
    assert cluster.state is not None
    world = World(cluster.state.snapshot, cluster.state.plans)
    pods = world.plans.policy.pods
    address = pods["default/server"].addresses[0]
    probes = {}
    for name in ("first", "second"):
        party = world.pod_party(pods[f"default/{name}"].pod)
        assert party is not None
        probes[name] = Probe(netns_of(world, party), address, 8080, "TCP")
    seen = await send_probes(list(probes.values()))
    return {name for name, probe in probes.items() if seen[probe].outcome == "connects"}


async def policy_state(cluster: EmbeddedCluster, *, refused: bool) -> PolicyState:
    """Once the nodes have told."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            assert cluster.state is not None
            states = explain_policies(World(cluster.state.snapshot, cluster.state.plans))
            found = next(state for state in states if state.policy.name == "server")
            if bool(found.refused) == refused and (refused or found.is_enforced):
                return found
            future = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.01, future.set_result, None)
            await future


def test_the_rules_of_before_stay_and_the_policy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        monkeypatch.setattr(nft_driver, "open_session", open_faulty)
        keeps = admit("first", to="second")  # whoever is first stays somebody of his own
        objects = [pod("server"), pod("first"), pod("second"), admit("first"), keeps]
        async with running_cluster(objects) as cluster:
            assert await who_connects(cluster) == {"first"}
            monkeypatch.setattr(Faulty, "word", "podwire-np rules-in")
            assert not await cluster.apply([admit()])
            found = await policy_state(cluster, refused=True)
            assert not found.is_enforced and WORDS in found.refused[0] and "default/server" in found.refused[0]
            assert await who_connects(cluster) == {"first"}
            assert cluster.state is not None
            concerned = {str(f.ref) for f in cluster.state.plans.findings if f.code == "PW2006"}
            assert concerned == {"NetworkPolicy default/server"}
            assert not await cluster.apply([admit("second")])
            await policy_state(cluster, refused=True)
            assert await who_connects(cluster) == {"first"}
            monkeypatch.setattr(Faulty, "word", "")
            assert not await cluster.apply([admit("first", "second")])
            assert (await policy_state(cluster, refused=False)).enforced
            assert await who_connects(cluster) == {"first", "second"}

    asyncio.run(check())
