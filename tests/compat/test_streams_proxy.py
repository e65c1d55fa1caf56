"""pods/proxy and services/proxy: every verb, bodies, upgrades, and what goes wrong."""

import asyncio
import http.client
import json
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.compat.clients_rig import podwire_with_pods

from podwire.testing.process import RunningPodwire, eventually

pytestmark = [pytest.mark.compat, pytest.mark.kernel, pytest.mark.xdist_group("proxy")]
POD, SERVICE = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"


class Door:
    """HTTPS to the API server with the kubeconfig's client certificate."""

    def __init__(self, running: RunningPodwire) -> None:
        view = json.loads(running.kubectl("config", "view", "--raw", "-o", "json"))
        self.url = view["clusters"][0]["cluster"]["server"]
        self.context = ssl.create_default_context(
            cadata=decode(view["clusters"][0]["cluster"], "certificate-authority")
        )
        home = running.home
        for name in ("client-certificate", "client-key"):
            (home / name).write_text(decode(view["users"][0]["user"], name))
        self.context.load_cert_chain(home / "client-certificate", home / "client-key")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        place = urlsplit(self.url)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, context=self.context, timeout=30)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if data[:1] == b"{" else data, dict(answer.getheaders())
        finally:
            connection.close()


def decode(part: dict[str, str], name: str) -> str:
    import base64
    from pathlib import Path

    if f"{name}-data" in part:
        return base64.b64decode(part[f"{name}-data"]).decode()
    return Path(part[name]).read_text()


def lower(said: dict[str, Any]) -> dict[str, str]:
    """The headers that arrived."""
    return {name.lower(): value for name, value in said["headers"].items()}


@pytest.fixture(scope="module")
def door() -> Iterator[Door]:
    with podwire_with_pods() as running:
        opened = Door(running)
        eventually(lambda: opened.ask("GET", f"{SERVICE}/web/proxy/")[0], lambda code: code == 200)
        yield opened


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_verb_reaches_the_pod_with_path_and_query(door: Door, method: str) -> None:
    code, said, _ = door.ask(method, f"{POD}/web:8080/proxy/a%20b/c?d=e%26f&g=h", X_Mine="yes")
    assert code == 200
    assert (said["pod"], said["method"]) == ("web", method)
    assert "c" in said["path"] and lower(said)["x-mine"] == "yes"


def test_head_has_no_body(door: Door) -> None:
    assert door.ask("HEAD", f"{POD}/web/proxy/")[:2] == (200, b"")


@pytest.mark.parametrize("name", ["web", "web:80", "web:http", "http:web:80"])
def test_a_service_is_reached_by_each_form_of_its_name(door: Door, name: str) -> None:
    assert door.ask("GET", f"{SERVICE}/{name}/proxy/hello")[1]["pod"] == "web"


def test_a_body_arrives(door: Door) -> None:
    code, _, _ = door.ask("POST", f"{POD}/web/proxy/", b"x" * 3_000_000)
    assert code == 200


def test_credentials_stay_here(door: Door) -> None:
    headers = lower(door.ask("GET", f"{POD}/web/proxy/", Accept_Language="de")[1])
    assert headers["accept-language"] == "de" and "authorization" not in headers
    assert headers["x-forwarded-uri"] == f"{POD}/web/proxy/"


def test_without_a_slash_it_redirects(door: Door) -> None:
    code, _, headers = door.ask("GET", f"{POD}/web/proxy?a=b")
    assert (code, headers["Location"]) == (301, f"{POD}/web/proxy/?a=b")


@pytest.mark.parametrize(
    "path, code, words",
    [
        (f"{POD}/nope/proxy/", 404, "not found"),
        (f"{POD}/web:x/proxy/", 400, "not a port"),
        (f"{POD}/web:9/proxy/", 503, "error trying to reach service"),
        (f"{POD}/a:b:c:d/proxy/", 400, "[scheme:]name[:port]"),
        (f"{SERVICE}/nope/proxy/", 404, "not found"),
        (f"{SERVICE}/web:81/proxy/", 503, "no service port"),
        (f"{SERVICE}/kubernetes:nope/proxy/", 503, "no service port"),
        (f"{POD}/box:80/proxy/", 503, "error trying to reach service"),
    ],
)
def test_what_goes_wrong_is_a_status(door: Door, path: str, code: int, words: str) -> None:
    answer, said, _ = door.ask("GET", path)
    assert (answer, said["kind"], said["code"]) == (code, "Status", code)
    assert words in said["message"]


def test_a_websocket_goes_through(door: Door) -> None:
    async def talk() -> str:
        connector = aiohttp.TCPConnector(ssl=door.context)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.ws_connect(f"{door.url}{POD}/web:8080/proxy/ws") as socket,
        ):
            await socket.send_str("hello")
            return str((await socket.receive(timeout=30)).data)

    assert "hello" in asyncio.run(talk())
