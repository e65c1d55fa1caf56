"""A certificate authority of the test's own, as cert-manager's cainjector would bring it, and configurations."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.compat.webhook_server import Handler, serve

Json = dict[str, Any]


class Authority:
    """An authority and certificates of it, as files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        basic = x509.BasicConstraints(ca=True, path_length=None)
        made = self._builder(self._name, self._key.public_key()).add_extension(basic, critical=True)
        self._certificate = made.sign(self._key, hashes.SHA256())

    @property
    def bundle(self) -> str:
        """``caBundle``."""
        return base64.b64encode(self._certificate.public_bytes(serialization.Encoding.PEM)).decode()

    def issue(self, *names: str) -> tuple[str, str]:
        """Certificate and key for these names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        found: list[x509.GeneralName] = [
            x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name) for name in names
        ]
        builder = self._builder(subject, key.public_key())
        made = builder.add_extension(x509.SubjectAlternativeName(found), critical=False)
        certificate = made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files = self._directory / f"{names[0]}.crt", self._directory / f"{names[0]}.key"
        for file, data in zip(files, (certificate, private), strict=True):
            file.write_bytes(data)
        return str(files[0]), str(files[1])

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
        return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))


@contextmanager
def local_webhook(authority: Authority) -> Iterator[str]:
    """A webhook on 127.0.0.1: its URL."""
    Handler.seen.clear()
    server = serve(*authority.issue("127.0.0.1"), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def configuration(kind: str, name: str, client: Json, **more: Any) -> Json:
    """One webhook that looks at ConfigMaps of namespaces labelled ``hooked``."""
    operations = more.pop("operations", ["CREATE", "UPDATE"])
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": operations, "resources": ["configmaps"]}
    hook = {
        "name": f"{name}.example.com",
        "clientConfig": client,
        "rules": [{**rule, **more.pop("rule", {})}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **more,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [hook],
    }
