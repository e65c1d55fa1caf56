"""What the JSON of a custom resource means: answers from its definition.

1. Each version has its own schema, columns, subresources; it is read when the version is first used.
2. Objects are stored in the storage version; reading gives them the version of the path (``conversion: None``).
3. Defaults are filled when an object is written, and when it is read (the schema may have changed since).

Spec: k8s apiextensions-apiserver/pkg/registry/customresource.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import msgspec

from podwire.apiserver.patch.target import PatchKind
from podwire.apiserver.status import method_not_allowed
from podwire.kube.columns import Column
from podwire.kube.crd import schema_of_version, storage_version
from podwire.kube.crd_check import check_object_meta
from podwire.kube.crd_columns import NAME, CompiledColumn, cells_of, read_columns
from podwire.kube.decode import schema_errors, schema_prune, schema_unknown
from podwire.kube.registry import Kind
from podwire.kube.schema import Schema
from podwire.kube.selectors import SelectorError
from podwire.kube.structural import Structural, ownership_schema, read_structural
from podwire.kube.structural_check import UNSET, check_value
from podwire.kube.structural_rules import Rules
from podwire.kube.structural_values import fill_defaults, prune, unknown_fields
from podwire.kube.validate.errors import FieldError
from podwire.kube.validate.meta import check_meta_update

Json = dict[str, Any]

_META = ("metadata.name", "metadata.namespace")
_BAD_DEPTH = 200


class Version:
    """One version of a definition; its parts are made when first asked for."""

    def __init__(self, raw: Json, kind_name: str, api_version: str) -> None:
        """``raw`` is the entry of ``spec.versions``."""
        self.raw = raw
        self._kind_name = kind_name
        self._api_version = api_version

    @cached_property
    def schema(self) -> Structural:
        """The structural schema."""
        return read_structural(schema_of_version(self.raw))

    @cached_property
    def rules(self) -> Rules:
        """The CEL rules."""
        return Rules(self.schema)

    @cached_property
    def ownership(self) -> Schema:
        """The schema of patches."""
        return ownership_schema(self.schema, name=self._kind_name)

    @cached_property
    def columns(self) -> tuple[CompiledColumn, ...]:
        """The printer columns after NAME."""
        return read_columns(self.raw)

    @cached_property
    def scale(self) -> Json:
        """The paths of the scale subresource."""
        found: Json = (self.raw.get("subresources") or {}).get("scale") or {}
        return found

    @cached_property
    def selectable(self) -> dict[str, tuple[str, ...]]:
        """Fields selectors may name, as they are written, and the way to each."""
        fields = [entry["jsonPath"].lstrip(".") for entry in self.raw.get("selectableFields") or ()]
        return {name: tuple(name.split(".")) for name in (*_META, *fields)}

    @property
    def has_status(self) -> bool:
        """Whether there is a status subresource."""
        return (self.raw.get("subresources") or {}).get("status") is not None


class CustomMeaning:
    """Answers for one definition."""

    def __init__(self, definition: Json) -> None:
        """``definition`` is established, and so valid."""
        spec = definition["spec"]
        self._name = spec["names"]["kind"]
        self._group = spec["group"]
        self._storage = f"{self._group}/{storage_version(spec)['name']}"
        self._versions = {
            raw["name"]: Version(raw, self._name, f"{self._group}/{raw['name']}") for raw in spec["versions"]
        }
        self.terminating = bool(definition["metadata"].get("deletionTimestamp"))

    def version(self, kind: Kind) -> Version:
        """The version of a row."""
        return self._versions[kind.version]

    # --- decoding ---

    def type_errors(self, kind: Kind, value: Json) -> str:
        if error := schema_errors(_HEAD, {key: value[key] for key in _HEAD.fields if key in value}):
            return f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}: {error}'
        return "" if _is_shallow(value) else f"exceeded max depth of {_BAD_DEPTH}"

    def unknown_fields(self, kind: Kind, value: Json) -> tuple[str, ...]:
        meta = schema_unknown(_HEAD.fields["metadata"], value.get("metadata"), "metadata")
        return (*meta, *unknown_fields(self.version(kind).schema, value, root=True))

    def prune(self, kind: Kind, value: Json) -> Json:
        pruned: Json = prune(self.version(kind).schema, value, root=True)
        meta = schema_prune(_HEAD.fields["metadata"], pruned.get("metadata") or {})
        return pruned if meta is pruned.get("metadata") else {**pruned, "metadata": meta}

    def default(self, kind: Kind, value: Json) -> Json:
        filled: Json = fill_defaults(self.version(kind).schema, value)
        return filled if filled["apiVersion"] == self._storage else {**filled, "apiVersion": self._storage}

    def present(self, kind: Kind, value: Json) -> Json:
        """``value`` as it is read through a version (rules 2 and 3)."""
        filled: Json = fill_defaults(self.version(kind).schema, value)
        return filled if filled["apiVersion"] == kind.api_version else {**filled, "apiVersion": kind.api_version}

    # --- validation ---

    def validate(self, kind: Kind, new: Json, old: Json | None, *, subresource: str) -> Iterable[FieldError]:
        if old is None and self.terminating:
            raise method_not_allowed()
        return self._errors(self.version(kind), new, old, namespaced=kind.namespaced)

    def _errors(self, version: Version, new: Json, old: Json | None, *, namespaced: bool) -> Iterator[FieldError]:
        yield from check_object_meta(new["metadata"], kind_name=self._name, namespaced=namespaced)
        if old is not None:
            yield from check_meta_update(new["metadata"], old["metadata"])
        before = UNSET if old is None else fill_defaults(version.schema, old)
        found = [*check_value(version.schema, new, "", old=before, root=True)]
        yield from found
        # Rules may rely on types: they do not run on values of wrong types (as in Kubernetes).
        if not any(error.type in ("TypeInvalid", "TooLong", "TooMany") for error in found):
            yield from version.rules.check(new, before)

    def has_generation(self, kind: Kind) -> bool:
        return True

    # --- views ---

    def columns(self, kind: Kind) -> Iterable[Column]:
        return (NAME, *(entry.column for entry in self.version(kind).columns))

    def cells(self, kind: Kind, value: Json, now: float) -> list[Any]:
        return cells_of(self.version(kind).columns, value, now)

    def field_selector(self, kind: Kind, text: str) -> Callable[[Json], bool]:
        known = self.version(kind).selectable
        terms = [_term(part, known, text) for part in re.split(r"(?<!\\),", text) if part]
        return lambda value: all((_text(value, steps) == wanted) is not negated for steps, negated, wanted in terms)

    def patch_kind(self, kind: Kind) -> PatchKind:
        version = self.version(kind)
        return PatchKind(
            name=kind.name,
            api_version=kind.api_version,
            schema=version.ownership,
            has_status=version.has_status,
            strategic=False,
            type_errors=lambda value: self.type_errors(kind, value),
            unknown_fields=lambda value: self.unknown_fields(kind, value),
        )

    def openapi_schema(self, kind: Kind) -> Json:
        return schema_of_version(self.version(kind).raw)

    # --- scale ---

    def scale(self, kind: Kind, value: Json) -> Json:
        paths, meta = self.version(kind).scale, value["metadata"]
        copied = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        status: Json = {"replicas": _number(value, paths["statusReplicasPath"])}
        if paths.get("labelSelectorPath"):
            found = _walk(value, _steps(paths["labelSelectorPath"]))
            status["selector"] = found if isinstance(found, str) else ""
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": {key: meta[key] for key in copied if key in meta},
            "spec": {"replicas": _number(value, paths["specReplicasPath"])},
            "status": status,
        }

    def scale_change(self, kind: Kind, replicas: int) -> Json:
        change: Any = replicas
        for name in reversed(_steps(self.version(kind).scale["specReplicasPath"])):
            change = {name: change}
        return dict(change)


def _head() -> Schema:
    """What every object has."""
    from podwire.kube.meta import KubeObject
    from podwire.kube.schema import schema_of

    return msgspec.structs.replace(schema_of(KubeObject), name="CustomResource")


_HEAD = _head()


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.lstrip(".").split("."))


def _walk(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _number(value: Json, path: str) -> int:
    found = _walk(value, _steps(path))
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def _text(value: Json, steps: tuple[str, ...]) -> str:
    found = _walk(value, steps)
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)


def _term(part: str, known: dict[str, tuple[str, ...]], text: str) -> tuple[tuple[str, ...], bool, str]:
    found = re.match(r"(?P<path>[^=!]*)(?P<op>!=|==|=)(?P<value>.*)\Z", part, re.DOTALL)
    if not found:
        raise SelectorError(f"invalid selector: '{text}'; can't understand '{part}'")
    path = found["path"].strip()
    if path not in known:
        raise SelectorError(f"field label not supported: {path}")
    return known[path], found["op"] == "!=", re.sub(r"\\(.)", r"\1", found["value"])


def _is_shallow(value: Any) -> bool:
    pending = [(value, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > _BAD_DEPTH:
            return False
        if isinstance(node, dict):
            pending.extend((child, depth + 1) for child in node.values())
        elif isinstance(node, list):
            pending.extend((child, depth + 1) for child in node)
    return True
