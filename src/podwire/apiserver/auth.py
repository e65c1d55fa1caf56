"""Authentication: a client certificate of our CA, the static token, or a ServiceAccount token; and impersonation.

Rules:

1. No credential: 401, but for health and version. A bad token is 401 even beside a good certificate.
2. ``Impersonate-*`` headers make the asker somebody else, if the asker may ``impersonate`` every part of it.

Spec: k8s authentication request headers; staging/src/k8s.io/apiserver/pkg/endpoints/filters/impersonation.go.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from hmac import compare_digest
from typing import Any
from urllib.parse import unquote

from aiohttp.web import BaseRequest

from podwire.apiserver.access import Access
from podwire.apiserver.identity import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    UNAUTHENTICATED,
    User,
    service_account_user,
    user_of_certificate,
)
from podwire.apiserver.status import bad_request, unauthorized
from podwire.apiserver.tokens import BadToken, Tokens

Permit = Callable[[User, Access], None]
"""Raises 403 unless the user may."""

_EXTRA = "impersonate-extra-"
_SERVICE_ACCOUNT = "system:serviceaccount:"


class Authenticator:
    """Knows how people prove who they are; certificates are checked by TLS itself."""

    def __init__(self, token: str, tokens: Tokens, *, permit: Permit, now: Callable[[], float]) -> None:
        """An empty ``token`` accepts none; its bearer is a member of system:masters."""
        self._token = token.encode()
        self._tokens = tokens
        self._permit = permit
        self._now = now

    def user_of(self, request: BaseRequest) -> User:
        """Who asks. Raises 401, and 403 for an impersonation that is not allowed."""
        user = self._authenticated(request)
        return self._impersonated(request, user)

    def _authenticated(self, request: BaseRequest) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self._bearer(token.strip())
        transport = request.transport
        certificate: Mapping[str, Any] | None = transport.get_extra_info("peercert") if transport else None
        if certificate:
            return user_of_certificate(certificate)
        raise unauthorized()

    def _bearer(self, token: str) -> User:
        if self._token and compare_digest(token.encode("utf-8", "surrogateescape"), self._token):
            return User(name="podwire:token", groups=(MASTERS, AUTHENTICATED))
        try:
            return self._tokens.check(token, (), self._now())[0]
        except BadToken as error:
            raise unauthorized() from error

    def _impersonated(self, request: BaseRequest, user: User) -> User:
        headers = request.headers
        name = headers.get("Impersonate-User", "")
        groups = headers.getall("Impersonate-Group", [])
        uid = headers.get("Impersonate-Uid", "")
        extra: dict[str, list[str]] = {}
        for key, value in headers.items():
            if key.lower().startswith(_EXTRA):
                extra.setdefault(unquote(key[len(_EXTRA) :]).lower(), []).append(value)
        # Headers are bytes: what is not UTF-8 comes as surrogates, which no JSON can name.
        every = "".join((name, uid, *groups, *extra, *(value for values in extra.values() for value in values)))
        if any("\udc80" <= letter <= "\udcff" for letter in every):
            raise bad_request("impersonation headers must be UTF-8")
        if not name:
            if groups or uid or extra:
                raise bad_request("requested impersonation without impersonating a user")
            return user
        for access in _needed(name, groups, uid=uid, extra=extra):
            self._permit(user, access)
        return _somebody(name, groups, uid=uid, extra=extra)


def _needed(name: str, groups: Iterable[str], *, uid: str, extra: Mapping[str, list[str]]) -> Iterator[Access]:
    """What the asker must be allowed to."""
    namespace, account = _account(name)
    if account:
        yield Access(verb="impersonate", resource="serviceaccounts", namespace=namespace, name=account)
    else:
        yield Access(verb="impersonate", resource="users", name=name)
    group = "authentication.k8s.io"
    for wanted in groups:
        yield Access(verb="impersonate", resource="groups", name=wanted)
    if uid:
        yield Access(verb="impersonate", group=group, resource="uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield Access(verb="impersonate", group=group, resource="userextras", subresource=key, name=value)


def _somebody(name: str, groups: list[str], *, uid: str, extra: Mapping[str, list[str]]) -> User:
    found = {key: tuple(values) for key, values in extra.items()}
    namespace, account = _account(name)
    if account and not groups:
        user = service_account_user(namespace, account)
        return User(name=name, groups=user.groups, uid=uid, extra=found)
    known = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
    added = () if known in groups or UNAUTHENTICATED in groups else (known,)
    return User(name=name, groups=(*groups, *added), uid=uid, extra=found)


def _account(name: str) -> tuple[str, str]:
    """Namespace and name of a ServiceAccount's user name; empty when it is none."""
    parts = name.removeprefix(_SERVICE_ACCOUNT).split(":") if name.startswith(_SERVICE_ACCOUNT) else []
    return (parts[0], parts[1]) if len(parts) == 2 and all(parts) else ("", "")
