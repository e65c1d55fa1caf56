"""Whatever a Secret holds, reading it gives a value: a key pair or a reason."""

import datetime
from base64 import b64decode, b64encode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from podwire.compile.ingress_tls import is_valid_for, read_secret
from podwire.kube import ObjectMeta, Secret

KEY = ec.derive_private_key(7, ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x.y")])
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CERTIFICATE = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(KEY.public_key())
    .serial_number(7)
    .not_valid_before(START)
    .not_valid_after(START + datetime.timedelta(days=9))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName("X.y")]), critical=False)
    .sign(KEY, hashes.SHA256())
)
CRT = CERTIFICATE.public_bytes(serialization.Encoding.PEM)
PEM_KEY = KEY.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def secret(crt: bytes, key: bytes) -> Secret:
    data = {"tls.crt": b64encode(crt).decode(), "tls.key": b64encode(key).decode()}
    return Secret(kind="Secret", metadata=ObjectMeta(name="cert", namespace="shop"), data=data)


def pem_of(der: bytes, label: bytes) -> bytes:
    return b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, b64encode(der), label)


def der_of(pem: bytes) -> bytes:
    return b64decode(b"".join(line for line in pem.splitlines() if not line.startswith(b"-----")))


def test_junk_around_the_blocks_does_not_reach_the_plan() -> None:
    view = read_secret(secret(b"\xff\xfejunk\n" + CRT + b"tail\xff", PEM_KEY))
    assert view.certificate is not None
    assert view.certificate.chain_pem.encode() == CRT
    assert view.names == ("x.y",)


flips = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4)


def flipped(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    out = bytearray(data)
    for position, value in changes:
        out[position % len(out)] = value
    return bytes(out)


@settings(max_examples=150, deadline=None)
@given(flips, st.booleans())
def test_flipped_bytes(changes: list[tuple[int, int]], in_key: bool) -> None:
    crt = CRT if in_key else pem_of(flipped(der_of(CRT), changes), b"CERTIFICATE")
    key = pem_of(flipped(der_of(PEM_KEY), changes), b"PRIVATE KEY") if in_key else PEM_KEY
    view = read_secret(secret(crt, key))
    assert (view.certificate is None) == bool(view.problem)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes(crt: bytes, key: bytes) -> None:
    assert read_secret(secret(crt, key)).certificate is None


def test_names_cover_exactly_one_label() -> None:
    assert is_valid_for("a.b.c", ("*.b.c",))
    assert not is_valid_for("x.a.b.c", ("*.b.c",))
    assert not is_valid_for("b.c", ("*.b.c",))
    assert is_valid_for("*.b.c", ("*.b.c",))
