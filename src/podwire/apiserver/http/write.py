"""POST, PUT, PATCH, DELETE: from a request to a verb, and its outcome to a response.

A response is sent only after the write is durable.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp.web import BaseRequest, Response

from podwire.apiserver.attempt import Attempt
from podwire.apiserver.http import scale
from podwire.apiserver.http.answer import encode, one, reply
from podwire.apiserver.http.ask import (
    USER,
    Shape,
    Target,
    dry_run,
    field_validation,
    flag,
    manager_of,
    number,
    options_invalid,
)
from podwire.apiserver.http.body import decode, read_bytes
from podwire.apiserver.http.read import choose, read_list
from podwire.apiserver.reaper import Deleted, DeleteOptions
from podwire.apiserver.status import bad_request, method_not_allowed, success, unsupported_media
from podwire.apiserver.verbs import ADMIN, Outcome, Verbs, WriteOptions, options_of, strict_error
from podwire.kube.registry import Kind

Json = dict[str, Any]

PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
_PROPAGATION = ("", "Orphan", "Background", "Foreground")


class Writer:
    """The write verbs over HTTP."""

    def __init__(self, verbs: Verbs) -> None:
        """Everything is decided by ``verbs``."""
        self._verbs = verbs
        self._store = verbs.objects.store

    async def post(self, request: BaseRequest, target: Target, shape: Shape) -> Response:
        """Create, or a subresource that is created (binding, eviction)."""
        data = await read_bytes(request)
        value, doubled = decode(data, request.headers.get("Content-Type", ""))
        options = _options(request)
        match target.subresource:
            case "" if not target.name:
                warnings, value = _doubled(target, doubled, options), _typed(target, value)
                outcome = await self._verbs.reviewed(
                    options, lambda how: self._verbs.create(target.kind, target.namespace, value, how)
                )
                return await self._answer(target, outcome, shape, warnings)
            case "binding":
                return await self._bind(target, value, options)
            case "eviction":
                return await self._evict(target, value, options)
            case _:
                raise method_not_allowed()

    async def put(self, request: BaseRequest, target: Target, shape: Shape) -> Response:
        """Replace the object or a subresource."""
        if not target.name or target.subresource not in ("", "status", "scale", "finalize", "ephemeralcontainers"):
            raise method_not_allowed()
        value, doubled = decode(await read_bytes(request), request.headers.get("Content-Type", ""))
        options = _options(request)
        if target.subresource == "scale":
            outcome = await self._verbs.reviewed(options, lambda how: scale.replace(self._verbs, target, value, how))
            return await self._scaled(target, outcome)
        warnings, body = _doubled(target, doubled, options), _typed(target, value)
        name, subresource = target.name, target.subresource

        def write(how: WriteOptions) -> Outcome:
            return self._verbs.update(target.kind, target.namespace, body, how, name=name, subresource=subresource)

        outcome = await self._verbs.reviewed(options, write)
        return await self._answer(target, outcome, shape, warnings)

    async def patch(self, request: BaseRequest, target: Target, shape: Shape) -> Response:
        """Any of the four patch types."""
        if not target.name or target.subresource not in ("", "status", "scale", "ephemeralcontainers"):
            raise method_not_allowed()
        media = request.headers.get("Content-Type", "").split(";")[0].strip()
        if media not in PATCH_TYPES:
            raise unsupported_media(media, ", ".join(PATCH_TYPES))
        options = _options(request)
        if media != PATCH_TYPES[3] and request.query.get("force"):
            raise options_invalid("force", "Forbidden: may not be specified for non-apply patch", kind="PatchOptions")
        if media == PATCH_TYPES[3] and not request.query.get("fieldManager"):
            raise options_invalid("fieldManager", "Required value: is required for apply patch", kind="PatchOptions")
        body = await read_bytes(request)
        options = msgspec.structs.replace(options, verb="Patch")
        if target.subresource == "scale":
            outcome = await self._verbs.reviewed(
                options, lambda how: scale.patch(self._verbs, target, media, body, options=how)
            )
            return await self._scaled(target, outcome)

        def write(how: WriteOptions) -> Outcome:
            subresource = target.subresource
            return self._verbs.patch(
                target.kind, target.key, content_type=media, body=body, options=how, subresource=subresource
            )

        outcome = await self._verbs.reviewed(options, write)
        return await self._answer(target, outcome, shape, [])

    async def delete(self, request: BaseRequest, target: Target, shape: Shape) -> Response:
        """One object, or a collection."""
        if target.subresource:
            raise method_not_allowed()
        options = _delete_options(request.query, await _delete_body(request))
        if not target.name:
            return await self._delete_collection(request, target, options)
        warnings, deleted = await self._delete(target.kind, target.key, options, _delete_write(request, options))
        if not options.dry_run:
            await self._store.settled(deleted.rv)
        if deleted.gone and target.kind.stored != "Pod":
            meta = deleted.value["metadata"]
            return reply(encode(success(target.kind, meta["name"], meta["uid"])), warnings=warnings)
        return reply(one(target, deleted.value, shape), warnings=warnings)

    async def _delete_collection(self, request: BaseRequest, target: Target, options: DeleteOptions) -> Response:
        if target.kind.namespaced and not target.namespace:
            raise method_not_allowed()
        query = {k: v for k, v in request.query.items() if k in ("labelSelector", "fieldSelector", "limit")}
        choose(target, query)
        items, meta = read_list(self._store, target, query)
        done: list[Deleted] = []
        for item in items:
            found = item.value["metadata"]
            key = f"{found['namespace']}/{found['name']}" if target.kind.namespaced else found["name"]
            if self._verbs.objects.get(target.kind.stored, key) is not None:
                _, deleted = await self._delete(target.kind, key, options, _delete_write(request, options))
                done.append(deleted)
        if done and not options.dry_run:
            await self._store.settled(max(entry.rv for entry in done))
        head: Json = {"kind": f"{target.kind.name}List", "apiVersion": target.kind.api_version, "metadata": meta}
        return reply(encode(head | {"items": [entry.value for entry in done]}))

    async def _delete(
        self, kind: Kind, key: str, options: DeleteOptions, how: WriteOptions
    ) -> tuple[tuple[str, ...], Deleted]:
        def write(how: WriteOptions) -> tuple[tuple[str, ...], Deleted]:
            warnings = self._verbs.admit_delete(kind, key, how)
            return warnings, self._verbs.delete(kind, key, options)

        return await self._verbs.reviewed(how, write)

    async def _bind(self, target: Target, value: Json, options: WriteOptions) -> Response:
        wanted = value.get("target") if isinstance(value.get("target"), dict) else {}
        node = wanted.get("name", "") if wanted else ""
        uid = (value.get("metadata") or {}).get("uid", "")
        if not isinstance(node, str) or not isinstance(uid, str):
            raise bad_request("Binding: target.name and metadata.uid must be strings")

        def write(how: WriteOptions) -> Outcome:
            self._verbs.admit(_creation(target, value, ("", "v1", "Binding"), how), how)
            return self._verbs.bind(target.namespace, target.name, node=node, uid=uid, dry_run=options.dry_run)

        outcome = await self._verbs.reviewed(options, write)
        return await self._succeeded(outcome.rv)

    async def _evict(self, target: Target, value: Json, options: WriteOptions) -> Response:
        wanted = value.get("deleteOptions") or {}
        if not isinstance(wanted, dict):
            raise bad_request("Eviction: deleteOptions must be an object")
        how = _delete_options({"dryRun": "All"} if options.dry_run else {}, wanted)

        def write(again: WriteOptions) -> Deleted:
            self._verbs.admit(_creation(target, value, ("policy", "v1", "Eviction"), again), again)
            return self._verbs.evict(target.key, how)

        deleted = await self._verbs.reviewed(options, write)
        return await self._succeeded(0 if how.dry_run else deleted.rv)

    async def _succeeded(self, rv: int) -> Response:
        await self._store.settled(rv)
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
        return reply(encode(status), 201)

    async def _scaled(self, target: Target, outcome: Outcome) -> Response:
        await self._store.settled(outcome.rv)
        return reply(encode(target.meaning.scale(target.kind, outcome.value)), warnings=outcome.warnings)

    async def _answer(self, target: Target, outcome: Outcome, shape: Shape, warnings: list[str]) -> Response:
        await self._store.settled(outcome.rv)
        code = 201 if outcome.created else 200
        return reply(one(target, outcome.value, shape), code, warnings=[*warnings, *outcome.warnings])


def _options(request: BaseRequest) -> WriteOptions:
    query = request.query
    return WriteOptions(
        manager=manager_of(query, request.headers.get("User-Agent", "")),
        dry_run=dry_run(query.getall("dryRun", [])),
        field_validation=field_validation(query),
        force=flag(query, "force"),
        user=request.get(USER),
    )


def _delete_write(request: BaseRequest, options: DeleteOptions) -> WriteOptions:
    return msgspec.structs.replace(_options(request), dry_run=options.dry_run)


def _creation(target: Target, value: Json, body: tuple[str, str, str], options: WriteOptions) -> Attempt:
    """A subresource that is created, as webhooks see it."""
    return Attempt(
        operation="CREATE",
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        subresource=target.subresource,
        new=value,
        old=None,
        user=options.user or ADMIN,
        dry_run=options.dry_run,
        options=options_of(options, "CREATE"),
        body=body,
    )


def _typed(target: Target, value: Json) -> Json:
    """A body without kind and apiVersion is taken for the path's."""
    if value.get("kind") and value.get("apiVersion"):
        return value
    return {
        **value,
        "kind": value.get("kind") or target.kind.name,
        "apiVersion": value.get("apiVersion") or target.kind.api_version,
    }


