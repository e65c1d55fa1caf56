"""``policy-scale``: 10,000 NetworkPolicies and 20,000 pods on paper, compiled from nothing and after one change.

500 namespaces of 8 applications with 5 pods each; 20 policies a namespace, nine of ten with podSelector peers, one with
a namespaceSelector that matches one namespace in ten.
"""

import time
from resource import RUSAGE_SELF, getrusage
from typing import Any

from bench.cluster import report
from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.policy import compile_policy
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing import build

NAMESPACES, APPS, REPLICAS, POLICIES = 500, 8, 5, 20
NOW = 1_800_000_000.0
Json = dict[str, Any]


def run() -> None:
    """Seconds of a full pass, milliseconds of a pass after one pod was relabelled, megabytes at the end."""
    builder, memo = SnapshotBuilder(Settings()), Memo()
    for number in range(NAMESPACES):
        for value in _namespace(number):
            builder.put(value)
    full = _measure(builder, memo)
    builder.put(_pod(7, 3, 2, app=4))
    change = _measure(builder, memo)
    report("policy-scale full compile", full, "s")
    report("policy-scale one pod change", change * 1000, "ms")
    report("policy-scale memory", getrusage(RUSAGE_SELF).ru_maxrss / 1024, "MB")


def _measure(builder: SnapshotBuilder, memo: Memo) -> float:
    snapshot = builder.snapshot(NOW)
    started = time.perf_counter()
    compile_policy(Context(snapshot, memo))
    memo.sweep()
    return time.perf_counter() - started


def _namespace(number: int) -> list[Json]:
    objects = [build.namespace(f"n{number}", team=f"t{number % 10}")]
    objects += [_pod(number, app, replica, app=app) for app in range(APPS) for replica in range(REPLICAS)]
    return [*objects, *(_policy(number, index) for index in range(POLICIES))]


def _pod(number: int, slot: int, replica: int, *, app: int) -> Json:
    serial = (number * APPS + slot) * REPLICAS + replica
    address = f"10.{64 + (serial >> 16)}.{serial >> 8 & 255}.{serial & 255}"
    ports = [{"name": "web", "containerPort": 8000 + app}]
    return build.pod(f"n{number}/p{slot}-{replica}", address, labels={"app": f"a{app}"}, ports=ports)


def _policy(number: int, index: int) -> Json:
    if index % 10 == 9:
        peer: Json = {"namespaceSelector": {"matchLabels": {"team": f"t{(number + index) % 10}"}}}
    else:
        peer = {"podSelector": {"matchLabels": {"app": f"a{(index * 3 + 1) % APPS}"}}}
    rule = {"from": [peer], "ports": [{"port": 8000 + index % APPS}]}
    selector = {"matchLabels": {"app": f"a{index % APPS}"}}
    return build.policy(f"n{number}/np{index}", podSelector=selector, policyTypes=["Ingress"], ingress=[rule])
