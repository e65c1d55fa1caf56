"""Typed plugins: the reference's tables, and what an error says."""

import re

import pytest

from podwire.base import Origin, Ref
from podwire.compile.corefile import CorefileError
from podwire.compile.corefile_blocks import MAKERS, UNBUILT, compile_corefile, default_corefile
from podwire.plan import dnsconfig as d

ORIGIN = Origin(Ref("ConfigMap", "kube-system", "coredns"))


def read(text: str, **options: object) -> d.DnsConfig:
    return compile_corefile(text, ORIGIN, resolv_conf=("192.0.2.53",), **options).config  # type: ignore[arg-type]


def plugin(text: str, **options: object) -> d.Plugin:
    (found,) = read(f". {{\n{text}\n}}\n", **options).blocks[0].plugins
    return found


def test_kubeadm_default() -> None:
    (block,) = read(default_corefile("cluster.local")).blocks
    assert block.zones == ("",)
    kinds = [type(p).__name__ for p in block.plugins]
    assert kinds == ["Ready", "Health", "Prometheus", "Errors", "LoadBalance", "Cache", "Kubernetes", "Loop", "Forward"]
    zones = ("cluster.local", "in-addr.arpa", "ip6.arpa")
    assert d.Kubernetes(zones, "insecure", ttl=30, fallthrough=zones[1:]) in block.plugins
    assert d.Forward("", ("192.0.2.53",), max_concurrent=1000) in block.plugins
    off = ("cluster.local",)
    assert d.Cache(("",), success_ttl=30, denial_ttl=30, success_disabled=off, denial_disabled=off) in block.plugins


