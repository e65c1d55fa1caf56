"""Every record rule of the DNS specification, from objects to plan."""

from typing import Any

import pytest

from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.zone import compile_zone
from podwire.plan import ZoneIndex, ZonePlan
from podwire.snapshot import Settings, SnapshotBuilder

Z = "cluster.local"


def service(name: str, namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "resourceVersion": "7"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def cluster_ip(name: str, *addresses: str, **spec: Any) -> dict[str, Any]:
    return service(name, clusterIP=addresses[0], clusterIPs=list(addresses), **spec)


def headless(name: str, **spec: Any) -> dict[str, Any]:
    return service(name, clusterIP="None", clusterIPs=["None"], **spec)


def endpoint(address: str, *, ready: bool | None = True, hostname: str | None = None) -> dict[str, Any]:
    value: dict[str, Any] = {"addresses": [address], "conditions": {} if ready is None else {"ready": ready}}
    return value if hostname is None else {**value, "hostname": hostname}


def slice_of(owner: str, *endpoints: dict[str, Any], ports: Any = (), family: str = "IPv4") -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": owner}
    meta = {"name": f"{owner}-{family.lower()}", "namespace": "shop", "labels": labels, "resourceVersion": "9"}
    value = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": family}
    return {**value, "endpoints": list(endpoints), "ports": list(ports)}


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "resourceVersion": "3"}}


def zone_of(*objects: dict[str, Any], memo: Memo | None = None, settings: Settings | None = None) -> ZonePlan:
    builder = SnapshotBuilder(settings or Settings())
    for value in (namespace("shop"), *objects):
        builder.put(value)
    plan = compile_zone(Context(builder.snapshot(0), memo or Memo())).zone
    assert plan is not None
    return plan


def ask(plan: ZonePlan, name: str, rtype: str = "A") -> tuple[str, list[str]]:
    full = name if name.endswith("arpa") or name == Z else f"{name}.{Z}"
    answer = ZoneIndex(plan).resolve(full, rtype)
    return answer.rcode, sorted(r.data for r in answer.records)


def test_schema_version() -> None:
    plan = zone_of()
    assert ask(plan, "dns-version", "TXT") == ("NOERROR", ["1.1.0"])
    assert next(r.ttl for r in plan.units["apex"].records if r.type == "TXT") == 28800


def test_cluster_ip_answers_without_endpoints() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20", "fd00::20", ports=[{"name": "http", "port": 80}]))
    assert ask(plan, "api.shop.svc") == ("NOERROR", ["10.96.0.20"])
    assert ask(plan, "api.shop.svc", "AAAA") == ("NOERROR", ["fd00::20"])
    assert ask(plan, "20.0.96.10.in-addr.arpa", "PTR") == ("NOERROR", [f"api.shop.svc.{Z}"])


def test_cluster_ip_srv() -> None:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    plan = zone_of(cluster_ip("api", "10.96.0.20", ports=ports))
    assert ask(plan, "_http._tcp.api.shop.svc", "SRV") == ("NOERROR", [f"0 100 80 api.shop.svc.{Z}"])
    assert ask(plan, "http.tcp.api.shop.svc", "SRV") == ("NOERROR", [f"0 100 80 api.shop.svc.{Z}"])
    assert ask(plan, "_http._tcp.api.shop.svc") == ("NOERROR", ["10.96.0.20"])
    assert ask(plan, "_dns._udp.api.shop.svc", "SRV")[1] == [f"0 100 53 api.shop.svc.{Z}"]
    assert ask(plan, "_dns._tcp.api.shop.svc", "SRV")[0] == "NXDOMAIN"
    assert ask(plan, "api.shop.svc", "SRV")[1] == [f"0 50 53 api.shop.svc.{Z}", f"0 50 80 api.shop.svc.{Z}"]


def test_unnamed_port_has_srv_at_the_bare_name_only() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20", ports=[{"port": 80}]))
    assert ask(plan, "api.shop.svc", "SRV")[1] == [f"0 100 80 api.shop.svc.{Z}"]
    assert ask(plan, "_tcp.api.shop.svc", "SRV")[0] == "NXDOMAIN"


def test_dual_stack_halves_the_weight_and_names_the_target_once() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20", "fd00::20", ports=[{"name": "http", "port": 80}]))
    assert ask(plan, "_http._tcp.api.shop.svc", "SRV")[1] == [f"0 50 80 api.shop.svc.{Z}"]


