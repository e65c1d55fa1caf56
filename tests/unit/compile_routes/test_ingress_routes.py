"""Ingresses to virtual hosts, clusters and findings."""

import datetime
from base64 import b64encode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwire.base import Finding, Ref
from podwire.compile.context import Context
from podwire.compile.memo import Memo
from podwire.compile.routes import compile_routes, is_programmed
from podwire.plan import PlaneFact, ProxyPlan, RoutePlan, decide_route, digest
from podwire.planes.envoy.fake import FakeEnvoy
from podwire.snapshot import Settings, Snapshot, SnapshotBuilder

PROXY = Settings().ingress_proxy
WEB = Ref("Ingress", "shop", "web")


class World:
    """A snapshot builder with one memo, as the engine has it."""

    def __init__(self, *objects: dict[str, Any], settings: Settings | None = None) -> None:
        self.builder = SnapshotBuilder(settings or Settings())
        self.memo = Memo()
        self.findings: tuple[Finding, ...] = ()
        for value in objects:
            self.builder.put(value)
        assert self.builder.findings() == ()

    def snapshot(self) -> Snapshot:
        return self.builder.snapshot(0)

    def plan(self) -> RoutePlan:
        piece = compile_routes(Context(self.snapshot(), self.memo))
        self.memo.sweep()
        self.findings = piece.findings
        assert piece.routes is not None
        return piece.routes

    def proxy(self) -> ProxyPlan:
        return self.plan().proxies[PROXY]

    def codes(self) -> list[str]:
        self.plan()
        return sorted(f.code for f in self.findings)

    def finding(self, code: str) -> Finding:
        self.plan()
        (found,) = [f for f in self.findings if f.code == code]
        return found


def ingress(name: str = "web", *, namespace: str = "shop", created: str = "2026-01-01T00:00:00Z", **spec: Any) -> Any:
    annotations = spec.pop("annotations", {})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": created,
            "annotations": annotations,
        },
        "spec": {"ingressClassName": "nginx", **spec},
    }


def backend(service: str, port: int | str = 80) -> Any:
    return {"service": {"name": service, "port": {"number" if isinstance(port, int) else "name": port}}}


def path(text: str, service: str, *, type_: str | None = "Prefix", port: int | str = 80) -> Any:
    return {"path": text, "pathType": type_, "backend": backend(service, port)}


def rule(host: str, *paths: Any) -> Any:
    return {"host": host, "http": {"paths": list(paths)}}


def service(name: str, *, namespace: str = "shop", **spec: Any) -> Any:
    ports = spec.pop("ports", [{"name": "http", "port": 80, "targetPort": "web"}])
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"clusterIP": "10.96.0.5", "ports": ports, **spec},
    }


def endpoints(name: str, *addresses: str, port_name: str = "http", **conditions: bool) -> Any:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": port_name, "protocol": "TCP", "port": 8080}],
        "endpoints": [{"addresses": [a], "conditions": conditions} for a in addresses],
    }


def ingress_class(name: str, controller: str = "k8s.io/ingress-nginx", *, default: bool = False) -> Any:
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"controller": controller},
    }


def pems(*names: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=9999))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def secret(name: str, crt: bytes, key: bytes) -> Any:
    data = {"tls.crt": b64encode(crt).decode(), "tls.key": b64encode(key).decode()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop"},
        "type": "kubernetes.io/tls",
        "data": data,
    }


SHOP = (service("api"), endpoints("api", "10.244.0.5", "10.244.1.7"), service("web"), endpoints("web", "10.244.0.6"))


def test_hosts_paths_and_clusters() -> None:
    world = World(*SHOP, ingress(rules=[rule("Shop.Example", path("/", "web"), path("/api", "api", port="http"))]))
    proxy = world.proxy()
    assert world.findings == ()
    assert (proxy.http_port, proxy.https_port, proxy.health_port) == (80, 443, 10254)
    (host,) = proxy.hosts.values()
    assert host.host == "shop.example"
    assert [(r.path, r.cluster, str(r.origin)) for r in host.routes] == [
        ("/api", "shop/api:80", "Ingress shop/web spec.rules[0].http.paths[1]"),
        ("/", "shop/web:80", "Ingress shop/web spec.rules[0].http.paths[0]"),
    ]
    cluster = proxy.clusters["shop/api:80"]
    assert [(u.address, u.port) for u in cluster.upstreams] == [("10.244.0.5", 8080), ("10.244.1.7", 8080)]
    assert str(cluster.origin) == "Service shop/api spec.ports[0]"


