"""A real Envoy does what a route plan says: hosts, paths, TLS, redirects, headers, changes without lost requests."""

import socket
import threading

import pytest
from tests.envoy.envoy_rig import ORIGIN, Backend, Rig, ask, cluster, exact, key_pair, prefix

from podwire.plan import Route, VirtualHost

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("envoy-serves")]

Backends = tuple[Backend, ...]


def test_hosts_paths_and_the_default_backend(rig: Rig, backends: Backends) -> None:
    one, two, three = backends
    fact = rig.settle(
        rig.plan(
            VirtualHost("a.example", (exact("/x", "n/two:80"), prefix("/x/", "n/three:80"), prefix("/", "n/one:80"))),
            VirtualHost("*.w.example", (prefix("/w", "n/two:80"),)),
            clusters=(cluster("n/one:80", one), cluster("n/two:80", two), cluster("n/three:80", three)),
        )
    )
    assert fact.rejected == {}
    answers = {path: rig.request("a.example:8080", path).echo["name"] for path in ("/", "/x", "/x/y", "/xy", "/x?q=1")}
    assert answers == {"/": "one", "/x": "two", "/x/y": "three", "/xy": "one", "/x?q=1": "two"}
    assert rig.request("A.Example", "/a//b/../c").echo["path"] == "/a/c"
    assert rig.request("q.w.example", "/w/1").echo["name"] == "two"
    for host, path in (("q.w.example", "/"), ("a.q.w.example", "/w"), ("w.example", "/w"), ("other", "/")):
        answer = rig.request(host, path)
        assert (answer.status, answer.body) == (404, "default backend - 404\n")


def test_more_than_one_label_falls_to_the_catch_all(rig: Rig, backends: Backends) -> None:
    rig.settle(
        rig.plan(
            VirtualHost("*", (prefix("/all", "n/one:80"),)),
            VirtualHost("*.w.example", (prefix("/", "n/two:80"),)),
            clusters=(cluster("n/one:80", backends[0]), cluster("n/two:80", backends[1])),
        )
    )
    assert rig.request("q.w.example", "/all").echo["name"] == "two"
    assert rig.request("a.q.w.example:81", "/all/x").echo["name"] == "one"
    assert rig.request("a.q.w.example", "/").status == 404


def test_redirects_and_own_answers(rig: Rig, backends: Backends) -> None:
    routes = (
        prefix("/plain", "n/one:80"),
        Route(ORIGIN, "prefix", "/gone", status=503, redirect_https=False),
        prefix("/empty", "n/none:80"),
        prefix("/", "n/one:80", redirect_https=True),
    )
    clusters = (cluster("n/one:80", backends[0]), cluster("n/none:80"))
    rig.settle(rig.plan(VirtualHost("r.example", routes), clusters=clusters))
    answer = rig.request("r.example:8080", "/deep/path?q=1&r=2")
    assert (answer.status, answer.headers["location"]) == (308, "https://r.example/deep/path?q=1&r=2")
    assert rig.request("r.example", "/deep", tls=True).status == 200
    assert rig.request("r.example", "/plain").status == 200
    assert rig.request("r.example", "/gone").status == 503
    assert rig.request("r.example", "/empty").status == 503


def test_headers_are_those_of_ingress_nginx(rig: Rig, backends: Backends) -> None:
    clusters = (cluster("n/one:80", backends[0]),)
    rig.settle(rig.plan(VirtualHost("h.example", (prefix("/", "n/one:80"),)), clusters=clusters))
    sent = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Port": "1",
        "X-Real-IP": "6.6.6.6",
        "X-Request-ID": "mine",
        "Proxy": "http://evil",
        "Bad_Name": "1",
    }
    answer = rig.request("h.example", "/", tls=True, headers=sent)
    seen = answer.echo["headers"]
    expected = {
        "host": "h.example",
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "x-forwarded-host": "h.example",
        "x-forwarded-proto": "https",
        "x-forwarded-scheme": "https",
        "x-scheme": "https",
        "x-forwarded-port": str(rig.https),
        "x-original-forwarded-for": "6.6.6.6",
        "x-original-forwarded-host": "evil",
        "x-request-id": "mine",
    }
    assert {key: seen.get(key) for key in expected} == expected
    assert not {"proxy", "bad_name"} & seen.keys()
    assert not [key for key in seen if key.startswith("x-envoy")]
    assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
    plain = rig.request("h.example", "/")
    assert "strict-transport-security" not in plain.headers
    assert "server" not in plain.headers
    assert "x-original-forwarded-for" not in plain.echo["headers"]


