"""From a request to its handler: authentication, paths, errors.

Rules:

1. Whoever proves nothing is anonymous and may only see health and version. What others may do, RBAC says.
2. Every refusal is a Status. A bug is logged with its trace and answered by 500 without details.
3. Trailing slashes do not matter.
"""

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from aiohttp.web import BaseRequest, Response, StreamResponse

from podwire.apiserver.auth import Authenticator
from podwire.apiserver.chance import Chance
from podwire.apiserver.http import discovery
from podwire.apiserver.http.answer import LIST_PART, encode, many, one, presented, refuse, reply, send_list
from podwire.apiserver.http.ask import ASKED, USER, Target, dry_run, flag, parse_target, shape_of
from podwire.apiserver.http.body import decode, read_bytes
from podwire.apiserver.http.broadcast import Broadcasts
from podwire.apiserver.http.connect import CONNECTS, admit_connect
from podwire.apiserver.http.metrics import MEDIA, Metrics
from podwire.apiserver.http.openapi import OpenApi
from podwire.apiserver.http.permit import accesses_of, creation_of, path_access
from podwire.apiserver.http.read import read_list, read_one
from podwire.apiserver.http.watch import Order, Watcher
from podwire.apiserver.http.write import Writer
from podwire.apiserver.kinds import INSTEAD
from podwire.apiserver.rbac import Authorizer
from podwire.apiserver.reviews import REVIEWS, Reviews
from podwire.apiserver.status import StatusError, failure, internal, method_not_allowed, no_such_path
from podwire.apiserver.tokens import Tokens
from podwire.apiserver.verbs import Verbs

if TYPE_CHECKING:
    from podwire.apiserver.metrics import MetricsSource

Json = dict[str, Any]

LOG = logging.getLogger("podwire.apiserver")
STREAMS = ("log", "exec", "attach", "portforward")
_HEALTH = ("healthz", "livez", "readyz")
VERSION: Json = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.2+podwire",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "cpython",
    "platform": "linux/amd64",
}
"""The Kubernetes version whose API is served."""


class HasBackend(Protocol):
    """Who knows the stream backend and who measures; they may come after the server started."""

    backend: Any
    metrics: "MetricsSource | None"


class Gate(msgspec.Struct, frozen=True):
    """Who asks and what they may do."""

    authenticator: Authenticator
    authorizer: Authorizer
    reviews: Reviews
    tokens: Tokens
    chance: Chance


