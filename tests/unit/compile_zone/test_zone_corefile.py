"""The Corefile's options for the cluster's names, and what a Corefile that cannot be used does."""

from typing import Any

import pytest

from podwire.base import Origin, Ref
from podwire.compile.context import Context, Piece
from podwire.compile.corefile_blocks import compile_corefile
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.plan import PlaneFact, ZoneIndex, ZonePlan
from podwire.plan.dnsconfig import CONFIG_FACT, Cache, Forward, show_config
from podwire.snapshot import Settings, SnapshotBuilder
from podwire.testing import build

Json = dict[str, Any]
SETTINGS = Settings(planes=False, upstreams=("192.0.2.53",))
Z = "cluster.local"
ORIGIN = Origin(Ref("ConfigMap", "kube-system", "coredns"))


def config(text: str, **data: str) -> Json:
    meta = {"name": "coredns", "namespace": "kube-system", "uid": "cm"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": text, **data}}


def kubernetes(options: str = "", zones: str = f"{Z} in-addr.arpa ip6.arpa") -> Json:
    return config(f". {{\n kubernetes {zones} {{\n {options}\n }}\n forward . /etc/resolv.conf\n}}\n")


OBJECTS = (
    build.namespace("shop", team="a"),
    build.namespace("kube-system"),
    build.service("shop/web", "10.96.0.20"),
    build.endpoint_slice("shop/web", build.endpoint("10.244.0.5", pod="shop/web-1")),
    build.service("shop/empty", "10.96.0.21"),
    build.service("shop/db", "None"),
    build.endpoint_slice("shop/db", build.endpoint("10.244.0.6", pod="shop/db-x")),
    build.pod("shop/web-1", "10.244.0.5"),
)


def compile_with(*more: Json, memo: Memo | None = None) -> Piece:
    builder = SnapshotBuilder(SETTINGS)
    for value in (*OBJECTS, *more):
        builder.put(value)
    memo = memo or Memo()
    piece = compile_zone(Context(builder.snapshot(0.0), memo))
    memo.sweep()
    return piece


def zone(*more: Json) -> ZonePlan:
    found = compile_with(*more).zone
    assert found is not None
    return found


def ask(plan: ZonePlan, name: str, rtype: str = "A") -> tuple[str, list[str]]:
    answer = ZoneIndex(plan).resolve(name, rtype)
    return answer.rcode if answer.source == "zone" else "upstream", [r.data for r in answer.records]


def test_without_a_config_map_kubeadm_counts() -> None:
    plan = zone()
    assert plan.ttl == 30 and plan.pods.mode == "insecure" and plan.upstreams == ("192.0.2.53",)
    assert plan.fallthrough == ("in-addr.arpa", "ip6.arpa")
    kinds = [type(p) for p in plan.config.blocks[0].plugins]
    assert Cache in kinds and Forward in kinds


def test_defaults_of_coredns_without_options() -> None:
    plan = zone(kubernetes())
    assert plan.ttl == 5 and plan.fallthrough == ()
    assert ask(plan, f"10-244-0-5.shop.pod.{Z}") == ("NXDOMAIN", [])
    assert ask(plan, "9.9.9.10.in-addr.arpa", "PTR") == ("NXDOMAIN", [])


def test_pods() -> None:
    for mode, good, wrong in (("insecure", "NOERROR", "NOERROR"), ("verified", "NOERROR", "NXDOMAIN")):
        plan = zone(kubernetes(f"pods {mode}"))
        assert ask(plan, f"10-244-0-5.shop.pod.{Z}") == (good, ["10.244.0.5"])
        assert ask(plan, f"10-9-9-9.shop.pod.{Z}")[0] == wrong


@pytest.mark.parametrize(
    ("options", "name", "wanted"),
    [
        ("ttl 77", f"web.shop.svc.{Z}", ("NOERROR", ["10.96.0.20"])),
        ("endpoint_pod_names", f"db-x.db.shop.svc.{Z}", ("NOERROR", ["10.244.0.6"])),
        ("noendpoints", f"db.shop.svc.{Z}", ("NXDOMAIN", [])),
        ("noendpoints", f"web.shop.svc.{Z}", ("NOERROR", ["10.96.0.20"])),
        ("ignore empty_service", f"empty.shop.svc.{Z}", ("NXDOMAIN", [])),
        ("ignore empty_service", f"web.shop.svc.{Z}", ("NOERROR", ["10.96.0.20"])),
        ("namespaces other", f"web.shop.svc.{Z}", ("NXDOMAIN", [])),
        ("namespaces shop", f"web.shop.svc.{Z}", ("NOERROR", ["10.96.0.20"])),
        ("namespace_labels team=b", f"web.shop.svc.{Z}", ("NXDOMAIN", [])),
        ("namespace_labels team in (a, b)", f"web.shop.svc.{Z}", ("NOERROR", ["10.96.0.20"])),
        ("labels app=x", f"web.shop.svc.{Z}", ("NXDOMAIN", [])),
        ("fallthrough", f"nope.shop.svc.{Z}", ("upstream", [])),
        ("fallthrough in-addr.arpa", "9.9.9.10.in-addr.arpa", ("upstream", [])),
        ("fallthrough in-addr.arpa", f"nope.shop.svc.{Z}", ("NXDOMAIN", [])),
    ],
)
def test_options(options: str, name: str, wanted: tuple[str, list[str]]) -> None:
    assert ask(zone(kubernetes(options)), name) == wanted


def test_another_domain() -> None:
    plan = zone(kubernetes(zones="example.local"))
    assert plan.domain == "example.local" and plan.reverse == ()
    assert ask(plan, "web.shop.svc.example.local") == ("NOERROR", ["10.96.0.20"])


def test_an_unusable_corefile_keeps_the_one_before() -> None:
    memo = Memo()
    good = compile_with(kubernetes("ttl 77"), memo=memo)
    bad = compile_with(config(". {\n kubernetes cluster.local\n nonsense\n}\n"), memo=memo)
    assert good.zone is not None and bad.zone is not None
    assert bad.zone.config == good.zone.config and bad.zone.ttl == 77 and bad.zone.units == good.zone.units
    (finding,) = bad.findings
    assert (finding.code, finding.severity, str(finding.ref)) == ("PW1209", "error", "ConfigMap kube-system/coredns")
    assert "Corefile:3: 'nonsense' is not a plugin" in finding.message and "stays in force" in finding.message
    again = compile_with(kubernetes("ttl 12"), memo=memo)
    assert again.findings == () and again.zone is not None and again.zone.ttl == 12


def test_an_unusable_corefile_at_the_start_is_kubeadms() -> None:
    piece = compile_with(config("nonsense {"))
    assert piece.zone is not None and piece.zone.ttl == 30
    assert "kubeadm's Corefile is used instead" in piece.findings[0].message


def test_a_config_map_without_corefile() -> None:
    value = config("")
    value["data"] = {"other": "x"}
    assert [f.code for f in compile_with(value).findings] == ["PW1209"]


def test_warnings() -> None:
    without = compile_with(config(". {\n forward . 192.0.2.1 {\n max_age 10s\n }\n}\n"))
    assert [f.code for f in without.findings] == ["PW1211", "PW1212"]
    assert without.zone is not None and without.zone.units == {}


def test_files_and_environment() -> None:
    meta = {"name": "coredns", "namespace": "kube-system", "uid": "d"}
    container = {"name": "coredns", "image": "podwire/dns", "env": [{"name": "UP", "value": "192.0.2.77"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    text = f". {{\n import more\n kubernetes {Z}\n forward . {{$UP}}\n}}\n"
    plan = zone(config(text, more="log\n"), deployment)
    assert plan.upstreams == ("192.0.2.77",) and type(plan.config.blocks[0].plugins[0]).__name__ == "Log"


def test_a_look_from_outside_knows_what_a_running_cluster_keeps() -> None:
    kept = show_config(compile_corefile(". {\n kubernetes kept.local\n}\n", ORIGIN, resolv_conf=()).config)
    builder = SnapshotBuilder(Settings(planes=False))
    builder.put(config("nonsense {"))
    builder.observe("dns", PlaneFact(ready=True, applied={CONFIG_FACT: kept}))
    piece = compile_zone(Context(builder.snapshot(1.0), Memo()))
    assert piece.zone is not None and piece.zone.domain == "kept.local"
    assert "the configuration before it stays in force" in piece.findings[0].message


def test_keys_are_not_told() -> None:
    pem = "-----BEGIN KEY-----"
    text = "tls://. {\n tls c k\n forward . tls://192.0.2.1 {\n  tls c\n }\n}\n"
    found = compile_corefile(text, ORIGIN, resolv_conf=(), files={"c": pem, "k": pem}).config
    assert pem not in show_config(found)
