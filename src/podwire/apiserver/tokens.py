"""ServiceAccount tokens: JWTs signed with ES256, bound to audiences, an expiry, a ServiceAccount and maybe an object.

Rules:

1. The key is made when the first token is asked for or shown, and kept in ``pki/`` beside the CA (0600).
2. A token is good while its signature and times are, its audience is wanted, its ServiceAccount has the uid it was
   issued for, and the object it is bound to (Pod, Secret, Node) exists with its uid.
3. Nothing is remembered but verified signatures: everything that may change is looked up at each use.

Spec: RFC 7515, 7518 section 3.4, 7519; k8s pkg/serviceaccount/{claims,jwt}.go; KEP-1205, KEP-2799.
"""

import base64
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from podwire.apiserver.identity import User, service_account_user
from podwire.apiserver.objects import key_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

Json = dict[str, Any]
Lookup = Callable[[str, str], Json | None]
"""Kind and key to the object."""

MAX_REMEMBERED = 1024
LEEWAY_SECONDS = 0
_POD_NAME, _POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
_NODE_NAME, _NODE_UID = "authentication.kubernetes.io/node-name", "authentication.kubernetes.io/node-uid"
_CREDENTIAL = "authentication.kubernetes.io/credential-id"


class BadToken(ValueError):
    """The token is not good; the text says why."""


class Tokens:
    """Issues and checks tokens."""

    def __init__(self, directory: Path | None, issuer: str, lookup: Lookup) -> None:
        """``directory`` None keeps the key in memory."""
        self.issuer = issuer
        self._path = directory / "sa.key" if directory else None
        self._lookup = lookup
        self._loaded: EllipticCurvePrivateKey | None = None
        self._verified: dict[str, Json] = {}

    # --- issue ---

    def issue(
        self, account: Json, *, audiences: Iterable[str], now: int, until: int, token_id: str, bound: Json
    ) -> str:
        """A token for a ServiceAccount. ``bound`` has ``pod``, ``secret`` and ``node`` entries of name and uid."""
        meta = account["metadata"]
        claims = {
            "aud": list(audiences) or [self.issuer],
            "exp": until,
            "iat": now,
            "nbf": now,
            "iss": self.issuer,
            "jti": token_id,
            "kubernetes.io": {
                "namespace": meta["namespace"],
                "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
                **bound,
            },
            "sub": f"system:serviceaccount:{meta['namespace']}:{meta['name']}",
        }
        head = {"alg": "ES256", "kid": self._key_id()}
        signed = f"{_part(head)}.{_part(claims)}"
        return f"{signed}.{self._sign(signed.encode())}"

    def _sign(self, data: bytes) -> str:
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256

        r, s = utils.decode_dss_signature(self._key().sign(data, ec.ECDSA(SHA256())))
        return _encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))

    # --- check ---

    def check(self, token: str, audiences: Iterable[str], now: float) -> tuple[User, list[str]]:
        """The user, and those of ``audiences`` (empty: the issuer) that the token is for. Raises :class:`BadToken`."""
        claims = self._verified.get(token) or self._verify(token)
        if now >= claims.get("exp", 0) + LEEWAY_SECONDS:
            raise BadToken("service account token has expired")
        if now < claims.get("nbf", 0) - 1:
            raise BadToken("service account token is not valid yet")
        wanted = [*audiences] or [self.issuer]
        found = [audience for audience in wanted if audience in claims["aud"]]
        if not found:
            raise BadToken(f"token audiences {claims['aud']} is invalid for the target audiences {wanted}")
        return self._user(claims), found

    def _verify(self, token: str) -> Json:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, utils
        from cryptography.hazmat.primitives.hashes import SHA256

        head, claims, signature = token.split(".") if token.count(".") == 2 else ("", "", "")
        if _read(head).get("alg") != "ES256":
            raise BadToken("the token is not a JWT signed with ES256")
        raw = _decode(signature)
        if len(raw) != 64:
            raise BadToken("invalid signature")
        whole = utils.encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        try:
            self._key().public_key().verify(whole, f"{head}.{claims}".encode(), ec.ECDSA(SHA256()))
        except InvalidSignature as error:
            raise BadToken("invalid signature") from error
        found = _read(claims)
        if found.get("iss") != self.issuer:
            raise BadToken("the token has another issuer")
        if len(self._verified) >= MAX_REMEMBERED:
            self._verified.clear()
        self._verified[token] = found
        return found

    def _user(self, claims: Json) -> User:
        """Rule 2: whom the token stands for, as long as everything it is bound to lives."""
        bound = claims["kubernetes.io"]
        namespace, account = bound["namespace"], bound["serviceaccount"]
        self._alive("ServiceAccount", key_of(namespace, account["name"]), account["uid"])
        extra = {_CREDENTIAL: (f"JTI={claims['jti']}",)}
        if pod := bound.get("pod"):
            self._alive("Pod", key_of(namespace, pod["name"]), pod["uid"])
            extra |= {_POD_NAME: (pod["name"],), _POD_UID: (pod["uid"],)}
        if secret := bound.get("secret"):
            self._alive("Secret", key_of(namespace, secret["name"]), secret["uid"])
        if node := bound.get("node"):
            if not pod:
                self._alive("Node", node["name"], node["uid"])
            extra |= {_NODE_NAME: (node["name"],), _NODE_UID: (node["uid"],)}
        return service_account_user(namespace, account["name"], uid=account["uid"], extra=extra)

    def _alive(self, kind: str, key: str, uid: str) -> None:
        found = self._lookup(kind, key)
        if found is None or found["metadata"]["uid"] != uid:
            raise BadToken(f"service account token is bound to a {kind} that is gone: {key}")

    # --- key ---

    def public_keys(self) -> Json:
        """The JSON Web Key Set (RFC 7517)."""
        numbers = self._key().public_key().public_numbers()
        key = {
            "use": "sig",
            "kty": "EC",
            "kid": self._key_id(),
            "crv": "P-256",
            "alg": "ES256",
            "x": _encode(numbers.x.to_bytes(32, "big")),
            "y": _encode(numbers.y.to_bytes(32, "big")),
        }
        return {"keys": [key]}

    def _key_id(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = self._key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return _encode(sha256(public).digest())

    def _key(self) -> "EllipticCurvePrivateKey":
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> "EllipticCurvePrivateKey":
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            load_pem_private_key,
        )

        from podwire.apiserver.pki import write_secret

        if self._path is not None and self._path.exists():
            key = load_pem_private_key(self._path.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return key
        made = ec.generate_private_key(ec.SECP256R1())
        if self._path is not None:
            write_secret(self._path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return made


def _part(value: Json) -> str:
    return _encode(msgspec.json.encode(value))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except ValueError as error:
        raise BadToken("the token is not base64url") from error


def _read(text: str) -> Json:
    try:
        value = msgspec.json.decode(_decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadToken("the token is not a JWT") from error
    if not isinstance(value, dict):
        raise BadToken("the token is not a JWT")
    return value
