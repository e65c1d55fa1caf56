"""Responses: JSON bytes, Statuses, and the three shapes of objects (plain, Table, metadata only)."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp.web import BaseRequest, Response, StreamResponse

from podwire.apiserver.history import Item
from podwire.apiserver.http.ask import Shape, Target
from podwire.apiserver.status import StatusError

Json = dict[str, Any]
encode = msgspec.json.Encoder().encode

JSON = "application/json"
LIST_PART = 200
"""Objects of a long list that are sent at once."""


def reply(
    data: bytes, code: int = 200, *, warnings: Iterable[str] = (), headers: dict[str, str] | None = None
) -> Response:
    """JSON bytes."""
    response = Response(body=data, status=code, content_type=JSON, headers=headers)
    for text in warnings:
        response.headers.add("Warning", f'299 - "{_quotable(text)}"')
    return response


def _quotable(text: str) -> str:
    """``text`` inside a quoted string of a header: without control characters, which field names may hold."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown.replace("\\", "\\\\").replace('"', '\\"')


def refuse(error: StatusError) -> Response:
    """A Status of failure."""
    headers = dict(error.headers)
    retry = error.status.get("details", {}).get("retryAfterSeconds")
    if retry:
        headers["Retry-After"] = str(retry)
    return reply(encode(error.status), error.code, headers=headers)


def one(target: Target, value: Json, shape: Shape, *, include: str = "") -> bytes:
    """One stored object in a shape."""
    value = target.meaning.present(target.kind, value)
    if shape == "plain":
        return encode(value)
    if shape == "partial":
        return encode(partial(value))
    return encode(
        table(target, [value], {"resourceVersion": value["metadata"].get("resourceVersion", "")}, include=include)
    )


def many(target: Target, items: list[Item], meta: Json, shape: Shape, *, include: str = "") -> bytes:
    """A list in a shape; ``meta`` is the list's metadata."""
    items = [presented(target, item) for item in items]
    if shape == "table":
        return encode(table(target, [item.value for item in items], meta, include=include))
    head: Json = {"kind": f"{target.kind.name}List", "apiVersion": target.kind.api_version}
    if shape == "partial":
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        rows = b",".join(encode(partial(item.value)) for item in items)
    else:
        rows = b",".join([item.data for item in items])
    return b'%b,"metadata":%b,"items":[%b]}' % (encode(head)[:-1], encode(meta), rows)


async def send_list(request: BaseRequest, target: Target, items: list[Item], meta: Json) -> StreamResponse:
    """A long plain list, in parts: the objects' own bytes are sent, the whole is never put together."""
    head: Json = {"kind": f"{target.kind.name}List", "apiVersion": target.kind.api_version}
    opening = b'%b,"metadata":%b,"items":[' % (encode(head)[:-1], encode(meta))
    rows = [presented(target, item).data for item in items]
    response = StreamResponse(headers={"Content-Type": "application/json"})
    response.content_length = len(opening) + sum(map(len, rows)) + len(rows) - 1 + len(b"]}")
    await response.prepare(request)
    for start in range(0, len(rows), LIST_PART):
        part = b",".join(rows[start : start + LIST_PART])
        await response.write((b"," if start else opening) + part)
    await response.write(b"]}")
    await response.write_eof()
    return response


def presented(target: Target, item: Item) -> Item:
    """The item as the version of the path shows it."""
    value = target.meaning.present(target.kind, item.value)
    return item if value is item.value else Item(value, encode(value), item.rv)


def partial(value: Json) -> Json:
    """PartialObjectMetadata."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}


def table(target: Target, values: list[Json], meta: Json, *, include: str, columns: bool = True) -> Json:
    """A Table; ``include`` is None, Metadata (default) or Object."""
    now = datetime.now(UTC).timestamp()
    definitions = [
        {"name": c.name, "type": c.type, "format": c.format, "description": c.description, "priority": c.priority}
        for c in target.meaning.columns(target.kind)
    ]
    rows = []
    for value in values:
        row: Json = {"cells": target.meaning.cells(target.kind, value, now)}
        if include != "None":
            row["object"] = value if include == "Object" else partial(value)
        rows.append(row)
    found: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    # In a watch only the first event has columns; clients keep them (apiserver endpoints/handlers/response.go).
    return found | {"columnDefinitions": definitions if columns else []} | {"rows": rows}
