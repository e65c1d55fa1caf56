"""Plugins about who asks whom: autopath, view, bind, transfer; and the rarer options of rewrite, cache, forward."""

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest
from tests.unit.dns.plugin_rig import Rig, Z, answering, data

from podwire.planes.dns.chain import Arrival
from podwire.planes.dns.machine import Forward
from podwire.planes.dns.wire import parse_query

KUBE = f"kubernetes {Z} {{\n pods verified\n ttl 30\n fallthrough\n }}\n"
POD = "10.244.0.9"
SEARCH = f"shop.svc.{Z}"


def with_pod(rig: Rig) -> Rig:
    assert rig.responder.table is not None
    rig.responder.table.put("Pod/shop/web", [(f"10-244-0-9.shop.pod.{Z}", "A", 30, POD)])
    return rig


def autopath_rig(*records: str, rcode: int = 3) -> Rig:
    upstream = answering(*records, rcode=rcode)
    return with_pod(Rig(f". {{\n autopath @kubernetes\n {KUBE} forward . 192.0.2.53\n}}\n", upstream))


def test_autopath_walks_the_search_list_of_the_pod() -> None:
    rig = autopath_rig("www.example.com. 60 A 192.0.2.80", rcode=0)
    found = data(rig.ask(f"www.example.com.{SEARCH}"))
    assert found == ["www.example.com. 60 A 192.0.2.80", f"www.example.com.{SEARCH}. 60 CNAME www.example.com."]
    assert rig.asked == ["www.example.com. A"], "the names of the cluster are known here"
    assert rig.responder.built.autopaths[0].found == 1


def test_autopath_finds_services_of_other_namespaces_and_says_nothing_of_its_own() -> None:
    rig = autopath_rig()
    assert data(rig.ask(f"api.{SEARCH}")) == [f"api.{SEARCH}. 30 A 10.96.0.20", f"api.{SEARCH}. 30 A 10.96.0.21"]
    found = data(rig.ask(f"api.shop.{SEARCH}"))
    assert f"api.shop.{SEARCH}. 30 CNAME api.shop.svc.{Z}." in found and len(found) == 3


def test_autopath_gives_the_first_negative_answer_when_nothing_is_found() -> None:
    rig = autopath_rig(rcode=3)
    message = rig.ask(f"nope.{SEARCH}")
    assert message.rcode() == dns.rcode.NXDOMAIN and message.authority[0].name.to_text() == f"{Z}."
    assert rig.asked == ["nope. A"]


def test_autopath_is_for_pods_and_for_the_first_search_domain() -> None:
    rig = autopath_rig("www.example.com. 60 A 192.0.2.80", rcode=0)
    assert rig.ask(f"www.example.com.{SEARCH}", client="192.0.2.200").rcode() == dns.rcode.NXDOMAIN
    assert rig.ask(f"www.example.com.svc.{Z}").rcode() == dns.rcode.NXDOMAIN
    assert rig.asked == []
    assert rig.responder.table is not None
    rig.responder.table.remove("Pod/shop/web")
    assert rig.ask(f"www.example.com.{SEARCH}").rcode() == dns.rcode.NXDOMAIN


def test_autopath_with_a_file() -> None:
    corefile = (
        ". {\n autopath resolv.conf\n hosts {\n 192.0.2.5 host.b.org\n fallthrough\n }\n forward . 192.0.2.53\n}\n"
    )
    rig = Rig(corefile, answering(rcode=3), **{"resolv.conf": "nameserver 192.0.2.1\nsearch a.org b.org\n"})
    assert data(rig.ask("host.a.org")) == ["host.a.org. 3600 CNAME host.b.org.", "host.b.org. 3600 A 192.0.2.5"]


VIEWS = """. {
 view inside {
  expr incidr(client_ip(), '10.0.0.0/8') && type() in ['A', 'AAAA']
 }
 hosts {
  192.0.2.1 a.org
 }
}
. {
 view big {
  expr name() matches '^b\\\\.' || bufsize() > 4000 || server_ip() == '10.9.9.9'
 }
 hosts {
  192.0.2.2 a.org b.org
 }
}
. {
 hosts {
  192.0.2.3 a.org b.org
 }
}
"""