def served_name(rig: Rig, name: str) -> str:
    from cryptography import x509

    with rig.tls_socket(name) as tls:
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def test_certificates_by_sni(rig: Rig, backends: Backends) -> None:
    routes = (prefix("/", "n/one:80"),)
    clusters = (cluster("n/one:80", backends[0]),)
    one, wild = key_pair("n/one", "t.example"), key_pair("n/wild", "*.t.example")
    hosts = (
        VirtualHost("t.example", routes, certificate="n/one"),
        VirtualHost("*.t.example", routes, certificate="n/wild"),
        VirtualHost("plain.example", routes),
    )
    rig.settle(rig.plan(*hosts, clusters=clusters, certificates=(one, wild)))
    fake = "Kubernetes Ingress Controller Fake Certificate"
    found = {name: served_name(rig, name) for name in ("t.example", "a.t.example", "plain.example", "")}
    assert found == {"t.example": "n/one", "a.t.example": "n/wild", "plain.example": fake, "": fake}
    plan = rig.plan(*hosts, clusters=clusters, certificates=(one, wild), default_certificate="n/wild")
    rig.settle(plan)
    assert served_name(rig, "nobody") == "n/wild"


def test_a_renewed_certificate_keeps_connections(rig: Rig, backends: Backends) -> None:
    host = VirtualHost("t.example", (prefix("/", "n/one:80"),), certificate="n/one")
    clusters = (cluster("n/one:80", backends[0]),)
    rig.settle(rig.plan(host, clusters=clusters, certificates=(key_pair("n/one", "t.example"),)))
    connection = rig.connect(tls=True, name="t.example")
    assert ask(connection, "t.example", "/").status == 200
    fresh = key_pair("n/one", "t.example", "www.t.example")
    rig.settle(rig.plan(host, clusters=clusters, certificates=(fresh,)))
    assert ask(connection, "t.example", "/").status == 200
    connection.close()


def test_websocket_upgrades_pass(rig: Rig, backends: Backends) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += peer.recv(4096)
                assert b"upgrade: websocket" in data.lower()
                peer.sendall(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
                peer.sendall(peer.recv(4096).upper())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        from podwire.plan import Upstream

        target = cluster("n/ws:80")
        from msgspec.structs import replace

        target = replace(target, upstreams=(Upstream("127.0.0.1", listener.getsockname()[1]),))
        rig.settle(rig.plan(VirtualHost("ws.example", (prefix("/", "n/ws:80"),)), clusters=(target,)))
        with socket.create_connection(("127.0.0.1", rig.http), 10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(4096)
            assert data.startswith(b"HTTP/1.1 101")
            client.sendall(b"hello")
            assert client.recv(4096) == b"HELLO"
        thread.join(10)


def test_changes_lose_no_request(rig: Rig, backends: Backends) -> None:
    """Endpoints, clusters and routes change under load; every request is answered by a backend that was in force."""
    one, two, _ = backends
    failures: list[str] = []
    answered = threading.Semaphore(0)
    stop = threading.Event()

    def load() -> None:
        connection = rig.connect(tls=False)
        while not stop.is_set():
            answer = ask(connection, "c.example", "/")
            answered.release()
            if answer.status != 200:
                failures.append(f"{answer.status} {answer.body}")
        connection.close()

    def plan(step: int) -> None:
        key = f"n/s{step // 3}:80"
        chosen = (one, two) if step % 3 == 0 else (one,) if step % 3 == 1 else (two,)
        hosts = (VirtualHost("c.example", (prefix("/", key),)), VirtualHost(f"h{step}.example", (prefix("/", key),)))
        rig.settle(rig.plan(*hosts, clusters=(cluster(key, *chosen),)))

    plan(0)
    thread = threading.Thread(target=load)
    thread.start()
    try:
        for step in range(1, 60):
            plan(step)
            assert answered.acquire(timeout=20)
    finally:
        stop.set()
        thread.join(20)
    assert failures == []


def test_health_and_the_access_log(rig: Rig, backends: Backends) -> None:
    clusters = (cluster("n/one:80", backends[0]),)
    rig.settle(rig.plan(VirtualHost("log.example", (prefix("/", "n/one:80"),)), clusters=clusters))
    with socket.create_connection(("127.0.0.1", rig.health), 10) as health:
        health.sendall(b"GET /healthz HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\n\r\n")
        assert health.recv(4096).startswith(b"HTTP/1.1 200")
    assert rig.request("log.example", "/seen?x=1").status == 200
    line = rig.read_log("log.example/seen?x=1")
    assert '"GET http://log.example/seen?x=1 HTTP/1.1" 200' in line
    assert "-> n/one:80 127.0.0.1:" in line
    assert line.endswith(f"[{ORIGIN}]")
