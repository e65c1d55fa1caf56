"""``/openapi/v3``: the index with hashes, and one document a group and version, made when first asked for."""

from hashlib import sha512
from typing import Any

from aiohttp.web import BaseRequest, Response

from podwire.apiserver.http.answer import encode, reply
from podwire.apiserver.http.discovery import groups, versions
from podwire.apiserver.status import no_such_path

Json = dict[str, Any]


class OpenApi:
    """Documents by path (``api/v1``, ``apis/apps/v1``)."""

    def __init__(self) -> None:
        """Nothing is made yet."""
        self._documents: dict[str, tuple[bytes, str]] = {}

    def answer(self, request: BaseRequest, rest: list[str]) -> Response:
        """The index, or a document; a wrong hash redirects to the right one."""
        if not rest:
            links = {name: {"serverRelativeURL": self._link(name)} for name in _names()}
            return reply(encode({"paths": links}))
        name = "/".join(rest)
        if name not in _names():
            raise no_such_path()
        data, digest = self._document(name)
        asked = request.query.get("hash")
        if asked is not None and asked != digest:
            return Response(status=301, headers={"Location": self._link(name)})
        headers = {"ETag": f'"{digest}"', "Vary": "Accept"}
        if request.headers.get("If-None-Match") == f'"{digest}"':
            return Response(status=304, headers=headers)
        if asked:
            headers["Cache-Control"] = "public, immutable"
        return reply(data, headers=headers)

    def _link(self, name: str) -> str:
        return f"/openapi/v3/{name}?hash={self._document(name)[1]}"

    def _document(self, name: str) -> tuple[bytes, str]:
        found = self._documents.get(name)
        if found is None:
            from podwire.kube.openapi import openapi_document

            group, version = ("", "v1") if name == "api/v1" else name.split("/")[1:]
            data = encode(openapi_document(group, version))
            found = self._documents[name] = (data, sha512(data).hexdigest().upper())
        return found


def _names() -> list[str]:
    return ["api/v1", *(f"apis/{group}/{version}" for group in groups() for version in versions(group))]
