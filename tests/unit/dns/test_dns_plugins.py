"""Plugins in a chain, from the Corefile's text to the bytes of the reply; the upstream is a function."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest
from tests.unit.dns.plugin_rig import Rig, Z, answering, data, ede

from podwire.compile.corefile_blocks import MAKERS
from podwire.compile.corefile_words import RECORD_TYPES
from podwire.planes.dns.chain import PLAIN
from podwire.planes.dns.machine import Forward
from podwire.planes.dns.message import TYPES
from podwire.planes.dns.metrics import format_samples

WWW = "www.example.com. 300 A 192.0.2.80"
KUBE = "kubernetes cluster.local\n forward . 192.0.2.53\n"


def test_the_longest_zone_takes_the_question() -> None:
    rig = Rig("example.org {\n hosts {\n 192.0.2.1 a.example.org\n }\n}\n. {\n whoami\n}\n")
    assert data(rig.ask("a.example.org")) == ["a.example.org. 3600 A 192.0.2.1"]
    assert rig.ask("b.example.org").rcode() == dns.rcode.NXDOMAIN
    assert len(rig.ask("example.net").additional) == 2


def test_a_name_without_block_is_refused() -> None:
    rig = Rig("example.org {\n whoami\n}\n")
    message = rig.ask("example.net")
    assert message.rcode() == dns.rcode.REFUSED and ede(message) is not None


def test_own_names_and_the_rest() -> None:
    rig = Rig(f". {{\n {KUBE}}}\n", answering(WWW))
    assert data(rig.ask(f"api.shop.svc.{Z}"))[0].endswith("30 A 10.96.0.20")
    assert rig.asked == []
    assert data(rig.ask("www.example.com")) == ["www.example.com. 300 A 192.0.2.80"]
    assert data(rig.ask(f"ext.shop.svc.{Z}")) == [
        f"ext.shop.svc.{Z}. 30 CNAME www.example.com.",
        "www.example.com. 300 A 192.0.2.80",
    ]


def test_own_names_answer_when_upstreams_die_and_failures_say_why() -> None:
    rig = Rig(f". {{\n errors\n cache\n {KUBE}}}\n")
    assert rig.ask(f"api.shop.svc.{Z}").answer
    message = rig.ask("www.example.com")
    assert message.rcode() == dns.rcode.SERVFAIL and ede(message) == (22, "no answer")
    assert any("www.example.com. A: no answer" in line for line in rig.lines)
    alias = rig.ask(f"ext.shop.svc.{Z}")
    assert alias.rcode() == dns.rcode.NOERROR and len(alias.answer) == 1 and ede(alias) is not None


def test_loadbalance_turns_and_its_absence_does_not() -> None:
    firsts = set()
    for text in ("loadbalance", ""):
        rig = Rig(f". {{\n {text}\n {KUBE}}}\n")
        firsts.add(len({str(rig.ask(f"api.shop.svc.{Z}", use_edns=False).answer[0][0]) for _ in range(4)}))
    assert firsts == {1, 2} or firsts == {1}
    # From memory, the inner loop turns them.
    rig = Rig(f". {{\n loadbalance\n {KUBE}}}\n")
    rig.ask(f"api.shop.svc.{Z}")
    (kept,) = rig.responder.memory(PLAIN).values()
    assert isinstance(kept.rest, tuple) and len(kept.rest) == 2


def test_cache_keeps_counts_down_and_ends() -> None:
    rig = Rig(". {\n cache 100\n forward . 192.0.2.53\n}\n", answering(WWW))
    assert data(rig.ask("www.example.com")) == ["www.example.com. 100 A 192.0.2.80"]
    rig.now += 40
    assert data(rig.ask("WWW.example.com"))[0].lower() == "www.example.com. 60 a 192.0.2.80"
    rig.now += 61
    rig.ask("www.example.com")
    assert rig.asked == ["www.example.com. A", "www.example.com. A"]


def test_cache_keeps_negative_answers_by_their_soa() -> None:
    soa = "example.com. 900 SOA a. b. 1 2 3 4 60"
    rig = Rig(". {\n cache\n forward . 192.0.2.53\n}\n", answering(rcode=3, authority=soa))
    for _ in range(2):
        message = rig.ask("nope.example.com")
        assert message.rcode() == dns.rcode.NXDOMAIN and message.authority[0].ttl == 60
    assert len(rig.asked) == 1
    rig.now += 61
    rig.ask("nope.example.com")
    assert len(rig.asked) == 2


def test_cache_ttl_zero_is_not_kept_and_disabled_zones_are_not() -> None:
    upstream = answering("zero.example.com. 0 A 192.0.2.1", "off.example.org. 60 A 192.0.2.2")
    rig = Rig(". {\n cache {\n disable success example.org\n }\n forward . 192.0.2.53\n}\n", upstream)
    for name in ("zero.example.com", "off.example.org"):
        rig.ask(name)
        rig.ask(name)
    assert len(rig.asked) == 4


def test_cache_serves_stale_when_upstreams_fail() -> None:
    rig = Rig(". {\n cache 30\n forward . 192.0.2.53\n}\n", answering(WWW))
    rig.ask("www.example.com")
    rig.upstream = None
    rig.now += 100
    message = rig.ask("www.example.com")
    assert data(message) == ["www.example.com. 30 A 192.0.2.80"] and (ede(message) or (0,))[0] == 3
    rig.now += 4000
    assert rig.ask("www.example.com").rcode() == dns.rcode.SERVFAIL


def test_cache_serves_stale_at_once_and_refreshes() -> None:
    rig = Rig(". {\n cache 30 {\n serve_stale 1h immediate\n }\n forward . 192.0.2.53\n}\n", answering(WWW))
    rig.ask("www.example.com")
    rig.now += 100
    assert data(rig.ask("www.example.com")) == ["www.example.com. 30 A 192.0.2.80"]
    assert len(rig.asked) == 1
    rig.run_background()
    assert len(rig.asked) == 2
    assert ede(rig.ask("www.example.com")) is None


def test_cache_prefetches_popular_names() -> None:
    rig = Rig(". {\n cache 100 {\n prefetch 2 1m 20%\n }\n forward . 192.0.2.53\n}\n", answering(WWW))
    rig.ask("www.example.com")
    rig.now += 85
    rig.ask("www.example.com")
    rig.ask("www.example.com")
    rig.run_background()
    assert len(rig.asked) == 2
    rig.now += 20
    rig.ask("www.example.com")
    assert len(rig.asked) == 2


def test_cache_is_bounded() -> None:
    def upstream(query: dns.message.Message) -> dns.message.Message:
        return answering(f"{query.question[0].name} 60 A 192.0.2.1")(query)  # type: ignore[return-value]

    rig = Rig(". {\n cache 30 {\n success 3\n }\n forward . 192.0.2.53\n}\n", upstream)
    for number in range(10):
        rig.ask(f"n{number}.example.com")
    (cache,) = rig.responder.built.caches
    assert cache.counts.sizes["success"] == 3 and cache.counts.evictions["success"] == 7


def test_servfail_is_kept_for_a_moment() -> None:
    rig = Rig(". {\n cache {\n servfail 5s\n }\n forward . 192.0.2.53\n}\n", answering(rcode=2))
    rig.ask("www.example.com")
    rig.ask("www.example.com")
    assert len(rig.asked) == 1
    rig.now += 6
    rig.ask("www.example.com")
    assert len(rig.asked) == 2


@pytest.mark.parametrize(
    ("rule", "name", "asked"),
    [
        ("name exact a.org b.org", "a.org", "b.org."),
        ("name a.org b.org", "A.org", "b.org."),
        ("name prefix old- new-", "old-x.org", "new-x.org."),
        ("name suffix .a.org .b.org", "x.a.org", "x.b.org."),
        ("name substring mid mud", "x-mid-y.org", "x-mud-y.org."),
        ("name regex (.*)-(us)\\.org {1}.{2}.net", "ftp-us.org", "ftp.us.net."),
        ("name regex (.*)-(us)\\.org {1}.{2}.net", "other.org", "other.org."),
        ("type AAAA A", "x.org", "x.org."),
    ],
)
def test_rewrite_of_questions(rule: str, name: str, asked: str) -> None:
    rig = Rig(f". {{\n rewrite {rule}\n forward . 192.0.2.53\n}}\n", answering(f"{asked} 60 A 192.0.2.1"))
    message = rig.ask(name, "AAAA" if rule.startswith("type") else "A")
    assert rig.asked == [f"{asked} A"]
    assert message.question[0].name.to_text() == name + "."
    assert {r.name.to_text() for r in message.answer} == {name + "."}


def test_rewrite_of_answers() -> None:
    upstream = answering("_sip._udp.b.org. 60 SRV 0 0 5060 sip.b.org.")
    text = "rewrite stop {\n name suffix .a.org .b.org\n answer name (.*)\\.b\\.org {1}.a.org\n"
    text += " answer value (.*)\\.b\\.org {1}.a.org\n}"
    rig = Rig(f". {{\n {text}\n forward . 192.0.2.53\n}}\n", upstream)
    assert data(rig.ask("_sip._udp.a.org", "SRV")) == ["_sip._udp.a.org. 60 SRV 0 0 5060 sip.a.org."]


def test_rewrite_continue_ttl_and_rcode() -> None:
    rules = "rewrite continue ttl example.com 5-60\n rewrite name example.com www.example.com\n"
    rig = Rig(f". {{\n {rules} forward . 192.0.2.53\n}}\n", answering(WWW))
    assert data(rig.ask("example.com")) == ["example.com. 60 A 192.0.2.80"]
    rig = Rig(". {\n rewrite rcode suffix .com SERVFAIL NXDOMAIN\n forward . 192.0.2.53\n}\n", answering(rcode=2))
    assert rig.ask("example.com").rcode() == dns.rcode.NXDOMAIN


def test_rewritten_names_reach_the_cluster() -> None:
    rig = Rig(f". {{\n rewrite name suffix .shop.example {{x}}.shop.svc.{Z}\n {KUBE}}}\n".replace("{x}", ""))
    assert data(rig.ask("api.shop.example"))[0] == "api.shop.example. 30 A 10.96.0.20"


def test_template() -> None:
    text = r"template IN A ip.example {" + "\n" + r' match "^(?P<a>\d+)-(?P<b>\d+)\.ip\.example\.$"' + "\n"
    text += ' answer "{{ .Name }} 60 IN A 192.0.{{ .Group.a }}.{{ .Group.b }}"\n fallthrough\n }\n'
    rig = Rig(f". {{\n {text} forward . 192.0.2.53\n}}\n", answering(rcode=3))
    assert data(rig.ask("2-7.ip.example")) == ["2-7.ip.example. 60 A 192.0.2.7"]
    assert rig.ask("x.ip.example").rcode() == dns.rcode.NXDOMAIN and len(rig.asked) == 1
    rig = Rig('. {\n template ANY ANY blocked.example {\n rcode NXDOMAIN\n ederror 15 "no"\n }\n}\n')
    message = rig.ask("x.blocked.example", "MX")
    assert message.rcode() == dns.rcode.NXDOMAIN and ede(message) == (15, "no")


def test_hosts() -> None:
    text = "hosts {\n 192.0.2.1 a.org *.w.org\n fd00::1 a.org\n ttl 60\n fallthrough\n }\n"
    rig = Rig(f". {{\n {text} forward . 192.0.2.53\n}}\n", answering(WWW))
    assert data(rig.ask("a.org")) == ["a.org. 60 A 192.0.2.1"]
    assert data(rig.ask("a.org", "AAAA")) == ["a.org. 60 AAAA fd00::1"]
    assert data(rig.ask("x.w.org")) == ["x.w.org. 60 A 192.0.2.1"]
    assert data(rig.ask("1.2.0.192.in-addr.arpa", "PTR")) == ["1.2.0.192.in-addr.arpa. 60 PTR a.org."]
    assert data(rig.ask("www.example.com")) == ["www.example.com. 300 A 192.0.2.80"]


@pytest.mark.parametrize(
    ("rule", "client", "rcode", "code"),
    [
        ("block net 10.0.0.0/8", "10.244.0.9", dns.rcode.REFUSED, 15),
        ("block net 10.0.0.0/8", "192.0.2.9", dns.rcode.NOERROR, None),
        ("filter type A net *", "10.244.0.9", dns.rcode.NOERROR, 17),
        ("filter type MX net *", "10.244.0.9", dns.rcode.NOERROR, None),
        ("allow net 10.244.0.0/16\n block net *", "10.244.0.9", dns.rcode.NOERROR, None),
    ],
)
def test_acl(rule: str, client: str, rcode: int, code: int | None) -> None:
    rig = Rig(f". {{\n acl {{\n {rule}\n }}\n {KUBE}}}\n")
    message = rig.ask(f"api.shop.svc.{Z}", client=client)
    assert message.rcode() == rcode and (ede(message) or (None,))[0] == code
    assert rig.responder.memory(PLAIN) == {}


def test_acl_drops() -> None:
    assert Rig(". {\n acl {\n drop net *\n }\n whoami\n}\n").raw("a.org") is None


ZONE = """$TTL 1h
@       IN SOA ns hostmaster ( 7 7200 1800 ; refresh and retry
            86400 60 )
        IN NS  ns