def test_headless_ready_endpoints() -> None:
    part = slice_of(
        "db",
        endpoint("10.244.0.5", hostname="db-0"),
        endpoint("10.244.0.6", ready=None),
        endpoint("10.244.0.7", ready=False, hostname="db-2"),
        ports=[{"name": "pg", "port": 5432, "protocol": "TCP"}],
    )
    plan = zone_of(headless("db", ports=[{"name": "pg", "port": 5432}]), part)
    assert ask(plan, "db.shop.svc") == ("NOERROR", ["10.244.0.5", "10.244.0.6"])
    assert ask(plan, "db-0.db.shop.svc") == ("NOERROR", ["10.244.0.5"])
    assert ask(plan, "10-244-0-6.db.shop.svc") == ("NOERROR", ["10.244.0.6"])
    assert ask(plan, "db-2.db.shop.svc")[0] == "NXDOMAIN"
    targets = [f"0 50 5432 10-244-0-6.db.shop.svc.{Z}", f"0 50 5432 db-0.db.shop.svc.{Z}"]
    assert ask(plan, "_pg._tcp.db.shop.svc", "SRV") == ("NOERROR", targets)
    assert ask(plan, "5.0.244.10.in-addr.arpa", "PTR") == ("NOERROR", [f"db-0.db.shop.svc.{Z}"])


def test_headless_without_ready_endpoints_does_not_exist() -> None:
    plan = zone_of(headless("db"), slice_of("db", endpoint("10.244.0.5", ready=False)))
    assert ask(plan, "db.shop.svc")[0] == "NXDOMAIN"


def test_slice_without_ports_has_addresses_and_no_srv() -> None:
    plan = zone_of(headless("db"), slice_of("db", endpoint("10.244.0.5")))
    assert ask(plan, "db.shop.svc") == ("NOERROR", ["10.244.0.5"])
    assert ask(plan, "db.shop.svc", "SRV") == ("NOERROR", [])


def test_repeated_hostname_has_several_addresses() -> None:
    plan = zone_of(headless("db"), slice_of("db", *(endpoint(f"10.244.0.{n}", hostname="x") for n in (5, 6))))
    assert ask(plan, "x.db.shop.svc")[1] == ["10.244.0.5", "10.244.0.6"]


def test_ipv6_endpoint_names() -> None:
    part = slice_of("db", endpoint("fd00::"), endpoint("5678:abcd::1"), family="IPv6")
    plan = zone_of(headless("db"), part)
    assert ask(plan, "fd00--0.db.shop.svc", "AAAA")[1] == ["fd00::"]
    assert ask(plan, "5678-abcd--1.db.shop.svc", "AAAA")[1] == ["5678:abcd::1"]


def test_endpoint_names_of_a_cluster_ip_service() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20"), slice_of("api", endpoint("10.244.0.5")))
    assert ask(plan, "api.shop.svc")[1] == ["10.96.0.20"]
    assert ask(plan, "10-244-0-5.api.shop.svc")[1] == ["10.244.0.5"]


def test_one_pointer_per_service_that_selects_the_pod() -> None:
    parts = [slice_of(name, endpoint("10.244.0.5")) for name in ("a", "b")]
    plan = zone_of(headless("a"), cluster_ip("b", "10.96.0.21"), *parts)
    names = [f"10-244-0-5.{s}.shop.svc.{Z}" for s in ("a", "b")]
    assert ask(plan, "5.0.244.10.in-addr.arpa", "PTR")[1] == names


def test_a_cluster_ip_wins_its_pointer() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20"), headless("far"), slice_of("far", endpoint("10.96.0.20")))
    assert ask(plan, "20.0.96.10.in-addr.arpa", "PTR")[1] == [f"api.shop.svc.{Z}"]


def test_external_name() -> None:
    plan = zone_of(service("ext", type="ExternalName", externalName="Example.COM."))
    answer = ZoneIndex(plan).resolve(f"ext.shop.svc.{Z}", "A")
    assert (answer.source, [r.data for r in answer.records]) == ("upstream", ["example.com"])
    assert ask(plan, "ext.shop.svc", "SRV") == ("NOERROR", [])
    assert ask(plan, "x.ext.shop.svc")[0] == "NXDOMAIN"


def test_external_name_inside_the_zone_is_chased() -> None:
    alias = service("alias", type="ExternalName", externalName=f"api.shop.svc.{Z}")
    plan = zone_of(alias, cluster_ip("api", "10.96.0.20"))
    assert ask(plan, "alias.shop.svc") == ("NOERROR", ["10.96.0.20", f"api.shop.svc.{Z}"])


def test_external_name_loop_is_cut() -> None:
    pairs = (("a", "b"), ("b", "a"))
    plan = zone_of(*(service(n, type="ExternalName", externalName=f"{t}.shop.svc.{Z}") for n, t in pairs))
    assert ask(plan, "a.shop.svc") == ("SERVFAIL", [f"a.shop.svc.{Z}", f"b.shop.svc.{Z}"])


