"""Random plans and requests: Envoy answers what ``decide_route`` says, and what ``trace`` therefore predicts."""

import random

import pytest
from tests.envoy.envoy_rig import ORIGIN, Answer, Backend, Rig, ask, cluster

from podwire.plan import Cluster, ProxyPlan, Route, VirtualHost, decide_route
from podwire.plan.routes import PathType

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("envoy-agrees")]

LABELS = ("a", "b", "shop")
TAILS = ("x.test", "y.x.test", "test.org")
ELEMENTS = ("a", "ab", "b", "c.d", "%C3%A4", "e(f)+", "$1", "~u", "A")
PLANS, REQUESTS = 25, 60


def random_host(chance: random.Random) -> str:
    kind = chance.randrange(8)
    if kind == 0:
        return "*"
    label = "*" if kind < 4 else chance.choice(LABELS)
    return f"{label}.{chance.choice(TAILS)}"


def random_path(chance: random.Random) -> str:
    path = "".join(f"/{chance.choice(ELEMENTS)}" for _ in range(chance.randrange(4)))
    return path + ("/" if not path or chance.random() < 0.25 else "")


def random_plan(chance: random.Random, rig: Rig, clusters: tuple[Cluster, ...]) -> ProxyPlan:
    def route() -> Route:
        path_type: PathType = "exact" if chance.random() < 0.4 else "prefix"
        key = chance.choice(clusters).key if chance.random() < 0.85 else ""
        status = 0 if key else 503
        redirect = chance.random() < 0.2
        return Route(ORIGIN, path_type, random_path(chance), key, status=status, redirect_https=redirect)

    hosts = {random_host(chance) for _ in range(chance.randrange(1, 7))}
    made = (
        VirtualHost(host, tuple(route() for _ in range(chance.randrange(6))), redirect_https=chance.random() < 0.1)
        for host in sorted(hosts)
    )
    return rig.plan(*made, clusters=clusters)


def random_request(chance: random.Random, plan: ProxyPlan) -> tuple[str, str, bool]:
    host = chance.choice(list(plan.hosts)) if chance.random() < 0.7 else random_host(chance)
    host = host.replace("*", chance.choice((*LABELS, "m.n", "q"))) if host != "*" else chance.choice(LABELS)
    host = host.upper() if chance.random() < 0.1 else host
    host += ":8443" if chance.random() < 0.2 else ""
    routes = [r for h in plan.hosts.values() for r in h.routes]
    path = chance.choice(routes).path if routes and chance.random() < 0.7 else random_path(chance)
    path += chance.choice(("", "", "/", "x", "/a", "/b/a"))
    return host, path.replace("//", "/"), chance.random() < 0.3


def check(answer: Answer, plan: ProxyPlan, request: tuple[str, str, bool]) -> None:
    host, path, tls = request
    decided = decide_route(plan, host=host, path=path, tls=tls)
    assert answer.status == decided.status, (request, decided, answer)
    if decided.status == 200:
        assert decided.cluster is not None
        assert answer.echo["name"] == decided.cluster.service.name, (request, decided, answer)
    if decided.status == 308:
        location = answer.headers["location"]
        assert location.startswith("https://"), location
        assert location.endswith(path), location


@pytest.mark.parametrize("seed", range(4))
def test_envoy_agrees(rig: Rig, backends: tuple[Backend, ...], seed: int) -> None:
    chance = random.Random(seed)
    keys = ("n/one:80", "n/two:80", "n/three:80")
    clusters = (*(cluster(k, b) for k, b in zip(keys, backends, strict=True)), cluster("n/empty:80"))
    for _ in range(PLANS):
        plan = random_plan(chance, rig, clusters)
        fact = rig.settle(plan)
        assert fact.rejected == {}
        connections = {tls: rig.connect(tls=tls, name="a.x.test") for tls in (False, True)}
        try:
            for _ in range(REQUESTS):
                request = random_request(chance, plan)
                host, path, tls = request
                check(ask(connections[tls], host, path), plan, request)
        finally:
            for connection in connections.values():
                connection.close()
