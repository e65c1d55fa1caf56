"""DNS over TLS and HTTPS both ways, other ports, bind, zone transfers: a real worker under dig, curl and dnspython."""

import asyncio
import base64
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rcode
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.compat.test_dns_clients import ORIGIN, Server, Upstream, Z, make_plan, run, serving

from podwire.compile.corefile_blocks import compile_corefile
from podwire.plan import ZonePlan

pytestmark = pytest.mark.compat

API = f"api.shop.svc.{Z}"


class Pair:
    """A certificate for ``dns.test`` and 127.0.0.1 that signs itself, with its key."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dns.test")])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.DNSName("dns.test"), x509.IPAddress(ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.files = {
            "tls.crt": made.public_bytes(pem).decode(),
            "tls.key": key.private_bytes(pem, pkcs8, plain).decode(),
        }
        self.path = folder / "tls.crt"
        self.path.write_text(self.files["tls.crt"])
        (folder / "tls.key").write_text(self.files["tls.key"])

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path, self.path.with_name("tls.key"))
        return context


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plan_of(corefile: str, *upstreams: str, **files: str) -> ZonePlan:
    config = compile_corefile(corefile, ORIGIN, resolv_conf=upstreams, files=files).config
    return msgspec.structs.replace(make_plan(*upstreams), config=config, fallthrough=())


async def dig(port: int, *words: str) -> str:
    return await run("dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *words)


def test_dot_and_doh_are_served(tmp_path: Path) -> None:
    asyncio.run(check_secure(tmp_path))


async def check_secure(folder: Path) -> None:
    pair, dot, doh, plain = Pair(folder), free_port(), free_port(), free_port()
    kube = f"kubernetes {Z}"
    tls = "tls tls.crt tls.key"
    corefile = (
        f". {{\n {kube}\n}}\ntls://.:{dot} {{\n {tls}\n {kube}\n}}\nhttps://.:{doh} {{\n {tls}\n {kube}\n}}\n"
        f"https://.:{plain} {{\n {kube}\n}}\n"
    )
    async with serving(folder, plan_of(corefile, **pair.files)) as server:
        ca = f"+tls-ca={pair.path}"
        for words in (["+tls"], ["+tls", ca, "+tls-hostname=dns.test"]):
            assert (await dig(dot, "+short", *words, API)).split() == ["10.96.0.20"], words
        assert "10.96.0.20" not in await dig(dot, "+tls", ca, "+tls-hostname=other.test", API)
        for words in (["+https"], ["+https-get"], ["+https", ca, "+tls-hostname=dns.test"]):
            assert (await dig(doh, "+short", *words, API)).split() == ["10.96.0.20"], words
        assert "status: NXDOMAIN" in await dig(doh, "+https", f"no.shop.svc.{Z}")
        assert len((await dig(doh, "+short", "+https", f"big.shop.svc.{Z}")).split()) == 200
        await check_http(doh, plain, pair)
        await check_garbage(dot, doh)
        assert (await dig(dot, "+short", "+tls", API)).split() == ["10.96.0.20"]
        assert await server.short(API) == ["10.96.0.20"]


async def check_http(doh: int, plain: int, pair: Pair) -> None:
    query = dns.message.make_query(API, "A", id=0).to_wire()
    url, media = f"https://127.0.0.1:{doh}/dns-query", "content-type: application/dns-message"
    body = pair.path.with_name("query")
    body.write_bytes(query)
    base = (
        "curl",
        "-s",
        "--cacert",
        str(pair.path),
        "-w",
        "%{http_version} %{http_code} %{header_json}",
        "-o",
        "/dev/null",
    )
    for version in ("--http1.1", "--http2"):
        out = await run(*base, version, "-H", media, "--data-binary", f"@{body}", url)
        number = "1.1" if version == "--http1.1" else "2"
        assert out.startswith(f"{number} 200") and "max-age=30" in out and "application/dns-message" in out, out
        refused = {
            ("-H", "content-type: text/plain", "--data-binary", f"@{body}", url): "415",
            (url,): "400",
            (url.replace("dns-query", "other"),): "404",
            ("-X", "PUT", url): "405",
            (f"{url}?dns=!!!!",): "400",
        }
        for words, status in refused.items():
            assert (await run(*base, version, *words)).startswith(f"{number} {status}"), words
    http = f"http://127.0.0.1:{plain}/dns-query"
    assert (await run(*base, "-H", media, "--data-binary", f"@{body}", http)).startswith("1.1 200")
    names = ("curl", "-s", "-v", "--stderr", "-", "--doh-url", url, "--doh-insecure", "--connect-timeout", "0.2")
    assert "Trying 10.96.0.20" in await run(*names, f"http://{API}/")


async def check_garbage(dot: int, doh: int) -> None:
    """Whoever does not speak TLS is cut off, and nobody else notices."""
    for port in (dot, doh):
        for data in (b"\0\0\1", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\0\5hello" * 100):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            writer.write_eof()
            await reader.read()
            writer.close()


def test_ports_and_certificates_follow_the_configuration(tmp_path: Path) -> None:
    asyncio.run(check_ports(tmp_path))


async def check_ports(folder: Path) -> None:
    pair, first, second = Pair(folder), free_port(), free_port()
    block = "{\n hosts {\n 192.0.2.7 a.org\n }\n}\n"
    async with serving(folder, plan_of(f". {block}.:{first} {block}")) as server:
        assert (await dig(first, "+short", "a.org")).split() == ["192.0.2.7"]
        assert (await dig(first, "+short", "+tcp", "a.org")).split() == ["192.0.2.7"]
        before = server.facts[-1].applied
        await server.driver.apply(plan_of(f". {block}.:{second} {block}"))
        await server.fact(lambda f: f.ready and f.applied != before)
        assert (await dig(second, "+short", "a.org")).split() == ["192.0.2.7"]
        assert "refused" in await dig(first, "+short", "+tcp", "a.org")
        await check_refusal(server, pair, second, block)
        await check_hand_over(server, second)


async def check_refusal(server: Server, pair: Pair, port: int, block: str) -> None:
    """A port that is taken, or a key that is not the certificate's: the configuration before stays."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        await server.driver.apply(plan_of(f". {block}.:{number} {block}"))
        fact = await server.fact(lambda f: "config" in f.rejected)
        assert f"cannot listen on 127.0.0.1:{number}" in fact.rejected["config"]
        assert (await dig(port, "+short", "a.org")).split() == ["192.0.2.7"]
    wrong = {"tls.crt": pair.files["tls.crt"], "tls.key": Pair(pair.path.parent).files["tls.key"]}
    await server.driver.apply(plan_of("tls://. {\n tls tls.crt tls.key\n whoami\n}\n", **wrong))
    fact = await server.fact(lambda f: "certificate and key" in f.rejected.get("config", ""))
    assert (await dig(port, "+short", "a.org")).split() == ["192.0.2.7"]


