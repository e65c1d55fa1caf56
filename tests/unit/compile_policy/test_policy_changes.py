"""Changing pods one by one gives the plans of compiling from nothing, and keeps the units that did not change."""

from random import Random
from typing import Any

import pytest

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.plan import PolicyPlan
from podwire.snapshot import Settings, Snapshot, SnapshotBuilder
from podwire.testing.build import NOW, namespace, pod, policy
from podwire.testing.generate import generate_cluster

Json = dict[str, Any]
APPS = ("red", "green", "blue")


def compiled(snapshot: Snapshot, memo: Memo) -> PolicyPlan:
    piece = compile_policy(Context(snapshot, memo))
    memo.sweep()
    assert piece.policy is not None
    return piece.policy


def random_pod(random: Random, index: int) -> Json:
    ports = [{"name": "web", "containerPort": random.choice((8080, 8081))}]
    labels = {"app": random.choice(APPS), "tier": random.choice(("front", "back")), "hash": str(random.random())}
    return pod(f"ns{index % 2}/p{index}", f"10.244.0.{index + 2}", labels=labels, ports=ports)


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_of_changes_gives_the_plan_from_nothing(seed: int) -> None:
    random, builder, memo = Random(seed), SnapshotBuilder(Settings()), Memo()
    for value in generate_cluster(seed):
        if value["kind"] in ("Namespace", "NetworkPolicy"):
            builder.put(value)
    for index in range(16):
        builder.put(random_pod(random, index))
    others = [value for value in generate_cluster(seed + 1000) if value["kind"] in ("Namespace", "NetworkPolicy")]
    for _ in range(25):
        index = random.randrange(18)
        if random.random() < 0.2:
            builder.remove("Pod", f"ns{index % 2}/p{index}")
        elif random.random() < 0.1:
            builder.put(random.choice(others))
        elif random.random() < 0.05:
            builder.remove("NetworkPolicy", f"ns{index % 2}/np{index}")
        else:
            builder.put(random_pod(random, index))
        snapshot = builder.snapshot(NOW)
        found, fresh = compiled(snapshot, memo), compiled(snapshot, Memo())
        assert found == fresh
        assert list(found.pods) == list(fresh.pods)


def test_a_rollout_brings_no_new_kind_of_pod() -> None:
    """Labels that no selector names change nothing, however new they are."""
    builder, memo = SnapshotBuilder(Settings()), Memo()
    builder.put(namespace("a"))
    builder.put(policy("a/p", podSelector={"matchLabels": {"app": "red"}}))
    builder.put(pod("a/p0", "10.244.0.2", labels={"app": "red", "pod-template-hash": "1"}))
    before = compiled(builder.snapshot(NOW), memo)
    builder.put(pod("a/p1", "10.244.0.3", labels={"app": "red", "pod-template-hash": "2"}))
    after = compiled(builder.snapshot(NOW), memo)
    assert after.rule_sets is before.rule_sets and after.decisions is before.decisions
    assert after.pods["a/p1"].isolated == before.pods["a/p0"].isolated


def test_a_pod_that_changes_within_known_kinds_leaves_everything_else_the_same() -> None:
    builder, memo = SnapshotBuilder(Settings()), Memo()
    builder.put(namespace("a"))
    builder.put(policy("a/p", podSelector={"matchLabels": {"app": "red"}}))
    for index, app in enumerate(("red", "red", "blue", "blue")):
        builder.put(pod(f"a/p{index}", f"10.244.0.{index + 2}", labels={"app": app}))
    before = compiled(builder.snapshot(NOW), memo)
    builder.put(pod("a/p0", "10.244.0.2", labels={"app": "blue"}))
    after = compiled(builder.snapshot(NOW), memo)
    assert before.pods["a/p0"].isolated and not after.pods["a/p0"].isolated
    assert after.rule_sets is before.rule_sets and after.decisions is before.decisions
    assert all(after.pods[key] is before.pods[key] for key in ("a/p1", "a/p2", "a/p3"))