def test_order_is_that_of_plugin_cfg() -> None:
    (block,) = read(". {\n whoami\n cache\n errors\n hosts {\n 192.0.2.1 a.org\n }\n}").blocks
    assert [type(p).__name__ for p in block.plugins] == ["Errors", "Cache", "Hosts", "Whoami"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("health {\n lameduck 1m30s\n}", d.Health(90)),
        ("bufsize 1400", d.Bufsize(1400)),
        ("nsid here", d.Nsid("here")),
        ("chaos v1 a b", d.Chaos("v1", ("a", "b"))),
        ("log example.org {\n class denial error\n}", d.Log(("example.org",), "", ("denial", "error"))),
        ('errors {\n consolidate 5m ".* timeout$"\n}', d.Errors(((300.0, ".* timeout$"),))),
        (
            "kubernetes a.local {\n pods verified\n ttl 10\n noendpoints\n}",
            d.Kubernetes(("a.local",), "verified", False, 10, True),
        ),
        (
            "kubernetes a.local {\n ignore empty_service\n fallthrough\n namespaces x y\n}",
            d.Kubernetes(("a.local",), fallthrough=(), namespaces=("x", "y"), ignore_empty_service=True),
        ),
        (
            "forward x.org 192.0.2.1 [fd00::1]:5353 {\n except a.x.org\n policy round_robin\n max_fails 3\n"
            " force_tcp\n}",
            d.Forward("x.org", ("192.0.2.1", "[fd00::1]:5353"), ("a.x.org",), "round_robin", True, 3),
        ),
        (
            "forward . 192.0.2.1 {\n health_check 2s no_rec domain a.org\n next NXDOMAIN\n}",
            d.Forward(
                "",
                ("192.0.2.1",),
                health_seconds=2,
                health_recursion=False,
                health_name="a.org",
                next_rcodes=("NXDOMAIN",),
            ),
        ),
        (
            "cache 60 a.org {\n success 100 30 5\n denial 50\n prefetch 10 1m 20%\n"
            " serve_stale 10m verify\n servfail 1s\n keepttl\n}",
            d.Cache(("a.org",), 100, 30, 5, 50, 60, 5, 10, 60, 20, 600, "verify", 1, keepttl=True),
        ),
        (
            "hosts {\n 192.0.2.1 A.org b.org\n ttl 60\n no_reverse\n fallthrough a.org\n}",
            d.Hosts(("",), (("192.0.2.1", ("a.org", "b.org")),), 60, False, ("a.org",)),
        ),
        ("rewrite name a.org b.org", d.Rewrite((d.RewriteRule("name", "exact", "a.org", "b.org", auto=True),))),
        (
            "rewrite stop {\n name regex (.*)\\.a {1}.b\n answer name (.*)\\.b {1}.a\n}",
            d.Rewrite((d.RewriteRule("name", "regex", "(.*)\\.a", "{1}.b", answers=(("name", "(.*)\\.b", "{1}.a"),)),)),
        ),
        (
            "rewrite continue ttl suffix .org 30-300",
            d.Rewrite((d.RewriteRule("ttl", "suffix", ".org", "30-300", "continue"),)),
        ),
        (
            "acl {\n block type A net 10.0.0.0/8\n filter net *\n}",
            d.Acl(("",), (d.AclRule("block", ("A",), ("10.0.0.0/8",)), d.AclRule("filter", (), ("0.0.0.0/0", "::/0")))),
        ),
        (
            "template IN A x.org {\n match ^(?P<n>\\d+)\\.x\\.org\\.$\n"
            ' answer "{{ .Name }} 60 IN A 192.0.2.{{ .Group.n }}"\n}',
            d.Template(
                "IN", "A", ("x.org",), ("^(?P<n>\\d+)\\.x\\.org\\.$",), ("{{ .Name }} 60 IN A 192.0.2.{{ .Group.n }}",)
            ),
        ),
        (
            "rewrite rcode regex .* 2 NOERROR",
            d.Rewrite((d.RewriteRule("rcode", "regex", ".*", "NOERROR", code="SERVFAIL"),)),
        ),
        (
            "rewrite edns0 subnet set 24 56",
            d.Rewrite((d.RewriteRule("edns0", "set", "subnet", "24 56"),)),
        ),
        (
            "transfer a.org {\n to 192.0.2.1:5300 *\n source 192.0.2.9\n}",
            d.Transfer(("a.org",), ("192.0.2.1/32", "0.0.0.0/0", "::/0")),
        ),
        (
            "cache {\n serve_stale 1h verify 100ms 20s 5s\n serve_stale_policy prefer_positive\n}",
            d.Cache(("",), stale_verify_seconds=0.1, stale_ttl=20, stale_recheck_seconds=5, prefer_positive=True),
        ),
        ("dns64 64:1337::/96 {\n translate_all\n}", d.Dns64("64:1337::/96", True)),
        ("loadbalance round_robin {\n prefer 10.0.0.0/8\n}", d.LoadBalance(("10.0.0.0/8",))),
    ],
)
def test_options(text: str, wanted: d.Plugin) -> None:
    assert plugin(text) == wanted


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cash 30", "'cash' is not a plugin"),
        ("cache 30 {\n nothing\n}", "plugin cache has no option 'nothing' (allowed: denial,"),
        ("bufsize 100", "'100' is not a number from 512 to 4096"),
        ("health {\n lameduck soon\n}", "'soon' is not a duration"),
        ("forward . 8.8.8.8.8", "is no upstream"),
        ("forward . /etc/other", "/etc/other is not there"),
        ("forward .", "at least one upstream"),
        ("kubernetes a.local b.local", "serves one zone"),
        ("kubernetes a.local {\n pods maybe\n}", "allowed: disabled, insecure, verified"),
        ("kubernetes a.local {\n labels a in\n}", "no label selector"),
        ("rewrite name regex ( x", "no regular expression"),
        ("rewrite edns0 local set 0xffee", "takes 2 more words, got 1"),
        ("rewrite edns0 local set 0xffee {nope}", "{nope} is no variable"),
        ("rewrite edns0 local put 0xffee x", "rewrite edns0 takes"),
        ("rewrite rcode a.org NXDOMAIN", "rewrite rcode takes [KIND] NAME FROM TO"),
        ("rewrite ttl a.org 30 answer auto", "rewrite ttl takes no options"),
        ('template IN A {\n answer "{{ .Nope }} A 192.0.2.1"\n}', "is not understood"),
        ("rewrite class CH XX", "'XX' is no class"),
        ("rewrite type ANY WHAT", "'WHAT' is no record type"),
        ("template CH TXT", "class CH is not answered"),
        ("acl {\n block type WHAT\n}", "'WHAT' is no record type"),
        ("bind 10.0.0.300", "'10.0.0.300' is no address"),
        ("bind 10.0.0.1 {\n only eth0\n}", "plugin bind has no option 'only'"),
        ("view v {\n expr lookup('x')\n}", "'lookup' is no function here (there are: bufsize, class, client_ip"),
        ("view v {\n expr type() == 1\n}", "== compares a text with a number"),
        ("view v {\n expr size()\n}", "gives a number, not true or false"),
        ("view v {\n expr incidr(client_ip(), '10.0.0.0/99')\n}", "is no network"),
        ("view v {\n expr name() matches '('\n}", "is no regular expression"),
        ("view v {\n expr type() == 'A' do()\n}", "one word too many"),
        ("view v {\n expr type() == $\n}", "'$' is not understood"),
        ("view v", "view v has no expr"),
        ("autopath", "autopath takes @kubernetes or a file"),
        ("autopath @kubernetes\n kubernetes a.local", "with pods verified"),
        ("autopath @nomad", "@nomad knows no search list"),
        ("transfer", "gives zones to nobody"),
        ("transfer {\n to somebody\n}", "'somebody' is no upstream"),
        ("tls a b", "a is not there"),
        ("forward . tls://192.0.2.1%x {\n tls_servername y\n}", "exclude each other"),
        ("forward . 192.0.2.1 {\n tls_servername y\n}", "for upstreams with tls://"),
        ("forward . 192.0.2.1%x", "for tls:// and https:// only"),
        ("forward . quic://192.0.2.1", "quic:// is not spoken"),
        ("forward . 192.0.2.1 {\n failover NOERROR\n}", "would ask every upstream"),
        ("forward . 192.0.2.1 {\n doh_method PUT\n}", "allowed: GET, POST"),
        ("cache {\n serve_stale 1h later\n}", "allowed: immediate, verify"),
        ("cache {\n serve_stale_policy any\n}", "allowed: prefer_positive"),
        ("kubernetes a.local {\n multicluster b.local\n}", "plugin kubernetes has no option 'multicluster'"),
        ("prometheus :9999", "on :9153 only"),
        ("log\n log\n cache\n cache", "plugin cache is in this block already"),
        ("loadbalance weighted file", "file is not there"),
    ],
)
def test_errors(text: str, words: str) -> None:
    with pytest.raises(CorefileError, match=re.escape(words)):
        read(f". {{\n{text}\n}}\n")