ns      A     192.0.2.1
www 5m  A     192.0.2.2
*.w     TXT   "any; thing"
alias   CNAME www
out     CNAME www.example.com.
sub     NS    ns.sub
ns.sub  A     192.0.2.3
"""


def test_file() -> None:
    rig = Rig("a.org {\n file zone\n}\n. {\n forward . 192.0.2.53\n}\n", answering(WWW), zone=ZONE)
    assert data(rig.ask("WWW.a.org"))[0].endswith(" 300 A 192.0.2.2")
    assert data(rig.ask("x.y.w.a.org", "TXT")) == ['x.y.w.a.org. 3600 TXT "any; thing"']
    assert data(rig.ask("alias.a.org")) == ["alias.a.org. 3600 CNAME www.a.org.", "www.a.org. 300 A 192.0.2.2"]
    assert data(rig.ask("out.a.org"))[1] == "www.example.com. 300 A 192.0.2.80"
    for name, rcode in (("nope.a.org", dns.rcode.NXDOMAIN), ("w.a.org", dns.rcode.NOERROR)):
        message = rig.ask(name)
        assert message.rcode() == rcode and not message.answer and message.authority[0].rdtype == dns.rdatatype.SOA
    referral = rig.ask("x.sub.a.org")
    assert not referral.flags & dns.flags.AA and referral.authority[0].rdtype == dns.rdatatype.NS
    assert str(referral.additional[0][0]) == "192.0.2.3"
    assert rig.ask("a.org", "SOA").answer[0][0].serial == 7


def test_dns64() -> None:
    upstream = answering("v4.org. 60 A 192.0.2.1", "v6.org. 60 AAAA fd00::1")
    rig = Rig(". {\n dns64 {\n allow_ipv4\n }\n forward . 192.0.2.53\n}\n", upstream)
    assert data(rig.ask("v4.org", "AAAA")) == ["v4.org. 60 AAAA 64:ff9b::c000:201"]
    assert data(rig.ask("v6.org", "AAAA")) == ["v6.org. 60 AAAA fd00::1"]


def test_any_chaos_whoami_nsid_bufsize() -> None:
    rig = Rig(". {\n any\n chaos v9 me\n nsid here\n bufsize 600\n whoami\n}\n")
    assert rig.ask("a.org", "ANY").answer[0].rdtype == dns.rdatatype.HINFO
    assert data(rig.ask("version.bind", "TXT", rdclass="CH")) == ['version.bind. 0 TXT "v9"']
    message = rig.ask("a.org", options=[dns.edns.GenericOption(dns.edns.NSID, b"")])
    assert any(o.otype == dns.edns.NSID for o in message.options)
    assert rig.responder.built.routers[PLAIN].blocks[0].bufsize == 600


def test_minimal() -> None:
    text = ". {\n MIN\n kubernetes cluster.local\n}\n"
    assert Rig(text.replace("MIN", "")).ask(Z, "NS").answer
    rig = Rig(text.replace("MIN", "minimal"))
    assert rig.ask(f"api.shop.svc.{Z}").answer and rig.ask(f"nope.{Z}").authority


def test_forward_zones_exceptions_and_next() -> None:
    text = ". {\n forward a.org 192.0.2.1 {\n except x.a.org\n next NXDOMAIN\n }\n forward . 192.0.2.2\n}\n"
    rig = Rig(text)
    pools: list[int] = []
    for name in ("a.org", "x.a.org", "b.org"):
        reply = rig.responder.reply(dns.message.make_query(name, "A").to_wire())
        assert isinstance(reply, Forward)
        pools.append(reply.pool)
    assert pools == [0, 1, 1]
    rig.upstream = answering(rcode=3)
    rig.ask("a.org")
    assert rig.asked == ["a.org. A", "a.org. A"]


def test_loop_is_noticed_and_does_not_end_the_server() -> None:
    rig = Rig(f". {{\n kubernetes {Z}\n loop\n forward . 192.0.2.53\n}}\n")
    (probe,) = rig.responder.background
    token = dns.message.from_wire(probe.request).question[0]
    assert rig.ask(token.name.to_text(), "HINFO").rcode() == dns.rcode.SERVFAIL
    message = rig.ask("www.example.com")
    assert message.rcode() == dns.rcode.SERVFAIL and "back to this server" in (ede(message) or (0, ""))[1]
    assert rig.ask(f"api.shop.svc.{Z}").answer


def test_log_and_errors() -> None:
    rig = Rig(f". {{\n log . {{\n class denial\n }}\n {KUBE}}}\n")
    rig.ask(f"api.shop.svc.{Z}")
    rig.ask(f"nope.{Z}")
    assert len(rig.lines) == 1 and f'"A IN nope.{Z}. udp' in rig.lines[0] and "NXDOMAIN qr,aa,ra,rd" in rig.lines[0]


def test_metrics_have_coredns_names() -> None:
    rig = Rig(f". {{\n prometheus\n {KUBE}}}\n")
    for _ in range(3):
        rig.ask(f"api.shop.svc.{Z}")
    for kept in rig.responder.memory(PLAIN).values():
        kept.hits += 4
    rig.responder.settle()
    text = format_samples(rig.responder.metrics.samples())
    labels = 'server="dns://:53",view="",zone="."'
    assert f'coredns_dns_requests_total{{{labels},proto="udp",family="1",type="A"}} 7' in text
    assert f'coredns_dns_responses_total{{{labels},rcode="NOERROR",plugin="kubernetes"}} 7' in text
    assert f'coredns_dns_request_duration_seconds_bucket{{{labels},le="+Inf"}} 7' in text


def test_a_stale_zone_says_so() -> None:
    rig = Rig(f". {{\n {KUBE}}}\n")
    rig.responder.mark_stale(True)
    assert (ede(rig.ask(f"api.shop.svc.{Z}")) or (0,))[0] == 3
    rig.responder.mark_stale(False)
    assert ede(rig.ask(f"api.shop.svc.{Z}")) is None


def test_the_server_knows_the_types_that_a_corefile_may_name() -> None:
    assert set(RECORD_TYPES) == set(TYPES)


def test_everything_a_corefile_may_say_is_built() -> None:
    """Each plugin of the compiler's table is known to the server."""
    words = {
        "acl": "acl {\n allow\n}", "hosts": "hosts {\n ttl 5\n}", "template": "template IN A",
        "rewrite": "rewrite name a b", "kubernetes": f"kubernetes {Z} {{\n pods verified\n}}",
        "forward": "forward . 192.0.2.1", "file": "file zone a.org", "autopath": "autopath @kubernetes",
        "transfer": "transfer {\n to *\n}", "tls": "tls pem pem", "bind": "bind 127.0.0.1",
        "view": "view v {\n expr true\n}",
    }  # fmt: skip
    rig = Rig(". {\n" + "\n".join(words.get(name, name) for name in MAKERS) + "\n}\n", zone=ZONE, pem="-----BEGIN ")
    built = {type(p).__name__ for p in rig.responder.built.caches}
    silent = {"bind", "reload", "tls", "view"}
    assert built == {"Cache"} and set(rig.responder.built.routers[PLAIN].blocks[0].plugins) == set(MAKERS) - silent
