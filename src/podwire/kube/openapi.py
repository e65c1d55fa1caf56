"""OpenAPI v3 documents, one a group and version, derived from the kinds' schemas.

What stock kubectl reads in them: the PATCH operation with the kind's ``x-kubernetes-group-version-kind`` and the query
parameter ``fieldValidation`` (then the server validates, kubectl does not); patch strategies and merge keys for
``apply``; paths, descriptions and types for ``explain``.

Documents are built when asked for; the caller keeps their bytes.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from podwire.kube.field_docs import FIELD_DOCS
from podwire.kube.registry import KINDS, Kind
from podwire.kube.schema import Schema, schema_of_kind

Json = dict[str, Any]

_MARKS = re.compile(r" ?\([SN]\d+\)")
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PACKAGES: Mapping[str, str] = MappingProxyType(
    {
        "admissionregistration": "io.k8s.api.admissionregistration.v1",
        "apps": "io.k8s.api.apps.v1",
        "autoscaling": "io.k8s.api.autoscaling.v2",
        "batch": "io.k8s.api.batch.v1",
        "core": "io.k8s.api.core.v1",
        "crd": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
        "discovery": "io.k8s.api.discovery.v1",
        "leases": "io.k8s.api.coordination.v1",
        "limits": "io.k8s.api.core.v1",
        "meta": _META,
        "networking": "io.k8s.api.networking.v1",
        "policy": "io.k8s.api.policy.v1",
        "rbac": "io.k8s.api.rbac.v1",
        "scheduling": "io.k8s.api.scheduling.v1",
    }
)
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_TIME, _MICRO_TIME, _LIST_META = f"{_META}.Time", f"{_META}.MicroTime", f"{_META}.ListMeta"

_SCALE: Mapping[str, str] = MappingProxyType({"group": "autoscaling", "kind": "Scale", "version": "v1"})
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)

_SHARED: Mapping[str, Json] = MappingProxyType(
    {
        _QUANTITY: {
            "description": "A number with a unit suffix: 500m, 2, 128Mi, 1.5G.",
            "oneOf": [{"type": "string"}, {"type": "number"}],
        },
        _INT_OR_STRING: {
            "description": "A number, or a name or percentage as text.",
            "format": "int-or-string",
            "oneOf": [{"type": "integer"}, {"type": "string"}],
        },
        _TIME: {"description": "An RFC 3339 time, whole seconds.", "type": "string", "format": "date-time"},
        _MICRO_TIME: {"description": "An RFC 3339 time with microseconds.", "type": "string", "format": "date-time"},
        _LIST_META: {
            "description": "Metadata of a list.",
            "type": "object",
            "properties": {
                "continue": {"type": "string", "description": "Token of the next page; empty on the last."},
                "remainingItemCount": {"type": "integer", "format": "int64", "description": "Items after this page."},
                "resourceVersion": {"type": "string", "description": "The version of the whole list."},
                "selfLink": {"type": "string", "description": "Deprecated."},
            },
        },
    }
)

_QUERY: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "allowWatchBookmarks": ("boolean", "Send BOOKMARK events while watching."),
        "continue": ("string", "Token of the next page."),
        "dryRun": ("string", "All: process the request, store nothing."),
        "fieldManager": ("string", "Who makes the change, for field ownership."),
        "fieldSelector": ("string", "Only objects whose fields match."),
        "fieldValidation": ("string", "What to do about unknown fields: Ignore, Warn (default) or Strict."),
        "force": ("boolean", "Take over fields other managers own (apply patches only)."),
        "gracePeriodSeconds": ("integer", "Seconds the object may take to end; 0 is at once."),
        "labelSelector": ("string", "Only objects whose labels match."),
        "limit": ("integer", "Objects in a page."),
        "pretty": ("string", "Indent the answer."),
        "propagationPolicy": ("string", "What happens to dependents: Orphan, Background or Foreground."),
        "resourceVersion": ("string", "At or after which version to read."),
        "resourceVersionMatch": ("string", "How resourceVersion is meant: Exact or NotOlderThan."),
        "sendInitialEvents": ("boolean", "Begin a watch with the present objects."),
        "timeoutSeconds": ("integer", "End the list or watch after this time."),
        "watch": ("boolean", "Stream changes instead of listing."),
    }
)
_LISTING = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_WRITING = ("dryRun", "fieldManager", "fieldValidation")
_METHODS: Mapping[str, str] = MappingProxyType(
    {"delete": "delete", "patch": "patch", "post": "create", "put": "update"}
)
_DELETING = ("dryRun", "gracePeriodSeconds", "propagationPolicy")


def group_versions() -> tuple[str, ...]:
    """The documents there are, as paths: ``api/v1``, ``apis/apps/v1``."""
    return tuple(dict.fromkeys(_document_name(kind.group, kind.version) for kind in KINDS.values()))


def openapi_index(hashes: Mapping[str, str]) -> Json:
    """The answer of ``/openapi/v3``; ``hashes`` maps document paths to the hash of their bytes."""
    return {
        "paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"} for name, digest in hashes.items()}
    }


def openapi_document(group: str, version: str, *, custom: Iterable[tuple[Kind, Json]] = ()) -> Json:
    """The document of a group and version; ``group`` is empty for core. Without kinds its paths are empty.

    ``custom`` kinds bring their schemas with them.
    """
    kinds = [kind for kind in KINDS.values() if (kind.group, kind.version) == (group, version)]
    schemas: Json = {}
    paths: Json = {}
    for kind in kinds:
        name = _collect(schema_of_kind(kind.name), schemas)
        schemas[name] = {**schemas[name], "x-kubernetes-group-version-kind": [_gvk(kind)]}
        schemas[f"{name}List"] = _list_schema(kind, name)
        paths.update(_kind_paths(kind, name))
    for kind, raw in custom:
        name = ".".join([*reversed(kind.group.split(".")), kind.version, kind.name])
        schemas[name] = _custom_schema(kind, raw, schemas)
        schemas[f"{name}List"] = _list_schema(kind, name)
        paths.update({path: _without_strategic(item) for path, item in _kind_paths(kind, name).items()})
    if paths:
        schemas[_LIST_META] = _SHARED[_LIST_META]
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.36.0"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(schemas.items()))},
    }


def _without_strategic(item: Json) -> Json:
    """Custom resources take no strategic merge patches; kubectl looks here before it sends one
    (docs/lab/2026-11-24-cel-and-patterns.md)."""
    patch = item.get("patch")
    if patch is None:
        return item
    body = patch["requestBody"]
    content = {media: shape for media, shape in body["content"].items() if "strategic" not in media}
    return {**item, "patch": {**patch, "requestBody": {**body, "content": content}}}


def _custom_schema(kind: Kind, raw: Json, schemas: Json) -> Json:
    """A user's schema with what every object has."""
    meta = schema_of_kind("Namespace").fields["metadata"]
    common = {
        "apiVersion": {"type": "string", "description": "Version of the API."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"allOf": [_reference(_collect(meta, schemas))], "description": "Standard object's metadata."},
    }
    properties = {**(raw.get("properties") or {}), **common}
    return {**raw, "type": "object", "properties": properties, "x-kubernetes-group-version-kind": [_gvk(kind)]}


