"""Names of objects and of fields within them.

Every plan unit carries an :class:`Origin`, so that a dropped packet, a rejected Envoy resource or a lint finding can
name the object and the field it came from.
"""

from typing import NewType

import msgspec

FieldPath = NewType("FieldPath", str)
"""A path as the Kubernetes API writes it: ``spec.ports[0].targetPort``. Empty means the whole object."""

NOWHERE = FieldPath("")


class Ref(msgspec.Struct, frozen=True, order=True):
    """One object: kind, namespace (empty for cluster-scoped kinds) and name."""

    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> str:
        """``namespace/name``, or ``name`` alone for cluster-scoped objects."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        """``Service shop/api`` or ``Node node-1``."""
        return f"{self.kind} {self.key}"


class Origin(msgspec.Struct, frozen=True, order=True):
    """Where a line of a plan came from: the object and the field."""

    ref: Ref
    path: FieldPath = NOWHERE

    def __str__(self) -> str:
        """``Service shop/api spec.ports[0]``."""
        return f"{self.ref} {self.path}".rstrip()