@pytest.mark.parametrize(
    ("name", "client", "options", "wanted"),
    [
        ("a.org", "10.1.2.3", {}, "192.0.2.1"),
        ("a.org", "fd00::1", {}, "192.0.2.3"),
        ("b.org", "192.0.2.9", {}, "192.0.2.2"),
        ("a.org", "192.0.2.9", {"payload": 4096}, "192.0.2.2"),
        ("a.org", "192.0.2.9", {}, "192.0.2.3"),
    ],
)
def test_the_first_view_that_fits_answers(name: str, client: str, options: dict[str, int], wanted: str) -> None:
    rig = Rig(VIEWS)
    for _ in range(2):
        message = rig.ask(name, client=client, **options)  # type: ignore[arg-type]
        assert [text.split()[-1] for text in data(message)] == [wanted]
    query = dns.message.make_query("a.org", "A")
    reply = rig.responder.reply(query.to_wire(), rig.arrival("192.0.2.9", server="10.9.9.9"))
    assert isinstance(reply, bytes) and reply.endswith(b"") and b"\xc0\x00\x02\x02" in reply


def test_views_and_memory_of_replies_do_not_mix() -> None:
    rig = with_pod(Rig(f". {{\n view no {{\n expr client_ip() == '192.0.2.1'\n }}\n whoami\n}}\n. {{\n {KUBE}}}\n"))
    assert data(rig.ask(f"api.{SEARCH}")) and not data(rig.ask(f"api.{SEARCH}", client="192.0.2.1"))


def test_bind_chooses_by_our_address() -> None:
    corefile = ". {\n bind 10.0.0.1\n hosts {\n 192.0.2.1 a.org\n }\n}\n. {\n hosts {\n 192.0.2.2 a.org\n }\n}\n"
    rig = Rig(corefile)
    packet = dns.message.make_query("a.org", "A").to_wire()
    for server, wanted in (("10.0.0.1", "192.0.2.1"), ("10.0.0.2", "192.0.2.2")):
        reply = rig.responder.reply(packet, rig.arrival("192.0.2.9", server=server))
        assert isinstance(reply, bytes)
        assert data(dns.message.from_wire(reply))[0].endswith(wanted)


def test_ports_have_their_own_blocks() -> None:
    rig = Rig(".:53 {\n hosts {\n 192.0.2.1 a.org\n }\n}\n.:1053 {\n hosts {\n 192.0.2.2 a.org\n }\n}\n")
    packet = dns.message.make_query("a.org", "A").to_wire()
    for port, wanted in ((53, "192.0.2.1"), (1053, "192.0.2.2")):
        reply = rig.responder.reply(packet, rig.arrival("192.0.2.9", place=("dns", port)))
        assert isinstance(reply, bytes) and data(dns.message.from_wire(reply))[0].endswith(wanted)


DB = '@ 60 SOA ns.a.org. admin.a.org. 7 60 60 60 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n* TXT "x y"\n'


def transferred(
    rig: Rig, zone: str, query: dns.message.Message, client: str = "192.0.2.9"
) -> list[dns.message.Message]:
    arrival = Arrival(client, 4000, True, rig.now, "10.244.0.2")
    reply = rig.responder.reply(query.to_wire(), arrival)
    if isinstance(reply, bytes):
        return [dns.message.from_wire(reply)]
    assert reply is not None and not isinstance(reply, Forward)
    return [dns.message.from_wire(packet, xfr=True, origin=dns.name.from_text(zone)) for packet in reply]


