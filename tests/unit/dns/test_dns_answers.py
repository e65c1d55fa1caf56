"""The wire answer to every question means what ``ZoneIndex.resolve`` says, read back by dnspython."""

import json

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.base import Origin, Ref
from podwire.plan import PodsMode, Record, ZoneIndex, ZonePlan, ZoneUnit
from podwire.planes.dns import frames
from podwire.planes.dns.control import read_meta
from podwire.planes.dns.machine import Forward, Responder
from podwire.planes.dns.table import Table

Z = "cluster.local"
ORIGIN = Origin(Ref("Service", "shop", "api"))
TYPES = ("A", "AAAA", "SRV", "PTR", "CNAME", "SOA", "MX", "ANY")
SOA = Record(Z, "SOA", 30, f"ns.dns.{Z} hostmaster.{Z} 1 7200 1800 86400 30", ORIGIN)
REVERSE_SOA = Record("in-addr.arpa", "SOA", 30, SOA.data, ORIGIN)


def record(name: str, rtype: str, data: str) -> Record:
    return Record(name, rtype, 30, data, ORIGIN)  # type: ignore[arg-type]


def plan_of(units: dict[str, ZoneUnit], upstreams: tuple[str, ...] = ()) -> ZonePlan:
    apex = ZoneUnit(ORIGIN, (SOA, REVERSE_SOA, record(Z, "NS", f"ns.dns.{Z}")), (f"svc.{Z}", f"pod.{Z}"))
    space = ZoneUnit(ORIGIN, (), (f"shop.svc.{Z}", f"shop.pod.{Z}"))
    every = {"apex": apex, "Namespace/shop": space, **units}
    return ZonePlan(Z, ("in-addr.arpa",), every, ("shop",), PodsMode("insecure", 30), 1, 30, upstreams)


def table_of(plan: ZonePlan) -> Table:
    meta = json.loads(json.dumps(frames.meta_of(plan, None)))
    table = Table(read_meta(meta, None))
    for key, unit in plan.units.items():
        records, exists = json.loads(json.dumps(frames._portable(unit)))
        table.put(key, records, exists)
    return table


def ask(table: Table, name: str, rtype: str) -> dns.message.Message | None:
    responder = Responder()
    responder.load(table)
    reply = responder.reply(dns.message.make_query(name, rtype, use_edns=True, payload=1232).to_wire())
    if isinstance(reply, Forward):
        return None
    assert isinstance(reply, bytes)
    return dns.message.from_wire(reply)


def triples(message: dns.message.Message) -> set[tuple[str, str, str]]:
    return {
        (rrset.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(rrset.rdtype), normal(rdata.to_text()))
        for rrset in message.answer
        for rdata in rrset
    }


def normal(data: str) -> str:
    return " ".join(word.rstrip(".") for word in data.replace('"', "").lower().split())


labels = st.sampled_from(("api", "db", "web", "x", "_http", "_tcp", "10-0-0-1"))
services = st.builds(lambda n: f"{n}.shop.svc.{Z}", st.sampled_from(("api", "db", "web", "ext", "alias")))
below = st.builds(lambda a, s: f"{a}.{s}", labels, services)
ports = st.builds(lambda s: f"_http._tcp.{s}", services)
owners = st.one_of(services, below, ports)
targets = st.one_of(services, below, st.sampled_from(("example.com", f"missing.shop.svc.{Z}", f"1-2-3-4.shop.pod.{Z}")))
addresses = st.integers(1, 40).map(lambda n: f"10.0.0.{n}")
records = st.one_of(
    st.builds(lambda n, d: record(n, "A", d), owners, addresses),
    st.builds(lambda n, d: record(n, "AAAA", f"fd00::{d}"), owners, st.integers(1, 9)),
    st.builds(lambda n, t, p: record(n, "SRV", f"0 50 {p} {t}"), owners, owners, st.integers(1, 9)),
    st.builds(lambda n, t: record(f"{n}.0.0.10.in-addr.arpa", "PTR", t), st.integers(1, 9), owners),
    st.builds(lambda n, t: record(f"{n}.shop.svc.{Z}", "CNAME", t), st.sampled_from(("ext", "alias")), targets),
)
units = st.lists(records, max_size=12).map(
    lambda found: ZoneUnit(ORIGIN, tuple(sorted({(r.name, r.type, r.data): r for r in found}.values())))
)
zones = st.dictionaries(st.sampled_from(("Service/a", "Service/b", "Service/c")), units, max_size=3)


