"""The shop as a user meets it: stock clients from the host and from pods."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("shop")]
SHOP = Path(__file__).parents[2] / "examples" / "shop"


@pytest.fixture(scope="module")
def shop() -> Iterator[RunningPodwire]:
    with running_podwire([SHOP]) as running:
        assert "networking ready" in running.lines[0]
        yield running


def https(shop: RunningPodwire, host: str, path: str) -> str:
    address = shop.address("ingress-nginx/ingress-nginx-controller")
    return shop.run("curl", "-sk", "--resolve", f"{host}:443:{address}", f"https://{host}{path}")


@pytest.mark.parametrize(
    ("path", "app"), [("/", "web"), ("/catalog/x", "catalog"), ("/cart", "cart"), ("/checkout", "checkout")]
)
def test_the_ingress_sends_four_paths_to_four_services(shop: RunningPodwire, path: str, app: str) -> None:
    assert json.loads(https(shop, "shop.example.com", path))["pod"].startswith(app)


def test_the_ingress_serves_the_certificate_of_the_secret(shop: RunningPodwire) -> None:
    address = shop.address("ingress-nginx/ingress-nginx-controller")
    done = subprocess.run(
        ["curl", "-sv", "-k", "--resolve", f"shop.example.com:443:{address}", "https://shop.example.com/"],
        capture_output=True,
        text=True,
    )
    assert "subject: CN=shop.example.com" in done.stderr


def test_an_unknown_host_gets_404_and_plain_http_is_redirected(shop: RunningPodwire) -> None:
    address = shop.address("ingress-nginx/ingress-nginx-controller")
    code = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}")
    assert shop.run(*code, f"http://{address}/").strip() == "404"
    said = shop.run(*code, "--resolve", f"shop.example.com:80:{address}", "http://shop.example.com/cart")
    assert said == "308 https://shop.example.com/cart"


def test_the_ingress_status_has_the_address(shop: RunningPodwire) -> None:
    found = shop.get("ingress", "-n", "shop", "shop")["status"]["loadBalancer"]["ingress"]
    assert [i["ip"] for i in found] == [shop.address("ingress-nginx/ingress-nginx-controller")]


@pytest.mark.parametrize(
    "name", ["web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local", "web.shop.svc.cluster.local."]
)
def test_names_resolve_in_every_length(shop: RunningPodwire, name: str) -> None:
    expected = shop.get("service", "-n", "shop", "web")["spec"]["clusterIP"]
    assert f"Address: {expected}" in shop.inside("shop/debug", "nslookup", name)


def test_srv_records_of_the_headless_service(shop: RunningPodwire) -> None:
    said = shop.inside("shop/debug", "nslookup", "-type=SRV", "_sql._tcp.inventory")
    assert "inventory-0.inventory.shop.svc.cluster.local." in said
    assert "inventory-1.inventory.shop.svc.cluster.local." in said


def test_external_name_is_an_alias(shop: RunningPodwire) -> None:
    assert "canonical name = ledger.payments.svc.cluster.local." in shop.inside("shop/debug", "nslookup", "billing")


def pods_behind(shop: RunningPodwire, url: str, requests: int = 40) -> Counter[str]:
    script = f"for i in $(seq {requests}); do curl -s -m 5 {url}; echo; done"
    lines = shop.inside("shop/debug", "sh", "-c", script).splitlines()
    return Counter(json.loads(line)["pod"] for line in lines if line.startswith("{"))


def test_a_cluster_ip_reaches_all_ready_endpoints(shop: RunningPodwire) -> None:
    pods = {p["metadata"]["name"] for p in shop.get("pods", "-n", "shop", "-l", "app=catalog")["items"]}
    assert set(pods_behind(shop, "http://catalog/")) == pods


def test_session_affinity_keeps_one(shop: RunningPodwire) -> None:
    assert len(pods_behind(shop, "http://cart/")) == 1


def test_an_unready_pod_leaves_rotation_and_comes_back(shop: RunningPodwire) -> None:
    pods = sorted(p["metadata"]["name"] for p in shop.get("pods", "-n", "shop", "-l", "app=catalog")["items"])
    fail = "http://localhost:8080/_podwire/fail?path=/healthz&status=503"
    shop.inside(f"shop/{pods[0]}", "curl", "-s", "-X", "POST", fail)
    eventually(lambda: set(pods_behind(shop, "http://catalog/", 8)), lambda seen: seen == {pods[1]})
    assert set(pods_behind(shop, "http://catalog/", 40)) == {pods[1]}
    shop.inside(f"shop/{pods[0]}", "curl", "-s", "-X", "DELETE", fail)
    eventually(lambda: set(pods_behind(shop, "http://catalog/", 20)), lambda seen: seen == set(pods))


def test_the_node_port_answers_on_every_node(shop: RunningPodwire) -> None:
    for item in shop.get("nodes")["items"]:
        address = next(a["address"] for a in item["status"]["addresses"] if a["type"] == "InternalIP")
        answer = json.loads(shop.run("curl", "-s", "-m", "5", f"http://{address}:30080/"))
        assert answer["pod"].startswith("catalog")


def test_the_local_load_balancer_keeps_the_client_address(shop: RunningPodwire) -> None:
    answer = json.loads(shop.run("curl", "-s", "-m", "5", f"http://{shop.address('shop/storefront')}/"))
    assert answer["pod"].startswith("web")
    assert answer["caller"].split(":")[0].endswith(".1")


def test_a_forbidden_connection_is_dropped_and_trace_names_the_policy(shop: RunningPodwire) -> None:
    done = shop.attempt(
        "kubectl", "exec", "-n", "shop", "debug", "--", "curl", "-sS", "-m", "2", "http://ledger.payments"
    )
    assert "timed out" in done.stderr + done.stdout
    traced = shop.attempt("podwire", "trace", "--name", shop.name, "shop/debug", "http://ledger.payments/")
    assert traced.returncode == 1
    assert "payments/default-deny" in traced.stdout


def test_offline_and_running_traces_agree(shop: RunningPodwire) -> None:
    question = ("shop/debug", "http://ledger.payments/", "-o", "json")
    offline = json.loads(shop.attempt("podwire", "trace", "-f", str(SHOP), *question).stdout)
    running = json.loads(shop.attempt("podwire", "trace", "--name", shop.name, *question).stdout)
    kinds = [[(h["kind"], h["verdict"]) for b in t["branches"] for h in b["hops"]] for t in (offline, running)]
    assert kinds[0] == kinds[1]


def test_logs_and_events_of_the_system_pods(shop: RunningPodwire) -> None:
    assert shop.kubectl("logs", "-n", "kube-system", "deploy/coredns")
    assert "Started container" in shop.kubectl("get", "events", "-n", "shop")


def test_scaling_reaches_endpoints_and_packets(shop: RunningPodwire) -> None:
    shop.kubectl("scale", "-n", "shop", "deploy/checkout", "--replicas=3")
    shop.kubectl("rollout", "status", "-n", "shop", "deploy/checkout", "--timeout=30s")
    eventually(lambda: len(pods_behind(shop, "http://checkout/", 30)), lambda seen: seen == 3)
    shop.kubectl("scale", "-n", "shop", "deploy/checkout", "--replicas=1")
    eventually(lambda: len(pods_behind(shop, "http://checkout/", 10)), lambda seen: seen == 1)


def test_status_is_content(shop: RunningPodwire) -> None:
    assert json.loads(shop.run("podwire", "status", "--name", shop.name, "-o", "json"))["waiting"] == []
