"""A real Envoy under a real driver on loopback, with echo backends. Everything it starts ends with it."""

import asyncio
import http.client
import json
import os
import select
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from podwire.base import Origin, Ref
from podwire.plan import Certificate, Cluster, PlaneFact, ProxyPlan, Route, RoutePlan, Upstream, VirtualHost
from podwire.planes.envoy import EnvoyDriver, envoy_argv

KEY = "ingress-nginx/ingress-nginx-controller"
ORIGIN = Origin(Ref("Ingress", "shop", "web"))
DEADLINE_SECONDS = 20


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def echo(self) -> Any:
        return json.loads(self.body)


class Backend:
    """Echoes its name and the request as JSON."""

    def __init__(self, name: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one write an answer: two meet Nagle and delayed acknowledgement, 40 ms each

            def do_GET(self) -> None:
                seen = {"name": name, "path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
                body = json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.upstream = Upstream("127.0.0.1", self.server.server_address[1])
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Rig:
    """Driver in a thread, Envoy as a child, facts as they come."""

    key = KEY

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix="pw-envoy-"))
        self.facts: list[PlaneFact] = []
        self.changed = threading.Condition()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.driver = EnvoyDriver(self._report, run_dir=self.dir)
        self.run(self.driver.start())
        self.http, self.https, self.health = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.dir / "envoy.log"

    def _report(self, key: str, fact: object) -> None:
        assert key == f"envoy/{KEY}"
        assert isinstance(fact, PlaneFact)
        with self.changed:
            self.facts.append(fact)
            self.changed.notify_all()

    def run(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result(DEADLINE_SECONDS)

    def start_envoy(self) -> None:
        with self.log.open("ab") as log:
            argv = envoy_argv(self.dir, KEY)
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)

    def kill_envoy(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(DEADLINE_SECONDS)
            self.process = None

    def plan(self, *hosts: VirtualHost, clusters: tuple[Cluster, ...] = (), **kwargs: Any) -> ProxyPlan:
        certificates: tuple[Certificate, ...] = kwargs.pop("certificates", ())
        return ProxyPlan(
            key=KEY,
            http_port=self.http,
            https_port=self.https,
            health_port=self.health,
            hosts={h.host: h for h in sorted(hosts, key=lambda h: h.host)},
            clusters={c.key: c for c in clusters},
            certificates={c.key: c for c in certificates},
            **kwargs,
        )

    def apply(self, proxy: ProxyPlan) -> None:
        self.run(self.driver.apply(RoutePlan({KEY: proxy})))

    def wait(self, condition: Callable[[PlaneFact], bool], *, since: int = -1) -> PlaneFact:
        """The latest fact, as soon as ``condition`` holds for it."""
        with self.changed:
            found = self.changed.wait_for(
                lambda: len(self.facts) > max(since, 0) and condition(self.facts[-1]), DEADLINE_SECONDS
            )
            text = self.log.read_text() if self.log.exists() else ""
            assert found, f"last fact: {self.facts[-1:]}\n{text[-3000:]}"
            return self.facts[-1]

    def settle(self, proxy: ProxyPlan) -> PlaneFact:
        """Apply, and wait until every unit is confirmed or refused."""
        from podwire.plan import digest
        from podwire.planes.envoy.session import units_of

        self.apply(proxy)
        wanted = {key: digest(unit) for key, unit in units_of(proxy).items()}

        def is_settled(fact: PlaneFact) -> bool:
            return fact.ready and all(fact.applied.get(k) == d or k in fact.rejected for k, d in wanted.items())

        return self.wait(is_settled)

    def request(
        self, host: str, path: str = "/", *, tls: bool = False, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connect(tls=tls, name=host.split(":")[0])
        try:
            return ask(connection, host, path, headers)
        finally:
            connection.close()

    def connect(self, *, tls: bool, name: str = "") -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self.https if tls else self.http, timeout=DEADLINE_SECONDS)
        if tls:
            connection.sock = self.tls_socket(name)
        return connection

    def tls_socket(self, name: str) -> ssl.SSLSocket:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", self.https), DEADLINE_SECONDS)
        return context.wrap_socket(plain, server_hostname=name or None)

    def restart_driver(self) -> None:
        self.run(self.driver.close())
        self.driver = EnvoyDriver(self._report, run_dir=self.dir)
        self.run(self.driver.start())

    def read_log(self, words: str) -> str:
        """The first complete log line with ``words``, once Envoy wrote it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            found = [line for line in self.log.read_text().splitlines(keepends=True) if words in line]
            if found and found[0].endswith("\n"):
                return found[0].rstrip()
            select.select([], [], [], 0.01)
        raise AssertionError(f"no line with {words!r}")

    def close(self) -> None:
        self.kill_envoy()
        self.run(self.driver.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(DEADLINE_SECONDS)
        self.loop.close()
        shutil.rmtree(self.dir)


def ask(
    connection: http.client.HTTPConnection, host: str, path: str, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on an open connection."""
    connection.putrequest("GET", path, skip_host=True)
    for key, value in {"Host": host, **(headers or {})}.items():
        connection.putheader(key, value)
    connection.endheaders()
    response = connection.getresponse()
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())


def free_ports(count: int) -> list[int]:
    """Ports nobody uses now, from a span of this process' own below the ephemeral range."""
    found: list[int] = []
    candidate = 11000 + (os.getpid() * 37) % 20000
    while len(found) < count:
        candidate += 1
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", candidate))
            except OSError:
                continue
            found.append(candidate)
    return found


def cluster(key: str, *backends: Backend) -> Cluster:
    namespace, _, rest = key.partition("/")
    service = Ref("Service", namespace, rest.partition(":")[0])
    return Cluster(Origin(service), key, service, tuple(b.upstream for b in backends))


def prefix(path: str, cluster_key: str, **kwargs: Any) -> Route:
    return Route(ORIGIN, "prefix", path, cluster_key, **kwargs)


def exact(path: str, cluster_key: str, **kwargs: Any) -> Route:
    return Route(ORIGIN, "exact", path, cluster_key, **kwargs)


def key_pair(key: str, *names: str, rsa_bits: int = 0) -> Certificate:
    """A self-signed certificate; ``rsa_bits`` 1024 is one that parses and that Envoy refuses."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if rsa_bits:
        private = rsa.generate_private_key(public_exponent=65537, key_size=rsa_bits)
    else:
        private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, key)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(
        Origin(Ref("Secret", *key.split("/"))),
        key,
        made.public_bytes(serialization.Encoding.PEM).decode(),
        pem.decode(),
    )
