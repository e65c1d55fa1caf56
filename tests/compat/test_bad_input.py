"""Wrong input: a clear error or finding that names object and field; everything else goes on working."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwire.testing.process import RunningPodwire, eventually, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("bad-input")]
GOOD = """
apiVersion: v1
kind: Pod
metadata: {name: good, labels: {app: good}}
spec: {containers: [{name: main, image: example.com/x, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: good}
spec: {type: NodePort, selector: {app: good}, ports: [{port: 80, targetPort: 8080, nodePort: 30555}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: good}
spec:
  ingressClassName: nginx
  rules:
    - host: good.example.com
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: good, port: {number: 80}}}}]}
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningPodwire]:
    with running_podwire() as running:
        running.kubectl("apply", "-f", "-", text_input=GOOD)
        yield running
        still_works(running)


def still_works(cluster: RunningPodwire) -> None:
    address = cluster.address("ingress-nginx/ingress-nginx-controller")
    command = ("curl", "-s", "-m", "3", "-H", "Host: good.example.com", f"http://{address}/")
    eventually(lambda: cluster.attempt(*command).stdout, lambda said: '"pod":"good"' in said.replace(" ", ""))


def refused(cluster: RunningPodwire, text: str) -> str:
    done = cluster.attempt("kubectl", "apply", "-f", "-", text_input=text)
    assert done.returncode != 0
    return done.stderr


def test_a_malformed_manifest_is_named_with_its_line(tmp_path: Path, cluster: RunningPodwire) -> None:
    (tmp_path / "bad.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: x\nspec: [\n")
    done = cluster.attempt("podwire", "up", "--name", "never-up", "-f", str(tmp_path))
    assert done.returncode == 1
    assert "PW9001" in done.stderr and "bad.yaml:" in done.stderr


def test_an_unknown_field_is_named(cluster: RunningPodwire) -> None:
    said = refused(cluster, "# YAML\n{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {prots: []}}")
    assert 'unknown field "spec.prots"' in said


def test_a_node_port_taken_twice(cluster: RunningPodwire) -> None:
    said = refused(cluster, GOOD.split("---")[1].replace("name: good}", "name: other}", 1))
    assert "spec.ports[0].nodePort" in said and "30555" in said and "already allocated" in said


def of_service(spec: str) -> str:
    return f"# YAML\n{{apiVersion: v1, kind: Service, metadata: {{name: wrong}}, spec: {{{spec}}}}}"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ports: [{name: a, port: 80}, {name: b, port: 80}]", "spec.ports[1]: Duplicate value"),
        ("ports: [{name: a, port: 80}, {name: a, port: 81}]", 'spec.ports[1].name: Duplicate value: "a"'),
        ("ports: [{port: 80}], clusterIP: 192.0.2.1", "The range of valid IPs is 10.96.0.0/12"),
        ("ports: [{port: 80}], clusterIP: 10.96.0.0", "The range of valid IPs is 10.96.0.0/12"),
        ("ports: [{port: 80}], clusterIP: 10.96.0.1", "provided IP is already allocated"),
        ('ports: [{port: 80}], clusterIP: "fd00::1"', "IPv6 is not configured on this cluster"),
        ("ports: [{port: 80}], ipFamilies: [IPv6]", 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured'),
        (
            "ports: [{port: 80}], ipFamilyPolicy: RequireDualStack",
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured for dual-stack',
        ),
        ("type: NodePort, ports: [{port: 80, nodePort: 80}]", "The range of valid ports is 30000-32767"),
        ("type: LoadBalancer, ports: [{port: 80}], loadBalancerSourceRanges: [nowhere]", "loadBalancerSourceRanges[0]"),
    ],
)
def test_a_service_that_cannot_be(cluster: RunningPodwire, spec: str, words: str) -> None:
    assert words in refused(cluster, of_service(spec))


def slice_to(address: str, port: int) -> str:
    return f"""# YAML
      {{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: sly, labels:
      {{kubernetes.io/service-name: sly}}}}, endpoints: [{{addresses: ["{address}"]}}], ports: [{{port: {port}}}]}}"""


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1"])
def test_an_endpoint_where_none_may_be(cluster: RunningPodwire, address: str) -> None:
    assert "endpoints[0].addresses[0]" in refused(cluster, slice_to(address, 80))


def test_an_endpoint_that_is_the_api_server_is_said(cluster: RunningPodwire) -> None:
    (subset,) = json.loads(cluster.kubectl("get", "endpoints", "kubernetes", "-o", "json"))["subsets"]
    host, port = subset["addresses"][0]["ip"], subset["ports"][0]["port"]
    cluster.kubectl("apply", "-f", "-", text_input=of_service("ports: [{port: 443}]").replace("wrong", "sly"))
    cluster.kubectl("apply", "-f", "-", text_input=slice_to(host, port))
    said = eventually(lambda: cluster.kubectl("get", "events"), lambda said: "PW1120" in said)
    assert "is the API server" in said


def test_a_policy_with_an_invalid_cidr(cluster: RunningPodwire) -> None:
    text = """# YAML
      {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: bad}, spec: {podSelector: {},
      ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/99}}]}]}}"""
    said = refused(cluster, text)
    assert "spec.ingress[0].from[0].ipBlock.cidr" in said


def test_an_ingress_to_a_missing_service(cluster: RunningPodwire) -> None:
    text = (
        GOOD.split("---")[2].replace("name: good}\nspec", "name: lost}\nspec").replace("good.example", "lost.example")
    )
    cluster.kubectl("apply", "-f", "-", text_input=text.replace("service: {name: good", "service: {name: goood"))
    events = eventually(lambda: cluster.kubectl("get", "events"), lambda said: "PW3001" in said)
    assert "goood" in events
    address = cluster.address("ingress-nginx/ingress-nginx-controller")
    code = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: lost.example.com", f"http://{address}/")
    eventually(lambda: cluster.attempt(*code).stdout, lambda said: said == "503")
    status = json.loads(cluster.attempt("podwire", "status", "--name", cluster.name, "-o", "json").stdout)
    assert any(f["code"] == "PW3001" and "backend.service.name" in f["path"] for f in status["findings"])


def test_a_secret_with_a_broken_key(cluster: RunningPodwire) -> None:
    secret = """# YAML
      {apiVersion: v1, kind: Secret, metadata: {name: broken}, type: kubernetes.io/tls,
      stringData: {tls.crt: not a certificate, tls.key: not a key}}"""
    cluster.kubectl("apply", "-f", "-", text_input=secret)
    text = GOOD.split("---")[2].replace(
        "name: good}\nspec:", "name: tls}\nspec:\n  tls: [{hosts: [tls.example.com], secretName: broken}]"
    )
    cluster.kubectl("apply", "-f", "-", text_input=text.replace("good.example.com", "tls.example.com"))
    eventually(lambda: cluster.kubectl("get", "events"), lambda said: "PW5002" in said)
    address = cluster.address("ingress-nginx/ingress-nginx-controller")
    command = ("curl", "-sk", "--resolve", f"tls.example.com:443:{address}", "https://tls.example.com/")
    eventually(lambda: cluster.attempt(*command).stdout, lambda said: "good" in said)  # with the default certificate


def test_garbage_on_the_wire_gets_a_status(cluster: RunningPodwire) -> None:
    path = "/api/v1/namespaces/default/services"
    done = cluster.attempt("kubectl", "create", "--raw", path, "-f", "-", text_input="{" * 20000)
    assert done.returncode != 0
    still_works(cluster)
