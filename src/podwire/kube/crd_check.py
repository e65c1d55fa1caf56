"""What makes a CustomResourceDefinition invalid, in the words of kube-apiserver; its schemas are in ``crd_schema``.

Conversion by webhook is refused: it is not carried out, and so not accepted.
Spec: k8s apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go.
"""

import re
from collections.abc import Iterator
from typing import Any

from podwire.kube.crd import is_established, schema_of_version
from podwire.kube.crd_columns import PathError, parse_path
from podwire.kube.crd_schema import check_schema
from podwire.kube.names import dns_subdomain_problems
from podwire.kube.structural import Structural, read_structural
from podwire.kube.validate.errors import (
    FieldError,
    duplicate,
    each_invalid,
    forbidden,
    immutable,
    invalid,
    not_supported,
    required,
    show,
    too_many,
)
from podwire.kube.validate.meta import check_meta, check_meta_update

Errors = Iterator[FieldError]
Json = dict[str, Any]

APPROVED = "api-approved.kubernetes.io"
MAX_SELECTABLE = 8
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")


def _label_problems(text: str) -> list[str]:
    if len(text) <= 63 and re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", text):
        return []
    return [
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
        "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation "
        "is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    ]


def check_definition(value: Json, old: Json | None, *, subresource: str = "") -> Errors:
    """Everything wrong with a definition."""
    meta, spec = value.get("metadata") or {}, value.get("spec") or {}
    yield from check_object_meta(meta, kind_name="CustomResourceDefinition", namespaced=False)
    if old is not None:
        yield from check_meta_update(meta, old.get("metadata") or {})
    yield from _stored_versions(value)
    if subresource == "status" or (old is not None and old.get("spec") == spec):
        return
    plural, group = (spec.get("names") or {}).get("plural") or "", spec.get("group") or ""
    if meta.get("name") and meta["name"] != f"{plural}.{group}":
        yield invalid("metadata.name", meta["name"], 'must be spec.names.plural+"."+spec.group')
    yield from _group(group, meta)
    yield from _names(spec.get("names") or {})
    yield from _scope(spec.get("scope") or "")
    yield from _versions(spec)
    yield from _conversion(spec.get("conversion") or {})
    if old is not None:
        yield from _kept(value, old)


def check_object_meta(meta: Json, *, kind_name: str, namespaced: bool) -> Errors:
    """Metadata of definitions and custom resources: bare finalizer names are allowed (only core kinds refuse them)."""
    for error in check_meta(meta, kind_name=kind_name, namespaced=namespaced):
        if not error.detail.startswith("name is neither a standard finalizer"):
            yield error


def _kept(value: Json, old: Json) -> Errors:
    new, before = value["spec"], old.get("spec") or {}
    yield from immutable("spec.group", new.get("group"), before.get("group"))
    yield from immutable("spec.names.plural", new["names"].get("plural"), (before.get("names") or {}).get("plural"))
    if is_established(old):
        yield from immutable("spec.scope", new.get("scope"), before.get("scope"))
        yield from immutable("spec.names.kind", new["names"].get("kind"), (before.get("names") or {}).get("kind"))


def _group(group: str, meta: Json) -> Errors:
    if not group:
        yield required("spec.group")
        return
    yield from each_invalid("spec.group", group, dns_subdomain_problems(group))
    if "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    protected = group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))
    approval = (meta.get("annotations") or {}).get(APPROVED, "")
    why = "see https://github.com/kubernetes/enhancements/pull/1111"
    field = f"metadata.annotations[{APPROVED}]"
    if protected and not approval:
        yield required(field, f'protected groups must have approval annotation "{APPROVED}", {why}')
    elif protected and not approval.startswith(("https://", "http://", "unapproved")):
        wrong = (
            f'protected groups must have approval annotation "{APPROVED}" with either a URL or a reason starting with'
        )
        yield invalid(field, approval, f'{wrong} "unapproved", {why}')


def _names(names: Json) -> Errors:
    for field in ("plural", "singular", "kind", "listKind"):
        text = names.get(field) or ""
        where = f"spec.names.{field}"
        if not text:
            yield required(where)
        else:
            shown = text.lower() if field in ("kind", "listKind") else text
            why = "may have mixed case, but should otherwise match: " if field in ("kind", "listKind") else ""
            yield from (invalid(where, text, why + problem) for problem in _label_problems(shown))
    for field in ("shortNames", "categories"):
        for index, text in enumerate(names.get(field) or ()):
            yield from each_invalid(f"spec.names.{field}[{index}]", text, _label_problems(text))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")


def _scope(scope: str) -> Errors:
    if not scope:
        yield required("spec.scope")
    elif scope not in ("Cluster", "Namespaced"):
        yield not_supported("spec.scope", scope, ("Cluster", "Namespaced"))


def _versions(spec: Json) -> Errors:
    versions = spec.get("versions") or []
    if spec.get("preserveUnknownFields"):
        yield invalid("spec.preserveUnknownFields", True, "must be false")
    seen: set[str] = set()
    for index, version in enumerate(versions):
        name, where = version.get("name") or "", f"spec.versions[{index}]"
        yield from each_invalid(f"{where}.name", name, _label_problems(name))
        if name in seen:
            yield duplicate(f"{where}.name", name)
        seen.add(name)
        yield from _version(version, where)
    storing = sum(bool(version.get("storage")) for version in versions)
    if storing != 1:
        names = [version.get("name") for version in versions]
        yield invalid("spec.versions", names, "must have exactly one version marked as storage version")
    if versions and not any(version.get("served") for version in versions):
        yield invalid("spec.versions", [v.get("name") for v in versions], "must have at least one served version")


def _version(version: Json, where: str) -> Errors:
    found = [*check_schema((version.get("schema") or {}).get("openAPIV3Schema"), f"{where}.schema.openAPIV3Schema")]
    yield from found
    if version.get("deprecationWarning") and not version.get("deprecated"):
        yield invalid(
            f"{where}.deprecationWarning", version["deprecationWarning"], "can only be set for deprecated versions"
        )
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        yield from _column(column, f"{where}.additionalPrinterColumns[{index}]")
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale(scale, f"{where}.subresources.scale")
    fields = version.get("selectableFields") or []
    if len(fields) > MAX_SELECTABLE:
        yield too_many(f"{where}.selectableFields", len(fields), MAX_SELECTABLE)
    if not found:
        root = read_structural(schema_of_version(version)) if fields else Structural()
        for index, field in enumerate(fields):
            yield from _selectable(field.get("jsonPath") or "", root, f"{where}.selectableFields[{index}].jsonPath")


def _column(column: Json, where: str) -> Errors:
    if not column.get("name"):
        yield required(f"{where}.name")
    kind = column.get("type") or ""
    if not kind:
        yield required(f"{where}.type", f"must be one of {','.join(sorted(COLUMN_TYPES))}")
    elif kind not in COLUMN_TYPES:
        yield invalid(f"{where}.type", kind, f"must be one of {','.join(sorted(COLUMN_TYPES))}")
    if column.get("format") and column["format"] not in _COLUMN_FORMATS:
        yield invalid(f"{where}.format", column["format"], f"must be one of {','.join(_COLUMN_FORMATS)}")
    yield from _path(column.get("jsonPath") or "", f"{where}.jsonPath")


def _path(text: str, where: str) -> Errors:
    if not text:
        yield required(where)
        return
    if not text.startswith("."):
        yield invalid(where, text, "must be a simple json path starting with .")
        return
    try:
        parse_path(text)
    except PathError as error:
        yield invalid(where, text, str(error))


def _scale(scale: Json, where: str) -> Errors:
    for field, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        text = scale.get(field) or ""
        if not text:
            yield required(f"{where}.{field}")
        elif not _is_field_path(text) or not text.startswith(f"{root}."):
            yield invalid(f"{where}.{field}", text, f"should be a json path under {root}")
    text = scale.get("labelSelectorPath") or ""
    if text and (not _is_field_path(text) or not text.startswith((".spec.", ".status."))):
        yield invalid(f"{where}.labelSelectorPath", text, "should be a json path under either .spec or .status")


def _is_field_path(text: str) -> bool:
    return re.fullmatch(r"(\.[A-Za-z0-9_-]+)+", text) is not None


def _selectable(text: str, root: Structural, where: str) -> Errors:
    if not text:
        yield required(where)
        return
    if not _is_field_path(text) or text.startswith(".metadata"):
        yield invalid(where, text, "is an invalid path: must be a simple path to a field outside metadata")
        return
    node: Structural | None = root
    for name in text[1:].split("."):
        node = node.properties.get(name) if node is not None else None
    if node is None:
        yield invalid(where, text, "is an invalid path: does not refer to a valid field")
    elif node.type not in ("string", "boolean", "integer"):
        why = "is an invalid path: must point to a field of type string, boolean or integer. Enum string fields and "
        yield invalid(where, text, f"{why}strings with formats are allowed.")


def _conversion(conversion: Json) -> Errors:
    strategy = conversion.get("strategy") or "None"
    if strategy != "None":
        yield FieldError("NotSupported", "spec.conversion.strategy", 'supported values: "None"', show(strategy))
    elif conversion.get("webhook"):
        yield forbidden("spec.conversion.webhook", "should not be set when strategy is not set to Webhook")


def _stored_versions(value: Json) -> Errors:
    known = {version.get("name") for version in (value.get("spec") or {}).get("versions") or ()}
    for index, name in enumerate((value.get("status") or {}).get("storedVersions") or ()):
        if name not in known:
            yield invalid(f"status.storedVersions[{index}]", name, "must appear in spec.versions")
