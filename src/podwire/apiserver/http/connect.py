"""CONNECT as admission webhooks see it: exec, attach, port-forward and proxy, asked before the stream begins.

A webhook may deny; a patch is refused (500), for the options are the request's own.
Spec: k8s apiserver/pkg/endpoints/handlers/rest.go (ConnectResource).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aiohttp.web import BaseRequest

from podwire.apiserver.attempt import Attempt
from podwire.apiserver.http.ask import USER, Target, flag
from podwire.apiserver.verbs import ADMIN, Verbs, WriteOptions

Json = dict[str, Any]

_KINDS: Mapping[str, str] = MappingProxyType(
    {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
)
CONNECTS = frozenset({*_KINDS, "proxy"})


async def admit_connect(verbs: Verbs, request: BaseRequest, target: Target) -> None:
    """Ask. Raises what a webhook denies with, and 500."""
    user = request.get(USER) or ADMIN
    kind = _KINDS.get(target.subresource) or f"{target.kind.name}ProxyOptions"
    attempt = Attempt(
        operation="CONNECT",
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        subresource=target.subresource,
        new={"kind": kind, "apiVersion": "v1", **_options(request, target)},
        old=None,
        user=user,
        dry_run=False,
        body=("", "v1", kind),
    )
    await verbs.reviewed(WriteOptions(user=user), lambda how: verbs.admit(attempt, how))


def _options(request: BaseRequest, target: Target) -> Json:
    query = request.query
    match target.subresource:
        case "proxy":
            return {"path": target.rest}
        case "portforward":
            ports = [int(port) for port in ",".join(query.getall("ports", [])).split(",") if port.isdecimal()]
            return {"ports": ports} if ports else {}
        case _:
            found: Json = {name: True for name in ("stdin", "stdout", "stderr", "tty") if flag(query, name)}
            if container := query.get("container"):
                found["container"] = container
            if command := query.getall("command", []):
                found["command"] = command
            return found
