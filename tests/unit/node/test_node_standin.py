"""What a stand-in makes of bytes and paths, and what a probe sends."""

import pytest

from podwire.base import Origin, Ref
from podwire.node.checks import render_request
from podwire.node.context import render_hosts
from podwire.node.standin import classify, decide_status
from podwire.plan.node import HttpCheck, Pod


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"GET / HTTP/1.1\r\n", "http"),
        (b"DELETE /x", "http"),
        (b"GE", "undecided"),
        (b"PATC", "undecided"),
        (b"GETTING", "raw"),
        (b"hello", "raw"),
        (b"\x00", "raw"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"PRI *", "undecided"),
        (b"", "undecided"),
    ],
)
def test_first_bytes_tell_the_protocol(first: bytes, kind: str) -> None:
    assert classify(first) == kind


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/", "", 200),
        ("/status/503", "", 503),
        ("/status/999", "", 200),
        ("/", "404", 404),
        ("/", "100", 200),
        ("/", "abc", 200),
        ("/healthz", "", 500),
        ("/healthz", "204", 500),
    ],
)
def test_status_of_a_request(path: str, asked: str, status: int) -> None:
    assert decide_status({"/healthz": 500}, path, asked) == status


def test_probe_requests_name_the_host_and_take_headers() -> None:
    plain = render_request(HttpCheck(8080, "healthz"), "10.244.1.2").decode()
    assert plain.startswith("GET /healthz HTTP/1.1\r\nhost: 10.244.1.2:8080\r\nuser-agent: kube-probe/")
    assert plain.endswith("\r\n\r\n")
    own = render_request(HttpCheck(80, headers=(("Host", "shop.test"), ("X-A", "1"))), "10.244.1.2").decode()
    assert "Host: shop.test\r\nX-A: 1\r\n" in own
    assert own.lower().count("host:") == 1


def test_hosts_file_names_localhost_the_pod_and_aliases_once() -> None:
    pod = Pod(
        Origin(Ref("Pod", "shop", "web")),
        Ref("Pod", "shop", "web"),
        "u",
        "node-1",
        "web",
        True,
        (),
        hosts=(("10.0.0.1", ("db", "db.test")),),
    )
    assert render_hosts(pod, ("10.244.1.2",)).splitlines()[1:] == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.244.1.2\tweb",
        "10.0.0.1\tdb\tdb.test",
    ]
