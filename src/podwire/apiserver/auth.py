"""Who asks: a client certificate of our CA, or a bearer token. Everybody known may do everything (RBAC is not here)."""

from hmac import compare_digest

from aiohttp.web import BaseRequest

from podwire.apiserver.status import unauthorized


class Authenticator:
    """Knows the one token; certificates are checked by TLS itself."""

    def __init__(self, token: str = "") -> None:
        """An empty ``token`` accepts none."""
        self._token = token.encode()

    def check(self, request: BaseRequest) -> None:
        """Raise 401 for an anonymous request."""
        transport = request.transport
        if transport is not None and transport.get_extra_info("peercert"):
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if self._token and scheme.lower() == "bearer" and compare_digest(token.strip().encode(), self._token):
            return
        raise unauthorized()