def test_exact_goes_first_then_the_longest_prefix() -> None:
    paths = [path("/", "web"), path("/a", "web"), path("/a/b", "web", type_=None), path("/a", "api", type_="Exact")]
    proxy = World(*SHOP, ingress(rules=[rule("x.y", *paths)])).proxy()
    assert [(r.path_type, r.path) for r in proxy.hosts["x.y"].routes] == [
        ("exact", "/a"),
        ("prefix", "/a/b"),
        ("prefix", "/a"),
        ("prefix", "/"),
    ]


def test_the_oldest_ingress_keeps_a_path_and_the_loser_hears_of_it() -> None:
    young = ingress("young", created="2026-02-01T00:00:00Z", rules=[rule("x.y", path("/a/", "web"), path("/b", "web"))])
    old = ingress("z-old", created="2026-01-01T00:00:00Z", rules=[rule("x.y", path("/a", "api"))])
    world = World(*SHOP, young, old)
    routes = world.proxy().hosts["x.y"].routes
    assert [(r.path, r.cluster) for r in routes] == [("/a", "shop/api:80"), ("/b", "shop/web:80")]
    lost = world.finding("PW3002")
    assert (lost.ref.name, lost.path, lost.severity) == ("young", "spec.rules[0].http.paths[0]", "warning")
    assert "shop/z-old" in lost.message


def test_equal_ages_sort_by_descending_name() -> None:
    world = World(
        *SHOP,
        ingress("a", rules=[rule("x.y", path("/", "web"))]),
        ingress("b", rules=[rule("x.y", path("/", "api"))]),
    )
    assert world.proxy().hosts["x.y"].routes[0].cluster == "shop/api:80"
    assert world.finding("PW3002").ref.name == "a"


@pytest.mark.parametrize(
    ("spec", "classes", "served", "codes"),
    [
        ({"ingressClassName": "nginx"}, [], True, []),
        ({"ingressClassName": "nginx"}, [ingress_class("nginx", "example.com/other")], False, []),
        ({"ingressClassName": "edge"}, [ingress_class("edge")], True, []),
        ({"ingressClassName": "edge"}, [], False, ["PW3005"]),
        ({"ingressClassName": None}, [], False, ["PW3006"]),
        ({"ingressClassName": None}, [ingress_class("edge", default=True)], True, []),
        ({"ingressClassName": None}, [ingress_class("edge", "example.com/other", default=True)], False, []),
        ({"ingressClassName": None, "annotations": {"kubernetes.io/ingress.class": "nginx"}}, [], True, []),
        ({"ingressClassName": None, "annotations": {"kubernetes.io/ingress.class": "traefik"}}, [], False, []),
    ],
)
def test_class(spec: Any, classes: list[Any], served: bool, codes: list[str]) -> None:
    world = World(*SHOP, *classes, ingress(rules=[rule("x.y", path("/", "web"))], **spec))
    assert ("x.y" in world.proxy().hosts) is served
    assert world.codes() == codes


def test_a_missing_service_answers_503_and_names_the_near_miss() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "web"), path("/api", "appi"))]))
    proxy = world.proxy()
    assert decide_route(proxy, host="x.y", path="/api/1", tls=False).status == 503
    assert decide_route(proxy, host="x.y", path="/", tls=False).status == 200
    found = world.finding("PW3001")
    assert found.path == "spec.rules[0].http.paths[1].backend.service.name"
    assert found.fix == "did you mean api?"
    world.builder.put(service("appi"))
    world.builder.put(endpoints("appi", "10.244.0.9"))
    assert decide_route(world.proxy(), host="x.y", path="/api/1", tls=False).status == 200
    assert world.findings == ()


