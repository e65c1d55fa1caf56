"""From a request to what must be allowed: verb, resource, namespace, name.

Spec: k8s staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
"""

import re
from collections.abc import Iterator

from aiohttp.web import BaseRequest

from podwire.apiserver.access import Access
from podwire.apiserver.http.ask import Target, flag

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_UPGRADES = ("exec", "attach", "portforward")
_NAME = re.compile(r"metadata\.name==?([^,!=]+)(?:,|\Z)")


def accesses_of(request: BaseRequest, target: Target) -> Iterator[Access]:
    """Everything the request needs; nearly always one."""
    verb = _verb(request, target)
    yield _access(request, target, verb)
    if target.subresource in _UPGRADES and verb == "get":
        # Since 1.35 a WebSocket (GET) needs what SPDY (POST) always needed.
        yield _access(request, target, "create")


def creation_of(request: BaseRequest, target: Target) -> Access:
    """What a PUT or apply needs when the object is not there."""
    return _access(request, target, "create")


def _verb(request: BaseRequest, target: Target) -> str:
    match request.method:
        case "GET" | "HEAD" if target.subresource not in ("", "status"):
            return "get"
        case "GET" | "HEAD" if flag(request.query, "watch"):
            return "watch"
        case "GET" | "HEAD":
            return "get" if target.name else "list"
        case "DELETE":
            return "delete" if target.name else "deletecollection"
        case method:
            return _VERBS.get(method, method.lower())


def _access(request: BaseRequest, target: Target, verb: str) -> Access:
    name = target.name
    if not name and verb in ("list", "watch", "deletecollection"):
        found = _NAME.search(request.query.get("fieldSelector", ""))
        name = found[1] if found else ""
    kind = target.kind
    return Access(
        verb=verb,
        group=kind.group,
        resource=kind.plural,
        subresource=target.subresource,
        namespace=target.name if kind.stored == "Namespace" else target.namespace,
        name=name,
    )


def path_access(request: BaseRequest, parts: list[str]) -> Access:
    """What a path that is no resource needs."""
    verb = "get" if request.method in ("GET", "HEAD") else request.method.lower()
    return Access(verb=verb, path="/" + "/".join(parts))