class App:
    """The whole HTTP side."""

    def __init__(self, verbs: Verbs, gate: Gate, *, owner: "HasBackend") -> None:
        """``owner.backend`` serves pod streams (log, exec, attach, port-forward)."""
        self._verbs = verbs
        self._store = verbs.objects.store
        self._kinds = verbs.objects.kinds
        self._gate = gate
        self._owner = owner
        self.address = ""
        self._writer = Writer(verbs)
        self._openapi = OpenApi(self._kinds)
        self._metrics = Metrics()
        self._broadcasts = Broadcasts(self._store)
        self._documents: dict[str, discovery.Document] = {}
        self._generation = self._kinds.generation

    async def handle(self, request: BaseRequest) -> StreamResponse:
        """Answer one request, and count it."""
        response = await self._answer(request)
        verb, target = request.get(ASKED, ("", None))
        self._metrics.count(verb, target, response.status)
        return response

    async def _answer(self, request: BaseRequest) -> StreamResponse:
        try:
            return await self._route(request)
        except StatusError as error:
            return refuse(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except RecursionError as error:
            LOG.warning("%s %s: nested too deep", request.method, request.path)
            return refuse(internal(f"the object is nested too deep: {error}"))
        except Exception:
            LOG.exception("%s %s failed", request.method, request.path)
            return refuse(internal("the server failed to handle the request; see its log"))

    async def _route(self, request: BaseRequest) -> StreamResponse:
        parts = [part for part in request.path.split("/") if part]
        if parts and parts[0] in _HEALTH and len(parts) == 1:
            return _health(request)
        if parts == ["version"]:
            return reply(encode(VERSION))
        user = request[USER] = self._gate.authenticator.user_of(request)
        if not _names_resource(parts):
            self._gate.authorizer.permit(user, path_access(request, parts))
        match parts:
            case ["api", "v1", _, *_]:
                return await self._resource(request, parse_target(self._kinds, "", "v1", parts[2:]))
            case ["apis", group, version, _, *_]:
                return await self._resource(request, parse_target(self._kinds, group, version, parts[3:]))
            case ["api" | "apis", *_]:
                return self._discovery(request, parts)
            case ["openapi", "v2"]:
                return self._openapi.answer_v2(request)
            case ["openapi", "v3", *rest]:
                return self._openapi.answer(request, rest)
            case [".well-known", "openid-configuration"] | ["openid", "v1", "jwks"]:
                return self._issuer(parts)
            case ["metrics"]:
                text = self._metrics.text(self._store, self._broadcasts.watchers)
                return Response(body=text.encode(), headers={"Content-Type": MEDIA})
            case []:
                return reply(encode({"paths": self._paths()}))
            case _:
                raise no_such_path()

    async def _resource(self, request: BaseRequest, target: Target) -> StreamResponse:
        self._permit(request, target)
        if (source := self._owner.metrics) is not None:
            from podwire.apiserver.http import usage

            if usage.is_measured(target.kind):
                return usage.serve(self._store, request, target, source)
        if target.kind in REVIEWS:
            return await self._review(request, target)
        _check_verb(request, target)
        if target.subresource == "token":
            return await self._review(request, target)
        if target.subresource in CONNECTS:
            await admit_connect(self._verbs, request, target)
        if target.subresource in STREAMS:
            return await self._stream(request, target)
        if target.subresource == "proxy":
            from podwire.apiserver.http import proxy

            return await proxy.serve(self._store, request, target, self._owner.backend)
        shape = shape_of(request.headers.get("Accept", ""))
        match request.method:
            case "GET" | "HEAD":
                return await self._get(request, target)
            case "POST":
                return await self._writer.post(request, target, shape)
            case "PUT":
                return await self._writer.put(request, target, shape)
            case "PATCH":
                return await self._writer.patch(request, target, shape)
            case "DELETE":
                return await self._writer.delete(request, target, shape)
            case _:
                raise method_not_allowed()

    async def _get(self, request: BaseRequest, target: Target) -> StreamResponse:
        query, include = request.query, request.query.get("includeObject", "")
        shape = shape_of(request.headers.get("Accept", ""))
        if flag(query, "watch") and not target.subresource and request.method == "GET":
            order = Order(target, query, shape, self._gate.chance)
            return await Watcher(self._store, order, self._broadcasts).serve(request)
        if not target.name:
            items, meta = read_list(self._store, target, query)
            if shape == "plain" and len(items) > LIST_PART and request.method == "GET":
                return await send_list(request, target, items, meta)
            return reply(many(target, items, meta, shape, include=include))
        item = presented(target, read_one(self._store, target, query))
        match target.subresource:
            case "" | "status" | "ephemeralcontainers":
                data = item.data if shape == "plain" else one(target, item.value, shape, include=include)
                return reply(data)
            case "scale":
                return reply(encode(target.meaning.scale(target.kind, item.value)))
            case _:
                raise method_not_allowed()

    def _permit(self, request: BaseRequest, target: Target) -> None:
        authorizer, user = self._gate.authorizer, request[USER]
        for access in accesses_of(request, target):
            request[ASKED] = (access.verb, target)
            authorizer.permit(user, access)
        creates = request.method == "PUT" or (request.method == "PATCH" and "apply" in request.content_type)
        if creates and not target.subresource and self._store.get(target.kind.stored, target.key) is None:
            authorizer.permit(user, creation_of(request, target))

    async def _review(self, request: BaseRequest, target: Target) -> Response:
        """A question, or a token: nothing is stored."""
        if request.method != "POST" or (target.name and not target.subresource):
            raise method_not_allowed()
        value, _ = decode(await read_bytes(request), request.headers.get("Content-Type", ""))
        dry = dry_run(request.query.getall("dryRun", []))
        if target.subresource:
            answer = self._gate.reviews.request_token(target.namespace, target.name, value, dry_run=dry)
        else:
            answer = self._gate.reviews.answer(target.kind, target.namespace, value, request[USER])
        return reply(encode(answer), 201)

    def _issuer(self, parts: list[str]) -> Response:
        """What those who check our tokens need (OpenID Connect discovery)."""
        tokens = self._gate.tokens
        if parts[0] == "openid":
            return Response(body=encode(tokens.public_keys()), content_type="application/jwk-set+json")
        found = {
            "issuer": tokens.issuer,
            "jwks_uri": f"https://{self.address}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        return reply(encode(found))

    async def _stream(self, request: BaseRequest, target: Target) -> StreamResponse:
        from podwire.apiserver.streams import handle

        item = read_one(self._store, Target(target.kind, namespace=target.namespace, name=target.name), {})
        response: StreamResponse = await handle(request, item.value, target.subresource, self._owner.backend)
        return response

    def _discovery(self, request: BaseRequest, parts: list[str]) -> Response:
        wanted = _aggregated_version(request.headers.get("Accept", "")) if len(parts) == 1 else ""
        name = "/".join([*parts, wanted])
        if self._generation != self._kinds.generation:
            self._generation = self._kinds.generation
            self._documents.clear()
        document = self._documents.get(name)
        if document is None:
            document = self._documents[name] = self._document(parts, wanted)
        headers = {"ETag": document.etag, "Vary": "Accept"}
        if request.headers.get("If-None-Match") == document.etag:
            return Response(status=304, headers=headers)
        return Response(body=document.data, headers=headers | {"Content-Type": document.media})

    def _document(self, parts: list[str], wanted: str) -> discovery.Document:
        kinds = self._kinds
        match parts:
            case ["api"]:
                return discovery.aggregated(kinds, [""], wanted) if wanted else discovery.api_versions(self.address)
            case ["apis"] if wanted:
                return discovery.aggregated(kinds, kinds.groups(), wanted)
            case ["apis"]:
                return discovery.api_groups(kinds)
            case ["api", "v1"]:
                return discovery.resource_list(kinds, "", "v1")
            case ["apis", group] if group in kinds.groups():
                return discovery.api_group(kinds, group)
            case ["apis", group, version] if version in kinds.versions(group):
                return discovery.resource_list(kinds, group, version)
            case _:
                raise no_such_path()

    def _paths(self) -> list[str]:
        named = [f"/apis/{g}/{v}" for g in self._kinds.groups() for v in self._kinds.versions(g)]
        return sorted(
            ["/api", "/api/v1", "/apis", *named, "/healthz", "/livez", "/metrics", "/openapi/v3", "/readyz", "/version"]
        )


def _names_resource(parts: list[str]) -> bool:
    """Whether the path is below a group version; whoever may see it is then asked about the resource."""
    return (len(parts) > 2 and parts[0] == "api") or (len(parts) > 3 and parts[0] == "apis")


def _aggregated_version(accept: str) -> str:
    """v2, v2beta1, or empty for the legacy form: the first the client names."""
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        if media != "application/json":
            continue
        named = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if named.get("as") == "APIGroupDiscoveryList" and named.get("v") in ("v2", "v2beta1"):
            return named["v"]
        if not named.get("as"):
            return ""
    return ""


_WRITES: Mapping[str, str] = MappingProxyType({"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"})


def _check_verb(request: BaseRequest, target: Target) -> None:
    """Raise 405 for a write that the kind does not have, with what to do instead."""
    verb = _WRITES.get(request.method)
    if verb is not None and verb not in target.kind.verbs:
        why = INSTEAD.get(target.kind.stored)
        raise failure(405, "MethodNotAllowed", why) if why else method_not_allowed()


def _health(request: BaseRequest) -> Response:
    name = request.path.strip("/")
    text = f"[+]ping ok\n[+]store ok\n{name} check passed\n" if "verbose" in request.query else "ok"
    return Response(text=text)