def _document_name(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "kind": kind.name, "version": kind.version}


def _qualified(schema: Schema) -> str:
    return f"{_PACKAGES.get(schema.package, 'io.k8s.api.core.v1')}.{schema.name}"


def _collect(schema: Schema, schemas: Json) -> str:
    """Put the object schema and everything below it into ``schemas``; its name."""
    name = _qualified(schema)
    if name in schemas:
        return name
    written: Json = {"type": "object", "description": _plain(schema.doc)}
    schemas[name] = written
    if schema.required:
        written["required"] = list(schema.required)
    if schema.map_type:
        written["x-kubernetes-map-type"] = schema.map_type
    docs = FIELD_DOCS.get(schema.name, {})
    written["properties"] = {
        key: _property(field, docs.get(key, ""), schemas) for key, field in sorted(schema.fields.items())
    }
    return name


def _plain(text: str) -> str:
    """Our docstrings without the marks that only source readers need."""
    return _MARKS.sub("", text.replace("``", "")).strip()


def _property(field: Schema, doc: str, schemas: Json) -> Json:
    """A field: its type, its documentation, and how lists and maps merge."""
    written = _type(field, schemas)
    description = doc or _plain(field.doc)
    if field.deprecated:
        description = f"Deprecated. {description}".strip()
    if "$ref" in written:
        # Siblings of $ref are ignored by OpenAPI 3.0, so the reference stands in allOf, as Kubernetes writes it.
        written = {"allOf": [written]}
    if description:
        written["description"] = description
    if field.default is not None:
        written["default"] = field.default
    extensions = {
        "x-kubernetes-list-type": field.list_type,
        "x-kubernetes-list-map-keys": list(field.list_map_keys),
        "x-kubernetes-map-type": field.map_type if field.kind == "map" else "",
        "x-kubernetes-patch-merge-key": field.merge_key,
        "x-kubernetes-patch-strategy": field.patch_strategy,
    }
    return {**written, **{key: value for key, value in extensions.items() if value}}


def _type(field: Schema, schemas: Json) -> Json:
    match field.kind:
        case "object":
            return _reference(_collect(field, schemas))
        case "list" | "map":
            items = _type(field.item, schemas) if field.item else {}
            inner = {"allOf": [items], "default": {}} if "$ref" in items else items
            return {"type": "array", "items": inner} if field.kind == "list" else _map(inner)
        case "int-or-string":
            name = _QUANTITY if field.format == "quantity" else _INT_OR_STRING
            return _shared(name, schemas)
        case "any":
            return {"type": "object"} if field.format == "object" else {}
        case "string":
            return _string(field, schemas)
        case _:
            return {"type": field.kind, **({"format": field.format} if field.format else {})}