def test_dnspython_takes_a_transfer_of_the_cluster() -> None:
    rig = Rig(f". {{\n transfer {Z} {{\n to *\n }}\n {KUBE}}}\n")
    assert rig.responder.table is not None
    many = [(f"e{n}.big.shop.svc.{Z}", "A", 30, f"10.1.{n // 250}.{n % 250}") for n in range(3000)]
    srv = [(f"_x._tcp.big.shop.svc.{Z}", "SRV", 30, f"0 1 80 e{n}.big.shop.svc.{Z}") for n in range(50)]
    rig.responder.table.put("big", many + srv)
    zone = dns.zone.Zone(dns.name.from_text(Z))
    query, _ = dns.xfr.make_query(zone)
    messages = transferred(rig, Z, query)
    assert len(messages) > 3
    with dns.xfr.Inbound(zone, dns.rdatatype.AXFR, serial=None) as inbound:
        done = [inbound.process_message(message) for message in messages]
    assert done == [False] * (len(done) - 1) + [True]
    assert zone.origin is not None
    names = {name.derelativize(zone.origin).to_text().rstrip(".") for name in zone.nodes}
    assert names == {Z, f"api.shop.svc.{Z}", f"ext.shop.svc.{Z}", f"_x._tcp.big.shop.svc.{Z}"} | {m[0] for m in many}
    assert len(zone["_x._tcp.big.shop.svc"].rdatasets[0]) == 50


def test_transfers_of_files_and_incremental_ones() -> None:
    rig = Rig("a.org {\n transfer {\n to 192.0.2.9\n }\n file db\n}\n", db=DB)
    zone = dns.zone.Zone(dns.name.from_text("a.org"))
    query, _ = dns.xfr.make_query(zone)
    (message,) = transferred(rig, "a.org", query)
    assert sum(len(rrset) for rrset in message.answer) == 6 and message.answer[0].rdtype == dns.rdatatype.SOA
    for serial, count in ((6, 6), (7, 1), (8, 1)):
        query = dns.message.make_query("a.org", "IXFR")
        query.authority.append(dns.rrset.from_text("a.org.", 0, "IN", "SOA", f"ns.a.org. x.a.org. {serial} 1 1 1 1"))
        (message,) = transferred(rig, "a.org", query)
        assert sum(len(rrset) for rrset in message.answer) == count, serial


def test_who_gets_no_transfer() -> None:
    rig = Rig(f"a.org {{\n transfer {{\n to 192.0.2.9\n }}\n file db\n}}\n. {{\n {KUBE}}}\n", db=DB)
    query = dns.message.make_query("a.org", "AXFR")
    assert transferred(rig, "a.org", query, client="192.0.2.8")[0].rcode() == dns.rcode.REFUSED
    assert transferred(rig, "a.org", dns.message.make_query(Z, "AXFR"))[0].rcode() == dns.rcode.REFUSED
    assert transferred(rig, "a.org", dns.message.make_query("www.a.org", "AXFR"))[0].rcode() == dns.rcode.REFUSED
    assert rig.ask("a.org", "AXFR", client="192.0.2.9").rcode() == dns.rcode.REFUSED, "over UDP never"


def options_seen(rig: Rig) -> list[tuple[int, bytes]]:
    seen: list[tuple[int, bytes]] = []

    def upstream(query: dns.message.Message) -> dns.message.Message:
        seen.extend((int(option.otype), option.to_wire() or b"") for option in query.options)
        return dns.message.make_response(query)

    rig.upstream = upstream
    return seen


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ("local set 0xffee 0x61626364", (0xFFEE, b"abcd")),
        ("local append 0xffee {client_ip}", (0xFFEE, b"\x0a\xf4\x00\x09")),
        ("local replace 0xfff0 {qname}", (0xFFF0, b"www.example.com.")),
        ("nsid set", (3, b"")),
        ("subnet set 24 56", (8, b"\0\1\x18\0\x0a\xf4\0")),
    ],
)
def test_rewrite_edns0(rule: str, wanted: tuple[int, bytes]) -> None:
    rig = Rig(f". {{\n rewrite edns0 {rule}\n forward . 192.0.2.53\n}}\n")
    seen = options_seen(rig)
    rig.ask("www.example.com", options=[dns.edns.GenericOption(dns.edns.OptionType.make(0xFFF0), b"old")])
    assert wanted in seen
    rig = Rig(". {\n rewrite edns0 local unset 0xfff0\n forward . 192.0.2.53\n}\n")
    seen = options_seen(rig)
    rig.ask(
        "www.example.com",
        options=[
            dns.edns.GenericOption(dns.edns.OptionType.make(0xFFF0), b"old"),
            dns.edns.GenericOption(dns.edns.OptionType.make(9), b"x"),
        ],
    )
    assert seen == [(9, b"x")]


