"""The server's own certificate authority: one CA, one serving and one client certificate, EC P-256.

Rules:

1. Made at the first start, kept in ``pki/`` (0700, files 0600). A later start reads them without importing the
   cryptography library (start budget), unless the serving names changed or the end is near.
2. The client certificate is of group ``system:masters``, as kubeadm's admin.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, ExtensionType, Name

YEARS = 10
RENEW_SECONDS = 30 * 86400


class Pki(msgspec.Struct, frozen=True):
    """Where the files are."""

    directory: Path

    @property
    def ca(self) -> Path:
        """The CA certificate."""
        return self.directory / "ca.crt"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of ``server`` or ``admin``."""
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    @property
    def _facts(self) -> Path:
        return self.directory / "facts.json"

    def ensure(self, names: Iterable[str]) -> None:
        """Make what is missing so that the server may be called by ``names`` (DNS names and addresses)."""
        wanted = sorted(set(names))
        facts = self._read_facts()
        if facts.get("names") == wanted and facts.get("until", 0) - RENEW_SECONDS > time.time():
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        issue(self, wanted, keep_ca=bool(facts) and self.ca.exists())
        until = int(time.time()) + YEARS * 365 * 86400
        write_secret(self._facts, msgspec.json.encode({"names": wanted, "until": until}))

    def _read_facts(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = msgspec.json.decode(self._facts.read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return {}
        return found


def write_secret(path: Path, data: bytes) -> None:
    """Write atomically, mode 0600: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def issue(pki: Pki, names: list[str], *, keep_ca: bool) -> None:
    """Issue all certificates; the CA is kept when it is there, so that clients keep trusting us."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca_path, ca_key_path = pki.pair("ca")
    if keep_ca:
        ca: Any = x509.load_pem_x509_certificate(ca_path.read_bytes())
        key: Any = load_pem_private_key(ca_key_path.read_bytes(), None)
    else:
        key = _new_key()
        subject = _name("podwire-ca")
        ca = _sign(subject, key, (subject, key), [x509.BasicConstraints(ca=True, path_length=None), _usage(ca=True)])
        _save(ca_path, ca_key_path, ca, key)
    signer = (ca.subject, key)
    alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
    for name, subject, extra, use in (
        ("server", _name("kube-apiserver"), [alternatives], ExtendedKeyUsageOID.SERVER_AUTH),
        ("admin", _name("kubernetes-admin", "system:masters"), [], ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        own = _new_key()
        extensions = [x509.BasicConstraints(ca=False, path_length=None), _usage(ca=False), x509.ExtendedKeyUsage([use])]
        _save(*pki.pair(name), _sign(subject, own, signer, [*extensions, *extra]), own)


def _new_key() -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str, organization: str = "") -> "Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, ca: bool) -> "ExtensionType":
    from cryptography import x509

    off = dict.fromkeys(
        ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    return x509.KeyUsage(digital_signature=True, key_encipherment=not ca, key_cert_sign=ca, crl_sign=ca, **off)


def _alternative(name: str) -> Any:
    from ipaddress import ip_address

    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _sign(subject: "Name", key: Any, signer: tuple["Name", Any], extensions: list["ExtensionType"]) -> "Certificate":
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives.hashes import SHA256

    issuer, issuer_key = signer
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365 * YEARS))
    )
    identifiers: list[ExtensionType] = [
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
    ]
    critical = (x509.BasicConstraints, x509.KeyUsage)
    for extension in (*extensions, *identifiers):
        builder = builder.add_extension(extension, critical=isinstance(extension, critical))
    return builder.sign(issuer_key, SHA256())


def _save(path: Path, key_path: Path, certificate: Any, key: Any) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    write_secret(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    write_secret(path, certificate.public_bytes(Encoding.PEM))