def _doubled(target: Target, paths: list[str], options: WriteOptions) -> list[str]:
    words = [f'duplicate field "{path}"' for path in paths]
    if words and options.field_validation == "Strict":
        raise bad_request(strict_error(target.kind, words))
    return words if options.field_validation == "Warn" else []


async def _delete_body(request: BaseRequest) -> Json:
    data = await read_bytes(request)
    return decode(data, request.headers.get("Content-Type", ""))[0] if data.strip() else {}


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, rename="camel"):
    grace_period_seconds: int | None = None
    preconditions: _Preconditions | None = None
    orphan_dependents: bool | None = None
    propagation_policy: str | None = None
    dry_run: list[str] | None = None


def _delete_options(query: Mapping[str, str], value: Json) -> DeleteOptions:
    try:
        body = msgspec.convert(value, _DeleteBody)
    except msgspec.ValidationError as error:
        raise bad_request(f"DeleteOptions cannot be read: {error}") from error
    grace = body.grace_period_seconds
    if grace is None:
        grace = number(query, "gracePeriodSeconds")
    propagation = body.propagation_policy or query.get("propagationPolicy", "")
    if propagation not in _PROPAGATION:
        wrong = f'Unsupported value: "{propagation}": supported values: "Background", "Foreground", "Orphan"'
        raise options_invalid("propagationPolicy", wrong, kind="DeleteOptions")
    if not propagation and body.orphan_dependents is not None:
        propagation = "Orphan" if body.orphan_dependents else "Background"
    conditions = body.preconditions or _Preconditions()
    return DeleteOptions(
        grace_seconds=grace,
        uid=conditions.uid or "",
        resource_version=conditions.resource_version or "",
        propagation=propagation,
        dry_run=dry_run(body.dry_run or ([query["dryRun"]] if query.get("dryRun") else [])),
    )
