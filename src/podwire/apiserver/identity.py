"""Who asks."""

from collections.abc import Mapping
from typing import Any

import msgspec

Json = dict[str, Any]

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as authentication knows it; ``extra`` holds lists of words by key."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = {}

    def info(self) -> Json:
        """authentication.k8s.io/v1 UserInfo."""
        found: Json = {"username": self.name}
        if self.uid:
            found["uid"] = self.uid
        if self.groups:
            found["groups"] = list(self.groups)
        if self.extra:
            found["extra"] = {key: list(words) for key, words in self.extra.items()}
        return found


NOBODY = User(name=ANONYMOUS, groups=(UNAUTHENTICATED,))


def service_account_user(
    namespace: str, name: str, *, uid: str = "", extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """The user a ServiceAccount is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(name=f"system:serviceaccount:{namespace}:{name}", groups=groups, uid=uid, extra=extra or {})


def user_of_certificate(certificate: Mapping[str, Any]) -> User:
    """The user of a client certificate that TLS verified: CN is the name, each O a group."""
    pairs = [pair for group in certificate.get("subject", ()) for pair in group]
    names = [value for key, value in pairs if key == "commonName"]
    groups = [value for key, value in pairs if key == "organizationName"]
    return User(name=names[-1] if names else "", groups=(*groups, AUTHENTICATED))
