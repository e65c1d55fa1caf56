"""Health checks, healthz, livez and metrics of the proxy (P9, P10, P23)."""

import json
from typing import Any

from podwire.compile import compile_plans
from podwire.plan import ServiceCount, ServicePlan
from podwire.planes.proxyhealth.driver import format_answer
from podwire.planes.proxyhealth.fake import FakeProxyHealth
from podwire.planes.proxyhealth.machine import SyncState
from podwire.planes.proxyhealth.render import WEIGHT_HEADER, Answer, format_metrics, format_service_metrics
from podwire.testing.build import endpoint, endpoint_slice, namespace, node, service, snapshot

NODES = (node("node-1", "10.89.0.10"), node("node-2", "10.89.0.11", zone="b", pod_cidr="10.244.1.0/24"))
LOCAL = service(
    "a/web",
    "10.96.0.20",
    type="LoadBalancer",
    externalTrafficPolicy="Local",
    healthCheckNodePort=32000,
    ports=[{"name": n, "port": p, "protocol": "TCP", "nodePort": 30000 + p} for n, p in (("x", 80), ("y", 81))],
)
SLICES = tuple(
    endpoint_slice(
        "a/web",
        endpoint("10.244.0.2", pod="a/one"),
        endpoint("10.244.0.3", pod="a/two"),
        endpoint("10.244.0.4", pod="a/end", ready=False, serving=True, terminating=True),
        name=name,
        suffix=name,
    )
    for name in ("x", "y")
)


def plan(*more: dict[str, Any], nodes: tuple[dict[str, Any], ...] = NODES) -> ServicePlan:
    return compile_plans(snapshot(namespace("a"), *nodes, LOCAL, *SLICES, *more)).services


async def _serve(plan: ServicePlan) -> FakeProxyHealth:
    fake = FakeProxyHealth(lambda key, fact: None)
    await fake.apply(plan)
    return fake


def served(made: ServicePlan) -> FakeProxyHealth:
    import asyncio

    return asyncio.run(_serve(made))


def ask(fake: FakeProxyHealth, node: str, port: int, path: str = "/", *, now: float = 0) -> Answer:
    found = fake.get(node, port, path, now=now)
    assert found is not None
    return found


def test_a_health_check_counts_ready_local_addresses_once() -> None:
    fake = served(plan())
    good, bad = ask(fake, "node-1", 32000), ask(fake, "node-2", 32000)
    assert (good.status, bad.status) == (200, 503)
    assert json.loads(good.body) == {
        "service": {"namespace": "a", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    assert (WEIGHT_HEADER, "2") in good.headers
    assert json.loads(bad.body)["localEndpoints"] == 0


def test_an_update_that_waits_makes_the_proxy_unhealthy_until_it_is_in_force() -> None:
    fake, made = served(plan()), plan()
    fake.sync.queue(made, 100)
    assert ask(fake, "node-1", 10256, "/healthz", now=160).status == 200
    assert ask(fake, "node-1", 10256, "/healthz", now=161).status == 503
    assert ask(fake, "node-1", 10256, "/livez", now=161).status == 503
    assert ask(fake, "node-1", 32000, now=161).status == 503
    fake.sync.fail()
    fake.sync.queue(made, 162)
    assert not fake.sync.is_healthy(170)
    fake.sync.finish(made, started=162, now=170)
    assert ask(fake, "node-1", 10256, "/healthz", now=171).status == 200


def test_a_node_on_its_way_out_is_not_eligible_but_alive() -> None:
    tainted = node("node-1", "10.89.0.10")
    tainted["spec"]["taints"] = [{"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}]
    fake = served(plan(nodes=(tainted, NODES[1])))
    found = ask(fake, "node-1", 10256, "/healthz")
    assert (found.status, json.loads(found.body)["nodeEligible"]) == (503, False)
    assert ask(fake, "node-1", 10256, "/livez").status == 200
    assert "nodeEligible" not in ask(fake, "node-1", 10256, "/livez").body
    assert ask(fake, "node-2", 10256, "/healthz").status == 200


def test_listeners_are_on_node_addresses_and_one_a_service() -> None:
    found = [(x.node, x.address, x.port, x.purpose) for x in served(plan()).listeners if x.node == "node-1"]
    assert found == [
        ("node-1", "0.0.0.0", 10256, "healthz"),
        ("node-1", "10.89.0.10", 32000, "check"),
        ("node-1", "127.0.0.1", 10249, "metrics"),
    ]


def test_metrics_have_kube_proxys_names() -> None:
    sync, made = SyncState(), plan()
    sync.queue(made, 10)
    sync.finish(made, started=10, now=10.5)
    text = format_metrics(sync)
    assert "kubeproxy_sync_proxy_rules_duration_seconds_count 1" in text
    assert 'kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.256"} 0' in text
    assert 'kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="0.512"} 1' in text
    assert 'kubeproxy_sync_proxy_rules_duration_seconds_bucket{le="+Inf"} 1' in text
    assert "kubeproxy_sync_proxy_rules_last_timestamp_seconds 10.500" in text
    assert "kubeproxy_sync_proxy_rules_service_changes_total 2" in text
    assert 'kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"} 2' in text


def test_metrics_tell_what_the_kernel_counted_for_each_service_port() -> None:
    text = format_service_metrics([ServiceCount("shop/api:80/TCP", 7, 4200, 2, 0, 1)])
    labels = 'namespace="shop",service="api",port="80",protocol="TCP"'
    assert f"podwire_service_connections_total{{{labels}}} 7\n" in text
    assert f"podwire_service_bytes_total{{{labels}}} 4200\n" in text
    for reason, number in (("no_endpoints", 2), ("no_local_endpoints", 0), ("source_ranges", 1)):
        assert f'podwire_service_rejected_total{{{labels},reason="{reason}"}} {number}\n' in text
    assert text.count("# TYPE podwire_service_") == format_service_metrics([]).count("# TYPE") == 3


def test_other_paths_are_not_found_and_head_has_no_body() -> None:
    fake = served(plan())
    assert ask(fake, "node-1", 10256, "/nothing").status == 404
    assert ask(fake, "node-1", 10249, "/proxyMode").body == "nftables"
    assert fake.get("node-1", 12345, "/") is None
    assert format_answer(Answer(200, "body"), with_body=False).endswith(b"\r\n\r\n")


def test_a_node_of_ipv6_listens_where_kube_proxy_does_there() -> None:
    nodes = (node("node-1", "fd00::a"), node("node-2", "10.89.0.11", "fd00::b", pod_cidr="10.244.1.0/24"))
    found = {(x.node, x.address, x.purpose) for x in served(plan(nodes=nodes)).listeners}
    assert found == {
        ("node-1", "::", "healthz"),
        ("node-1", "::1", "metrics"),
        ("node-1", "fd00::a", "check"),
        ("node-2", "0.0.0.0", "healthz"),
        ("node-2", "127.0.0.1", "metrics"),
        ("node-2", "10.89.0.11", "check"),
        ("node-2", "fd00::b", "check"),
    }