async def check_hand_over(server: Server, port: int) -> None:
    """A port of the Corefile stays open over a restart too."""
    await server.driver.apply(plan_of(f". {{\n whoami\n}}\n.:{port} {{\n hosts {{\n 192.0.2.8 a.org\n }}\n}}\n"))
    await server.fact(lambda f: f.ready and not f.rejected)
    assert server.process is not None
    server.process.send_signal(1)
    await server.log("starting again with open sockets")
    assert (await dig(port, "+short", "a.org")).split() == ["192.0.2.8"]
    assert (await dig(port, "+short", "+tcp", "a.org")).split() == ["192.0.2.8"]


def test_bind_is_by_address(tmp_path: Path) -> None:
    asyncio.run(check_bind(tmp_path))


async def check_bind(folder: Path) -> None:
    blocks = ". {\n bind 127.0.0.2\n hosts {\n 192.0.2.2 a.org\n }\n}\n. {\n bind lo {\n except 127.0.0.2\n }\n"
    plan = plan_of(blocks + " hosts {\n 192.0.2.1 a.org\n }\n}\n")
    async with serving(folder, plan, listen="0.0.0.0") as server:
        port = str(server.ports["serving"])
        for host, wanted in (("127.0.0.1", "192.0.2.1"), ("127.0.0.2", "192.0.2.2")):
            for words in ([], ["+tcp"]):
                out = await run("dig", f"@{host}", "-p", port, "+tries=1", "+short", *words, "a.org")
                assert out.split() == [wanted], (host, out)
        text = await run("dig", "@127.0.0.3", "-p", port, "+tries=1", "a.org")
        assert "status: REFUSED" in text and "SERVER: 127.0.0.3" in text


def test_both_families(tmp_path: Path) -> None:
    asyncio.run(check_families(tmp_path))


