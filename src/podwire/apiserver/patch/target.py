"""What is patched: a kind's name, version and schema, built in or defined by a user."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec

from podwire.kube.decode import type_errors, unknown_fields
from podwire.kube.registry import KINDS
from podwire.kube.schema import Schema, schema_of_kind

Json = dict[str, Any]


class PatchKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind as patches see it. ``strategic``: whether strategic merge patches may be used."""

    name: str
    api_version: str
    schema: Schema
    has_status: bool
    strategic: bool
    type_errors: Callable[[Any], str]
    unknown_fields: Callable[[Any], tuple[str, ...]]


Patched = str | PatchKind
"""A built-in kind by its name, or any kind."""


def patch_kind(kind: Patched) -> PatchKind:
    """The kind that is meant. Raises :class:`KeyError` for a name podwire does not own."""
    return _built_in(kind) if isinstance(kind, str) else kind


@functools.cache
def _built_in(name: str) -> PatchKind:
    row = KINDS[name]
    return PatchKind(
        name=name,
        api_version=row.api_version,
        schema=schema_of_kind(name),
        has_status="status" in row.subresources,
        strategic=True,
        type_errors=functools.partial(type_errors, name),
        unknown_fields=functools.partial(unknown_fields, name),
    )
