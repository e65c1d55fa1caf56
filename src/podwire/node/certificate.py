"""The stand-ins' TLS certificate: one self-signed EC key for the process, made with the first TLS client."""

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path


class StandInTls:
    """Makes the server context once. Use from the event loop's thread only."""

    def __init__(self, state_dir: Path) -> None:
        """The key is written below ``state_dir``, mode 0600."""
        self._path = state_dir / "stand-in.pem"
        self._context: asyncio.Future[ssl.SSLContext] | None = None

    def context(self) -> "asyncio.Future[ssl.SSLContext]":
        """The context, made in a worker thread the first time; stand-ins share it."""
        if self._context is None:
            self._context = asyncio.ensure_future(asyncio.to_thread(self._make))
        return self._context

    def _make(self) -> ssl.SSLContext:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(make_certificate(datetime.now(UTC)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._path)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context


def make_certificate(now: datetime) -> bytes:
    """Key and certificate as PEM, valid for ten years, for any name."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "podwire stand-in")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=3650),
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.DNSName("*.svc.cluster.local")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pem + certificate.public_bytes(serialization.Encoding.PEM)