@pytest.mark.parametrize("name", UNBUILT)
def test_plugins_that_are_not_built_are_errors(name: str) -> None:
    assert name not in MAKERS
    with pytest.raises(CorefileError, match=f"plugin {name} is not built"):
        read(f". {{\n{name}\n}}\n")


@pytest.mark.parametrize(
    ("key", "words"),
    [("tls://.", "needs the plugin tls"), ("grpc://.", "not served"), (".:0", "port '0'"), ("a..b", "no zone")],
)
def test_keys(key: str, words: str) -> None:
    with pytest.raises(CorefileError, match=re.escape(words)):
        read(f"{key} {{\n whoami\n}}\n")


def test_networks_are_reverse_zones() -> None:
    assert read("10.1.0.0/16 {\n whoami\n}").blocks[0].zones == ("1.10.in-addr.arpa",)
    assert read("10.0.0.0/15 {\n whoami\n}").blocks[0].zones == ("0.10.in-addr.arpa", "1.10.in-addr.arpa")
    assert read("fd00::/8 {\n whoami\n}").blocks[0].zones == ("d.f.ip6.arpa",)


def test_a_zone_is_served_once() -> None:
    with pytest.raises(CorefileError, match=re.escape("zone a.org is served by the block of line 1")):
        read("a.org {\n whoami\n}\nb.org a.org {\n whoami\n}")


def test_options_without_effect_are_noted() -> None:
    found = compile_corefile(". {\n forward . 192.0.2.1 {\n  max_age 10s\n }\n}", ORIGIN, resolv_conf=())
    assert [(i.text, i.line) for i in found.ignored] == [("max_age", 3)]


def test_transfers_notify_nobody_and_say_so() -> None:
    found = compile_corefile(
        "a.org {\n transfer {\n  to *\n  to 192.0.2.1\n  source 192.0.2.9\n }\n}", ORIGIN, resolv_conf=()
    )
    assert [(i.text, i.line) for i in found.ignored] == [("to", 4), ("source", 5)]


def test_modes_of_client_auth_that_mean_something_else_say_so() -> None:
    files = {path: f"-----BEGIN {path}" for path in ("/c", "/k", "/ca")}
    text = "tls://.:853 {\n tls /c /k /ca {\n  client_auth MODE\n }\n whoami\n}"
    noted = {
        mode: [
            i.text for i in compile_corefile(text.replace("MODE", mode), ORIGIN, resolv_conf=(), files=files).ignored
        ]
        for mode in ("nocert", "request", "require", "verify_if_given", "require_and_verify")
    }
    assert {mode for mode, texts in noted.items() if texts} == {"request", "require"}


