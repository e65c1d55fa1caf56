"""The explained look-up: queries in the resolver's order, answers with their objects, and fixes."""

from typing import Any

import pytest

from podwire.compile import compile_plans
from podwire.explain import World, parse_source
from podwire.explain.names import Lookup, look_up
from podwire.explain.names_text import format_lookup, lookup_to_dict
from podwire.testing import build

Json = dict[str, Any]


def stateful_set(key: str, service_name: str) -> Json:
    space, _, name = key.partition("/")
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    spec = {"serviceName": service_name, "selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": space, "uid": f"sts-{name}"}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta, "spec": spec}


def config(corefile: str) -> Json:
    meta = {"name": "coredns", "namespace": "kube-system", "uid": "cm"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": corefile}}


BASE = (
    build.namespace("shop"),
    build.namespace("payments"),
    build.namespace("kube-system"),
    build.node("node-1", "10.89.0.10"),
    build.pod("shop/client", "10.244.0.9", labels={"app": "client"}),
    build.pod(
        "kube-system/coredns",
        "10.244.0.2",
        labels={"k8s-app": "kube-dns"},
        ports=[{"containerPort": 53, "protocol": "UDP"}],
    ),
    build.service("shop/catalog", "10.96.0.20"),
    build.service("payments/ledger", "10.96.0.30"),
    build.service("shop/db", "None", selector={"app": "db"}),
    build.service("kube-system/kube-dns", "10.96.0.10", ports=[{"port": 53, "protocol": "UDP", "name": "dns"}]),
    build.endpoint_slice(
        "kube-system/kube-dns",
        build.endpoint("10.244.0.2", pod="kube-system/coredns"),
        port=53,
        name="dns",
        protocol="UDP",
    ),
)


def ask(name: str, *more: Json) -> Lookup:
    snapshot = build.snapshot(*BASE, *more)
    world = World(snapshot, compile_plans(snapshot))
    source, _ = parse_source(world, "shop/client")
    return look_up(world, source, name)


def fixes(found: Lookup) -> list[str]:
    return [f"{fix.code} {fix.text}" for fix in found.fixes]


def test_the_search_list_in_order_until_there_is_an_address() -> None:
    found = ask("ledger.payments")
    assert [(q.step, q.type, q.name, q.rcode) for q in found.questions] == [
        (1, "A", "ledger.payments.shop.svc.cluster.local", "NXDOMAIN"),
        (1, "AAAA", "ledger.payments.shop.svc.cluster.local", "NXDOMAIN"),
        (2, "A", "ledger.payments.svc.cluster.local", "NOERROR"),
        (2, "AAAA", "ledger.payments.svc.cluster.local", "NODATA"),
    ]
    assert found.verdict == "found" and found.addresses == ("10.96.0.30",) and found.ndots == 5
    assert str(found.questions[2].origins[0].ref) == "Service payments/ledger"
    assert "ledger.payments.svc.cluster.local. saves them" in found.notes[0]


def test_a_final_dot_asks_once() -> None:
    assert {q.name for q in ask("www.example.com.").questions} == {"www.example.com"}
    assert ask("www.example.com.").verdict == "unknown"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("catalgo", "did you mean catalog?"),
        ("ledger", "Service ledger is in namespace payments: ask ledger.payments"),
        ("ledger.payment", "namespace payment does not exist: did you mean payments?"),
        ("ledgr.payments.svc.cluster.local", "no Service ledgr in payments: did you mean ledger?"),
        ("db", "PW1213 headless Service shop/db has no ready endpoint"),
        ("db-0.db", "PW1213 headless Service shop/db has no ready endpoint"),
        ("pg-0.pg", "PW1214 StatefulSet shop/pg names the Service pg, which does not exist"),
    ],
)
def test_fixes(name: str, words: str) -> None:
    found = ask(name, stateful_set("shop/pg", "pg"))
    assert found.verdict in ("not found", "unknown")
    assert any(words in text for text in fixes(found)), fixes(found)


def test_hostnames_below_a_headless_service() -> None:
    slices = build.endpoint_slice("shop/db", {**build.endpoint("10.244.0.5"), "hostname": "db-0"})
    assert ask("db-0.db", slices).addresses == ("10.244.0.5",)
    assert "there is db-0" in fixes(ask("db-1.db", slices))[0]
    other = ask("pg-0.db", slices, stateful_set("shop/pg", "pg-peers"))
    assert "below its serviceName pg-peers, not db" in fixes(other)[0]


def test_the_hosts_file_is_first() -> None:
    client = build.pod("shop/client", "10.244.0.9")
    client["spec"]["hostAliases"] = [{"ip": "192.0.2.7", "hostnames": ["legacy"]}]
    found = ask("legacy", client)
    assert found.questions == () and found.addresses == ("192.0.2.7",) and "hosts file" in format_lookup(found)


def test_a_policy_that_blocks_dns() -> None:
    found = ask("catalog", build.policy("shop/closed", policyTypes=["Egress"]))
    assert found.verdict == "blocked" and found.questions == ()
    assert fixes(found)[0].startswith("PW1207") and "shop/closed" in format_lookup(found)


def test_pods_that_do_not_ask_cluster_dns() -> None:
    client = build.pod("shop/client", "10.244.0.9")
    client["spec"] |= {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.53"]}}
    found = ask("catalog", client)
    assert found.verdict == "unknown" and "asks 192.0.2.53, not cluster DNS" in found.notes[0]


def test_the_corefile_counts() -> None:
    plugins = "rewrite name x.org y.org\n hosts {\n 192.0.2.9 www.example.com\n fallthrough\n }\n"
    text = f". {{\n {plugins} kubernetes cluster.local\n forward . 192.0.2.1\n}}\n"
    found = ask("www.example.com.", config(text))
    assert found.addresses == ("192.0.2.9",) and found.questions[0].source == "hosts plugin"
    assert any("plugin rewrite" in note for note in found.notes)
    assert ask("catalog", config(text)).addresses == ("10.96.0.20",)


def test_as_text_and_as_values() -> None:
    found = ask("catalgo")
    text = format_lookup(found)
    assert text.splitlines()[0] == "catalgo from shop/client" and "verdict   not found" in text
    values = lookup_to_dict(found)
    assert values["verdict"] == "not found" and values["fixes"][0]["ref"] == "Service shop/catalog"
