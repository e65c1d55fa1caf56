"""Audited policies: no packet is treated otherwise than without them, and what they would deny is said.

The oracle is the compiler itself, asked about two other clusters: one without the audited policies, one with all of
them enforced.
"""

from collections.abc import Iterator
from itertools import product
from random import Random
from typing import Any

import pytest

from podwire.compile.context import Context, Piece
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.plan import Decision, PolicyPlan, decide_policy
from podwire.plan.policy import Direction
from podwire.testing.build import namespace, pod, policy, snapshot
from podwire.testing.generate import generate_cluster
from podwire.testing.generate_policies import POLICIES, audit_some, generate_cluster_policy

Json = dict[str, Any]
AUDIT = {"podwire.dev/policy-mode": "audit"}
OUTSIDE = "198.51.100.7"
PORTS = (("TCP", 8080), ("TCP", 8081), ("TCP", 9090), ("UDP", 5353), ("ICMP", 0))
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")


def with_addresses(objects: list[Json]) -> Iterator[Json]:
    for index, value in enumerate(objects):
        if value["kind"] == "Pod":
            meta, spec = value["metadata"], value["spec"]
            made = pod(f"{meta['namespace']}/{meta['name']}", f"10.244.{index % 2}.{index + 2}", labels=meta["labels"])
            yield {**made, "spec": {**made["spec"], "containers": spec["containers"]}}
        elif value["kind"] != "Service":
            yield {**value, "metadata": {**value["metadata"], "uid": f"{value['kind']}-{value['metadata']['name']}"}}


def compiled(objects: list[Json]) -> PolicyPlan:
    piece = compile_policy(Context(snapshot(*with_addresses(objects)), Memo()))
    assert piece.policy is not None
    return piece.policy


def is_audited(value: Json) -> bool:
    return "podwire.dev/policy-mode" in value["metadata"].get("annotations", {})


def enforced(value: Json) -> Json:
    if value["kind"] not in POLICIES:
        return value
    return {**value, "metadata": {**value["metadata"], "annotations": {}}}


def decided(plan: PolicyPlan, cell: tuple[str, Direction, str, tuple[str, int]]) -> Decision | None:
    key, direction, peer, (protocol, port) = cell
    subject = plan.pods[key]
    verdict = decide_policy(plan, subject=subject, direction=direction, peer=peer, protocol=protocol, port=port)
    return verdict.decision


def action(decision: Decision | None) -> str:
    return decision.action if decision is not None else "allow"


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_two_other_clusters_say(seed: int) -> None:
    random = Random(seed)
    objects = generate_cluster(seed)
    objects += [generate_cluster_policy(random, f"cnp{i}") for i in range(random.randint(0, 3))]
    objects = audit_some(random, objects)
    mixed = compiled(objects)
    without = compiled([value for value in objects if not is_audited(value)])
    strict = compiled([enforced(value) for value in objects])
    peers = [p.addresses[0] for p in mixed.pods.values()] + [OUTSIDE, "10.89.0.7"]
    for cell in product(mixed.pods, DIRECTIONS, peers, PORTS):
        found, alone, all_ = (decided(plan, cell) for plan in (mixed, without, strict))
        if action(alone) == "deny":
            assert action(found) == "deny", cell
        elif action(all_) == "deny":
            assert found is not None and all_ is not None
            assert (found.action, found.matched) == ("audit", all_.matched), cell
        else:
            assert action(found) == "allow", cell


def audited(value: Json) -> Json:
    return {**value, "metadata": {**value["metadata"], "annotations": AUDIT}}


WEB, CLIENT = pod("a/web", "10.244.0.2", labels={"app": "web"}), pod("a/client", "10.244.0.3", labels={"app": "client"})
WORLD = (namespace("a"), WEB, CLIENT)
ISOLATE = policy("a/isolate", policyTypes=["Ingress"])


def verdict(*policies: Json) -> tuple[str, Decision | None]:
    piece = compile_policy(Context(snapshot(*WORLD, *policies), Memo()))
    assert piece.policy is not None
    subject = piece.policy.pods["a/web"]
    found = decide_policy(
        piece.policy, subject=subject, direction="ingress", peer="10.244.0.3", protocol="TCP", port=80
    )
    return found.action, found.decision


def test_it_denies_nothing_and_names_the_policy() -> None:
    action, decision = verdict(audited(ISOLATE))
    assert action == "audit"
    assert decision is not None and [str(m.origin) for m in decision.matched] == [
        "NetworkPolicy a/isolate spec.podSelector"
    ]


def test_it_allows_nothing_that_an_enforced_policy_denies() -> None:
    """Were it enforced, the union would allow; while it is audited, the enforced policy decides alone."""
    admit = policy("a/admit", policyTypes=["Ingress"], ingress=[{}])
    assert verdict(ISOLATE, audited(admit))[0] == "deny"
    assert verdict(ISOLATE, admit)[0] == "allow"


def findings(*policies: Json) -> Piece:
    return compile_policy(Context(snapshot(*WORLD, *policies), Memo()))


def test_it_is_said_on_the_policy() -> None:
    found = {f.code: f for f in findings(audited(ISOLATE)).findings}
    assert found["PW2005"].severity == "info" and "audited" in found["PW2005"].message


def test_a_mode_that_is_not_understood_is_enforced_and_said() -> None:
    wrong = {**ISOLATE, "metadata": {**ISOLATE["metadata"], "annotations": {"podwire.dev/policy-mode": "Audit"}}}
    assert verdict(wrong)[0] == "deny"
    assert [f.code for f in findings(wrong).findings if f.severity == "error"] == ["PW2004"]
