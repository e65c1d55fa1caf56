"""``/openapi/v3``: the index with hashes, and one document a group and version, made when first asked for.

``/openapi/v2`` is an empty document. kubectl asks for it when a file holds a ``kind: List`` (its check of
fieldValidation leaves lists out), and then skips what is not described; the server validates each item anyway
(docs/lab/2026-11-24-kubectl-lists-openapi-v2.md).
"""

from hashlib import sha512
from typing import Any

from aiohttp.web import BaseRequest, Response

from podwire.apiserver.http.answer import encode, reply
from podwire.apiserver.kinds import Kinds
from podwire.apiserver.status import no_such_path

Json = dict[str, Any]


V2: Json = {"swagger": "2.0", "info": {"title": "podwire", "version": "v1"}, "paths": {}, "definitions": {}}
# The same in gnostic's openapi.v2.Document: 1 swagger, 2 info {1 title, 2 version}.
_V2_PROTOBUF = b"\x0a\x032.0\x12\x0d\x0a\x07podwire\x12\x02v1"


class OpenApi:
    """Documents by path (``api/v1``, ``apis/apps/v1``)."""

    def __init__(self, kinds: Kinds) -> None:
        """Nothing is made yet."""
        self._kinds = kinds
        self._generation = kinds.generation
        self._documents: dict[str, tuple[bytes, str]] = {}

    def answer(self, request: BaseRequest, rest: list[str]) -> Response:
        """The index, or a document; a wrong hash redirects to the right one."""
        if not rest:
            links = {name: {"serverRelativeURL": self._link(name)} for name in self._names()}
            return reply(encode({"paths": links}))
        name = "/".join(rest)
        if name not in self._names():
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

    def answer_v2(self, request: BaseRequest) -> Response:
        """The empty document, as protobuf for those who read nothing else."""
        accept = request.headers.get("Accept", "")
        if "protobuf" in accept.split(",")[0]:
            # Not the type that was asked for (it has an @, which Go's mime package refuses): the one Kubernetes sends.
            media = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
            return Response(body=_V2_PROTOBUF, headers={"Content-Type": media})
        return reply(encode(V2))

    def _link(self, name: str) -> str:
        return f"/openapi/v3/{name}?hash={self._document(name)[1]}"

    def _document(self, name: str) -> tuple[bytes, str]:
        if self._generation != self._kinds.generation:
            self._generation = self._kinds.generation
            self._documents.clear()
        found = self._documents.get(name)
        if found is None:
            from podwire.kube.openapi import openapi_document

            group, version = ("", "v1") if name == "api/v1" else name.split("/")[1:]
            rows = [(row, self._kinds.meaning(row).openapi_schema(row)) for row in self._kinds.of_group(group, version)]
            data = encode(openapi_document(group, version, custom=[(row, raw) for row, raw in rows if raw is not None]))
            found = self._documents[name] = (data, sha512(data).hexdigest().upper())
        return found

    def _names(self) -> list[str]:
        kinds = self._kinds
        return ["api/v1", *(f"apis/{group}/{version}" for group in kinds.groups() for version in kinds.versions(group))]