def _map(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


def _string(field: Schema, schemas: Json) -> Json:
    match field.format:
        case "date-time":
            return _shared(_TIME, schemas)
        case "micro-time":
            return _shared(_MICRO_TIME, schemas)
        case "quantity":
            return _shared(_QUANTITY, schemas)
        case "":
            return {"type": "string"}
        case other:
            return {"type": "string", "format": other}


def _shared(name: str, schemas: Json) -> Json:
    schemas[name] = _SHARED[name]
    return _reference(name)


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list_schema(kind: Kind, name: str) -> Json:
    return {
        "description": f"A list of {kind.name} objects.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the API."},
            "items": {
                "type": "array",
                "items": {"allOf": [_reference(name)], "default": {}},
                "description": "The objects.",
            },
            "kind": {"type": "string", "description": "Kind of the list."},
            "metadata": {"allOf": [_reference(_LIST_META)], "default": {}, "description": "Metadata of the list."},
        },
        "x-kubernetes-group-version-kind": [{**_gvk(kind), "kind": f"{kind.name}List"}],
    }


def _kind_paths(kind: Kind, name: str) -> Json:
    root = f"/{_document_name(kind.group, kind.version)}/"
    scope = "namespaces/{namespace}/" if kind.namespaced else ""
    collection, item = f"{root}{scope}{kind.plural}", f"{root}{scope}{kind.plural}/{{name}}"
    paths = {
        collection: _collection_item(kind, name),
        item: _object_item(kind, name),
    }
    if kind.namespaced:
        operation = _operation(kind, "list", f"{name}List", _LISTING)
        operation["operationId"] += "ForAllNamespaces"
        paths[f"{root}{kind.plural}"] = {"get": operation}
    for subresource in kind.subresources:
        if subresource in ("status", "scale", "finalize", "ephemeralcontainers"):
            paths[f"{item}/{subresource}"] = _subresource_item(kind, name, subresource)
    refused = {method for method, verb in _METHODS.items() if verb not in kind.verbs}
    return {
        path: {key: part for key, part in operations.items() if key not in refused}
        for path, operations in paths.items()
    }


def _collection_item(kind: Kind, name: str) -> Json:
    return {
        **_parameters(kind, named=False),
        "get": _operation(kind, "list", f"{name}List", _LISTING),
        "post": {**_operation(kind, "post", name, _WRITING), "requestBody": _body(name)},
        "delete": _operation(kind, "deletecollection", f"{_META}.Status", (*_LISTING, *_DELETING)),
    }


def _object_item(kind: Kind, name: str) -> Json:
    return {
        **_parameters(kind, named=True),
        "get": _operation(kind, "get", name, ()),
        "put": {**_operation(kind, "put", name, _WRITING), "requestBody": _body(name)},
        "patch": {**_operation(kind, "patch", name, (*_WRITING, "force")), "requestBody": _patch_body()},
        "delete": _operation(kind, "delete", f"{_META}.Status", _DELETING),
    }


def _subresource_item(kind: Kind, name: str, subresource: str) -> Json:
    item = _object_item(kind, name)
    del item["delete"]
    for verb in ("get", "put", "patch"):
        item[verb] = {**item[verb], "operationId": item[verb]["operationId"] + subresource.title()}
        if subresource == "scale":
            item[verb]["x-kubernetes-group-version-kind"] = dict(_SCALE)
    return item


def _parameters(kind: Kind, *, named: bool) -> Json:
    path = [("name", f"name of the {kind.name}")] if named else []
    if kind.namespaced:
        path.append(("namespace", "object name and auth scope, such as for teams and projects"))
    written: list[Json] = [
        {"name": key, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
        for key, text in path
    ]
    return {"parameters": [*written, _query("pretty")]}


def _query(name: str) -> Json:
    kind, text = _QUERY[name]
    return {"name": name, "in": "query", "description": text, "schema": {"type": kind, "uniqueItems": True}}


def _operation(kind: Kind, action: str, answer: str, query: Iterable[str]) -> Json:
    scope = "Namespaced" if kind.namespaced else ""
    group = "".join(part.capitalize() for part in (kind.group.split(".")[0] or "core").split("-"))
    content = {"schema": _reference(answer)} if not answer.endswith(".Status") else {"schema": {"type": "object"}}
    return {
        "operationId": f"{action}{group}{kind.version.capitalize()}{scope}{kind.name}",
        "tags": [f"{group.lower()}_{kind.version}"],
        "parameters": [_query(name) for name in query],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": content}},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
    }


def _body(name: str) -> Json:
    return {"required": True, "content": {"*/*": {"schema": _reference(name)}}}


def _patch_body() -> Json:
    content = {kind: {"schema": {"type": "object", "description": "A patch."}} for kind in _PATCH_TYPES}
    return {"required": True, "content": content}