def test_blocks_are_one_for_each_scheme_and_port() -> None:
    text = "a.org b.org:1053 dns://c.org:1053 {\n bind 127.0.0.1 eth0 {\n except 127.0.0.2\n }\n whoami\n}"
    found = [(b.scheme, b.port, b.zones, b.binds, b.binds_except) for b in read(text).blocks]
    binds = ("127.0.0.1", "eth0"), ("127.0.0.2",)
    assert found == [("dns", 53, ("a.org",), *binds), ("dns", 1053, ("b.org", "c.org"), *binds)]
    assert read(". {\n bind ::\n whoami\n}").blocks[0].binds == ()


def test_views_share_a_zone() -> None:
    text = ". {\n view inside {\n expr incidr(client_ip(), '10.0.0.0/8') && !do()\n }\n whoami\n}\n. {\n whoami\n}"
    first, second = read(text).blocks
    tree = ("and", ("incidr", ("client_ip",), ("text", "10.0.0.0/8")), ("not", ("do",)))
    assert (first.view, first.conditions, second.conditions) == ("inside", (tree,), ())
    with pytest.raises(CorefileError, match="served by the block of line 1"):
        read(". {\n whoami\n}\n. {\n view late {\n expr true\n }\n whoami\n}")


def test_certificates_are_mounted_files_or_keys() -> None:
    pem = "-----BEGIN CERTIFICATE-----\n"
    files = {"/etc/tls/tls.crt": pem, "tls.key": pem, "other": "nothing"}
    (block,) = read("tls://. {\n tls /etc/tls/tls.crt tls.key\n whoami\n}", files=files).blocks
    assert block.tls == d.Tls(pem, pem) and (block.scheme, block.port) == ("tls", 853)
    assert pem not in repr(block)
    with pytest.raises(CorefileError, match="other holds no PEM"):
        read("tls://. {\n tls tls.key other\n}", files=files)
    made = plugin("forward . tls://9.9.9.9 {\n tls_servername dns.quad9.net\n tls tls.key\n}", files=files)
    assert isinstance(made, d.Forward) and made.upstreams == ("tls://9.9.9.9:853%dns.quad9.net",)
    assert made.tls == d.Tls(authority=pem)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("tls://9.9.9.9%dns.quad9.net:10853", "tls://9.9.9.9:10853%dns.quad9.net"),
        ("https://1.1.1.1", "https://1.1.1.1:443/dns-query"),
        ("https://[fd00::1]:8443/q", "https://[fd00::1]:8443/q"),
        ("dns://192.0.2.1:53", "192.0.2.1"),
    ],
)
def test_upstreams(text: str, wanted: str) -> None:
    made = plugin(f"forward . {text}")
    assert isinstance(made, d.Forward) and made.upstreams == (wanted,)


def test_files_are_keys_of_the_config_map() -> None:
    made = plugin("hosts /etc/coredns/custom.hosts", files={"custom.hosts": "192.0.2.1 a.org # x\n"})
    assert isinstance(made, d.Hosts) and made.entries == (("192.0.2.1", ("a.org",)),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("www A 192.0.2.1\n", "needs one SOA"),
        ("@ SOA a b 1 2 3 4\n", "line 1: SOA takes 7 words"),
        ("@ SOA a b ( 1 2 3 4 5\n", "not closed"),
        ("@ SOA a b 1 2 3 4 5\n$INCLUDE x\n", "line 2: $INCLUDE is not understood"),
        ("@ SOA a b 1 2 3 4 5\nx WKS 1\n", "line 2: WKS is no record type"),
        ("@ SOA a b 1 2 3 4 5\nx A fd00::1\n", "line 2: fd00::1 is no IPv4 address"),
        ("@ SOA a b 1 2 3 4 5\nx MX ten y\n", "line 2: ten are not numbers"),
        ("@ SOA a b 1 2 3 4 5\nx.b.org. A 192.0.2.1\n", "x.b.org is not in the zone a.org"),
    ],
)
def test_master_files_that_cannot_be_used(text: str, words: str) -> None:
    with pytest.raises(CorefileError, match=re.escape(words)):
        plugin("file db.zone a.org", files={"db.zone": text})