def test_rewrite_of_options_for_clients_without_edns() -> None:
    rig = Rig(". {\n rewrite edns0 nsid set\n forward . 192.0.2.53\n}\n")
    seen = options_seen(rig)
    assert rig.ask("www.example.com", use_edns=-1).edns == -1 and seen == [(3, b"")]


def test_rewrite_cname_and_class() -> None:
    corefile = f". {{\n rewrite cname exact www.example.com api.{SEARCH}\n {KUBE} forward . 192.0.2.53\n}}\n"
    rig = Rig(corefile, answering("www.example.com. 60 A 192.0.2.80"))
    found = data(rig.ask(f"ext.{SEARCH}"))
    assert f"ext.{SEARCH}. 30 CNAME api.{SEARCH}." in found and f"api.{SEARCH}. 30 A 10.96.0.20" in found
    rig = Rig(f". {{\n rewrite class CH IN\n {KUBE}}}\n")
    assert len(rig.ask(f"api.{SEARCH}", rdclass="CH").answer) == 1


def test_a_weighted_balance_keeps_to_its_weights() -> None:
    weights = f"api.{SEARCH}\n10.96.0.20 3\n10.96.0.21 1\n"
    rig = Rig(f". {{\n loadbalance weighted w\n {KUBE}}}\n", w=weights)
    first = [str(rig.ask(f"api.{SEARCH}").answer[0][0]) for _ in range(400)]
    assert abs(first.count("10.96.0.20") - 300) <= 4


def test_stale_answers_after_a_timeout_and_while_upstreams_recover() -> None:
    corefile = ". {\n cache {\n serve_stale 1h verify 100ms 7s 30s\n }\n forward . 192.0.2.53\n}\n"
    rig = Rig(corefile, answering("www.example.com. 60 A 192.0.2.80"))
    rig.ask("www.example.com")
    rig.now += 61
    reply = rig.responder.reply(dns.message.make_query("www.example.com", "A").to_wire(), rig.arrival("10.0.0.1"))
    assert isinstance(reply, Forward) and reply.patience == 0.1 and reply.impatient is not None
    early = reply.impatient()
    assert early is not None and data(dns.message.from_wire(early)) == ["www.example.com. 7 A 192.0.2.80"]
    rig.upstream = None
    assert data(rig.ask("www.example.com")) == ["www.example.com. 7 A 192.0.2.80"]
    asked = len(rig.asked)
    rig.ask("www.example.com")
    assert len(rig.asked) == asked, "a failed refresh is not tried again at once"
    rig.now += 31
    rig.ask("www.example.com")
    assert len(rig.asked) == asked + 1


def test_prefer_positive_keeps_the_last_good_answer() -> None:
    corefile = (
        ". {\n cache {\n serve_stale 1h verify\n serve_stale_policy prefer_positive\n }\n forward . 192.0.2.53\n}\n"
    )
    rig = Rig(corefile, answering("www.example.com. 60 A 192.0.2.80"))
    rig.ask("www.example.com")
    rig.now += 61
    rig.upstream = answering(rcode=3, authority="example.com. 60 SOA ns.example.com. x.example.com. 1 2 3 4 60")
    assert data(rig.ask("www.example.com")) == ["www.example.com. 30 A 192.0.2.80"]


def test_next_on_nodata_asks_the_next_forward() -> None:
    corefile = ". {\n forward . 192.0.2.1 {\n next_on_nodata\n }\n forward . 192.0.2.2\n}\n"
    rig = Rig(corefile, answering())
    rig.ask("www.example.com")
    assert len(rig.asked) == 2


def test_an_ixfr_is_the_only_question_with_a_record() -> None:
    query = dns.message.make_query("a.org", "IXFR")
    query.authority.append(dns.rrset.from_text("a.org.", 0, "IN", "SOA", "ns.a.org. x.a.org. 77 1 1 1 1"))
    parsed = parse_query(query.to_wire())
    assert parsed is not None and parsed.serial == 77
