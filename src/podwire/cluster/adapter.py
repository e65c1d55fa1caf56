"""The embedded API server as a source, without HTTP in between.

The engine may not import the API server; this is where the two meet. Every write runs the same admission, validation
and durable commit as a request of kubectl.
"""

from collections.abc import Sequence
from typing import Any, assert_never

from podwire.apiserver.server import ApiServer
from podwire.apiserver.status import StatusError
from podwire.apiserver.verbs import WriteOptions
from podwire.base import NOWHERE, Finding, PodwireError, Ref
from podwire.client import ApiError, Change
from podwire.kube import KINDS
from podwire.plan import Bind, Create, Merge, Remove, Replace, Write
from podwire.plan.node import Pod, TokenFile

Json = dict[str, Any]
REMOVED_FIELDS = {
    "spec.topologyKeys": "the field went in 1.22: use spec.trafficDistribution: PreferSameZone, or PreferSameNode",
}
"""What to write instead of fields that Kubernetes had once."""
SEEN = frozenset(KINDS) - {"IPAddress", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
"""What the engine follows: an IPAddress says nothing that its Service does not say, webhooks are the API server's."""
APPLY_MANAGER = "podwire-up"
NOT_FOUND = 404


class EmbeddedSource:
    """A :class:`podwire.client.Source` over a started :class:`ApiServer` of this process."""

    def __init__(self, server: ApiServer) -> None:
        """The feed starts now."""
        self._server = server
        # Custom resources may have the names of our kinds (a Service of another group); they are not ours.
        objects, _ = server.list_all(SEEN)
        self._feed = server.subscribe(SEEN)
        self._initial: tuple[Change, ...] | None = tuple(_change("ADDED", value) for value in objects)

    async def changes(self) -> tuple[Change, ...]:
        """Everything there is first, then what changed."""
        if self._initial is not None:
            initial, self._initial = self._initial, None
            return initial
        return tuple(_change(event, value) for event, value in await self._feed.next())

    async def write(self, write: Write) -> None:
        """Carry out one write in process."""
        try:
            await self._dispatch(write)
        except StatusError as error:
            raise ApiError(error.status) from error

    async def close(self) -> None:
        """Stop watching."""
        self._feed.close()

    async def _dispatch(self, write: Write) -> None:
        server, ref = self._server, write.ref
        match write:
            case Create():
                await _create(server, write.body)
            case Replace():
                await server.update(write.body, write.subresource)
            case Merge():
                await server.merge(
                    ref.kind,
                    ref.namespace,
                    ref.name,
                    write.patch,
                    subresource=write.subresource,
                    resource_version=write.based_on,
                )
            case Remove():
                await server.delete(ref.kind, ref.namespace, ref.name, uid=write.uid, grace_seconds=write.grace_seconds)
            case Bind():
                await server.bind(ref.namespace, ref.name, uid=write.uid, node=write.node)
            case other:
                assert_never(other)


async def _create(server: ApiServer, body: Json) -> None:
    try:
        await server.create(body)
    except StatusError as error:
        if error.status.get("reason") != "AlreadyExists":
            raise


def issue_token(server: ApiServer, pod: Pod, wish: TokenFile) -> str:
    """A token of the pod's ServiceAccount, bound to the pod. Raises :class:`PodwireError` in the API's words."""
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.pod.name, "uid": pod.uid}
    audiences = [wish.audience] if wish.audience else []
    spec = {"expirationSeconds": wish.expiration_seconds, "audiences": audiences, "boundObjectRef": bound}
    try:
        return server.request_token(pod.pod.namespace, pod.service_account, {"spec": spec})
    except StatusError as error:
        raise PodwireError(f"failed to fetch token: {error.status.get('message')}") from error


def _change(event: str, value: Json) -> Change:
    meta = value["metadata"]
    namespace = meta.get("namespace", "")
    key = f"{namespace}/{meta['name']}" if namespace else meta["name"]
    return Change(value["kind"], key, None if event == "DELETED" else value)


_FIRST = {"Namespace": 0, "CustomResourceDefinition": 1}
"""What others need to be there."""


async def apply_objects(server: ApiServer, objects: Sequence[Json]) -> tuple[Finding, ...]:
    """Server-side apply with strict field validation, each object on its own: what the API refuses becomes a finding
    (PW9002) and the rest goes on. Namespaces and definitions go first; everything shares one wait for durability."""
    findings, newest = [], 0
    for value in sorted(objects, key=lambda v: _FIRST.get(str(v.get("kind")), len(_FIRST))):
        try:
            newest = max(newest, await _apply(server, value))
        except StatusError as error:
            findings.append(_refusal(value, error))
    await server.store.settled(newest)
    return tuple(findings)


def revisions_of(server: ApiServer, objects: Sequence[Json]) -> dict[Ref, int]:
    """The newest revision of each of ``objects`` that is stored and of a kind the engine looks at."""
    found = {}
    for ref in (_ref(value) for value in objects if value["kind"] in KINDS):
        stored = server.get(ref.kind, ref.namespace, ref.name)
        if stored is not None:
            found[ref] = int(stored["metadata"]["resourceVersion"])
    return found


def _refusal(value: Json, error: StatusError) -> Finding:
    ref, message = _ref(value), str(error.status.get("message"))
    lost = error.status.get("code") == NOT_FOUND and ref.namespace
    fix = (
        f"add a Namespace {ref.namespace} to the manifests, or: kubectl create namespace {ref.namespace}"
        if lost
        else next((advice for field, advice in REMOVED_FIELDS.items() if field in message), "")
    )
    return Finding("PW9002", "error", ref, NOWHERE, message, fix)


async def _apply(server: ApiServer, value: Json) -> int:
    kind = server.verbs.objects.kinds.of(str(value.get("apiVersion")), value["kind"])
    if kind is None:
        known = row.api_version if (row := KINDS.get(value["kind"])) else "no version"
        raise StatusError({"message": f"{value.get('apiVersion')} {value['kind']} is not served here ({known} is)"})
    ref = _ref(value)
    options = WriteOptions(manager=APPLY_MANAGER, field_validation="Strict", force=True)
    whole = _unmergeable(value)
    if whole:
        value = {**value, "status": {k: v for k, v in value["status"].items() if k not in whole}}
    outcome = await server.apply(kind, ref.key if kind.namespaced else ref.name, value, options)
    if whole:
        written = await server.merge(kind.stored, ref.namespace, ref.name, {"status": whole}, subresource="status")
        return int(written["metadata"]["resourceVersion"])
    return outcome.rv


def _unmergeable(value: Json) -> Json:
    """Addresses of a node with two of one type. The list's key is the type, so they can be replaced as a whole only:
    that is how a kubelet of two families writes them."""
    addresses = value.get("status", {}).get("addresses", ()) if value["kind"] == "Node" else ()
    types = [address.get("type") for address in addresses]
    return {"addresses": addresses} if len(set(types)) < len(types) else {}


def _ref(value: Json) -> Ref:
    meta = value.get("metadata") or {}
    kind = KINDS.get(value["kind"])
    namespace = str(meta.get("namespace") or "default") if kind is None or kind.namespaced else ""
    return Ref(str(value["kind"]), namespace, str(meta.get("name") or ""))
