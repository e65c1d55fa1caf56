"""The explained look-up through the DNS server itself: every plugin that acts is followed, and named."""

import pytest
from tests.unit.explain.test_names import BASE, config

from podwire.compile import compile_plans
from podwire.explain import World, parse_source
from podwire.explain.names import Lookup, look_up
from podwire.explain.names_text import format_lookup
from podwire.plan import ZoneIndex
from podwire.planes.dns.simulate import Simulation
from podwire.testing import build

Z = "cluster.local"
KUBE = f"kubernetes {Z} {{\n pods verified\n ttl 30\n}}\n"


def ask(name: str, corefile: str) -> Lookup:
    snapshot = build.snapshot(*BASE, config(corefile))
    world = World(snapshot, compile_plans(snapshot))
    assert not [f for f in world.plans.findings if f.code == "PW1209"]
    source, _ = parse_source(world, "shop/client")
    return look_up(world, source, name, Simulation(world.plans.zone))


def block(*lines: str) -> str:
    return ". {\n" + "\n".join(lines) + f"\n{KUBE}}}\n"


def test_without_plugins_in_the_way_the_answer_is_the_plan() -> None:
    found = ask("catalog", block())
    (first, second) = found.questions
    assert (first.answers, first.source, second.rcode) == (("A 10.96.0.20",), "zone", "NODATA")
    assert str(first.origins[0]) == "Service shop/catalog spec.clusterIPs[0]"


@pytest.mark.parametrize(
    ("name", "plugin", "verdict", "words"),
    [
        ("old.example.", f"rewrite name old.example catalog.shop.svc.{Z}", "found", "rewrite asks catalog.shop.svc"),
        (
            "x.example.",
            'template IN A example {\n answer "{{ .Name }} 60 IN A 192.0.2.9"\n}',
            "found",
            "template answers NOERROR",
        ),
        ("catalog", "acl {\n block net 10.244.0.0/16\n}", "not found", "acl answers REFUSED: blocked by plugin acl"),
        ("catalog", "acl {\n drop net 10.244.0.0/16\n}", "not found", "acl drops the question"),
        ("catalog", "dns64 {\n allow_ipv4\n}", "found", "dns64 asks catalog.shop.svc.cluster.local A instead"),
        ("ledger.payments", "autopath @kubernetes", "found", "autopath asks ledger.payments.svc"),
    ],
)
def test_plugins_are_followed(name: str, plugin: str, verdict: str, words: str) -> None:
    found = ask(name, block(plugin))
    text = format_lookup(found)
    assert found.verdict == verdict and words in text, text
    assert "ConfigMap kube-system/coredns data.Corefile" in text


def test_a_rewritten_name_still_names_its_service() -> None:
    found = ask("old.example.", block(f"rewrite name old.example catalog.shop.svc.{Z}"))
    assert "Service shop/catalog spec.clusterIPs[0]" in format_lookup(found)


def test_views_are_followed_by_the_pods_address() -> None:
    inside = (
        ". {\n view pods {\n expr incidr(client_ip(), '10.244.0.0/16')\n }\n hosts {\n 192.0.2.1 a.example\n }\n}\n"
    )
    found = ask("a.example.", inside + ". {\n hosts {\n 192.0.2.2 a.example\n }\n}\n")
    assert found.addresses == ("192.0.2.1",)


def test_upstreams_are_not_guessed() -> None:
    corefile = block("rewrite name old.example www.example.com", "forward . 192.0.2.53")
    found = ask("old.example.", corefile)
    assert found.verdict == "unknown" and "rewrite asks www.example.com A instead" in format_lookup(found)


def test_the_simulation_is_the_plan_where_no_plugin_acts() -> None:
    snapshot = build.snapshot(*BASE)
    plan = compile_plans(snapshot).zone
    server, index = Simulation(plan), ZoneIndex(plan)
    for unit in plan.units.values():
        for record in unit.records:
            for rtype in ("A", "AAAA"):
                wanted = index.resolve(record.name, rtype)
                said = server.ask(record.name, rtype, "10.244.0.9")
                assert (said.rcode, sorted(said.answers)) == (
                    wanted.rcode,
                    sorted(f"{r.type} {r.data}" for r in wanted.records),
                )
