"""Requests that are wrong in every way a client can be: the right status, a Status body, words a person can use."""

import gzip
import json
import ssl
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from podwire.testing.process import RunningPodwire, running_podwire

pytestmark = [pytest.mark.compat, pytest.mark.xdist_group("bad-requests")]
MAPS, PODS = "/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/pods"
JSON, YAML = "application/json", "application/yaml"
APPLY, MERGE, PATCH = "application/apply-patch+yaml", "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, PROTOBUF = "application/strategic-merge-patch+json", "application/vnd.kubernetes.protobuf"


class Wrong(NamedTuple):
    """One request and what it must get."""

    code: int
    words: str
    method: str
    path: str
    body: bytes = b""
    media: str = JSON


def config_map(rest: str = "") -> bytes:
    return f'{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"x"}}{rest}}}'.encode()


BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9 if n else ['x'] * 9)}]" for n in range(9)).encode()
TABLE = (
    Wrong(400, "invalid JSON", "POST", MAPS, b"{"),
    Wrong(400, "invalid JSON", "POST", MAPS, b"\xff\xfe"),
    Wrong(400, "one object", "POST", MAPS, b"[]"),
    Wrong(400, "", "POST", MAPS, b""),
    Wrong(400, "recursion depth", "POST", MAPS, config_map(',"data":' + '{"a":' * 2000 + "1" + "}" * 2000)),
    Wrong(400, "", "POST", MAPS, b"[" * 100_000),
    Wrong(400, "values", "POST", MAPS, BOMB, YAML),
    Wrong(400, "YAML", "POST", MAPS, b"a: [", YAML),
    Wrong(400, "protobuf", "POST", MAPS, b"k8s\0\xff\xff\xff", PROTOBUF),
    Wrong(413, "3145728", "POST", MAPS, b'"' + b"x" * 4_000_000 + b'"'),
    Wrong(415, "text/html", "POST", MAPS, b"x", "text/html"),
    Wrong(415, "cbor", "POST", MAPS, b"x", "application/cbor"),
    Wrong(400, "data", "POST", MAPS, config_map(',"data":{"a":1}')),
    Wrong(400, "data", "POST", MAPS, config_map(',"data":[]')),
    Wrong(400, "ConfigMap", "POST", PODS, config_map()),
    Wrong(400, "does not match", "POST", MAPS.replace("default", "kube-system"),
          b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"default"}}'),
    Wrong(422, "metadata.name", "POST", MAPS, b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"X_Y"}}'),
    Wrong(422, "name", "POST", MAPS, b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}'),
    Wrong(404, "not found", "POST", MAPS.replace("default", "nowhere"), config_map()),
    Wrong(400, "resourceVersion", "POST", MAPS,
          b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","resourceVersion":"1"}}'),
    Wrong(404, "not found", "GET", f"{MAPS}/nope"),
    Wrong(404, "", "GET", "/apis/nope.example.com/v1/things"),
    Wrong(404, "", "GET", "/nope"),
    Wrong(405, "", "PUT", MAPS, config_map()),
    Wrong(405, "", "POST", f"{MAPS}/x", config_map()),
    Wrong(400, "limit", "GET", f"{MAPS}?limit=x"),
    Wrong(400, "continue", "GET", f"{MAPS}?limit=1&continue=x"),
    Wrong(400, "", "GET", f"{MAPS}?labelSelector=a%20in%20("),
    Wrong(400, "is not a known field selector", "GET", f"{MAPS}?fieldSelector=data.a=1"),
    Wrong(400, "resourceVersion", "GET", f"{MAPS}?resourceVersion=x"),
    Wrong(504, "Too large", "GET", f"{MAPS}?resourceVersion=99999999999"),
    Wrong(422, "sendInitialEvents", "GET", f"{MAPS}?watch=1&sendInitialEvents=true"),
    Wrong(422, "dryRun", "POST", f"{MAPS}?dryRun=Some", config_map()),
    Wrong(422, "fieldValidation", "POST", f"{MAPS}?fieldValidation=Never", config_map()),
    Wrong(415, "json-patch", "PATCH", f"{MAPS}/kube-root-ca.crt", b"{}", JSON),
    Wrong(400, "", "PATCH", f"{MAPS}/kube-root-ca.crt", b"{", MERGE),
    Wrong(400, "", "PATCH", f"{MAPS}/kube-root-ca.crt", b"{}", PATCH),
    Wrong(422, "", "PATCH", f"{MAPS}/kube-root-ca.crt", b'[{"op":"remove","path":"/nope"}]', PATCH),
    Wrong(400, "", "PATCH", f"{MAPS}/kube-root-ca.crt", b'{"data":{"a":1}}', STRATEGIC),
    Wrong(422, "fieldManager", "PATCH", f"{MAPS}/kube-root-ca.crt", b"{}", APPLY),
    Wrong(404, "not found", "GET", f"{PODS}/nope/exec?command=true"),
)  # fmt: skip


class Door:
    """HTTPS with, or without, the kubeconfig's client certificate."""

    def __init__(self, running: RunningPodwire) -> None:
        view = json.loads(running.kubectl("config", "view", "--raw", "-o", "json"))
        cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
        self.url = cluster["server"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        self.stranger = ssl.create_default_context(cadata=authority)
        self.admin = ssl.create_default_context(cadata=authority)
        for name in ("client-certificate", "client-key"):
            (running.home / name).write_bytes(b64decode(user[f"{name}-data"]))
        self.admin.load_cert_chain(running.home / "client-certificate", running.home / "client-key")

    def ask(self, request: urllib.request.Request, context: ssl.SSLContext) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with running_podwire((), "--simulate") as running:
        yield Door(running)


def check(code: int, said: bytes, wrong_code: int, words: str) -> None:
    assert code == wrong_code, said[:300]
    status = json.loads(said)
    assert (status["kind"], status["status"], status["code"]) == ("Status", "Failure", wrong_code)
    assert status["reason"] and status["message"] and words.lower() in status["message"].lower()
    assert "Traceback" not in status["message"]


@pytest.mark.parametrize("wrong", TABLE, ids=lambda wrong: f"{wrong.method}-{wrong.code}-{wrong.words or 'any'}")
def test_a_wrong_request_gets_its_status(door: Door, wrong: Wrong) -> None:
    headers = {"Content-Type": wrong.media} if wrong.method != "GET" else {}
    body = wrong.body if wrong.method != "GET" else None
    request = urllib.request.Request(door.url + wrong.path, body, headers, method=wrong.method)
    check(*door.ask(request, door.admin), wrong.code, wrong.words)


@pytest.mark.parametrize(
    "value", ["", "Bearer nonsense", "Bearer a.b.c", "Basic YTpi", "Bearer ", "Bearer " + "x" * 5000, "Nonsense"]
)
def test_a_stranger_gets_401(door: Door, value: str) -> None:
    request = urllib.request.Request(door.url + MAPS, headers={"Authorization": value} if value else {})
    check(*door.ask(request, door.stranger), 401, "unauthorized")


def test_the_server_is_still_well(door: Door) -> None:
    code, said = door.ask(urllib.request.Request(door.url + "/readyz"), door.stranger)
    assert (code, said) == (200, b"ok")


def test_packed_bodies_are_not_a_way_around_the_limit(door: Door) -> None:
    body = gzip.compress(b" " * 50_000_000)
    headers = {"Content-Type": JSON, "Content-Encoding": "gzip"}
    code, _ = door.ask(urllib.request.Request(door.url + MAPS, body, headers, method="POST"), door.admin)
    assert code in (400, 413, 415)
