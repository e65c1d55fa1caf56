"""Certificates of Ingress hosts: which Secret, is it usable, and does it fit the host.

Rules:

1. The oldest Ingress with a rule for the host and a ``tls`` section decides; its bad Secret is not replaced by a newer
   Ingress's good one (ingress-nginx ``createServers``).
2. Its entry that lists the host wins; else the first whose certificate is valid for the host.
3. Missing, broken or for other names: a finding, and the default certificate serves. The catch-all host always gets
   the default certificate.

Sources: ingress-nginx ``controller.go`` (extractTLSSecretName, createServers); Go ``x509.VerifyHostname``.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Sequence

import msgspec

from podwire.base import FieldPath, Finding, Origin, Ref
from podwire.compile.ingress_views import ANY_HOST, IngressView
from podwire.kube import Secret
from podwire.plan import Certificate


class SecretView(msgspec.Struct, frozen=True):
    """A Secret read as a key pair: usable (``certificate``), or why not. ``names`` are the DNS names it is for."""

    certificate: Certificate | None
    names: tuple[str, ...] = ()
    problem: str = ""


ReadSecret = Callable[[str], SecretView | None]
"""The view of ``namespace/name``, None when there is no such Secret."""


class Choice(msgspec.Struct, frozen=True):
    """``certificate`` is empty for the default one; ``has_tls``: plain requests may be redirected."""

    certificate: Certificate | None = None
    has_tls: bool = False
    findings: tuple[Finding, ...] = ()


def choose_certificate(host: str, views: Sequence[IngressView], read: ReadSecret) -> Choice:
    """What serves TLS for ``host``; ``views`` are the Ingresses with a rule for it, oldest first."""
    view = next((v for v in views if v.tls), None)
    if view is None:
        return Choice()
    if host == ANY_HOST:
        return Choice(has_tls=True)
    index = _entry_for(host, view, read)
    if index is None:
        message = f"no entry lists {host}, nor has a certificate for it: the default certificate serves it"
        finding = Finding("PW5004", "warning", view.ref, FieldPath("spec.tls"), message, f"add {host} to hosts")
        return Choice(has_tls=True, findings=(finding,))
    name = view.tls[index].secret_name
    if not name:
        return Choice(has_tls=True)
    return _judge(host, view, index, read(f"{view.ref.namespace}/{name}"))


def _entry_for(host: str, view: IngressView, read: ReadSecret) -> int | None:
    for index, entry in enumerate(view.tls):
        if host in (h.lower() for h in entry.hosts):
            return index
    for index, entry in enumerate(view.tls):
        found = read(f"{view.ref.namespace}/{entry.secret_name}") if entry.secret_name else None
        if found is not None and is_valid_for(host, found.names):
            return index
    return None


def _judge(host: str, view: IngressView, index: int, secret: SecretView | None) -> Choice:
    where = FieldPath(f"spec.tls[{index}].secretName")
    key = f"{view.ref.namespace}/{view.tls[index].secret_name}"
    instead = f"the default certificate serves {host}"

    def refuse(code: str, message: str, fix: str) -> Choice:
        finding = Finding(code, "error", view.ref, where, f"{message}: {instead}", fix)
        return Choice(has_tls=True, findings=(finding,))

    if secret is None:
        return refuse(
            "PW5001", f"there is no Secret {key}", f"create it: kubectl create secret tls -n {key.replace('/', ' ')}"
        )
    if secret.certificate is None:
        return refuse("PW5002", f"Secret {key} is no usable key pair: {secret.problem}", "replace tls.crt and tls.key")
    if not is_valid_for(host, secret.names):
        names = ", ".join(secret.names) or "no name"
        return refuse("PW5003", f"the certificate in Secret {key} is for {names}", f"issue one for {host}")
    return Choice(secret.certificate, has_tls=True)


def is_valid_for(host: str, names: Sequence[str]) -> bool:
    """Whether one of ``names`` covers ``host``: equal, or ``*.`` with exactly one label in its place."""
    _, dot, parent = host.partition(".")
    return host in names or (bool(dot) and f"*.{parent}" in names)


def read_secret(secret: Secret) -> SecretView:
    """The key pair of a Secret, or what is wrong with it. Never shows key material."""
    try:
        chain, key = (_decode(secret, field) for field in ("tls.crt", "tls.key"))
    except ValueError as error:
        return SecretView(None, problem=str(error))
    return _parse(secret.ref, chain, key)


def _decode(secret: Secret, field: str) -> bytes:
    if field in secret.string_data:
        return secret.string_data[field].encode()
    if field not in secret.data:
        raise ValueError(f"data has no {field}")
    try:
        return b64decode(secret.data[field], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{field} is not base64") from None


def _parse(ref: Ref, chain_pem: bytes, key_pem: bytes) -> SecretView:
    """Parsed and written anew: what reaches the proxy is PEM of ours, whatever surrounded it in the Secret."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        names = _names(chain[0])
        public = chain[0].public_key()
        chain_text = "".join(c.public_bytes(Encoding.PEM).decode("ascii") for c in chain)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension):
        return SecretView(None, problem="tls.crt holds no certificate in PEM form")
    try:
        private = load_pem_private_key(key_pem, password=None)
        key_text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return SecretView(None, names, "tls.key holds no private key in PEM form without password")
    if private.public_key() != public:
        return SecretView(None, names, "tls.key is not the key of the first certificate in tls.crt")
    return SecretView(Certificate(Origin(ref, FieldPath("data")), ref.key, chain_text, key_text), names)


def _names(certificate: "x509.Certificate") -> tuple[str, ...]:  # type: ignore[name-defined]  # noqa: F821
    """DNS names, lower case; the common name counts when there are none, as ingress-nginx still allows."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        names = [str(attribute.value) for attribute in common]
    return tuple(name.lower() for name in names)