@pytest.mark.parametrize(("target", "code"), [("10.0.0.9", "PW1202"), ("a..b", "PW1201"), ("a b.c", "PW1201")])
def test_external_name_findings(target: str, code: str) -> None:
    builder = SnapshotBuilder(Settings())
    builder.put(service("ext", type="ExternalName", externalName=target))
    piece = compile_zone(Context(builder.snapshot(0), Memo()))
    assert [f.code for f in piece.findings] == [code]
    assert piece.zone is not None
    assert ask(piece.zone, "ext.shop.svc")[0] == ("NOERROR" if code == "PW1202" else "NXDOMAIN")


@pytest.mark.parametrize("name", [Z, "svc", "pod", "shop.svc", "shop.pod", "dns"])
def test_existing_names_without_records_are_nodata(name: str) -> None:
    assert ask(zone_of(), name, "MX") == ("NOERROR", [])


@pytest.mark.parametrize("name", ["other.svc", "api.other.svc", "api.shop.svc", "other.pod", "1-2-3-4.other.pod", "x"])
def test_missing_names_are_nxdomain(name: str) -> None:
    assert ask(zone_of(), name)[0] == "NXDOMAIN"


def test_empty_non_terminals_are_nodata() -> None:
    plan = zone_of(cluster_ip("api", "10.96.0.20", ports=[{"name": "http", "port": 80}]))
    assert ask(plan, "_tcp.api.shop.svc") == ("NOERROR", [])
    assert ask(plan, "0.96.10.in-addr.arpa", "PTR") == ("NOERROR", [])


def test_pod_names_echo() -> None:
    plan = zone_of()
    assert ask(plan, "10-244-0-9.shop.pod") == ("NOERROR", ["10.244.0.9"])
    assert ask(plan, "fd00--9.shop.pod", "AAAA") == ("NOERROR", ["fd00::9"])
    assert ask(plan, "10-244-0-9.shop.pod", "AAAA") == ("NOERROR", [])
    assert ask(plan, "10-244-0-999.shop.pod")[0] == "NXDOMAIN"
    assert ask(plan, "x.10-244-0-9.shop.pod")[0] == "NXDOMAIN"


def test_apex() -> None:
    bare = zone_of()
    assert ask(bare, Z, "NS") == ("NOERROR", [f"ns.dns.{Z}"])
    assert ask(bare, "ns.dns") == ("NOERROR", ["10.96.0.10"])
    named = zone_of(cluster_ip("kube-dns", "10.96.0.10"))
    assert ask(named, Z, "NS") == ("NOERROR", [f"kube-dns.shop.svc.{Z}"])
    assert ask(named, Z, "SOA")[1] == [f"ns.dns.{Z} hostmaster.{Z} 7 7200 1800 86400 30"]


def test_unknown_addresses_go_upstream_only_when_there_is_one() -> None:
    assert ask(zone_of(), "1.2.3.4.in-addr.arpa", "PTR")[0] == "NXDOMAIN"
    plan = zone_of(settings=Settings(upstreams=("192.0.2.53",)))
    assert ZoneIndex(plan).resolve("1.2.3.4.in-addr.arpa", "PTR").source == "upstream"


def test_serial_is_the_highest_version_and_units_are_shared() -> None:
    memo = Memo()
    first = zone_of(cluster_ip("api", "10.96.0.20"), memo=memo)
    builder = SnapshotBuilder(Settings())
    assert first.serial == 7
    changed = zone_of(cluster_ip("api", "10.96.0.20"), slice_of("api", endpoint("10.244.0.5")), memo=memo)
    assert changed.serial == 9
    assert changed.units["Namespace/shop"] is first.units["Namespace/shop"]
    assert builder.findings() == ()


def test_what_is_no_address_is_left_out() -> None:
    part = slice_of("api", endpoint("not-an-address"), endpoint("10.244.0.5"), endpoint("10.244.0.05"))
    plan = zone_of(cluster_ip("api", "", ports=[{"name": "http", "port": 80}]), part, cluster_ip("b", "10.96.0.999"))
    assert ask(plan, "api.shop.svc") == ("NOERROR", []), "not allocated yet, but its endpoints have names"
    assert ask(plan, "10-244-0-5.api.shop.svc") == ("NOERROR", ["10.244.0.5"])
    assert ask(plan, "b.shop.svc")[0] == "NXDOMAIN"
    assert len([r for r in plan.units["Service/shop/api"].records if r.type == "A"]) == 1


def test_every_record_names_its_field() -> None:
    part = slice_of("api", endpoint("10.244.0.5"))
    plan = zone_of(cluster_ip("api", "10.96.0.20", ports=[{"name": "http", "port": 80}]), part)
    found = {(r.type, str(r.origin.ref), str(r.origin.path)) for r in plan.units["Service/shop/api"].records}
    assert ("SRV", "Service shop/api", "spec.ports[0]") in found
    assert ("PTR", "Service shop/api", "spec.clusterIPs[0]") in found
    assert ("A", "Service shop/api", "spec.clusterIPs[0]") in found
    assert ("A", "EndpointSlice shop/api-ipv4", "endpoints[0]") in found