async def check_families(folder: Path) -> None:
    async with serving(folder, plan_of(f". {{\n whoami\n kubernetes {Z}\n}}\n"), listen="[::1]") as server:
        port = str(server.ports["serving"])
        for words in ([], ["+tcp"]):
            out = await run("dig", "@::1", "-p", port, "+tries=1", *words, API)
            assert "10.96.0.20" in out, out


def test_dig_gets_the_zone(tmp_path: Path) -> None:
    asyncio.run(check_transfer(tmp_path))


async def check_transfer(folder: Path) -> None:
    corefile = f". {{\n transfer {Z} {{\n to 127.0.0.1\n }}\n kubernetes {Z}\n}}\n"
    async with serving(folder, plan_of(corefile)) as server:
        text = await server.dig("AXFR", Z)
        assert [r.split()[-1] for r in text.splitlines() if r.startswith(f"{API}.")] == ["10.96.0.20"], text
        assert text.count("\tSOA\t") == 2 and "Transfer failed" not in text
        assert "IXFR" not in text and (await server.dig("IXFR=1", Z)).count("\tSOA\t") == 1
        assert (await server.udp(Z, "AXFR")).rcode() == dns.rcode.REFUSED


@asynccontextmanager
async def secure_upstream(pair: Pair, *, https: bool) -> AsyncIterator[tuple[Upstream, int]]:
    """The upstream of the other tests, over TLS or over HTTPS."""
    asked = Upstream()

    async def on_dot(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while size := await reader.read(2):
            packet = await reader.readexactly(int.from_bytes(size, "big"))
            reply = asked.answer(packet, tcp=True)
            if reply is not None:
                writer.write(len(reply).to_bytes(2, "big") + reply)
        writer.close()

    async def on_https(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        from h2.events import DataReceived, RequestReceived, StreamEnded

        http = H2Connection(H2Configuration(client_side=False))
        http.initiate_connection()
        bodies: dict[int, bytes] = {}
        writer.write(http.data_to_send())
        while data := await reader.read(65536):
            for event in http.receive_data(data):
                match event:
                    case RequestReceived(stream_id=number, headers=headers):
                        query = dict(headers)[b":path"].partition(b"?dns=")[2]
                        bodies[number] = base64.urlsafe_b64decode(query + b"=" * (-len(query) % 4))
                    case DataReceived(stream_id=number, data=part):
                        bodies[number] += part
                    case StreamEnded(stream_id=number):
                        reply = asked.answer(bodies[number], tcp=True) or b""
                        http.send_headers(number, [(":status", "200"), ("content-type", "application/dns-message")])
                        http.send_data(number, reply, end_stream=True)
            writer.write(http.data_to_send())
        writer.close()

    context = pair.server_context()
    context.set_alpn_protocols(["h2"] if https else ["dot"])
    server = await asyncio.start_server(on_https if https else on_dot, "127.0.0.1", 0, ssl=context)
    try:
        yield asked, server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(("scheme", "method"), [("tls", "POST"), ("https", "POST"), ("https", "GET")])
def test_upstreams_over_tls(tmp_path: Path, scheme: str, method: str) -> None:
    asyncio.run(check_upstream(tmp_path, scheme, method))


async def check_upstream(folder: Path, scheme: str, method: str) -> None:
    pair = Pair(folder)
    async with secure_upstream(pair, https=scheme == "https") as (asked, port):
        base = f". {{\n kubernetes {Z} {{\n fallthrough\n }}\n forward . {scheme}://127.0.0.1:{port} {{\n"
        good = plan_of(f"{base} tls tls.crt\n tls_servername dns.test\n doh_method {method}\n }}\n}}\n", **pair.files)
        async with serving(folder, good) as server:
            for name in ("www.example.com", "ww2.example.com", "www.example.com"):
                assert await server.short(name) == ["192.0.2.80"], name
            assert len(await server.short("+tcp", "big.example.com")) == 100
            gone = await server.udp("gone.example.com")
            assert gone.rcode() == dns.rcode.NXDOMAIN
            count = len(asked.asked)
            bad = plan_of(f"{base} tls tls.crt\n tls_servername other.test\n }}\n}}\n", **pair.files)
            before = server.facts[-1].applied
            await server.driver.apply(bad)
            await server.fact(lambda f: f.ready and f.applied != before)
            assert (await server.udp("www.example.com")).rcode() == dns.rcode.SERVFAIL
            assert len(asked.asked) == count, "a name that the certificate does not have is not asked"
            assert await server.short(API) == ["10.96.0.20"]