def questions(plan: ZonePlan) -> set[str]:
    known = {r.name for unit in plan.units.values() for r in unit.records}
    known |= {name.partition(".")[2] for name in known} | {f"y.{name}" for name in known}
    known |= {name.replace("_http._tcp", "http.tcp") for name in known}
    more = (f"1-2-3-4.shop.pod.{Z}", f"fd00--1.shop.pod.{Z}", f"1-2-3-04.shop.pod.{Z}", f"1-2-3-4.no.pod.{Z}")
    return {*known, *more, "example.com", "local", "9.9.9.9.in-addr.arpa", f"no.svc.{Z}"} - {""}


def only_aliases_once(plan: ZonePlan) -> bool:
    """Names with two CNAMEs are no zone; which one is followed does not matter."""
    owners = [r.name for unit in plan.units.values() for r in unit.records if r.type == "CNAME"]
    return len(owners) == len(set(owners))


@settings(max_examples=25, deadline=None)
@given(zones, st.booleans())
def test_wire_agrees_with_the_index(found: dict[str, ZoneUnit], online: bool) -> None:
    plan = plan_of(found, ("192.0.2.53",) if online else ())
    if not only_aliases_once(plan):
        return
    index, table = ZoneIndex(plan), table_of(plan)
    for name in sorted(questions(plan)):
        for rtype in TYPES:
            check(index.resolve(name, rtype), table, name, rtype, online)


def check(expected: object, table: Table, name: str, rtype: str, online: bool) -> None:
    from podwire.plan import Answer

    assert isinstance(expected, Answer)
    message = ask(table, name, rtype)
    if message is None:
        assert expected.source == "upstream" and online, (name, rtype)
        return
    if expected.source == "upstream" and not expected.records:
        assert message.rcode() == dns.rcode.REFUSED, (name, rtype)
        return
    assert dns.rcode.to_text(message.rcode()) == expected.rcode, (name, rtype)
    assert triples(message) == {(r.name, r.type, normal(r.data)) for r in expected.records}, (name, rtype)
    assert message.flags & dns.flags.AA and message.flags & dns.flags.RA
    if expected.source == "zone" and expected.rcode == "NOERROR" and not any(r.type == rtype for r in expected.records):
        assert [r.rdtype for r in message.authority] == [dns.rdatatype.SOA], (name, rtype)
    if expected.rcode == "NXDOMAIN":
        assert [r.rdtype for r in message.authority] == [dns.rdatatype.SOA], (name, rtype)


@settings(max_examples=25, deadline=None)
@given(zones, zones)
def test_changing_a_table_equals_building_it_anew(before: dict[str, ZoneUnit], after: dict[str, ZoneUnit]) -> None:
    old, new = plan_of(before), plan_of(after)
    if not only_aliases_once(old) or not only_aliases_once(new):
        return
    table = table_of(old)
    for name in questions(old):
        ask(table, name, "A"), ask(table, name, "SRV")
    for key in old.units.keys() - new.units.keys():
        table.remove(key)
    for key, unit in new.units.items():
        records, exists = json.loads(json.dumps(frames._portable(unit)))
        table.put(key, records, exists)
    index = ZoneIndex(new)
    for name in sorted(questions(old) | questions(new)):
        for rtype in ("A", "SRV"):
            check(index.resolve(name, rtype), table, name, rtype, False)
    assert table.size[1] == len(new.units)