def test_a_service_of_another_namespace_is_not_a_backend() -> None:
    world = World(service("api", namespace="other"), ingress(rules=[rule("x.y", path("/", "api"))]))
    assert "other/api" in world.finding("PW3001").fix


@pytest.mark.parametrize(
    ("extra", "wanted", "code"),
    [
        ((service("api"),), path("/", "api", port=81), "PW3003"),
        ((service("api"),), path("/", "api", port="grpc"), "PW3003"),
        ((service("api", ports=[{"port": 80, "protocol": "UDP"}]),), path("/", "api"), "PW3003"),
        ((service("api", type="ExternalName", externalName="example.com"),), path("/", "api"), "PW3007"),
        ((), {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Bucket", "name": "b"}}}, "PW3008"),
        ((), {"path": "/", "pathType": "Prefix", "backend": {}}, "PW3008"),
    ],
)
def test_unusable_backends_answer_503(extra: Any, wanted: Any, code: str) -> None:
    world = World(*extra, ingress(rules=[rule("x.y", wanted)]))
    assert decide_route(world.proxy(), host="x.y", path="/", tls=False).status == 503
    found = world.finding(code)
    assert found.severity == "error"
    assert found.path.startswith("spec.rules[0].http.paths[0].backend")


def test_a_port_may_be_named_by_its_target_port() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "api", port="web"))]))
    assert world.proxy().hosts["x.y"].routes[0].cluster == "shop/api:80"


def test_endpoints_ready_first_then_draining_never_loopback() -> None:
    entry = ingress(rules=[rule("x.y", path("/", "api"))])
    drain = endpoints("api", "10.244.0.5", ready=False, serving=True, terminating=True)
    world = World(service("api"), drain, entry)
    assert len(world.proxy().clusters["shop/api:80"].upstreams) == 1
    fresh = endpoints("api", "10.244.0.6", "127.0.0.1", "169.254.0.1")
    fresh["metadata"]["name"] = "api-2"
    world.builder.put(fresh)
    assert [u.address for u in world.proxy().clusters["shop/api:80"].upstreams] == ["10.244.0.6"]
    world.builder.put(endpoints("api", "10.244.0.5", ready=False))
    world.builder.remove("EndpointSlice", "shop/api-2")
    assert decide_route(world.proxy(), host="x.y", path="/", tls=False).status == 503


def test_a_default_backend_without_rules_is_the_catch_all() -> None:
    world = World(*SHOP, ingress(defaultBackend=backend("web")))
    assert decide_route(world.proxy(), host="any.thing", path="/x", tls=False).status == 200
    assert str(world.proxy().hosts["*"].routes[0].origin) == "Ingress shop/web spec.defaultBackend"


def test_a_default_backend_with_rules_is_the_root_of_its_own_hosts_only() -> None:
    first = ingress("first", rules=[rule("a.b", path("/x", "api"))], defaultBackend=backend("web"))
    later = ingress("later", created="2027-01-01T00:00:00Z", rules=[rule("c.d", path("/x", "api"))])
    proxy = World(*SHOP, first, later).proxy()
    assert [r.path for r in proxy.hosts["a.b"].routes] == ["/x", "/"]
    assert [r.path for r in proxy.hosts["c.d"].routes] == ["/x"]
    assert "*" not in proxy.hosts


def test_every_other_annotation_is_a_finding() -> None:
    names = {
        "nginx.ingress.kubernetes.io/rewrite-target": "/$1",
        "nginx.ingress.kubernetes.io/ssl-redirect": "maybe",
        "example.com/whatever": "1",
    }
    world = World(*SHOP, ingress(annotations=names, rules=[rule("x.y", path("/", "web"))]))
    assert world.codes() == ["PW3010", "PW3012"]
    assert world.finding("PW3010").path == "metadata.annotations[nginx.ingress.kubernetes.io/rewrite-target]"


@pytest.mark.parametrize("text", ["/a?b", "relative", "/a//b", "/a/../b", "/a#b", "/a b", "/a/.."])
def test_paths_no_request_has(text: str) -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path(text, "web", type_="ImplementationSpecific"))]))
    assert world.proxy().hosts["x.y"].routes == ()
    assert world.codes() == ["PW3004"]


