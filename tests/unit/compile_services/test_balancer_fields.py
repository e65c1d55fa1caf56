"""Fields and annotations of load balancers: source ranges, clouds (S15, P12, P13)."""

from typing import Any

import pytest

from podwire.compile import compile_plans
from podwire.compile.loadbalancers_cloud import find_cloud_annotations
from podwire.kube import Service, parse
from podwire.plan import ServicePort, admits_source
from podwire.testing.build import endpoint, endpoint_slice, namespace, node, service, snapshot

OLD = "service.beta.kubernetes.io/load-balancer-source-ranges"


def compiled(annotations: dict[str, str] | None = None, **spec: Any) -> ServicePort:
    value = service("a/web", "10.96.0.9", **{"type": "LoadBalancer", **spec})
    value["metadata"]["annotations"] = annotations or {}
    value["status"] = {"loadBalancer": {"ingress": [{"ip": "10.89.0.200", "ipMode": "VIP"}]}}
    return compile_plans(snapshot(namespace("a"), node("node-1", "10.89.0.10"), value)).services.ports["a/web:80/TCP"]


def test_source_ranges_by_field_and_by_the_old_annotation() -> None:
    assert admits_source(compiled(), ["10.89.0.1"])
    unit = compiled(loadBalancerSourceRanges=[" 10.89.0.0/24 "])
    assert admits_source(unit, ["10.89.0.1"]) and not admits_source(unit, ["10.88.0.1"])
    assert not admits_source(compiled({OLD: "192.0.2.0/24, 198.51.100.0/24"}), ["10.89.0.1"])
    both = compiled({OLD: "192.0.2.0/24"}, loadBalancerSourceRanges=["10.89.0.0/24"])
    assert admits_source(both, ["10.89.0.1"])
    assert not compiled({OLD: "192.0.2.0/24"}, type="ClusterIP").source_ranges


@pytest.mark.parametrize("zero", ["0.0.0.0/0", "::/0"])
def test_any_zero_range_means_no_filter(zero: str) -> None:
    assert admits_source(compiled(loadBalancerSourceRanges=["192.0.2.0/24", zero]), ["10.89.0.1"])


def found(**annotations: str) -> dict[str, str]:
    value = service("a/web", "10.96.0.9", type="LoadBalancer")
    value["metadata"]["annotations"] = {k.replace("__", "/").replace("_", "-"): v for k, v in annotations.items()}
    made = parse(value)
    assert isinstance(made, Service)
    return {str(f.path): f"{f.severity} {f.message}" for f in find_cloud_annotations(made)}


def test_what_clouds_would_do_is_reported() -> None:
    aws = "service.beta.kubernetes.io/aws-load-balancer-"
    names = {f"{aws}proxy-protocol": "*", f"{aws}scheme": "internal", f"{aws}type": "external", "team/owner": "me"}
    said = found(**{k.replace("-", "_").replace("/", "__"): v for k, v in names.items()})
    assert len(said) == 3
    assert "warning" in said[f"metadata.annotations[{aws}proxy-protocol]"]
    assert "PROXY protocol" in said[f"metadata.annotations[{aws}proxy-protocol]"]
    assert said[f"metadata.annotations[{aws}type]"].startswith("info")
    assert not found(metallb="x")


def test_an_endpoint_that_is_the_api_server_is_reported() -> None:
    api = endpoint_slice("default/kubernetes", endpoint("10.89.0.1"), port=6443, name="https")
    mine = endpoint_slice("a/web", endpoint("10.89.0.1"), endpoint("10.244.0.9"), port=6443)
    objects = (service("default/kubernetes", "10.96.0.1"), service("a/web", "10.96.0.9"), api, mine)
    plans = compile_plans(snapshot(namespace("a"), namespace("default"), node("node-1", "10.89.0.10"), *objects))
    (said,) = [f for f in plans.findings if f.code == "PW1120"]
    assert (said.ref.name, str(said.path)) == ("web-a", "endpoints[0]")
    assert len(plans.services.ports["a/web:80/TCP"].endpoints) == 2
