"""What is off by default: zonal names, HTTPS records, networks of topology zones, a limit for each client."""

from typing import Any

import msgspec
import pytest

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.plan import ZoneIndex, ZonePlan
from podwire.planes.dns.clients import MAX_CLIENTS, Limiter, Places
from podwire.planes.dns.simulate import Simulation
from podwire.snapshot import DnsOptions, parse_dns_options
from podwire.testing import build

Z = "cluster.local"
DB = f"db.shop.svc.{Z}"


def zone_of(*objects: dict[str, Any], corefile: str = "", dns: DnsOptions = DnsOptions()) -> ZonePlan:  # noqa: B008
    meta = {"name": "coredns", "namespace": "kube-system", "uid": "cm"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"Corefile": corefile}}
    snapshot = build.snapshot(build.namespace("shop"), *objects, *([config] if corefile else []))
    snapshot.settings = msgspec.structs.replace(snapshot.settings, dns=dns)
    piece = compile_zone(Context(snapshot, Memo()))
    assert piece.zone is not None and not piece.findings
    return piece.zone


def in_zone(value: dict[str, Any], zone: str) -> dict[str, Any]:
    return {**value, "zone": zone}


HEADLESS = (
    build.service("shop/db", "None"),
    build.service("shop/api", "10.96.0.20"),
    build.endpoint_slice(
        "shop/db",
        in_zone(build.endpoint("10.244.0.5"), "a"),
        in_zone(build.endpoint("10.244.0.6"), "corp.example.b"),
        build.endpoint("10.244.0.7"),
        port=5432,
        name="pg",
    ),
)
ZONAL = f". {{\n kubernetes {Z} {{\n zonal\n ttl 30\n }}\n}}\n"


@pytest.mark.parametrize(
    ("name", "rtype", "rcode", "wanted"),
    [
        (f"a.pin._zone.{DB}", "A", "NOERROR", ["A 10.244.0.5"]),
        (f"a.prefer._zone.{DB}", "A", "NOERROR", ["A 10.244.0.5"]),
        (f"corp.example.b.pin._zone.{DB}", "A", "NOERROR", ["A 10.244.0.6"]),
        (f"c.pin._zone.{DB}", "A", "NOERROR", []),
        (f"c.prefer._zone.{DB}", "A", "NOERROR", ["A 10.244.0.5", "A 10.244.0.6", "A 10.244.0.7"]),
        (f"a.pin._zone.{DB}", "AAAA", "NOERROR", []),
        (f"a.must._zone.{DB}", "A", "NXDOMAIN", []),
        (f"a.pin._zone.api.shop.svc.{Z}", "A", "NXDOMAIN", []),
        (f"a.pin._zone.no.shop.svc.{Z}", "A", "NXDOMAIN", []),
        (DB, "A", "NOERROR", ["A 10.244.0.5", "A 10.244.0.6", "A 10.244.0.7"]),
    ],
)
def test_zonal_names(name: str, rtype: str, rcode: str, wanted: list[str]) -> None:
    plan = zone_of(*HEADLESS, corefile=ZONAL)
    said = Simulation(plan).ask(name, rtype, "10.244.0.9")
    assert (said.rcode, sorted(said.answers)) == (rcode, wanted)
    found = ZoneIndex(plan).resolve(name, rtype)
    assert (found.rcode, sorted(f"{r.type} {r.data}" for r in found.records)) == (rcode, wanted)


def test_zonal_names_have_srv_and_are_off_by_default() -> None:
    found = ZoneIndex(zone_of(*HEADLESS, corefile=ZONAL)).resolve(f"a.pin._zone.{DB}", "SRV")
    assert [r.data for r in found.records] == [f"0 100 5432 10-244-0-5.{DB}"]
    off = ZONAL.replace("zonal\n", "")
    assert ZoneIndex(zone_of(*HEADLESS, corefile=off)).resolve(f"a.pin._zone.{DB}", "A").rcode == "NXDOMAIN"


def test_https_records() -> None:
    ports = [
        {"name": "web", "port": 443, "appProtocol": "https"},
        {"name": "alt", "port": 8443, "appProtocol": "https"},
        {"name": "plain", "port": 80, "appProtocol": "http"},
    ]
    service = build.service("shop/web", "10.96.0.20", ports=ports)
    plan = zone_of(service, dns=DnsOptions(https=True))
    found = {(r.name, r.data) for r in plan.units["Service/shop/web"].records if r.type == "HTTPS"}
    web = f"web.shop.svc.{Z}"
    assert found == {(web, "1 ."), (f"_8443._https.{web}", f"1 {web} port=8443")}
    assert not [r for r in zone_of(service).units["Service/shop/web"].records if r.type == "HTTPS"]


def test_near_addresses_go_first() -> None:
    nodes = (
        build.node("n1", "10.89.0.10", zone="a", pod_cidr="10.244.0.0/24"),
        build.node("n2", "10.89.0.11", zone="b", pod_cidr="10.244.1.0/24"),
    )
    addresses = [f"10.244.{n % 2}.{n}" for n in range(5, 11)]
    slices = build.endpoint_slice("shop/db", *(build.endpoint(a) for a in addresses), port=5432)
    plan = zone_of(*nodes, HEADLESS[0], slices, dns=DnsOptions(topology=True))
    assert plan.places == (("10.244.0.0/24", "a"), ("10.244.1.0/24", "b"))
    server = Simulation(plan)
    for client, near in (("10.244.0.9", "10.244.0."), ("10.244.1.9", "10.244.1.")):
        firsts = set()
        for _ in range(6):
            answers = server.ask(DB, "A", client).answers
            assert all(a.startswith(f"A {near}") for a in answers[:3]) and len(set(answers)) == 6
            firsts.add(answers[0])
        assert len(firsts) == 3, "they still turn"
    assert len(server.ask(DB, "A", "192.0.2.1").answers) == 6
    assert zone_of(*nodes, HEADLESS[0], slices).places == ()


def test_the_longest_network_counts() -> None:
    places = Places([("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"), ("fd00::/64", "c")])
    assert [places.zone_of(a) for a in ("10.2.0.1", "10.1.0.1", "fd00::1", "192.0.2.1", "")] == ["a", "b", "c", "", ""]


def test_a_client_has_its_rate() -> None:
    limiter = Limiter(10)
    packet = b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0\0\0\1\0\1"
    assert [limiter.takes("10.0.0.1", 1.0) for _ in range(11)] == [True] * 10 + [False]
    assert limiter.answer(packet) is None and limiter.takes("10.0.0.2", 1.0)
    assert not limiter.takes("10.0.0.1", 1.0)
    truncated = limiter.answer(packet)
    assert truncated is not None and truncated[:4] == b"\x12\x34\x83\x00" and len(truncated) <= len(packet)
    assert limiter.takes("10.0.0.1", 1.2), "it fills again"
    assert [limiter.takes(f"fd00::{n:x}", 2.0) for n in range(11)].count(False) == 0
    assert [limiter.takes(f"fd00:0:0:1:2::{n:x}", 2.0) for n in range(11)].count(False) == 1, "a /64 is one client"
    for number in range(MAX_CLIENTS + 10):
        limiter.takes(str(number), 3.0)
    assert len(limiter._buckets) <= MAX_CLIENTS


def test_words_of_the_command_line() -> None:
    assert parse_dns_options(("topology", "https", "rate=50")) == DnsOptions(True, True, 50)
    for word in ("rate", "rate=0", "rate=x", "cache"):
        with pytest.raises(ValueError, match="allowed: topology, https, rate=N"):
            parse_dns_options((word,))