def test_long_alias_chain_ends() -> None:
    hops = [record(f"h{n}.shop.svc.{Z}", "CNAME", f"h{n + 1}.shop.svc.{Z}") for n in range(20)]
    plan = plan_of({"Service/a": ZoneUnit(ORIGIN, tuple(hops))})
    check(ZoneIndex(plan).resolve(f"h0.shop.svc.{Z}", "A"), table_of(plan), f"h0.shop.svc.{Z}", "A", False)
    message = ask(table_of(plan), f"h0.shop.svc.{Z}", "A")
    assert message is not None and message.rcode() == dns.rcode.SERVFAIL and len(message.answer) == 11


def test_srv_brings_the_addresses_of_its_targets() -> None:
    host = f"db-0.db.shop.svc.{Z}"
    srv = record(f"_pg._tcp.db.shop.svc.{Z}", "SRV", f"0 100 5432 {host}")
    plan = plan_of(
        {"Service/db": ZoneUnit(ORIGIN, (srv, record(host, "A", "10.0.0.1"), record(host, "AAAA", "fd::1")))}
    )
    message = ask(table_of(plan), srv.name, "SRV")
    assert message is not None
    assert [r.to_text() for rrset in message.additional for r in rrset] == ["10.0.0.1", "fd::1"]


@pytest.mark.parametrize("rtype", ["A", "SRV"])
def test_the_case_of_the_question_is_kept(rtype: str) -> None:
    host = f"db-0.db.shop.svc.{Z}"
    found = (record(f"db.shop.svc.{Z}", "A", "10.0.0.1"), record(f"db.shop.svc.{Z}", "SRV", f"0 100 80 {host}"))
    table = table_of(plan_of({"Service/db": ZoneUnit(ORIGIN, (*found, record(host, "A", "10.0.0.1")))}))
    for asked in (f"dB.ShOp.SvC.{Z}", f"db.shop.svc.{Z}", "DB.SHOP.SVC.CLUSTER.LOCAL"):
        message = ask(table, asked, rtype)
        assert message is not None
        assert message.question[0].name.to_text(True) == asked
        assert message.answer[0].name.to_text(True) == asked
        if rtype == "SRV":
            assert message.answer[0][0].target.to_text(True) == f"db-0.{asked}"


def test_the_soa_owner_keeps_the_case_of_the_question() -> None:
    message = ask(table_of(plan_of({})), "NOPE.Svc.Cluster.LOCAL", "A")
    assert message is not None and message.authority[0].name.to_text() == "Cluster.LOCAL."


def test_addresses_rotate_and_all_are_there() -> None:
    many = tuple(record(f"db.shop.svc.{Z}", "A", f"10.0.0.{n}") for n in range(20))
    table = table_of(plan_of({"Service/db": ZoneUnit(ORIGIN, many)}))
    responder = Responder()
    responder.load(table)
    first = set()
    for ident in range(16):
        reply = responder.reply(dns.message.make_query(f"db.shop.svc.{Z}", "A", id=ident + 1).to_wire())
        assert isinstance(reply, bytes)
        message = dns.message.from_wire(reply)
        first.add(message.answer[0][0].to_text())
        assert len(message.answer[0]) == 20
    assert len(first) == 8


def test_a_unit_with_a_broken_name_changes_nothing_else() -> None:
    table = table_of(plan_of({"Service/a": ZoneUnit(ORIGIN, (record(f"a.shop.svc.{Z}", "A", "10.0.0.1"),))}))
    size = table.size
    for records_, exists in (([("b..x", "A", 30, "10.0.0.2")], ()), ([(f"b.{Z}", "A", 30, "10.0.0.2")], ("c..d",))):
        with pytest.raises(ValueError, match="not a DNS name"):
            table.put("Service/b", records_, exists)
    assert table.size == size
    assert not table.exists(b"\1b" + table.zone_of(b"\7cluster\5local\0"))  # type: ignore[operator]
