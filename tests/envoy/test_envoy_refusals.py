"""What Envoy refuses costs its own unit only; a killed Envoy comes back to the same state."""

import os
import stat
import time

import pytest
from msgspec.structs import replace
from tests.envoy.envoy_rig import Backend, Rig, cluster, key_pair, prefix

from podwire.plan import ProxyPlan, VirtualHost, digest
from podwire.planes.envoy.bootstrap import admin_path
from podwire.planes.envoy.driver import ads_path
from podwire.testing.process import eventually

pytestmark = [pytest.mark.envoy, pytest.mark.xdist_group("envoy-refusals")]

Backends = tuple[Backend, ...]


def test_a_refused_certificate_leaves_the_rest_alone(rig: Rig, backends: Backends) -> None:
    routes = (prefix("/", "n/one:80"),)
    clusters = (cluster("n/one:80", backends[0]),)
    good, bad = key_pair("n/good", "good.example"), key_pair("n/bad", "bad.example", rsa_bits=1024)
    hosts = (
        VirtualHost("bad.example", routes, certificate="n/bad"),
        VirtualHost("good.example", routes, certificate="n/good"),
    )
    fact = rig.settle(rig.plan(*hosts, clusters=clusters, certificates=(good, bad)))
    assert list(fact.rejected) == ["certificate/n/bad"]
    assert "2048" in fact.rejected["certificate/n/bad"]
    assert {"certificate/n/good", "host/bad.example", "host/good.example"} <= fact.applied.keys()
    assert rig.request("good.example", tls=True).status == 200
    assert rig.request("bad.example", tls=True).status == 200

    mended = key_pair("n/bad", "bad.example")
    fact = rig.settle(rig.plan(*hosts, clusters=clusters, certificates=(good, mended)))
    assert fact.rejected == {}
    fact = rig.settle(rig.plan(*hosts, clusters=clusters, certificates=(good, bad)))
    assert list(fact.rejected) == ["certificate/n/bad"]
    assert fact.applied["certificate/n/bad"] == digest(mended)
    assert rig.request("bad.example", tls=True).status == 200


def test_refused_hosts_and_clusters_are_found_among_many(rig: Rig, backends: Backends) -> None:
    """Hosts and addresses the compiler would never let through."""
    names = [f"h{i}.example" for i in range(20)]
    hosts = [VirtualHost(name, (prefix("/", "n/one:80"),)) for name in names]
    hosts += [VirtualHost("H3.example", (prefix("/", "n/one:80"),)), VirtualHost("", (prefix("/", "n/one:80"),))]
    broken = replace(cluster("n/bad:80", backends[1]), upstreams=(replace(backends[1].upstream, address="nonsense"),))
    clusters = (cluster("n/one:80", backends[0]), broken, cluster("n/two:80", backends[1]))
    fact = rig.settle(rig.plan(*hosts, clusters=clusters))
    assert "cluster/n/bad:80" in fact.rejected
    assert "host/" in fact.rejected
    assert len({"host/H3.example", "host/h3.example"} & fact.rejected.keys()) == 1
    assert len(fact.rejected) == 3
    assert all(rig.request(name).status == 200 for name in names)


def test_a_refused_change_keeps_the_last_good_form(rig: Rig, backends: Backends) -> None:
    host = VirtualHost("k.example", (prefix("/", "n/k:80"),))
    good = cluster("n/k:80", backends[0])
    rig.settle(rig.plan(host, clusters=(good,)))
    bad = replace(good, upstreams=(replace(backends[0].upstream, address="nonsense"),))
    fact = rig.settle(rig.plan(host, clusters=(bad,)))
    assert list(fact.rejected) == ["cluster/n/k:80"]
    assert fact.applied["cluster/n/k:80"] == digest(good)
    assert rig.request("k.example").status == 200


def test_a_killed_envoy_converges_again(rig: Rig, backends: Backends) -> None:
    certificate = key_pair("n/c", "k.example")
    host = VirtualHost("k.example", (prefix("/", "n/k:80"),), certificate="n/c")
    before = rig.plan(host, clusters=(cluster("n/k:80", backends[0]),), certificates=(certificate,))
    rig.settle(before)
    mark = len(rig.facts)
    rig.kill_envoy()
    fact = rig.wait(lambda f: not f.ready, since=mark)
    assert fact.applied == {}
    after = rig.plan(host, clusters=(cluster("n/k:80", backends[1]),), certificates=(certificate,))
    rig.apply(after)
    rig.start_envoy()
    rig.settle(after)
    assert rig.request("k.example", tls=True).echo["name"] == "two"
    rig.kill_envoy()
    rig.start_envoy()
    rig.settle(after)
    assert rig.request("k.example").echo["name"] == "two"


def test_envoy_killed_in_the_middle_of_an_apply(rig: Rig, backends: Backends) -> None:
    def big_plan(step: int) -> ProxyPlan:
        names = [f"m{i}.example" for i in range(40)]
        hosts = [VirtualHost(n, (prefix(f"/{step}", f"n/c{i}:80"),)) for i, n in enumerate(names)]
        return rig.plan(*hosts, clusters=tuple(cluster(f"n/c{i}:80", backends[step % 3]) for i in range(40)))

    rig.settle(big_plan(0))
    for step in range(1, 6):
        plan = big_plan(step)
        rig.apply(plan)
        rig.kill_envoy()
        rig.start_envoy()
        rig.settle(plan)
        answers = {rig.request(f"m{i}.example", f"/{step}/x").echo["name"] for i in range(40)}
        assert answers == {("one", "two", "three")[step % 3]}


def test_a_restarted_driver_finds_its_envoy(rig: Rig, backends: Backends) -> None:
    host = VirtualHost("k.example", (prefix("/", "n/k:80"),))
    plan = rig.plan(host, clusters=(cluster("n/k:80", backends[0]),))
    rig.settle(plan)
    mark = len(rig.facts)
    rig.restart_driver()
    rig.apply(plan)
    rig.wait(lambda f: f.ready and len(f.applied) == 2, since=mark)
    changed = rig.plan(host, clusters=(cluster("n/k:80", backends[2]),))
    rig.settle(changed)
    assert rig.request("k.example").echo["name"] == "three"


def test_a_taken_port_is_told_and_tried_again(rig: Rig, backends: Backends) -> None:
    import socket

    host = VirtualHost("k.example", (prefix("/", "n/k:80"),))
    rig.settle(rig.plan(host, clusters=(cluster("n/k:80", backends[0]),)))
    with socket.create_server(("0.0.0.0", 0)) as blocker:
        plan = replace(rig.plan(host, clusters=(cluster("n/k:80", backends[0]),)), http_port=blocker.getsockname()[1])
        rig.apply(plan)
        fact = rig.wait(lambda f: f.message != "")
        assert "Address already in use" in fact.message
    rig.wait(lambda f: f.message == "" and f.ready)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", plan.http_port), 1).close()
            return
        except ConnectionRefusedError:
            os.sched_yield()
    raise AssertionError("nobody listens")


def test_sockets_and_files_are_private(rig: Rig) -> None:
    eventually(admin_path(rig.dir, rig.key).exists)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in rig.dir.iterdir() if path != rig.log}
    assert set(modes.values()) == {0o600}
    assert {ads_path(rig.dir).name, admin_path(rig.dir, rig.key).name} < set(modes)