def test_a_regular_expression_is_literal_and_said_to_be() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/a(/|$)(.*)", "web", type_="ImplementationSpecific"))]))
    assert world.codes() == ["PW3011"]


def test_a_bad_host_costs_its_rule_only() -> None:
    world = World(*SHOP, ingress(rules=[rule("foo.*.com", path("/", "web")), rule("*.ok.com", path("/", "web"))]))
    assert list(world.proxy().hosts) == ["*.ok.com"]
    assert world.finding("PW3013").path == "spec.rules[0].host"


def tls_world(*objects: Any, hosts: list[str] | None = None, **kwargs: Any) -> World:
    entry = ingress(
        tls=[{"hosts": ["x.y"] if hosts is None else hosts, "secretName": "cert"}],
        rules=[rule("x.y", path("/", "web"))],
        **kwargs,
    )
    return World(*SHOP, entry, *objects)


def test_a_certificate_serves_its_host_and_redirects_plain_requests() -> None:
    world = tls_world(secret("cert", *pems("x.y")))
    proxy = world.proxy()
    assert world.findings == ()
    assert proxy.hosts["x.y"].certificate == "shop/cert"
    assert str(proxy.certificates["shop/cert"].origin) == "Secret shop/cert data"
    assert "BEGIN" not in repr(proxy.certificates["shop/cert"])
    assert decide_route(proxy, host="x.y", path="/", tls=False).status == 308
    assert decide_route(proxy, host="x.y", path="/", tls=True).status == 200


def test_a_certificate_may_be_found_by_its_names() -> None:
    proxy = tls_world(secret("cert", *pems("*.y")), hosts=[]).proxy()
    assert proxy.hosts["x.y"].certificate == "shop/cert"


@pytest.mark.parametrize(
    ("make", "code", "words"),
    [
        (lambda: (), "PW5001", "no Secret shop/cert"),
        (lambda: (secret("cert", b"junk", b"junk"),), "PW5002", "tls.crt holds no certificate"),
        (lambda: (secret("cert", pems("x.y")[0], b"junk"),), "PW5002", "tls.key holds no private key"),
        (lambda: (secret("cert", pems("x.y")[0], pems("x.y")[1]),), "PW5002", "not the key of the first"),
        (lambda: (secret("cert", *pems("other.example")),), "PW5003", "is for other.example"),
        (lambda: ({**secret("cert", b"", b""), "data": {"tls.crt": "%%"}},), "PW5002", "tls.crt is not base64"),
        (lambda: ({**secret("cert", b"", b""), "data": {}},), "PW5002", "data has no tls.crt"),
    ],
)
def test_a_bad_secret_leaves_the_default_certificate(make: Any, code: str, words: str) -> None:
    world = tls_world(*make())
    proxy = world.proxy()
    assert proxy.hosts["x.y"].certificate == ""
    assert proxy.certificates == {}
    assert decide_route(proxy, host="x.y", path="/", tls=True).status == 200
    assert decide_route(proxy, host="x.y", path="/", tls=False).status == 308
    found = world.finding(code)
    assert words in found.message
    assert (found.ref, found.path) == (WEB, "spec.tls[0].secretName")


def test_the_oldest_tls_section_decides() -> None:
    newer = ingress(
        "newer",
        created="2027-01-01T00:00:00Z",
        tls=[{"hosts": ["x.y"], "secretName": "good"}],
        rules=[rule("x.y", path("/new", "web"))],
    )
    world = tls_world(newer, secret("good", *pems("x.y")))
    assert world.proxy().hosts["x.y"].certificate == ""
    assert world.finding("PW5001").ref == WEB


