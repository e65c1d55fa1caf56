"""Rendering shares what did not change; a session turns confirmations into facts; the rest of the public surface."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from msgspec.structs import replace

from podwire.base import EnvironmentUnfit, Origin, Ref
from podwire.plan import Certificate, Cluster, PlaneFact, ProxyPlan, Route, RoutePlan, Upstream, VirtualHost, digest
from podwire.planes.envoy import EnvoyDriver, FakeEnvoy, envoy_argv
from podwire.planes.envoy.machine import TYPES, Request, Type
from podwire.planes.envoy.render import KeyPair, Renderer
from podwire.planes.envoy.session import Session

ORIGIN = Origin(Ref("Ingress", "shop", "web"))
FALLBACK = KeyPair("chain", "key")


def host(name: str, *paths: str, certificate: str = "", target: str = "shop/api:80") -> VirtualHost:
    routes = tuple(Route(ORIGIN, "prefix", path, target, redirect_https=True) for path in paths or ("/",))
    return VirtualHost(name, routes, certificate)


def cluster(key: str = "shop/api:80", *addresses: str) -> Cluster:
    return Cluster(ORIGIN, key, Ref("Service", "shop", "api"), tuple(Upstream(a, 8080) for a in addresses))


def certificate(key: str) -> Certificate:
    return Certificate(ORIGIN, key, f"chain of {key}", f"key of {key}")


def plan(
    *hosts: VirtualHost, clusters: tuple[Cluster, ...] = (), certificates: tuple[Certificate, ...] = ()
) -> ProxyPlan:
    return ProxyPlan(
        key="p",
        http_port=80,
        https_port=443,
        health_port=10254,
        hosts={h.host: h for h in hosts},
        clusters={c.key: c for c in clusters},
        certificates={c.key: c for c in certificates},
    )


def routes_of(parts: Any) -> Any:
    return route_pb2.RouteConfiguration.FromString(b"".join(parts[key] for key in sorted(parts)))


def test_an_endpoint_change_renders_one_assignment() -> None:
    renderer = Renderer(FALLBACK)
    hosts = [host(f"h{i}.example", certificate="shop/tls") for i in range(5)]
    both = (cluster("shop/api:80", "10.0.0.1"), cluster("shop/b:80", "10.0.0.1"))
    tls = (certificate("shop/tls"),)
    before = renderer.render(plan(*hosts, clusters=both, certificates=tls)).wanted
    moved = (cluster("shop/api:80", "10.0.0.2"), both[1])
    after = renderer.render(plan(*hosts, clusters=moved, certificates=tls)).wanted
    changed = [(t, n) for t in TYPES for n in after[t] if after[t][n] is not before[t][n]]
    assert changed == [("endpoint", "shop/api:80")]
    assignment = endpoint_pb2.ClusterLoadAssignment.FromString(after["endpoint"]["shop/api:80"]["cluster/shop/api:80"])
    socket = assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (socket.address, socket.port_value) == ("10.0.0.2", 8080)


def test_a_host_change_renders_its_fragments_only() -> None:
    renderer = Renderer(FALLBACK)
    before = renderer.render(plan(host("a.example"), host("b.example"))).wanted["route"]["ingress"]
    after = renderer.render(plan(host("a.example", "/new"), host("b.example"))).wanted["route"]["ingress"]
    assert [key for key in after if after[key] is not before[key]] == ["host/a.example"]


def test_the_fragments_make_one_configuration() -> None:
    wanted = Renderer(FALLBACK).render(plan(host("a.example"), host("*.b.example", "/x"), host("*"))).wanted
    config = routes_of(wanted["route"]["ingress"])
    assert [v.domains[0] for v in config.virtual_hosts] == ["*", "*.b.example", "a.example"]
    redirect, forward = config.virtual_hosts[2].routes
    assert (redirect.redirect.host_redirect, redirect.name) == ("a.example", "Ingress shop/web")
    assert redirect.match.headers[0].name == "x-forwarded-proto"
    assert forward.route.cluster == "shop/api:80"
    wild = config.virtual_hosts[1].routes
    assert [[h.name for h in r.match.headers] for r in wild] == [
        ["x-forwarded-proto", ":authority"],
        [":authority"],
        [":authority"],
        ["x-forwarded-proto"],
        [],
    ]
    assert wild[2].direct_response.status == 404
    assert wild[0].match.headers[1].invert_match
    assert wild[4].match.path_separated_prefix == "/x"


def test_rendering_is_the_same_in_every_process() -> None:
    hosts = (host("a.example", certificate="shop/tls"), host("*.b.example"))
    args: Any = {"clusters": (cluster("shop/api:80", "10.0.0.1"),), "certificates": (certificate("shop/tls"),)}
    one = Renderer(FALLBACK).render(plan(*hosts, **args)).wanted
    two = Renderer(FALLBACK).render(plan(*reversed(hosts), **args)).wanted
    assert one == two


def test_one_filter_chain_a_certificate() -> None:
    hosts = (host("a.example", certificate="n/c"), host("*.b.example", certificate="n/c"), host("*", certificate="n/c"))
    parts = Renderer(FALLBACK).render(plan(*hosts, certificates=(certificate("n/c"),))).wanted["listener"]["https"]
    listener = listener_pb2.Listener.FromString(b"".join(parts[key] for key in sorted(parts)))
    assert [list(c.filter_chain_match.server_names) for c in listener.filter_chains] == [["*.b.example", "a.example"]]
    assert listener.default_filter_chain.name == "default"


def answer(session: Session, refuse: dict[Type, str] | None = None) -> None:
    """Confirm (or refuse, by words a type) everything the session sends, until it is silent."""
    while responses := session.poll():
        for response in responses:
            words = (refuse or {}).get(response.type) if any("bad" in s.name for s in response.resources) else None
            session.receive(Request(response.type, nonce=response.nonce, error=words))


def subscribe(session: Session, proxy: ProxyPlan) -> None:
    for type_, names in (
        ("cluster", ()),
        ("endpoint", tuple(proxy.clusters)),
        ("listener", ()),
        ("secret", ("default", *proxy.certificates)),
        ("route", ("ingress",)),
    ):
        session.receive(Request(type_, subscribe=names))  # type: ignore[arg-type]


def test_a_fact_holds_what_was_confirmed() -> None:
    session = Session(FALLBACK)
    proxy = plan(host("a.example", certificate="n/c"), clusters=(cluster(),), certificates=(certificate("n/c"),))
    session.want(proxy)
    assert session.fact() == PlaneFact(ready=False)
    session.connect()
    subscribe(session, proxy)
    answer(session)
    applied = {
        "host/a.example": digest(proxy.hosts["a.example"]),
        "cluster/shop/api:80": digest(proxy.clusters["shop/api:80"]),
        "certificate/n/c": digest(proxy.certificates["n/c"]),
    }
    assert session.fact() == PlaneFact(ready=True, applied=applied)
    changed = plan(
        host("a.example", "/n", certificate="n/c"), clusters=(cluster(),), certificates=(certificate("n/c"),)
    )
    session.want(changed)
    assert session.fact().applied == applied, "the old form is in force until the new one is confirmed"
    answer(session)
    assert session.fact().applied["host/a.example"] == digest(changed.hosts["a.example"])
    session.want(replace(changed, hosts={}))
    assert "host/a.example" not in session.fact().applied
    session.disconnect()
    assert session.fact() == PlaneFact(ready=False)


def test_a_refused_certificate_moves_its_host_to_the_default_chain() -> None:
    session = Session(FALLBACK)
    proxy = plan(host("a.example", certificate="n/bad"), clusters=(cluster(),), certificates=(certificate("n/bad"),))
    session.want(proxy)
    session.connect()
    subscribe(session, proxy)
    answer(session, {"secret": "too short"})
    fact = session.fact()
    assert fact.ready
    assert fact.rejected == {"certificate/n/bad": "too short"}
    assert set(fact.applied) == {"host/a.example", "cluster/shop/api:80"}
    session.want(proxy)
    assert session.poll() == ()


def test_the_fake_confirms_and_answers() -> None:
    facts: dict[str, Any] = {}
    fake = FakeEnvoy(facts.__setitem__)
    proxy = plan(host("a.example"), clusters=(cluster("shop/api:80", "10.0.0.1"),))
    asyncio.run(fake.apply(RoutePlan({"p": proxy})))
    assert facts["envoy/p"].applied["host/a.example"] == digest(proxy.hosts["a.example"])
    assert fake.request("p", host="a.example").status == 308
    assert fake.request("p", host="a.example", tls=True).status == 200


def test_the_command_line_and_its_bootstrap(tmp_path: Path) -> None:
    argv = envoy_argv(tmp_path / "run", "ns/proxy")
    assert Path(argv[0]).name == "envoy"
    config = Path(argv[argv.index("--config-path") + 1])
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    bootstrap = json.loads(config.read_text())
    assert bootstrap["node"]["id"] == "ns/proxy"
    assert "pipe" in bootstrap["admin"]["address"]
    assert envoy_argv(tmp_path / "run", "ns/proxy") == argv


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    async def start() -> None:
        await EnvoyDriver(lambda key, fact: None, run_dir=tmp_path / ("x" * 120)).start()

    with pytest.raises(EnvironmentUnfit, match="longer than 107 bytes"):
        asyncio.run(start())


def test_importing_the_room_is_cheap() -> None:
    import subprocess
    import sys

    code = (
        "import sys, podwire.planes.envoy\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'google', 'envoy')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout == "[]\n"