def test_redirects_follow_the_annotations_of_the_path() -> None:
    off = {"nginx.ingress.kubernetes.io/ssl-redirect": "false"}
    on = {"nginx.ingress.kubernetes.io/force-ssl-redirect": "true"}
    acme = ingress("acme", rules=[rule("x.y", path("/.well-known/acme-challenge/token", "web", type_="Exact"))])
    plain = ingress("plain", annotations=off, rules=[rule("x.y", path("/plain", "web"))])
    forced = ingress("forced", annotations=on, rules=[rule("no.tls", path("/", "web"))])
    proxy = tls_world(acme, plain, forced, secret("cert", *pems("x.y"))).proxy()

    def status(host: str, path: str) -> int:
        return decide_route(proxy, host=host, path=path, tls=False).status

    assert status("x.y", "/") == 308
    assert status("x.y", "/plain/1") == 200
    assert status("x.y", "/.well-known/acme-challenge/token") == 200
    assert status("no.tls", "/") == 308


def test_one_endpoint_change_makes_one_cluster() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "web"), path("/api", "api"))]))
    before = world.proxy()
    world.builder.put(endpoints("api", "10.244.0.99"))
    after = world.proxy()
    assert after.hosts is before.hosts
    assert after.clusters["shop/web:80"] is before.clusters["shop/web:80"]
    assert after.clusters["shop/api:80"] is not before.clusters["shop/api:80"]
    assert world.plan() is world.plan()


def test_one_ingress_change_makes_its_hosts_only() -> None:
    second = ingress("other", rules=[rule("o.p", path("/", "api"))])
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "web"))]), second)
    before = world.proxy()
    world.builder.put(endpoints("api", "10.244.0.99"))
    world.plan()  # an outer hit must not make the inner memo forget
    world.builder.put(ingress(rules=[rule("x.y", path("/n", "web"))]))
    after = world.proxy()
    assert after.hosts["o.p"] is before.hosts["o.p"]
    assert after.hosts["x.y"] is not before.hosts["x.y"]


def test_a_renamed_service_port_reaches_the_cluster() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "api"))]))
    world.plan()
    world.builder.put(service("api", ports=[{"name": "other", "port": 80}]))
    assert world.proxy().clusters["shop/api:80"].upstreams == ()


def test_order_of_arrival_does_not_matter() -> None:
    objects = (*SHOP, *(ingress(n, rules=[rule("x.y", path("/", "web"), path(f"/{n}", "api"))]) for n in "abc"))
    one, two = World(*objects), World(*reversed(objects))
    assert digest(one.plan()) == digest(two.plan())
    assert one.findings == two.findings


def test_programmed_means_confirmed() -> None:
    world = tls_world(secret("cert", *pems("x.y")))
    key = f"envoy/{PROXY}"
    facts: dict[str, Any] = {}
    fake = FakeEnvoy(facts.__setitem__)

    def programmed() -> tuple[bool, str]:
        return is_programmed(world.snapshot(), world.plan(), WEB)

    assert programmed()[0] is False
    coroutine = fake.apply(world.plan())
    with pytest.raises(StopIteration):
        coroutine.send(None)
    good: PlaneFact = facts[key]
    for unit in ("host/x.y", "certificate/shop/cert", "cluster/shop/web:80"):
        applied = {k: v for k, v in good.applied.items() if k != unit}
        world.builder.observe(key, PlaneFact(ready=True, applied=applied))
        assert programmed() == (False, f"waiting for the proxy to confirm {unit}")
    world.builder.observe(key, PlaneFact(ready=True, applied=good.applied, rejected={"host/x.y": "no"}))
    assert programmed() == (False, "the proxy refused host/x.y: no")
    world.builder.observe(key, PlaneFact(ready=False, applied=good.applied, message="port taken"))
    assert programmed() == (False, "port taken")
    world.builder.observe(key, good)
    assert programmed() == (True, "confirmed by the proxy")
    world.builder.put(endpoints("web", "10.244.0.77"))
    assert programmed() == (False, "waiting for the proxy to confirm cluster/shop/web:80")


def test_offline_planned_is_programmed() -> None:
    world = World(*SHOP, ingress(rules=[rule("x.y", path("/", "web"))]), settings=Settings(planes=False))
    assert is_programmed(world.snapshot(), world.plan(), WEB) == (True, "planned")
    assert not is_programmed(world.snapshot(), world.plan(), Ref("Ingress", "shop", "none"))[0]
